package dynamo

import (
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/version"
)

// Context is what a client has seen of one key. A read or a write returns it;
// handed to a later write of the same key, it says which values that write
// replaces: exactly those that the context covers, and none that its holder
// has not read. It is opaque, immutable and safe for concurrent use. A nil
// Context has seen nothing.
type Context struct{ c version.Context }

// Token returns the context as text that is safe in a URL or a header, empty
// for nil. It is what the HTTP API calls Dynamo-Context.
func (c *Context) Token() string {
	if c == nil {
		return ""
	}
	return c.c.Token()
}

// String returns the token.
func (c *Context) String() string { return c.Token() }

// ParseContext returns the context of a token, nil for an empty one. The
// error wraps ErrInvalidContext.
func ParseContext(token string) (*Context, error) {
	if token == "" {
		return nil, nil
	}
	c, err := version.ParseContext(token)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidContext, err)
	}
	return &Context{c}, nil
}

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
