package ring

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// checkSame fails unless two layouts are equal in everything that they show.
func checkSame(t rapid.TB, got, want *Layout) {
	t.Helper()
	if got.Name() != want.Name() || got.Parent() != want.Parent() || got.Partitions() != want.Partitions() ||
		got.Replicas() != want.Replicas() || got.OwnerCount() != want.OwnerCount() ||
		!slices.Equal(got.Members(), want.Members()) {
		t.Fatalf("%s of %s with %d, %d, %d, %v\nis not\n%s of %s with %d, %d, %d, %v",
			got.Name(), got.Parent(), got.Partitions(), got.Replicas(), got.OwnerCount(), got.Members(),
			want.Name(), want.Parent(), want.Partitions(), want.Replicas(), want.OwnerCount(), want.Members())
	}
	for p := range Partition(want.Partitions()) {
		if !slices.Equal(got.Owners(p), want.Owners(p)) {
			t.Fatalf("partition %d has the owners %v, want %v", p, got.Owners(p), want.Owners(p))
		}
		if g, w := got.AppendPreference(nil, p, -1), want.AppendPreference(nil, p, -1); !slices.Equal(g, w) {
			t.Fatalf("partition %d has the preference list %v, want %v", p, g, w)
		}
	}
}

func TestDecodeReturnsWhatAppendWrote(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCluster(t)
		l := mustFormFor(t, 1<<rapid.IntRange(0, 6).Draw(t, "bits"), c)
		for range rapid.IntRange(0, 2).Draw(t, "changes") {
			c.change(t)
			l = planFor(t, l, c)
		}
		b := l.AppendBinary([]byte("before"))
		b, ok := bytes.CutPrefix(b, []byte("before"))
		if !ok {
			t.Fatal("AppendBinary does not append")
		}
		got, err := DecodeLayout(b)
		if err != nil {
			t.Fatal(err)
		}
		checkSame(t, got, l)
		clear(b) // the layout shares no memory with it
		checkSame(t, got, l)
	})
}

// TestDecodeManyMembers crosses the number of members from which on an owner
// takes two bytes.
func TestDecodeManyMembers(t *testing.T) {
	for _, members := range []int{256, 257, id.MaxMembers} {
		l := mustForm(t, 512, 3, cluster(members, 4))
		got, err := DecodeLayout(l.AppendBinary(nil))
		if err != nil {
			t.Fatal(err)
		}
		checkSame(t, got, l)
	}
}

func TestEncodedSize(t *testing.T) {
	members := cluster(30, 3)
	for i := range members { // names as people give them
		members[i].ID = "storage-" + members[i].ID + ".eu-west-1"
	}
	l := mustForm(t, 1024, 3, members)
	l = mustPlan(t, l, members, 3) // with a parent
	size := len(l.AppendBinary(nil))
	t.Logf("Q=1024 N=3 S=30: %d bytes", size)
	if size > 8<<10 {
		t.Errorf("%d bytes; at most 8 KiB are wanted", size)
	}
}

// TestEveryChangedByteIsSeen changes each byte of an encoding, and cuts it
// short at each length.
func TestEveryChangedByteIsSeen(t *testing.T) {
	l := mustForm(t, 8, 2, cluster(3, 2))
	b := mustPlan(t, l, cluster(4, 2), 2).AppendBinary(nil)
	for i := range b {
		for _, x := range []byte{1, 0x80, 0xff} {
			changed := slices.Clone(b)
			changed[i] ^= x
			checkRefused(t, changed)
		}
		checkRefused(t, b[:i])
	}
	checkRefused(t, append(b, 0))
}

func checkRefused(t *testing.T, b []byte) {
	t.Helper()
	if l, err := DecodeLayout(b); !errors.Is(err, ErrInvalid) || l != nil {
		t.Errorf("DecodeLayout(%x) = %v, %v; want ErrInvalid", b, l, err)
	}
}

// draft is an encoding to be, every part of which may be wrong. Its digest is
// right, so that nothing but the fault itself can give it away.
type draft struct {
	version, bits    byte
	replicas, number uint64
	parent           Name
	count            uint64
	members          []Member
	owners           []byte
	after            []byte // stands behind the owners, before the digest
}

func soundDraft() draft {
	return draft{
		version: formatVersion, bits: 1, replicas: 2, number: 7, parent: Name{6, 0xabcdef},
		count:   3,
		members: []Member{{"a", "x", 1}, {"b", "y", 2}, {"c", "", 3}},
		owners:  []byte{0, 1, 2, 0},
	}
}

