package version

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func mustMerge(t *rapid.T, a, b Siblings) Siblings {
	t.Helper()
	m, err := Merge(a, b)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Validate(); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMergeIsALatticeJoin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := genSiblings(t), genSiblings(t), genSiblings(t)
		ab := mustMerge(t, a, b)
		if ba := mustMerge(t, b, a); !ab.Equal(ba) {
			t.Fatalf("not commutative: %v and %v", ab, ba)
		}
		if x, y := mustMerge(t, ab, c), mustMerge(t, a, mustMerge(t, b, c)); !x.Equal(y) {
			t.Fatalf("not associative: %v and %v", x, y)
		}
		if aa := mustMerge(t, a, a); !aa.Equal(a) {
			t.Fatalf("not idempotent: %v and %v", aa, a)
		}
		if x := mustMerge(t, a, Siblings{}); !x.Equal(a) {
			t.Fatalf("the empty set is not neutral: %v and %v", x, a)
		}
	})
}

func TestCoversMeansThatMergingChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genSiblings(t), genSiblings(t)
		ab := mustMerge(t, a, b)
		if got, want := a.Covers(b), ab.Equal(a); got != want {
			t.Fatalf("%v.Covers(%v) = %t", a, b, got)
		}
		if !ab.Covers(a) || !ab.Covers(b) {
			t.Fatalf("%v does not cover what it was merged from", ab)
		}
	})
}

// TestMergeKeepsOnlyWhatNobodyReplaced is the definition, version by version.
func TestMergeKeepsOnlyWhatNobodyReplaced(t *testing.T) {
	has := func(s Siblings, d Dot) bool {
		for _, v := range s.Versions {
			if v.Dot == d {
				return true
			}
		}
		return false
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := genSiblings(t), genSiblings(t)
		ab := mustMerge(t, a, b)
		for d := range dotsOf(ab.Clock) {
			want := has(a, d) && has(b, d) || has(a, d) && !b.Clock.Covers(d) || has(b, d) && !a.Clock.Covers(d)
			if has(ab, d) != want {
				t.Fatalf("merging %v and %v: present(%s) = %t", a, b, d, !want)
			}
		}
		if !ab.Clock.Equal(a.Clock.Join(b.Clock)) {
			t.Fatalf("the clock is %s", ab.Clock)
		}
	})
}

func TestMergeRefusesOneDotWithTwoContents(t *testing.T) {
	base := Version{Dot: dot("a1", 1), WriteID: WriteID{1}, Timestamp: 5, Data: []byte("x")}
	one := func(change func(*Version)) Siblings {
		v := base
		change(&v)
		return Siblings{Clock: DotClock(v.Dot), Versions: []Version{v}}
	}
	s := one(func(*Version) {})
	for name, change := range map[string]func(*Version){
		"data":      func(v *Version) { v.Data = []byte("y") },
		"no data":   func(v *Version) { v.Data = nil },
		"tombstone": func(v *Version) { v.Data, v.Tombstone = nil, true },
		"write ID":  func(v *Version) { v.WriteID = WriteID{2} },
		"timestamp": func(v *Version) { v.Timestamp++ },
	} {
		o := one(change)
		for _, pair := range [][2]Siblings{{s, o}, {o, s}} {
			if m, err := Merge(pair[0], pair[1]); !errors.Is(err, ErrConflict) || !m.IsEmpty() {
				t.Errorf("%s: Merge = %v, %v; want ErrConflict", name, m, err)
			}
			if pair[0].Covers(pair[1]) {
				t.Errorf("%s: a conflict counts as covered, and would go unseen", name)
			}
		}
		if s.Equal(o) {
			t.Errorf("%s: Equal", name)
		}
	}
}

func TestPut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, ctx, a := genSiblings(t), genClock(t), genActor(t)
		clock := s.Clock.Join(ctx)
		var want []string
		for _, v := range s.Versions {
			if !ctx.Covers(v.Dot) {
				want = append(want, v.Dot.String())
			}
		}
		w := Write{ID: WriteID{9}, Timestamp: 3, Data: []byte("new"), Tombstone: rapid.Bool().Draw(t, "tombstone")}
		put, d := s.Put(ctx, a, w)
		if d.Actor != a || d.Counter != clock.Max(a)+1 {
			t.Fatalf("minted %s over %s", d, clock)
		}
		if !put.Clock.Equal(clock.With(d)) {
			t.Fatalf("Put(%s) over %s has the clock %s", ctx, s.Clock, put.Clock)
		}
		rest := slices.DeleteFunc(dotNames(put), func(name string) bool { return name == d.String() })
		if fmt.Sprint(rest) != fmt.Sprint(want) {
			t.Fatalf("Put(%s) keeps %v, want %v", ctx, rest, want)
		}
		v, ok := put.Find(w.ID)
		if !ok || v.Dot != d || v.Timestamp != 3 || v.Tombstone != w.Tombstone || (len(v.Data) == 0) != w.Tombstone {
			t.Fatalf("Find = %v, %t", v, ok)
		}
		if err := put.Validate(); err != nil {
			t.Fatal(err)
		}
		if !put.Covers(s) || s.Covers(put) {
			t.Fatal("a put does not stand above what it was put on")
		}
	})
}

func dotNames(s Siblings) []string {
	var out []string
	for _, v := range s.Versions {
		out = append(out, v.Dot.String())
	}
	return out
}

