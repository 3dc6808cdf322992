package httpjson

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

func genActor(t *rapid.T) version.Actor {
	return version.Actor{
		Node:  id.Node(rapid.StringMatching(`[ab]|[A-Za-z0-9._-]{1,64}`).Draw(t, "node")),
		Epoch: version.Epoch{Start: rapid.Uint64Max(3).Draw(t, "start"), Seq: rapid.Uint64Range(1, 3).Draw(t, "seq")},
	}
}

// genSet draws a set as writes that have seen all, nothing, or single dots leave
// it, so that its clock may have isolated dots.
func genSet(t *rapid.T) version.Siblings {
	var s version.Siblings
	for range rapid.IntRange(0, 6).Draw(t, "writes") {
		var seen version.Clock
		switch rapid.IntRange(0, 2).Draw(t, "has seen") {
		case 1:
			seen = s.Clock
		case 2:
			seen = version.DotClock(version.Dot{Actor: genActor(t), Counter: rapid.Uint64Range(1, 9).Draw(t, "counter")})
		}
		w := version.Write{Timestamp: rapid.Int64().Draw(t, "timestamp"), Tombstone: rapid.Bool().Draw(t, "tombstone")}
		if rapid.Bool().Draw(t, "has an ID") {
			copy(w.ID[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "ID"))
		}
		if data := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "data"); len(data) > 0 {
			w.Data = data
		}
		s, _ = s.Put(seen, genActor(t), w)
	}
	return s
}

// throughJSON returns what a receiver sees of v.
func throughJSON[T any](t interface{ Fatal(...any) }, v T) (out T) {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSetsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := genSet(t)
		out := throughJSON(t, SetOf(set))
		got, err := out.set([]byte("key"))
		if err != nil || !got.Equal(set) {
			t.Fatalf("%v (%v) was %v", got, err, set)
		}
		if diff := cmp.Diff(out, SetOf(got), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("and back again (-want +got):\n%s", diff)
		}
	})
}

// The versions of a set may come in any order.
func TestSetsInAnyOrder(t *testing.T) {
	set, _ := version.Siblings{}.Put(version.Clock{}, actor("a", 1), version.Write{Data: []byte("a")})
	set, _ = set.Put(version.Clock{}, actor("b", 1), version.Write{Data: []byte("b")})
	out := SetOf(set)
	slices.Reverse(out.Versions)
	if got, err := out.set([]byte("key")); err != nil || !got.Equal(set) {
		t.Errorf("%v (%v) was %v", got, err, set)
	}
}

// A version that is taken out of what a node shows says no more than it knows:
// put back by itself, anywhere, it replaces nothing that its node has kept, and
// repeated it changes nothing.
func TestVersionsAloneRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := genSet(t)
		for i, shown := range throughJSON(t, versionsOf(set)) {
			in := Versions{Value: &shown}
			alone, err := in.set([]byte("key"))
			if err != nil {
				t.Fatal(err)
			}
			want := version.Siblings{Clock: set.ClockOf(i), Versions: set.Versions[i : i+1]}
			if !alone.Equal(want) {
				t.Fatalf("version %d of %v came back as %v", i, set, alone)
			}
			if !set.Covers(alone) {
				t.Fatalf("putting version %d back changes %v", i, set)
			}
		}
	})
}

func TestKeysRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "key")
		if rapid.Bool().Draw(t, "is text") {
			key = []byte(rapid.StringN(1, 40, -1).Draw(t, "text"))
		}
		out := throughJSON(t, GetRequest{Key: KeyOf(key)})
		got, err := out.bytes()
		if err != nil || string(got) != string(key) {
			t.Fatalf("%q (%v) was %q", got, err, key)
		}
	})
}

func TestTimestamps(t *testing.T) {
	for _, at := range []int64{0, 1, -1, math.MaxInt64, math.MinInt64, time.Date(2026, 11, 26, 10, 0, 0, 123456789, time.UTC).UnixNano()} {
		set, _ := version.Siblings{}.Put(version.Clock{}, actor("n1", 1), version.Write{Timestamp: at})
		out := throughJSON(t, SetOf(set))
		got, err := out.set(nil)
		if err != nil || got.Versions[0].Timestamp != at {
			t.Errorf("%d ns came back as %v: %v", at, got, err)
		}
	}
	elsewhere := Version{Timestamp: Time{time.Date(2026, 11, 26, 12, 0, 0, 0, time.FixedZone("", 7200))}}
	if v, err := elsewhere.bare(); err != nil || v.Timestamp != time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC).UnixNano() {
		t.Errorf("a time of another zone is %d ns: %v", v.Timestamp, err)
	}
}