func (d draft) encode() []byte {
	b := []byte{d.version, d.bits}
	b = binary.AppendUvarint(b, d.replicas)
	b = binary.AppendUvarint(b, d.number)
	b = binary.AppendUvarint(b, d.parent.Number)
	b = binary.BigEndian.AppendUint64(b, d.parent.Digest)
	b = binary.AppendUvarint(b, d.count)
	for _, m := range d.members {
		b = append(binary.AppendUvarint(b, uint64(len(m.ID))), m.ID...)
		b = append(binary.AppendUvarint(b, uint64(len(m.Zone))), m.Zone...)
		b = binary.AppendUvarint(b, uint64(m.Weight))
	}
	b = append(append(b, d.owners...), d.after...)
	return binary.BigEndian.AppendUint64(b, xxhash.Sum64(b))
}

func TestDecodeTakesTheSoundDraft(t *testing.T) {
	b := soundDraft().encode()
	l, err := DecodeLayout(b)
	if err != nil {
		t.Fatal(err)
	}
	if got := l.AppendBinary(nil); !bytes.Equal(got, b) {
		t.Errorf("%x encodes again as %x", b, got)
	}
	if l.Name().Number != 7 || l.Parent() != (Name{6, 0xabcdef}) || !slices.Equal(l.Owners(1), []id.Node{"c", "a"}) {
		t.Errorf("%s of %s, %v", l.Name(), l.Parent(), l.Owners(1))
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, spoil := range map[string]func(d *draft){
		"a later version":         func(d *draft) { d.version++ },
		"version 0":               func(d *draft) { d.version = 0 },
		"too many partitions":     func(d *draft) { d.bits = maxBits + 1 },
		"more bits than an int":   func(d *draft) { d.bits = 255 },
		"no replicas":             func(d *draft) { d.replicas = 0 },
		"too many replicas":       func(d *draft) { d.replicas = MaxReplicas + 1 },
		"endless replicas":        func(d *draft) { d.replicas = 1<<64 - 1 },
		"number 0":                func(d *draft) { d.number = 0 },
		"a parent of its number":  func(d *draft) { d.parent.Number = 7 },
		"a parent after it":       func(d *draft) { d.parent.Number = 8 },
		"no parent":               func(d *draft) { d.parent = Name{} },
		"a digest of no parent":   func(d *draft) { d.number, d.parent = 1, Name{0, 1} },
		"the first with a parent": func(d *draft) { d.number, d.parent = 1, Name{1, 1} },
		"no members":              func(d *draft) { d.count, d.members = 0, nil },
		"too many members":        func(d *draft) { d.count = id.MaxMembers + 1 },
		"fewer members than said": func(d *draft) { d.count = id.MaxMembers },
		"a member too many":       func(d *draft) { d.count = 2 },
		"members out of order":    func(d *draft) { d.members[0].ID = "bb" },
		"a member twice":          func(d *draft) { d.members[0].ID = "b" },
		"a member without ID":     func(d *draft) { d.members[0].ID = "" },
		"an ID of other bytes":    func(d *draft) { d.members[0].ID = "a b" },
		"a long ID":               func(d *draft) { d.members[0].ID = id.Node(strings.Repeat("a", id.MaxNodeBytes+1)) },
		"a long zone":             func(d *draft) { d.members[0].Zone = strings.Repeat("z", MaxZoneBytes+1) },
		"a zone of other bytes":   func(d *draft) { d.members[0].Zone = "\xff" },
		"weight 0":                func(d *draft) { d.members[0].Weight = 0 },
		"an unknown owner":        func(d *draft) { d.owners[3] = 3 },
		"an owner twice":          func(d *draft) { d.owners[3] = 2 },
		"too few owners":          func(d *draft) { d.owners = d.owners[:3] },
		"bytes after the owners":  func(d *draft) { d.after = []byte{0} },
	} {
		t.Run(name, func(t *testing.T) {
			d := soundDraft()
			spoil(&d)
			checkRefused(t, d.encode())
		})
	}
}

// TestDecodeRefusesLongUvarints writes a number with a byte more than it needs:
// a layout has one encoding.
func TestDecodeRefusesLongUvarints(t *testing.T) {
	b := soundDraft().encode()
	b = slices.Concat(b[:2], []byte{b[2] | 0x80, 0}, b[3:len(b)-digestBytes])
	checkRefused(t, binary.BigEndian.AppendUint64(b, xxhash.Sum64(b)))
}

// TestDecodeAllocatesInProportion claims much in few bytes.
func TestDecodeAllocatesInProportion(t *testing.T) {
	d := soundDraft()
	d.bits, d.replicas, d.count = maxBits, MaxReplicas, id.MaxMembers
	b := d.encode()
	const runs = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		if _, err := DecodeLayout(b); err == nil {
			t.Fatal("it was taken")
		}
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / runs; got > 4<<10 {
		t.Errorf("%d bytes allocate %d", len(b), got)
	}
}

func TestFormAndPlanRefuse(t *testing.T) {
	l := mustForm(t, 8, 3, cluster(3, 0))
	for name, call := range map[string]func() (*Layout, error){
		"no partitions":         func() (*Layout, error) { return Form(0, 3, cluster(3, 0)) },
		"negative partitions":   func() (*Layout, error) { return Form(-8, 3, cluster(3, 0)) },
		"no power of two":       func() (*Layout, error) { return Form(12, 3, cluster(3, 0)) },
		"too many partitions":   func() (*Layout, error) { return Form(2*id.MaxPartitions, 3, cluster(3, 0)) },
		"no replicas":           func() (*Layout, error) { return Form(8, 0, cluster(3, 0)) },
		"too many replicas":     func() (*Layout, error) { return l.Plan(2, cluster(3, 0), MaxReplicas+1) },
		"no members":            func() (*Layout, error) { return l.Plan(2, nil, 3) },
		"too many members":      func() (*Layout, error) { return l.Plan(2, cluster(id.MaxMembers+1, 0), 3) },
		"a member twice":        func() (*Layout, error) { return l.Plan(2, append(cluster(3, 0), newMember(1, 0)), 3) },
		"weight 0":              func() (*Layout, error) { return l.Plan(2, []Member{{ID: "a"}}, 3) },
		"no ID":                 func() (*Layout, error) { return l.Plan(2, []Member{{Weight: 1}}, 3) },
		"a number that is past": func() (*Layout, error) { return l.Plan(1, cluster(3, 0), 3) },
	} {
		t.Run(name, func(t *testing.T) {
			if next, err := call(); !errors.Is(err, ErrInvalid) || next != nil {
				t.Errorf("%v, %v; want ErrInvalid", next, err)
			}
		})
	}
}

func TestName(t *testing.T) {
	sorted := []Name{{}, {1, 2}, {1, 3}, {2, 0}, {2, 1 << 63}, {10, 1}}
	for i, a := range sorted {
		for j, b := range sorted {
			want := 0
			switch {
			case i < j:
				want = -1
			case i > j:
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%s.Compare(%s) = %d, want %d", a, b, got, want)
			}
		}
		if a.IsZero() != (i == 0) {
			t.Errorf("%s.IsZero() = %t", a, a.IsZero())
		}
	}
	if got := (Name{7, 0x1a2b3c4d_00000001}).String(); got != "7-1a2b3c4d" {
		t.Errorf("String() = %q", got)
	}
}

// The seeds are in testdata/fuzz: sound layouts of several shapes, and layouts
// with one fault each and a digest that fits.
func FuzzDecodeLayout(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := DecodeLayout(b)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || l != nil {
				t.Fatalf("%v, %v", l, err)
			}
			// With the right digest the fuzzer gets past the last check.
			if len(b) < digestBytes {
				return
			}
			body := b[: len(b)-digestBytes : len(b)-digestBytes]
			b = binary.BigEndian.AppendUint64(body, xxhash.Sum64(body))
			if l, err = DecodeLayout(b); err != nil {
				return
			}
		}
		if got := l.AppendBinary(nil); !bytes.Equal(got, b) {
			t.Fatalf("%x\nencodes again as\n%x", b, got)
		}
		for p := range Partition(l.Partitions()) {
			for i, n := range l.Owners(p) {
				if !l.Has(n) || slices.Contains(l.Owners(p)[:i], n) {
					t.Fatalf("partition %d has the owners %v", p, l.Owners(p))
				}
			}
		}
		if l.Partitions() > 64 || l.Name().Number == 1<<64-1 {
			return // planning each would slow the fuzzer down; there is no number after the last
		}
		// What is decoded need not be balanced, but the next plan is.
		next, err := l.Plan(l.Name().Number+1, l.Members(), l.Replicas())
		if err != nil {
			t.Fatal(err)
		}
		checkLayout(t, next)
	})
}

// TestFuzzSeedsAreThere keeps the corpus from being lost unseen: without it
// the fuzzer would pass on nothing.
func TestFuzzSeedsAreThere(t *testing.T) {
	files, err := os.ReadDir(filepath.Join("testdata", "fuzz", "FuzzDecodeLayout"))
	if err != nil || len(files) == 0 {
		t.Errorf("FuzzDecodeLayout has %d seeds, %v", len(files), err)
	}
}