// TestOperandsStayAsTheyAre runs operations that might share slices, and
// compares the operands' encodings before and after.
func TestOperandsStayAsTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sets := []Siblings{genSiblings(t), genSiblings(t)}
		var before [][]byte
		for range 10 {
			for _, s := range sets[len(before):] {
				before = append(before, s.AppendBinary(nil))
			}
			i := rapid.IntRange(0, len(sets)-1).Draw(t, "i")
			j := rapid.IntRange(0, len(sets)-1).Draw(t, "j")
			switch rapid.IntRange(0, 2).Draw(t, "op") {
			case 0:
				// A put may mint one dot twice here, with equal bytes: derived from the dot.
				s, d := sets[i].Put(sets[j].Clock, genActor(t), Write{})
				sets = append(sets, Siblings{Clock: s.Clock, Versions: renamed(s.Versions, d)})
			case 1:
				sets = append(sets, mustMerge(t, sets[i], sets[j]))
			case 2:
				sets[i].Live()
				for n := range sets[i].Versions {
					sets[i].ClockOf(n)
				}
			}
		}
		for i := range before {
			if string(sets[i].AppendBinary(nil)) != string(before[i]) {
				t.Fatalf("set %d has changed", i)
			}
		}
	})
}

// renamed returns a copy in which the version d is what versionOf says.
func renamed(versions []Version, d Dot) []Version {
	out := append([]Version(nil), versions...)
	for i := range out {
		if out[i].Dot == d {
			out[i] = versionOf(d)
		}
	}
	return out
}

func TestFindAndLive(t *testing.T) {
	var s Siblings
	if _, ok := s.Find(WriteID{}); ok || s.Live() != nil || !s.IsEmpty() {
		t.Error("the zero set is not empty")
	}
	s, _ = s.Put(Clock{}, actor("a1"), Write{Data: []byte("x")})
	s, _ = s.Put(Clock{}, actor("b1"), Write{Tombstone: true, ID: WriteID{1}, Data: []byte("dropped")})
	if _, ok := s.Find(WriteID{}); ok {
		t.Error("the zero ID finds a version that was written without one")
	}
	if v, ok := s.Find(WriteID{1}); !ok || v.Dot != dot("b1", 1) || v.Data != nil {
		t.Errorf("Find = %v, %t", v, ok)
	}
	if live := s.Live(); len(live) != 1 || live[0].Dot != dot("a1", 1) {
		t.Errorf("Live() = %v", live)
	}
	if s, _ = s.Put(s.Clock, actor("a1"), Write{Tombstone: true}); s.Live() != nil {
		t.Errorf("Live() = %v with a tombstone alone", s.Live())
	}
}

// TestClockOfIsTheLargestThatHidesTheOthers checks coverage and maximality.
func TestClockOfIsTheLargestThatHidesTheOthers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := genSiblings(t)
		for i, v := range s.Versions {
			c := s.ClockOf(i)
			if !c.Covers(v.Dot) || !s.Clock.Dominates(c) {
				t.Fatalf("%v: version %d shows %s", s, i, c)
			}
			others := dotSet{}
			for j, o := range s.Versions {
				if j != i {
					others[o.Dot] = true
				}
			}
			for d := range others {
				if c.Covers(d) {
					t.Fatalf("%v: version %d shows %s, which covers its sibling %s", s, i, c, d)
				}
			}
			for _, e := range s.Clock.Vector() {
				next := Dot{e.Actor, c.Counter(e.Actor) + 1}
				if next.Counter <= e.Counter && !others[next] {
					t.Fatalf("%v: version %d shows %s, which lacks %s", s, i, c, next)
				}
			}
		}
	})
}

func TestValidateRefuses(t *testing.T) {
	a, b := versionOf(dot("a1", 1)), versionOf(dot("b1", 1))
	clock := DotClock(a.Dot).With(b.Dot)
	dead := a
	dead.Tombstone = true
	for name, s := range map[string]Siblings{
		"not sorted":          {Clock: clock, Versions: []Version{b, a}},
		"twice":               {Clock: clock, Versions: []Version{a, a}},
		"not covered":         {Clock: DotClock(a.Dot), Versions: []Version{a, b}},
		"tombstone with data": {Clock: clock, Versions: []Version{dead}},
		"counter 0":           {Clock: clock, Versions: []Version{{Dot: dot("a1", 0)}}},
	} {
		if err := s.Validate(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
	if err := (Siblings{Clock: clock, Versions: []Version{a, b}}).Validate(); err != nil {
		t.Error(err)
	}
}

// TestHotPathsDoNotAllocate holds the fast paths that every apply takes.
func TestHotPathsDoNotAllocate(t *testing.T) {
	old, _ := Siblings{}.Put(Clock{}, actor("a1"), Write{Data: []byte("x")})
	cur, _ := old.Put(old.Clock, actor("a1"), Write{Data: []byte("y")})
	for name, f := range map[string]func(){
		"merge of an older set": func() { _, _ = Merge(cur, old) },
		"merge into a newer":    func() { _, _ = Merge(old, cur) },
		"merge of equals":       func() { _, _ = Merge(cur, cur) },
		"merge of nothing":      func() { _, _ = Merge(cur, Siblings{}) },
		"covers":                func() { cur.Covers(old) },
		"join":                  func() { old.Clock.Join(cur.Clock) },
		"compare":               func() { old.Clock.Compare(cur.Clock) },
		"size":                  func() { cur.Size() },
		"live":                  func() { cur.Live() },
	} {
		if n := testing.AllocsPerRun(100, f); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