// handMade returns the set of a version without a dot.
func handMade(t *testing.T, change func(*Version)) version.Siblings {
	t.Helper()
	v := Version{Data: []byte("milk"), VectorClock: map[string]uint64{"n1~00000000000000ab.1": 2}, Timestamp: Time{time.Unix(1, 0)}}
	change(&v)
	in := Versions{Value: &v}
	set, err := in.set([]byte("cart"))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Versions that were made by hand are on disks: how their dots are derived must
// never change.
func TestSyntheticDotsStayTheSame(t *testing.T) {
	set := handMade(t, func(*Version) {})
	const want = "by-hand~b7d9635ce3478f0d.4079669346:1"
	if got := set.Versions[0].Dot.String(); got != want {
		t.Errorf("the dot is %s, want %s", got, want)
	}
}

func TestSyntheticDots(t *testing.T) {
	first := handMade(t, func(*Version) {})
	held, dot := version.Siblings{}.Put(version.Clock{}, actor("n1", 1), version.Write{Data: []byte("old")})
	merged, err := version.Merge(held, first)
	if err != nil || len(merged.Versions) != 1 || !merged.Clock.Covers(dot) {
		t.Fatalf("it does not replace what it has seen: %v, %v", merged, err)
	}
	if again := handMade(t, func(*Version) {}); !merged.Covers(again) {
		t.Error("the same version changes something when it is put again")
	}
	for name, change := range map[string]func(*Version){
		"data":      func(v *Version) { v.Data = []byte("bread") },
		"clock":     func(v *Version) { v.VectorClock["n1~00000000000000ab.1"] = 3 },
		"timestamp": func(v *Version) { v.Timestamp = Time{time.Unix(2, 0)} },
		"write ID":  func(v *Version) { v.WriteID = strings.Repeat("7", 32) },
		"tombstone": func(v *Version) { v.IsTombstone, v.Data = true, nil },
		"a zone":    func(v *Version) { v.Timestamp.Time = v.Timestamp.In(time.FixedZone("", 3600)) },
	} {
		other := handMade(t, change)
		same := other.Versions[0].Dot == first.Versions[0].Dot
		if same != (name == "a zone") {
			t.Errorf("another %s: the same dot is %v", name, same)
		}
		if _, err := version.Merge(merged, other); err != nil {
			t.Errorf("another %s: %v", name, err)
		}
	}
}

// People write names without an epoch: they stand for one that no node draws.
func TestNamesByThemselves(t *testing.T) {
	in := Versions{Value: &Version{VectorClock: map[string]uint64{"me": 3}, Dot: &Dot{Actor: "me", Counter: 3}}}
	set, err := in.set([]byte("key"))
	want := version.Actor{Node: "me", Epoch: version.Epoch{Seq: 1}}
	if err != nil || set.Versions[0].Dot != (version.Dot{Actor: want, Counter: 3}) || set.Clock.Len() != 1 {
		t.Errorf("%v, %v", set, err)
	}
}

func TestMalformedVersions(t *testing.T) {
	dot := &Dot{Actor: "n1~00000000000000ab.1", Counter: 1}
	clock := &Clock{Vector: map[string]uint64{dot.Actor: 1}}
	for name, c := range map[string]struct {
		in   Versions
		want string
	}{
		"nothing":            {Versions{}, "give one of value"},
		"both":               {Versions{Value: &Version{}, Clock: clock}, "give one of value"},
		"value and versions": {Versions{Value: &Version{}, Versions: []Version{{}}}, "exclude each other"},
		"no clock":           {Versions{Versions: []Version{{}}}, "give one of value"},
		"no dot":             {Versions{Versions: []Version{{}}, Clock: clock}, "version 1 of 1: it has no dot"},
		"not covered":        {Versions{Versions: []Version{{Dot: &Dot{Actor: dot.Actor, Counter: 2}}}, Clock: clock}, "does not cover"},
		"twice":              {Versions{Versions: []Version{{Dot: dot}, {Dot: dot}}, Clock: clock}, "each once"},
		"an actor":           {Versions{Value: &Version{VectorClock: map[string]uint64{"n1~7": 1}}}, `"n1~7": use node~start.sequence`},
		"a name":             {Versions{Value: &Version{VectorClock: map[string]uint64{"n 1": 1}}}, "only A-Z a-z 0-9 . _ - are allowed"},
		"two of an actor": {
			Versions{Value: &Version{VectorClock: map[string]uint64{"n1": 1, "n1~0000000000000000.1": 2}}}, "two vector entries",
		},
		"no epoch":           {Versions{Value: &Version{VectorClock: map[string]uint64{"n1~0000000000000000.0": 1}}}, "no epoch"},
		"a counter of 0":     {Versions{Value: &Version{VectorClock: map[string]uint64{dot.Actor: 0}}}, "is 0; 1 to"},
		"a large counter":    {Versions{Value: &Version{VectorClock: map[string]uint64{dot.Actor: 1 << 63}}}, "is 9223372036854775808; 1 to 9223372036854775807"},
		"a dot of 0":         {Versions{Value: &Version{Dot: &Dot{Actor: dot.Actor}}}, "is 0; 1 to"},
		"a dot's actor":      {Versions{Value: &Version{Dot: &Dot{Actor: "n~1~2", Counter: 1}}}, "malformed actor"},
		"dots of a clock":    {Versions{Clock: &Clock{Dots: []Dot{*dot, *dot}}}, "stands twice"},
		"a bad dot":          {Versions{Clock: &Clock{Dots: []Dot{{Actor: "?", Counter: 1}}}}, "node ID"},
		"a tombstone's data": {Versions{Value: &Version{IsTombstone: true, Data: []byte("x")}}, "it has none"},
		"a large value":      {Versions{Value: &Version{Data: make([]byte, id.MaxValueBytes+1)}}, "at most 16777216"},
		"a write ID":         {Versions{Value: &Version{WriteID: "7"}}, "32 hexadecimal digits"},
		"a year":             {Versions{Value: &Version{Timestamp: Time{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}}}, "1678 to 2262"},
	} {
		if set, err := c.in.set([]byte("key")); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, and the error %v does not say %q", name, set, err, c.want)
		}
	}
}

