package version

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestWithoutUnused holds pruning to its meaning: the versions stay, their
// actors stay whole, and all other actors are gone.
func TestWithoutUnused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := genSiblings(t)
		pruned := set.WithoutUnused()
		if err := pruned.Validate(); err != nil {
			t.Fatal(err)
		}
		present := map[Actor]bool{}
		for _, v := range set.Versions {
			present[v.Dot.Actor] = true
		}
		actors := map[Actor]bool{}
		for _, list := range [][]Dot{set.Clock.Vector(), set.Clock.Dots()} {
			for _, d := range list {
				actors[d.Actor] = true
			}
		}
		if got, want := set.Unused(), len(actors)-len(present); got != want {
			t.Fatalf("%d actors of %v are unused, want %d", got, set.Clock, want)
		}
		want := without(set.Clock, func(a Actor) bool { return !present[a] })
		if !pruned.Clock.Equal(want) || len(pruned.Versions) != len(set.Versions) || pruned.Unused() != 0 {
			t.Fatalf("%v is pruned to %v, want %v", set.Clock, pruned.Clock, want)
		}
		if merged, err := Merge(set, pruned); err != nil || !merged.Equal(set) {
			t.Fatalf("a copy that is not pruned does not bring the entries back: %v, %v", merged.Clock, err)
		}
	})
}

func TestOnlyTombstones(t *testing.T) {
	a := Actor{Node: "a", Epoch: Epoch{Start: 1, Seq: 1}}
	var none Siblings
	stone, _ := none.Put(Clock{}, a, Write{Tombstone: true})
	both, _ := stone.Put(Clock{}, a, Write{Data: []byte("v")})
	if none.OnlyTombstones() || !stone.OnlyTombstones() || both.OnlyTombstones() {
		t.Errorf("only tombstones: nothing %v, one %v, one and a value %v", none.OnlyTombstones(), stone.OnlyTombstones(), both.OnlyTombstones())
	}
	if (Siblings{Clock: stone.Clock}).OnlyTombstones() {
		t.Error("a clock alone counts as deleted")
	}
	shape := both.Shape()
	if len(both.Live()[0].Data) == 0 || len(shape.Live()[0].Data) > 0 || !shape.Clock.Equal(both.Clock) {
		t.Errorf("the shape of %v is %v", both, shape)
	}
}

func TestWithoutUnusedIsolatedDots(t *testing.T) {
	a, b := Actor{Node: "a", Epoch: Epoch{Start: 1, Seq: 1}}, Actor{Node: "b", Epoch: Epoch{Start: 1, Seq: 1}}
	ctx := DotClock(Dot{Actor: a, Counter: 7})
	set, dot := Siblings{}.Put(ctx, b, Write{Data: []byte("v")})
	if got := set.WithoutUnused().Clock; !got.Equal(DotClock(dot)) || set.Unused() != 1 {
		t.Errorf("%v is pruned to %v", set.Clock, got)
	}
}

// without returns the clock without all that it covers of some actors.
func without(c Clock, drops func(Actor) bool) Clock {
	kept := func(list []Dot) []Dot {
		return slices.DeleteFunc(slices.Clone(list), func(d Dot) bool { return drops(d.Actor) })
	}
	out, err := NewClock(kept(c.Vector()), kept(c.Dots()))
	if err != nil {
		panic(err)
	}
	return out
}
