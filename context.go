package dynamo

import "github.com/dynamo-kv/dynamo/internal/kv"

// Context is what a client has seen of one key. A read or a write returns it;
// handed to a later write of the same key, it says which values that write
// replaces: exactly those that the context covers, and none that its holder
// has not read. It is opaque, immutable and safe for concurrent use. A nil
// Context has seen nothing. Token and String return it as text that is safe in
// a URL or a header: what the HTTP API calls Dynamo-Context.
//
// It is the very type of package client.
type Context = kv.Context

// ParseContext returns the context of a token, nil for an empty one. The
// error wraps ErrInvalidContext.
func ParseContext(token string) (*Context, error) { return kv.ParseContext(token) }

// Ordering is how two clocks relate.
type Ordering = kv.Ordering

// The four outcomes of a comparison.
const (
	Equal      = kv.Equal      // both have seen the same
	Before     = kv.Before     // the other has seen all of this, and more
	After      = kv.After      // this has seen all of the other, and more
	Concurrent = kv.Concurrent // each has seen what the other has not
)

// VectorClock says which writes a value had seen, its own included. It is an
// immutable value, for resolving siblings and for people; to write, hand back
// a Context. Compare tells how it relates to another one: values that are
// siblings are Concurrent. Counters returns the highest counter of each actor,
// by its name node~epoch: how many writes of the key it has made.
type VectorClock = kv.VectorClock