func TestMembersRoundTrip(t *testing.T) {
	name := func(t *rapid.T, what string) ring.Name {
		return ring.Name{Number: rapid.Uint64().Draw(t, what), Digest: rapid.Uint64().Draw(t, what)}
	}
	rapid.Check(t, func(t *rapid.T) {
		rec := core.Member{
			ID:   id.Node(rapid.StringMatching(`[A-Za-z0-9._-]{1,64}`).Draw(t, "ID")),
			Addr: rapid.StringN(1, 40, 200).Draw(t, "address"), Zone: rapid.StringN(0, 16, 64).Draw(t, "zone"),
			Datacentre: rapid.StringN(0, 16, 64).Draw(t, "datacentre"), Weight: rapid.Uint32Min(1).Draw(t, "weight"),
			Instance: rapid.Uint64().Draw(t, "instance"), Start: rapid.Uint64().Draw(t, "start"),
			Incarnation: rapid.Uint64().Draw(t, "incarnation"), Heartbeat: rapid.Uint64().Draw(t, "heartbeat"),
			Changed: rapid.Uint64().Draw(t, "changed"),
			State:   rapid.SampledFrom([]core.State{core.Joining, core.Active, core.Leaving, core.Left}).Draw(t, "state"),
			Stamp: core.Stamp{
				Layout: name(t, "layout"),
				Phase:  rapid.SampledFrom([]core.Phase{core.PhaseNone, core.PhaseCopy, core.PhaseMoved, core.PhaseDone}).Draw(t, "phase"),
			},
			Synced: name(t, "synced"),
		}
		out := throughJSON(t, memberOf(&rec))
		got, err := out.record()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rec, got); diff != "" {
			t.Fatalf("sent -, received +:\n%s", diff)
		}
	})
}

func TestMalformedMembers(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Member)
		want   string
	}{
		"an ID":       {func(m *Member) { m.NodeID = "a~b" }, `'~'`},
		"no record":   {func(m *Member) { m.Record = nil }, "no record"},
		"no address":  {func(m *Member) { m.Address = "" }, "the address has 0 bytes"},
		"a long zone": {func(m *Member) { m.Record.Zone = strings.Repeat("z", 65) }, "the zone has 65 bytes"},
		"not UTF-8":   {func(m *Member) { m.Record.Datacentre = "\xff" }, "the datacentre has 1 bytes"},
		"no weight":   {func(m *Member) { m.Record.Weight = 0 }, "weight is 0"},
		"a state":     {func(m *Member) { m.Record.State = "happy" }, `"happy" is not known`},
		"a phase":     {func(m *Member) { m.Record.Phase = "full" }, `"full" is not known`},
		"a start":     {func(m *Member) { m.Record.Start = "7" }, "16 hexadecimal digits"},
		"a digest":    {func(m *Member) { m.Record.Synced.Digest = "+000000000000001" }, "16 hexadecimal digits"},
	} {
		m := memberOf(&core.Member{ID: "n1", Addr: "a:1", Weight: 1, State: core.Active})
		c.change(&m)
		if _, err := m.record(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error %v does not say %q", name, err, c.want)
		}
	}
}
