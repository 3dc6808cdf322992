package client

import (
	"errors"

	"github.com/dynamo-kv/dynamo/internal/kv"
)

// Context is what has been seen of one key: see the root package's type, which
// is the same one. A nil Context has seen nothing.
type Context = kv.Context

// ParseContext returns the context of a token, nil for an empty one. The
// error wraps ErrInvalidContext.
func ParseContext(token string) (*Context, error) { return kv.ParseContext(token) }

// Version is one value of a key: its Data, the caller's own copy, the
// VectorClock of the writes that it had seen, and the Timestamp of the wall
// clock of the node that took it, which decides nothing by itself.
type Version = kv.Version

// VectorClock says which writes a value had seen. Compare tells how it relates
// to another one.
type VectorClock = kv.VectorClock

// Ordering is how two clocks relate.
type Ordering = kv.Ordering

// The four outcomes of a comparison.
const (
	Equal      = kv.Equal      // both have seen the same
	Before     = kv.Before     // the other has seen all of this, and more
	After      = kv.After      // this has seen all of the other, and more
	Concurrent = kv.Concurrent // each has seen what the other has not
)

// GetResult is what a read found: the Values, which are all siblings, the
// Context that covers them, and the Quorum that answered.
type GetResult = kv.GetResult

// QuorumMet says by whom a request was answered: the Replicas that stored the
// write or answered the read, how many of them stood in for an owner, Hinted for
// a write and Fallbacks for a read, and how many were Required.
type QuorumMet = kv.QuorumMet

// Error is a request that failed: its Op, its Kind, which is one of the Err…
// of this package or context.Canceled, the Outcome of a put or delete, a Detail
// in words, and the Cause where there is one. errors.Is finds kind and cause.
type Error = kv.Error

// QuorumError says how far a request came, in replicas Acknowledged and
// Required. It may be in the chain of the errors that are ErrQuorum or ErrTimeout.
type QuorumError = kv.QuorumError

// Outcome tells what became of a write that failed.
type Outcome = kv.Outcome

// The outcomes.
const (
	// NotWritten: no replica can have stored it, now or later.
	NotWritten = kv.NotWritten
	// Unknown: some replica may have stored it, so it may yet appear. Read the
	// key, or repeat the write with the same idempotency key.
	Unknown = kv.Unknown
)

// What can go wrong, for errors.Is. But for ErrClosed they are the very values
// of the root package.
var (
	// ErrKeyNotFound: the key was never written, or it is deleted. The result
	// that comes with it has a context that can be used.
	ErrKeyNotFound = kv.ErrKeyNotFound
	// ErrQuorum: too few replicas can be reached; *QuorumError says how many.
	ErrQuorum = kv.ErrQuorum
	// ErrTimeout: the request's time was up before enough replicas answered, or
	// before a node could be reached.
	ErrTimeout = kv.ErrTimeout
	// ErrOverloaded: the nodes, or this client, have more requests than they
	// can hold, and went on having them. Nothing of the request was done.
	ErrOverloaded = kv.ErrOverloaded
	// ErrInvalidConfig: the configuration has faults; the error names each.
	ErrInvalidConfig = kv.ErrInvalidConfig
	// ErrInvalidRequest: a key, an option or a combination of options is not
	// allowed. Nothing of the request was done.
	ErrInvalidRequest = kv.ErrInvalidRequest
	// ErrInvalidContext: a context belongs to another key, or a token is not
	// one that this system gave out.
	ErrInvalidContext = kv.ErrInvalidContext
	// ErrTooLarge: the value is larger than the nodes accept, or the key longer
	// than 2048 bytes.
	ErrTooLarge = kv.ErrTooLarge
	// ErrTooManySiblings: the key has 100 siblings, or 32 MiB of them. Read
	// it, and write the merged value with the context of the read.
	ErrTooManySiblings = kv.ErrTooManySiblings
	// ErrClockTooLong: too many nodes and restarts have written the key of
	// late; it takes writes again when its clock has been pruned.
	ErrClockTooLong = kv.ErrClockTooLong
	// ErrStorageFull: too few nodes have room left for a write. Deletes and reads
	// go on, and writes do when there is room.
	ErrStorageFull = kv.ErrStorageFull
	// ErrClosed: the client has been closed.
	ErrClosed = errors.New("client closed")
)
