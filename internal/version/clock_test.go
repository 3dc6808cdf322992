package version

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestClockIsASetOfDots holds every query and operation to the same one on
// plain sets.
func TestClockIsASetOfDots(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genClock(t), genClock(t)
		as, bs := dotsOf(a), dotsOf(b)

		d := genDot(t)
		if a.Covers(d) != as[d] {
			t.Fatalf("%s.Covers(%s) = %t", a, d, a.Covers(d))
		}
		if got, want := a.Max(d.Actor), as.max(d.Actor); got != want {
			t.Fatalf("%s.Max(%s) = %d, want %d", a, d.Actor, got, want)
		}
		if got, want := a.Dominates(b), as.covers(bs); got != want {
			t.Fatalf("%s.Dominates(%s) = %t", a, b, got)
		}
		if got, want := a.Equal(b), maps.Equal(as, bs); got != want {
			t.Fatalf("%s.Equal(%s) = %t", a, b, got)
		}

		union := maps.Clone(as)
		union.add(bs)
		requireDots(t, a.Join(b), union)

		with := maps.Clone(as)
		with[d] = true
		requireDots(t, a.With(d), with)

		requireDots(t, DotClock(d), dotSet{d: true})
		requireDots(t, a, as) // nothing above has changed an operand
		requireDots(t, b, bs)
	})
}

// requireDots checks that c covers exactly the dots, in its one form.
func requireDots(t *rapid.T, c Clock, want dotSet) {
	t.Helper()
	if got := dotsOf(c); !maps.Equal(got, want) {
		t.Fatalf("%s covers %v, want %v", c, got, want)
	}
	if !slices.IsSortedFunc(c.Vector(), Dot.Compare) || !slices.IsSortedFunc(c.Dots(), Dot.Compare) {
		t.Fatalf("%s is not sorted", c)
	}
	for _, d := range c.Vector() {
		if n := c.Counter(d.Actor); n == 0 || n != d.Counter {
			t.Fatalf("%s: the vector entry %s stands twice or is 0", c, d)
		}
	}
	for _, d := range c.Dots() {
		if d.Counter < c.Counter(d.Actor)+2 {
			t.Fatalf("%s: %s is not isolated", c, d)
		}
	}
	if c.Len() != len(c.Vector())+len(c.Dots()) || c.IsEmpty() != (len(want) == 0) {
		t.Fatalf("%s: Len() = %d, IsEmpty() = %t", c, c.Len(), c.IsEmpty())
	}
}

func TestCompareAgreesWithSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genClock(t), genClock(t)
		if rapid.Bool().Draw(t, "related") {
			b = a.Join(b)
		}
		ab, ba := dotsOf(a).covers(dotsOf(b)), dotsOf(b).covers(dotsOf(a))
		want := Concurrent
		switch {
		case ab && ba:
			want = Equal
		case ab:
			want = After
		case ba:
			want = Before
		}
		if got := a.Compare(b); got != want {
			t.Fatalf("%s.Compare(%s) = %s, want %s", a, b, got, want)
		}
		inverse := map[Ordering]Ordering{Equal: Equal, Before: After, After: Before, Concurrent: Concurrent}
		if got := b.Compare(a); got != inverse[want] {
			t.Fatalf("%s.Compare(%s) = %s, want %s", b, a, got, inverse[want])
		}
	})
}

func TestJoinIsALatticeJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := genClock(t), genClock(t), genClock(t)
		if x, y := a.Join(b), b.Join(a); !x.Equal(y) {
			t.Fatalf("not commutative: %s and %s", x, y)
		}
		if x, y := a.Join(b).Join(c), a.Join(b.Join(c)); !x.Equal(y) {
			t.Fatalf("not associative: %s and %s", x, y)
		}
		if x := a.Join(a); !x.Equal(a) {
			t.Fatalf("not idempotent: %s and %s", x, a)
		}
		if x := a.Join(Clock{}); !x.Equal(a) {
			t.Fatalf("the empty clock is not neutral: %s and %s", x, a)
		}
	})
}

func TestNewClockTakesAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := dotSet{}
		var vector, dots []Dot
		for _, d := range genDots(t, "vector") {
			if set.max(d.Actor) == 0 {
				vector = append(vector, d)
				set.add(dotsOf(Clock{vector: []Dot{d}}))
			}
		}
		for _, d := range rapid.SliceOfNDistinct(rapid.Custom(genDot), 0, 14, rapid.ID[Dot]).Draw(t, "dots") {
			dots = append(dots, d)
			set[d] = true
		}
		v, ds := slices.Clone(vector), slices.Clone(dots)
		c, err := NewClock(vector, dots)
		if err != nil {
			t.Fatal(err)
		}
		requireDots(t, c, set)
		if !slices.Equal(v, vector) || !slices.Equal(ds, dots) {
			t.Fatal("NewClock has reordered its arguments")
		}
	})
}

func TestNewClockRefuses(t *testing.T) {
	bad := map[string]Dot{
		"zero counter":   dot("a1", 0),
		"huge counter":   dot("a1", MaxCounter+1),
		"no epoch":       {Actor{Node: "a"}, 1},
		"no node":        {Actor{Epoch: Epoch{1, 1}}, 1},
		"tilde in node":  {Actor{"a~b", Epoch{1, 1}}, 1},
		"not ASCII node": {Actor{"ä", Epoch{1, 1}}, 1},
	}
	for name, d := range bad {
		if _, err := NewClock([]Dot{d}, nil); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s in the vector: %v, want ErrMalformed", name, err)
		}
		if _, err := NewClock(nil, []Dot{d}); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s in the dots: %v, want ErrMalformed", name, err)
		}
	}
	twice := []Dot{dot("b1", 1), dot("a1", 1), dot("b1", 2)}
	if _, err := NewClock(twice, nil); !errors.Is(err, ErrMalformed) {
		t.Errorf("two entries for an actor: %v, want ErrMalformed", err)
	}
	if _, err := NewClock(nil, []Dot{dot("a1", 5), dot("a1", 5)}); !errors.Is(err, ErrMalformed) {
		t.Errorf("a dot twice: %v, want ErrMalformed", err)
	}
}

func TestWithKeepsADotIsolatedUntilItIsContiguous(t *testing.T) {
	var c Clock
	for _, step := range []struct {
		counter uint64
		want    string
	}{
		{5, "{| a~0000000000000001.1:5}"},
		{2, "{| a~0000000000000001.1:2 a~0000000000000001.1:5}"},
		{1, "{a~0000000000000001.1:2 | a~0000000000000001.1:5}"},
		{4, "{a~0000000000000001.1:2 | a~0000000000000001.1:4 a~0000000000000001.1:5}"},
		{3, "{a~0000000000000001.1:5}"},
	} {
		c = c.With(dot("a1", step.counter))
		if got := c.String(); got != step.want {
			t.Errorf("after %d: %s, want %s", step.counter, got, step.want)
		}
	}
	if c.Covers(dot("a1", 0)) {
		t.Error("counter 0 is covered")
	}
}

func TestInvalidDotsPanic(t *testing.T) {
	for name, f := range map[string]func(){
		"With, counter 0":          func() { Clock{}.With(dot("a1", 0)) },
		"DotClock, no epoch":       func() { DotClock(Dot{Actor{Node: "a"}, 1}) },
		"Put, no node":             func() { Siblings{}.Put(Clock{}, Actor{Epoch: Epoch{1, 1}}, Write{}) },
		"Put, counters used up":    func() { Siblings{}.Put(DotClock(dot("a1", MaxCounter)), actor("a1"), Write{}) },
		"AppendBinary, no clock":   func() { Siblings{Versions: []Version{versionOf(dot("a1", 1))}}.AppendBinary(nil) },
		"Size, no clock":           func() { Siblings{Versions: []Version{versionOf(dot("a1", 1))}}.Size() },
		"With, bad character":      func() { Clock{}.With(Dot{Actor{"a b", Epoch{1, 1}}, 1}) },
		"DotClock, counter is MAX": func() { DotClock(dot("a1", MaxCounter+1)) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}

func TestOrderingString(t *testing.T) {
	for o, want := range map[Ordering]string{Equal: "equal", Before: "before", After: "after", Concurrent: "concurrent", 9: "Ordering(9)"} {
		if got := o.String(); got != want {
			t.Errorf("String() = %q, want %q", got, want)
		}
	}
}
