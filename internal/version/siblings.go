package version

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// ErrConflict is wrapped by Merge where two versions have the same dot and
// different bytes: a counter was used twice, which must never happen.
var ErrConflict = errors.New("two versions with one dot differ")

// Version is one value or tombstone with its dot.
type Version struct {
	Dot       Dot
	WriteID   WriteID // the client's request; zero when it had none
	Tombstone bool    // a delete: Data is empty
	Timestamp int64   // Unix nanoseconds on the coordinator's wall clock; shown, and never used to order
	Data      []byte  // immutable
}

// equal says whether v and o are the same version, byte for byte.
func (v *Version) equal(o *Version) bool {
	return v.Dot == o.Dot && v.WriteID == o.WriteID && v.Tombstone == o.Tombstone &&
		v.Timestamp == o.Timestamp && bytes.Equal(v.Data, o.Data)
}

// Siblings are the versions of one key that no other has replaced. The zero
// Siblings is a key that was never written. It is an immutable value.
type Siblings struct {
	// Clock covers every dot present and every dot replaced, and nothing
	// else. So it tells a version that is missing here since it was replaced
	// from one that never arrived.
	Clock Clock

	Versions []Version // sorted by dot, each dot once, all covered by Clock

	// encoded is what AppendBinary appends, where it is known: a set that was
	// decoded or encoded goes on to peers and into stores without being encoded
	// again. The data of its versions are slices of it. Nobody who makes a set of
	// another's clock or versions may take it along.
	encoded []byte
}

// Write is what a client asks to store.
type Write struct {
	ID        WriteID
	Tombstone bool
	Timestamp int64 // as in Version
	Data      []byte
}

// IsEmpty says whether the key was never written, as far as is known here.
func (s Siblings) IsEmpty() bool { return len(s.Versions) == 0 && s.Clock.IsEmpty() }

// Find returns the version that the write w made, if it is present. No
// version is found by the zero ID.
func (s Siblings) Find(w WriteID) (Version, bool) {
	if w.IsZero() {
		return Version{}, false
	}
	for i := range s.Versions {
		if s.Versions[i].WriteID == w {
			return s.Versions[i], true
		}
	}
	return Version{}, false
}

// Live returns the versions that are not tombstones, sorted by dot.
func (s Siblings) Live() []Version {
	live := 0
	for i := range s.Versions {
		if !s.Versions[i].Tombstone {
			live++
		}
	}
	if live == len(s.Versions) {
		return s.Versions
	}
	if live == 0 {
		return nil
	}
	out := make([]Version, 0, live)
	for i := range s.Versions {
		if !s.Versions[i].Tombstone {
			out = append(out, s.Versions[i])
		}
	}
	return out
}

// Equal says whether s and o are the same set: clock, dots and bytes.
func (s Siblings) Equal(o Siblings) bool {
	if s.encoded != nil && o.encoded != nil {
		return s.encodesAs(o)
	}
	if len(s.Versions) != len(o.Versions) {
		return false
	}
	for i := range s.Versions {
		if !s.Versions[i].equal(&o.Versions[i]) {
			return false
		}
	}
	return s.Clock.Equal(o.Clock)
}

// encodesAs says that the encodings of both are known, and the same: a set has
// one encoding, so that they are the same set then.
func (s Siblings) encodesAs(o Siblings) bool {
	return s.encoded != nil && bytes.Equal(s.encoded, o.encoded)
}

// Covers says whether merging o into s would change nothing. It is false
// where the merge would fail.
func (s Siblings) Covers(o Siblings) bool {
	if s.encodesAs(o) {
		return true
	}
	if !s.Clock.Dominates(o.Clock) {
		return false
	}
	t, err := tallyMerge(s, o)
	return err == nil && t.total == len(s.Versions) && t.fromA == t.total
}

// Merge returns the least set that knows what both know: it keeps a version
// that both have, or that one has and the other's clock does not cover, and
// joins the clocks. It is commutative, associative and idempotent. Where one
// operand covers the other, it is returned as it is, without an allocation.
//
// The error wraps ErrConflict where the two have a dot with different bytes.
func Merge(a, b Siblings) (Siblings, error) {
	if a.encodesAs(b) {
		return a, nil
	}
	t, err := tallyMerge(a, b)
	if err != nil {
		return Siblings{}, err
	}
	allA := t.fromA == t.total && len(a.Versions) == t.total
	allB := t.fromB == t.total && len(b.Versions) == t.total
	switch {
	case allA && a.Clock.Dominates(b.Clock):
		return a, nil
	case allB && b.Clock.Dominates(a.Clock):
		return b, nil
	}
	clock := a.Clock.Join(b.Clock)
	switch {
	case t.total == 0:
		return Siblings{Clock: clock}, nil
	case allA:
		return Siblings{Clock: clock, Versions: a.Versions}, nil
	case allB:
		return Siblings{Clock: clock, Versions: b.Versions}, nil
	}
	out := make([]Version, 0, t.total)
	for w := (mergeWalk{a: a, b: b}); w.more(); {
		if v, keep, _ := w.next(); keep {
			out = append(out, *v)
		}
	}
	return Siblings{Clock: clock, Versions: out}, nil
}

// mergeTally counts the versions that a merge keeps. One that both sides
// have counts for both.
type mergeTally struct{ total, fromA, fromB int }

