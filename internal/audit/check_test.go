package audit

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/version"
)

// story is a log of one key whose operations one node carries out on a set
// that a test keeps.
type story struct {
	t   *testing.T
	log *Log
	set version.Siblings
}

func newStory(t *testing.T) *story { return &story{t: t, log: NewLog(3, 7)} }

func (s *story) put(from *Op) *Op    { return s.log.Put("k", from, 2, true, 10) }
func (s *story) remove(from *Op) *Op { return s.log.Delete("k", from, 2, true) }

// mint carries a write out, as a node named by its actor.
func (s *story) mint(o *Op, node byte) version.Clock {
	s.t.Helper()
	sent, _ := o.Sends()
	a := version.Actor{Node: "n1", Epoch: version.Epoch{Start: uint64(node), Seq: 1}}
	set, dot := s.set.Put(sent, a, version.Write{ID: o.ID, Data: o.Value, Tombstone: o.Remove})
	s.set = set
	return sent.With(dot)
}

// written carries a write out and acknowledges it.
func (s *story) written(o *Op) *Op {
	s.t.Helper()
	s.log.Written(o, s.mint(o, 1))
	return o
}

// read shows the whole set.
func (s *story) read() *Op {
	o := s.log.Read("k", 2, true)
	var values [][]byte
	for _, v := range s.set.Live() {
		values = append(values, v.Data)
	}
	s.log.Found(o, values, s.set.Clock)
	return o
}

// expect checks the log against copies, and fails unless just these promises
// are broken.
func (s *story) expect(copies []version.Siblings, broken ...string) {
	s.t.Helper()
	var got []string
	problems := s.log.Check(func(string) (out []Copy) {
		for i, set := range copies {
			out = append(out, Copy{Node: string(rune('a' + i)), Set: set})
		}
		return out
	})
	for _, p := range problems {
		got = append(got, p.Promise)
	}
	slices.Sort(got)
	slices.Sort(broken)
	if !slices.Equal(slices.Compact(got), broken) {
		s.t.Errorf("broken are %q, want %q: %v", got, broken, problems)
	}
}

func three(set version.Siblings) []version.Siblings { return []version.Siblings{set, set, set} }

func TestAGoodHistoryPasses(t *testing.T) {
	s := newStory(t)
	first := s.written(s.put(nil))
	s.written(s.put(nil))      // a sibling
	s.written(s.put(first))    // replaces the first one only
	s.written(s.put(s.read())) // replaces both
	unsure := s.put(s.read())
	s.mint(unsure, 1)
	s.log.Failed(unsure, Unknown)
	s.written(s.remove(s.read()))
	s.read()
	s.written(s.put(s.read())) // after a tombstone, which no read shows
	s.read()
	never := s.put(nil)
	s.log.Failed(never, NotWritten)
	s.put(nil) // whose answer never comes
	s.log.Failed(s.log.Read("k", 2, true), Unknown)
	s.expect(three(s.set))
	want := Tally{Reads: 6, Puts: 5, Deletes: 1, FailedReads: 1, NotWritten: 1, Unknown: 2, WithContext: 5, Siblings: 1, Held: 6}
	if got := s.log.Tally(); got != want {
		t.Errorf("tally %+v, want %+v", got, want)
	}
	story := s.log.Story("k")
	for _, line := range []string{
		"1-2: put 0 W=2 strict is done, context {n1~0000000000000001.1:1}\n",
		" with the context of 0 is done", "read 3 R=2 strict is done, shows 1 2, context ", "not written\n",
	} {
		if !strings.Contains(story, line) {
			t.Errorf("the story has no %q:\n%s", line, story)
		}
	}
	if idle := want.Idle(); idle != "" {
		t.Errorf("the tally lacks %s", idle)
	}
	if keys := s.log.Keys(); !slices.Equal(keys, []string{"k"}) {
		t.Errorf("keys %q", keys)
	}
}

