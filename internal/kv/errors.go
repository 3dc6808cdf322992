package kv

import (
	"errors"
	"fmt"
	"strings"
)

// What can go wrong, for errors.Is. Errors of requests are an *Error, which
// says more.
var (
	// ErrKeyNotFound: the key was never written, or it is deleted. The result
	// that comes with it has a context that can be used.
	ErrKeyNotFound = errors.New("key not found")
	// ErrQuorum: too few replicas can be reached; *QuorumError says how many.
	ErrQuorum = errors.New("quorum not met")
	// ErrTimeout: the request's time was up before enough replicas answered;
	// *QuorumError says how many did.
	ErrTimeout = errors.New("timeout")
	// ErrOverloaded: the node has more requests than it can hold. Nothing of
	// the request was done; try again later.
	ErrOverloaded = errors.New("overloaded")
	// ErrNotReady: the node has not been started, or has no layout yet.
	ErrNotReady = errors.New("node not ready")
	// ErrStopped: the node has been stopped, or has stopped after a failure of
	// its storage, which the error then wraps too.
	ErrStopped = errors.New("node stopped")
	// ErrAlreadyStarted: Start was called before.
	ErrAlreadyStarted = errors.New("node already started")
	// ErrJoinRefused: the node cannot become a member of that cluster.
	ErrJoinRefused = errors.New("join refused")
	// ErrInvalidConfig: the configuration has faults; the error names each.
	ErrInvalidConfig = errors.New("invalid configuration")
	// ErrInvalidRequest: a key, an option or a combination of options is not
	// allowed. Nothing of the request was done.
	ErrInvalidRequest = errors.New("invalid request")
	// ErrInvalidContext: a context belongs to another key, or a token is not
	// one that this system gave out.
	ErrInvalidContext = errors.New("invalid context")
	// ErrTooLarge: the value is larger than MaxValueBytes, or the key longer
	// than 2048 bytes.
	ErrTooLarge = errors.New("too large")
	// ErrTooManySiblings: the key has 100 siblings, or 32 MiB of them. Read
	// it, and write the merged value with the context of the read.
	ErrTooManySiblings = errors.New("too many siblings")
	// ErrClockTooLong: too many nodes and restarts have written the key of
	// late; it takes writes again when its clock has been pruned.
	ErrClockTooLong = errors.New("clock too long")
	// ErrStorageFull: too few nodes have room left for a write. Deletes and reads
	// go on, and writes do when there is room.
	ErrStorageFull = errors.New("storage full")
)

// Outcome tells what became of a write that failed.
type Outcome string

// The outcomes.
const (
	// NotWritten: no replica can have stored it, now or later.
	NotWritten Outcome = "not_written"
	// Unknown: some replica may have stored it, so it may yet appear. Read the
	// key, or repeat the write with the same idempotency key.
	Unknown Outcome = "unknown"
)

// Error is a request that failed. errors.Is finds its Kind and its cause.
type Error struct {
	Op      string  // put, get, delete, update; start, join, ready, subscribe, connect
	Kind    error   // one of the Err… of this package, or context.Canceled
	Outcome Outcome // of a put or delete; else empty
	Detail  string  // what happened, in words
	Cause   error   // what lies beneath it, where there is something
	// RequestID names a client's request in the log of the node that answered:
	// as the client named it, or else as the node did. Empty where neither has.
	RequestID string
}

// Error returns the operation, the kind, the detail and the request's ID.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("dynamo: ")
	b.WriteString(e.Op)
	b.WriteString(": ")
	b.WriteString(e.Kind.Error())
	if e.Detail != "" {
		b.WriteString(": ")
		b.WriteString(e.Detail)
	}
	if e.RequestID != "" {
		b.WriteString(" (request ")
		b.WriteString(e.RequestID)
		b.WriteString(")")
	}
	return b.String()
}

// Unwrap returns the kind and, where there is one, the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// QuorumError says how far a request came. It is in the chain of the errors
// that are ErrQuorum or ErrTimeout.
type QuorumError struct {
	Acknowledged int     // replicas that answered, or stored the write
	Required     int     // replicas that had to
	Outcome      Outcome // of a put or delete; empty for a get
}

// Error returns the numbers and the outcome.
func (e *QuorumError) Error() string {
	s := fmt.Sprintf("%d of %d replicas", e.Acknowledged, e.Required)
	if e.Outcome != "" {
		s += ", " + string(e.Outcome)
	}
	return s
}