// tallyMerge counts what a merge would keep, and finds conflicts.
func tallyMerge(a, b Siblings) (mergeTally, error) {
	var t mergeTally
	for w := (mergeWalk{a: a, b: b}); w.more(); {
		v, keep, from := w.next()
		if from == both && !v.equal(&b.Versions[w.j-1]) {
			return t, fmt.Errorf("%w: %s", ErrConflict, v.Dot)
		}
		if !keep {
			continue
		}
		t.total++
		if from != onlyB {
			t.fromA++
		}
		if from != onlyA {
			t.fromB++
		}
	}
	return t, nil
}

// side is who of the two operands of a merge has a version.
type side int

const (
	onlyA side = iota
	onlyB
	both
)

// mergeWalk visits the versions of two sets in the order of their dots.
type mergeWalk struct {
	a, b Siblings
	i, j int // the next version of each
}

func (w *mergeWalk) more() bool { return w.i < len(w.a.Versions) || w.j < len(w.b.Versions) }

// next returns the version with the lowest dot not yet visited, who has it,
// and whether the merge keeps it.
func (w *mergeWalk) next() (v *Version, keep bool, from side) {
	order := 0
	switch {
	case w.j == len(w.b.Versions):
		order = -1
	case w.i == len(w.a.Versions):
		order = 1
	default:
		order = w.a.Versions[w.i].Dot.Compare(w.b.Versions[w.j].Dot)
	}
	switch {
	case order < 0:
		v = &w.a.Versions[w.i]
		w.i++
		return v, !w.b.Clock.Covers(v.Dot), onlyA
	case order > 0:
		v = &w.b.Versions[w.j]
		w.j++
		return v, !w.a.Clock.Covers(v.Dot), onlyB
	}
	v = &w.a.Versions[w.i]
	w.i++
	w.j++
	return v, true, both
}

// countUncovered returns how many versions ctx does not cover.
func (s Siblings) countUncovered(ctx Clock) int {
	n := 0
	for i := range s.Versions {
		if !ctx.Covers(s.Versions[i].Dot) {
			n++
		}
	}
	return n
}

// appendUncovered appends the versions that ctx does not cover, in order,
// after growing out once for n versions.
func (s Siblings) appendUncovered(out []Version, n int, ctx Clock) []Version {
	out = slices.Grow(out, n)
	for i := range s.Versions {
		if !ctx.Covers(s.Versions[i].Dot) {
			out = append(out, s.Versions[i])
		}
	}
	return out
}

// Put returns the set after a client that had seen ctx has written w at the
// actor a, and the new version's dot. What ctx covers is dropped, and ctx is in
// the clock: that drops a version which ctx covers and which arrives only later.
// The dot's counter is above everything of a in the clock and in ctx. A tombstone
// has no data: w.Data is not kept then.
//
// It panics when a is no actor, and when a's counters are used up, which only
// a clock that nobody minted can show.
func (s Siblings) Put(ctx Clock, a Actor, w Write) (Siblings, Dot) {
	clock := s.Clock.Join(ctx)
	dot := Dot{Actor: a, Counter: clock.Max(a) + 1}
	v := Version{Dot: dot, WriteID: w.ID, Tombstone: w.Tombstone, Timestamp: w.Timestamp, Data: w.Data}
	if w.Tombstone {
		v.Data = nil
	}
	kept := s.countUncovered(ctx)
	versions := s.appendUncovered(nil, kept+1, ctx)
	at := len(versions)
	for at > 0 && versions[at-1].Dot.Compare(dot) > 0 {
		at--
	}
	return Siblings{Clock: clock.With(dot), Versions: slices.Insert(versions, at, v)}, dot
}

// ClockOf returns the clock to show for version i alone: the largest vector
// under the set's that covers no other version's dot, and the version's own
// dot, isolated where it does not continue the vector. It is for people and
// resolvers; merging needs the set's clock.
func (s Siblings) ClockOf(i int) Clock {
	if len(s.Versions) == 1 && len(s.Clock.dots) == 0 {
		return s.Clock
	}
	own := s.Versions[i].Dot
	out := Clock{vector: make([]Dot, 0, len(s.Clock.vector))}
	for _, d := range s.Clock.vector {
		if d.Counter = min(d.Counter, s.below(d.Actor, own)); d.Counter > 0 {
			out.vector = append(out.vector, d)
		}
	}
	return out.With(own)
}

// below returns the highest counter of a that is under each of its versions'
// dots, own aside; MaxCounter when there are none.
func (s Siblings) below(a Actor, own Dot) uint64 {
	for i := range s.Versions { // sorted: the first is the lowest
		if d := s.Versions[i].Dot; d.Actor == a && d != own {
			return d.Counter - 1
		}
	}
	return MaxCounter
}

// Validate checks the invariants of a set that was built elsewhere, from wire
// types say. A set out of DecodeSiblings or of this package's methods holds
// them, and so does any Clock by itself. The error wraps ErrMalformed.
func (s Siblings) Validate() error {
	for i := range s.Versions {
		v := &s.Versions[i]
		switch {
		case i > 0 && s.Versions[i-1].Dot.Compare(v.Dot) >= 0:
			return fmt.Errorf("%w siblings: %s does not stand after %s; versions are sorted by dot, each once", ErrMalformed, v.Dot, s.Versions[i-1].Dot)
		case !s.Clock.Covers(v.Dot):
			return fmt.Errorf("%w siblings: the clock does not cover the version %s", ErrMalformed, v.Dot)
		case v.Tombstone && len(v.Data) > 0:
			return fmt.Errorf("%w siblings: the tombstone %s has %d bytes of data", ErrMalformed, v.Dot, len(v.Data))
		}
	}
	return nil
}