// A write that was minted twice, once for an answer that was lost, has two
// dots; a context that covers one of them leaves the other.
func TestAWriteThatIsMintedTwice(t *testing.T) {
	s := newStory(t)
	twice := s.put(nil)
	s.mint(twice, 1)
	s.log.Written(twice, s.mint(twice, 2))
	s.written(s.put(twice))
	s.read()
	s.expect(three(s.set))

	s = newStory(t)
	twice = s.put(nil)
	s.mint(twice, 1)
	s.read() // shows the one that is not acknowledged
	s.log.Written(twice, s.mint(twice, 2))
	s.written(s.put(s.read()))
	s.expect(three(s.set))
}

// A delete of which nobody knows whether it was written may have been, and
// what a reader was shown may be gone with it.
func TestADeleteOfUnknownOutcome(t *testing.T) {
	s := newStory(t)
	unsure := s.put(nil)
	s.mint(unsure, 1)
	s.log.Failed(unsure, Unknown)
	stone := s.remove(s.read())
	s.mint(stone, 1)
	s.log.Failed(stone, Unknown)
	s.written(s.put(s.read()))
	s.expect(three(s.set))
}

// A delete that was minted twice is known by one of its dots only, and readers
// are shown neither.
func TestADeleteThatIsMintedTwice(t *testing.T) {
	s := newStory(t)
	s.written(s.put(nil))
	both := s.set
	stone := s.remove(s.read())
	s.mint(stone, 1)
	s.log.Failed(stone, Unknown)
	s.written(s.put(s.read())) // has seen the first tombstone
	first := s.set
	s.set = both
	s.mint(stone, 2)
	merged, err := version.Merge(first, s.set)
	if err != nil {
		t.Fatal(err)
	}
	s.set = merged
	s.expect(three(s.set))
}

func TestBrokenPromisesAreFound(t *testing.T) {
	tests := map[string]struct {
		tell   func(s *story) []version.Siblings
		broken []string
	}{
		"a lost write": {func(s *story) []version.Siblings {
			s.written(s.put(nil))
			return nil
		}, []string{"no lost write"}},
		"what was read is lost": {func(s *story) []version.Siblings {
			unsure := s.put(nil)
			s.mint(unsure, 1)
			s.log.Failed(unsure, Unknown)
			s.read()
			return nil
		}, []string{"no lost write"}},
		"an acknowledged delete is lost": {func(s *story) []version.Siblings {
			s.written(s.put(nil))
			before := s.set
			s.written(s.remove(s.read()))
			return three(before)
		}, []string{"no lost write", "no resurrection"}},
		"a value that was replaced stays": {func(s *story) []version.Siblings {
			first := s.put(nil)
			s.written(first)
			old := s.set
			s.written(s.put(first))
			return three(version.Siblings{Clock: s.set.Clock, Versions: append(old.Versions, s.set.Versions...)})
		}, []string{"no false siblings"}},
		"a value that nobody wrote": {func(s *story) []version.Siblings {
			s.read()
			s.mint(&Op{ID: version.WriteID{1}, Value: []byte("x")}, 1)
			return three(s.set)
		}, []string{"no phantom"}},
		"a reader is shown what nobody wrote": {func(s *story) []version.Siblings {
			s.log.Found(s.log.Read("k", 1, false), [][]byte{[]byte("x")}, version.Clock{})
			return nil
		}, []string{"no phantom"}},
		"a write that was refused appears": {func(s *story) []version.Siblings {
			o := s.put(nil)
			s.mint(o, 1)
			s.log.Failed(o, NotWritten)
			s.read()
			return three(s.set)
		}, []string{"no phantom"}},
		"a read before its write": {func(s *story) []version.Siblings {
			early := s.log.Read("k", 2, true)
			s.log.Found(early, [][]byte{NewValue(1, []byte("k"), 10)}, version.Clock{})
			s.written(s.put(nil))
			return three(s.set)
		}, []string{"no phantom"}},
		"a context that covers what was not shown": {func(s *story) []version.Siblings {
			s.written(s.put(nil))
			s.log.Found(s.log.Read("k", 1, false), nil, s.set.Clock)
			return three(s.set)
		}, []string{"contexts"}},
		"a blind put's context covers its sibling": {func(s *story) []version.Siblings {
			s.written(s.put(nil))
			o := s.put(nil)
			s.mint(o, 1)
			s.log.Written(o, s.set.Clock)
			return three(s.set)
		}, []string{"contexts", "no lost write"}},
		"a clock covers what is neither there nor replaced": {func(s *story) []version.Siblings {
			s.written(s.put(nil))
			return three(version.Siblings{Clock: s.set.Clock})
		}, []string{"contexts", "no lost write"}},
		"a strict read misses a write": {func(s *story) []version.Siblings {
			s.written(s.put(nil))
			s.log.Found(s.log.Read("k", 2, true), nil, version.Clock{})
			return three(s.set)
		}, []string{"strict quorum"}},
		"owners differ": {func(s *story) []version.Siblings {
			s.written(s.put(nil))
			before := s.set
			s.written(s.put(nil))
			return []version.Siblings{s.set, before, s.set}
		}, []string{"convergence"}},
		"an owner holds nothing": {func(s *story) []version.Siblings {
			s.written(s.put(nil))
			return three(s.set)[:2]
		}, []string{"convergence"}},
		"equal dots with other bytes": {func(s *story) []version.Siblings {
			s.written(s.put(nil))
			other := version.Siblings{Clock: s.set.Clock, Versions: slices.Clone(s.set.Versions)}
			other.Versions[0].Timestamp++
			return []version.Siblings{s.set, other, s.set}
		}, []string{"convergence"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStory(t)
			s.expect(test.tell(s), test.broken...)
		})
	}
}

