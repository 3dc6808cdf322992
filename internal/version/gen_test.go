package version

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// actor returns the actor that tests write as a node letter and a start, "a1".
func actor(short string) Actor {
	return Actor{Node: id.Node(short[:1]), Epoch: Epoch{Start: uint64(short[1] - '0'), Seq: 1}}
}

func dot(short string, counter uint64) Dot { return Dot{Actor: actor(short), Counter: counter} }

func mustClock(tb testing.TB, vector, dots []Dot) Clock {
	tb.Helper()
	c, err := NewClock(vector, dots)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// dotSet is the dumb clock: the dots themselves.
type dotSet map[Dot]bool

func (s dotSet) add(o dotSet) {
	for d := range o {
		s[d] = true
	}
}

func (s dotSet) covers(o dotSet) bool {
	for d := range o {
		if !s[d] {
			return false
		}
	}
	return true
}

func (s dotSet) max(a Actor) uint64 {
	var n uint64
	for d := range s {
		if d.Actor == a {
			n = max(n, d.Counter)
		}
	}
	return n
}

// dotsOf lists what a clock covers, one by one.
func dotsOf(c Clock) dotSet {
	s := dotSet{}
	for _, e := range c.Vector() {
		for n := uint64(1); n <= e.Counter; n++ {
			s[Dot{e.Actor, n}] = true
		}
	}
	for _, d := range c.Dots() {
		s[d] = true
	}
	return s
}

// Few actors and low counters, so that operands overlap and fold. Two actors
// share a node, and two nodes share a start.
func genActor(t *rapid.T) Actor {
	return rapid.SampledFrom([]Actor{actor("a1"), actor("a2"), actor("b1"), actor("c3")}).Draw(t, "actor")
}

func genDot(t *rapid.T) Dot {
	return Dot{genActor(t), rapid.Uint64Range(1, 6).Draw(t, "counter")}
}

func genDots(t *rapid.T, label string) []Dot {
	return rapid.SliceOfN(rapid.Custom(genDot), 0, 14).Draw(t, label)
}

// genClock draws a clock by adding dots in any order.
func genClock(t *rapid.T) Clock {
	var c Clock
	for _, d := range genDots(t, "dots") {
		c = c.With(d)
	}
	return c
}

// versionOf returns the one version that a dot can have in a test, so that
// sets drawn apart from each other never conflict.
func versionOf(d Dot) Version {
	v := Version{Dot: d, Timestamp: -int64(d.Counter), WriteID: WriteID{byte(d.Counter)}}
	if d.Counter%3 == 0 {
		v.Tombstone = true
		return v
	}
	v.Data = fmt.Appendf(nil, "value of %s", d)
	return v
}

// known draws how a set has come to where it is: as it was made, out of a
// message, or out of a store. Its encoding is known in the last two.
func known(t *rapid.T, s Siblings) Siblings {
	switch rapid.IntRange(0, 2).Draw(t, "encoding known") {
	case 0:
		return bare(s)
	case 1:
		_, s = s.Encode([]byte("head"))
		return s
	}
	s, _, err := DecodeSiblings(s.AppendBinary(nil))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// bare returns s without its encoding.
func bare(s Siblings) Siblings { return Siblings{Clock: s.Clock, Versions: s.Versions} }

// genSiblings draws any clock, and any of the dots that it covers as present.
func genSiblings(t *rapid.T) Siblings {
	s := Siblings{Clock: genClock(t)}
	for _, d := range sortedDots(dotsOf(s.Clock)) {
		if rapid.IntRange(0, 2).Draw(t, "present") == 0 {
			s.Versions = append(s.Versions, versionOf(d))
		}
	}
	return known(t, s)
}

func sortedDots(s dotSet) []Dot { return slices.SortedFunc(maps.Keys(s), Dot.Compare) }
