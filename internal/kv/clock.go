package kv

import (
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/version"
)

// Ordering is how two clocks relate.
type Ordering int

// The four outcomes of a comparison.
const (
	Equal      Ordering = iota // both have seen the same
	Before                     // the other has seen all of this, and more
	After                      // this has seen all of the other, and more
	Concurrent                 // each has seen what the other has not
)

// String returns the outcome in lower case.
func (o Ordering) String() string {
	switch o {
	case Equal:
		return "equal"
	case Before:
		return "before"
	case After:
		return "after"
	case Concurrent:
		return "concurrent"
	}
	return fmt.Sprintf("Ordering(%d)", int(o))
}

// VectorClock says which writes a value had seen, its own included. It is an
// immutable value, for resolving siblings and for people; to write, hand back
// a Context.
type VectorClock struct{ c version.Clock }

// NewVectorClock returns c as callers see it.
func NewVectorClock(c version.Clock) VectorClock { return VectorClock{c} }

// Compare tells how v relates to o. Values that are siblings are Concurrent.
func (v VectorClock) Compare(o VectorClock) Ordering {
	switch v.c.Compare(o.c) {
	case version.Before:
		return Before
	case version.After:
		return After
	case version.Concurrent:
		return Concurrent
	case version.Equal:
	}
	return Equal
}

// Counters returns the highest counter of each actor, by its name node~epoch:
// how many writes of the key it has made, where none was missed. A node has a
// new epoch after each restart. The map is the caller's.
func (v VectorClock) Counters() map[string]uint64 {
	out := make(map[string]uint64, v.c.Len())
	for _, d := range v.c.Vector() {
		out[d.Actor.String()] = d.Counter
	}
	for _, d := range v.c.Dots() { // sorted, and above the actor's vector entry
		out[d.Actor.String()] = d.Counter
	}
	return out
}

// String returns the clock for people.
func (v VectorClock) String() string { return v.c.String() }