// Reads that ask too few replicas, or let others stand in, may miss a write.
func TestReadsThatNeedNotFindAWrite(t *testing.T) {
	s := newStory(t)
	s.written(s.put(nil))
	s.log.Found(s.log.Read("k", 1, true), nil, version.Clock{})
	s.log.Found(s.log.Read("k", 2, false), nil, version.Clock{})
	early := s.log.Read("k", 2, true)
	s.written(s.put(s.read()))
	s.log.Found(early, [][]byte{s.log.ops[0].Value}, s.log.ops[0].clock)
	s.expect(three(s.set))
}

func TestConverged(t *testing.T) {
	s := newStory(t)
	s.written(s.put(nil))
	before := s.set
	s.written(s.put(nil))
	for name, test := range map[string]struct {
		sets []version.Siblings
		want bool
	}{
		"equal":            {three(s.set), true},
		"none":             {three(version.Siblings{}), true},
		"too few":          {three(s.set)[:2], false},
		"one is behind":    {[]version.Siblings{s.set, before, s.set}, false},
		"others have none": {append(three(s.set), version.Siblings{}), true},
	} {
		var copies []Copy
		for _, set := range test.sets {
			copies = append(copies, Copy{Set: set})
		}
		if got := Converged(copies, 3); got != test.want {
			t.Errorf("%s: converged is %v", name, got)
		}
	}
}

// Every kind of operation is drawn, and a log without one of them says so.
func TestDraw(t *testing.T) {
	s := newStory(t)
	rng := rand.New(rand.NewPCG(1, 2))
	var last *Op
	for range 300 {
		o := s.log.Draw(rng, "k", last, 2)
		if o.Write {
			last = s.written(o)
			continue
		}
		var values [][]byte
		for _, v := range s.set.Live() {
			values = append(values, v.Data)
		}
		s.log.Found(o, values, s.set.Clock)
		if rng.IntN(2) == 0 {
			last = o
		}
	}
	if idle := s.log.Tally().Idle(); idle != "no strict reads that had writes to find" { // before a check
		t.Errorf("the log lacks %q", idle)
	}
	s.expect(three(s.set))
	if idle := s.log.Tally().Idle(); idle != "" {
		t.Errorf("the log lacks %s", idle)
	}
}
