package membership

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

func someMembers() []core.Member {
	return []core.Member{
		{ID: "a", Addr: "a:1", Weight: 1, Instance: 5, Start: 6, Incarnation: 7, State: core.Active},
		{ID: "b-2", Addr: "[::1]:7171", Zone: "rack 1", Datacentre: "Zürich", Weight: math.MaxUint32, Instance: math.MaxUint64, State: core.Left},
	}
}

func someLayouts(tb testing.TB) core.LayoutState {
	tb.Helper()
	first, err := ring.Form(8, 3, []ring.Member{{ID: "a", Weight: 1}})
	if err != nil {
		tb.Fatal(err)
	}
	next, err := first.Plan(2, []ring.Member{{ID: "a", Weight: 1}, {ID: "b", Weight: 2, Zone: "z"}}, 3)
	if err != nil {
		tb.Fatal(err)
	}
	return core.LayoutState{Live: []*ring.Layout{first, next}, Phase: core.PhaseMoved}
}

func TestRecordsSurviveTheDisk(t *testing.T) {
	own := identity{cluster: math.MaxUint64, incarnation: 3}
	if got, err := decodeIdentity(encodeIdentity(own)); err != nil || got != own {
		t.Errorf("identity %+v came back as %+v, %v", own, got, err)
	}
	members := someMembers()
	got, err := decodeMembers(encodeMembers(members))
	if diff := cmp.Diff(members, got); err != nil || diff != "" {
		t.Errorf("members came back with %v, changed by\n%s", err, diff)
	}
	two := someLayouts(t)
	one := core.LayoutState{Live: two.Live[1:], Phase: core.PhaseDone}
	for _, l := range []core.LayoutState{one, two} {
		got, err := decodeLayouts(encodeLayouts(l))
		if err != nil || got.Stamp() != l.Stamp() || len(got.Live) != len(l.Live) {
			t.Errorf("layouts %v came back as %v, %v", l.Stamp(), got.Stamp(), err)
		}
	}
}

func TestDamagedRecordsAreErrors(t *testing.T) {
	members, two := encodeMembers(someMembers()), someLayouts(t)
	swapped := someMembers()
	swapped[0], swapped[1] = swapped[1], swapped[0]
	weightless := someMembers()
	weightless[0].Weight = 0
	onIdentity := func(b []byte) error { _, err := decodeIdentity(b); return err }
	onMembers := func(b []byte) error { _, err := decodeMembers(b); return err }
	onStamps := func(b []byte) error { _, err := decodeStamps(b); return err }
	onLayouts := func(b []byte) error { _, err := decodeLayouts(b); return err }
	tests := []struct {
		name   string
		decode func([]byte) error
		record []byte
		want   string
	}{
		{"empty", onIdentity, nil, "ends too soon"},
		{"another version", onIdentity, []byte{9, 0, 0}, "format version 9"},
		{"cut", onIdentity, []byte{1, 0}, "ends within a number"},
		{"a tail", onIdentity, []byte{1, 0, 0, 0}, "1 bytes follow"},
		{"members cut", onMembers, members[:len(members)-3], "ends"},
		{"members in disorder", onMembers, encodeMembers(swapped), "does not belong after"},
		{"no weight", onMembers, encodeMembers(weightless), "weight"},
		{"too many members", onMembers, []byte{1, 0xff, 0xff, 1}, "at most 1024"},
		{"stamps cut", onStamps, []byte{1, 7, 1, 1, 'a'}, "ends within a number"},
		{"stamps in disorder", onStamps, encodeStamps(diskStamps{peers: []peerStamp{{"b", 1}, {"a", 2}}}), "does not belong after"},
		{"no layout", onLayouts, []byte{1, byte(core.PhaseDone), 0}, "0 live layouts"},
		{"a phase that does not fit", onLayouts, encodeLayouts(core.LayoutState{Live: two.Live, Phase: core.PhaseDone}), "2 live layouts in phase stable"},
		{"layouts in disorder", onLayouts, encodeLayouts(core.LayoutState{Live: []*ring.Layout{two.Live[1], two.Live[0]}, Phase: core.PhaseCopy}), "does not follow"},
		{"a damaged layout", onLayouts, []byte{1, byte(core.PhaseDone), 1, 1, 77}, "layout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.decode(tt.record)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v; want ErrDamaged with %q", err, tt.want)
			}
		})
	}
}

// fuzzRecord checks of one decoder that it takes anything, and that what it
// accepts means the same after one more way to the disk and back.
func fuzzRecord[T any](f *testing.F, decode func([]byte) (T, error), encode func(T) []byte) {
	corpus, err := filepath.Glob(filepath.Join("testdata", "fuzz", f.Name(), "*"))
	if err != nil || len(corpus) == 0 {
		f.Fatalf("no committed corpus: %v", err)
	}
	for _, path := range corpus {
		if info, err := os.Stat(path); err != nil || info.Size() == 0 {
			f.Errorf("%s is empty: %v", path, err)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := decode(bytes.Clone(b))
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("error %v is not ErrDamaged", err)
			}
			return
		}
		canonical := encode(v)
		again, err := decode(bytes.Clone(canonical))
		if err != nil {
			t.Fatalf("an accepted record is refused after encoding it again: %v", err)
		}
		if !bytes.Equal(encode(again), canonical) {
			t.Fatalf("%x becomes %x", canonical, encode(again))
		}
	})
}

func FuzzDecodeIdentity(f *testing.F) {
	fuzzRecord(f, decodeIdentity, encodeIdentity)
}

func FuzzDecodeMembers(f *testing.F) {
	fuzzRecord(f, decodeMembers, encodeMembers)
}

func FuzzDecodeStamps(f *testing.F) {
	fuzzRecord(f, decodeStamps, encodeStamps)
}

func FuzzDecodeLayouts(f *testing.F) {
	fuzzRecord(f, decodeLayouts, encodeLayouts)
}
