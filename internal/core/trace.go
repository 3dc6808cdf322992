package core

import (
	"encoding/binary"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// SpanID names a piece of work within a trace; it is not zero.
type SpanID [8]byte

// Trace is the place of a piece of work in a trace: requests that somebody
// wants to see the course of have one, all others nil. The machines carry it,
// make places below it, and decide nothing by it.
type Trace struct {
	ID   [16]byte // of the whole trace; not zero
	Span SpanID
}

// Child returns the place of the n-th piece of work below t. It is the same
// for the same t and n, so that a machine needs no randomness for it.
func (t *Trace) Child(n uint64) *Trace {
	var b [16]byte
	copy(b[:8], t.Span[:])
	binary.BigEndian.PutUint64(b[8:], n)
	child := &Trace{ID: t.ID}
	binary.BigEndian.PutUint64(child.Span[:], max(xxhash.Sum64(b[:]), 1))
	return child
}

// SpanKind is what a piece of work is.
type SpanKind uint8

// The kinds.
const (
	_              SpanKind = iota
	SpanCoordinate          // a request at the node that coordinates or forwards it
	SpanAsk                 // the wait for one peer's answer
	SpanServe               // a peer's request at the node that answers it
	SpanEngine              // a read of the store, or the wait until a write is durable
)

// Span is a piece of work for a traced request, for whoever collects traces.
type Span struct {
	Trace  *Trace // its own place
	Parent SpanID
	Kind   SpanKind
	Name   string // what was done: an operation, a message, a store's part
	// Peer was asked, or asked this node.
	Peer      id.Node
	Partition ring.Partition
	Begin     time.Duration // Mono
	End       time.Duration // Mono; 0: when the effects of its step leave
	Failed    string        // why it failed; empty: it did not
	// Result is how a SpanCoordinate ended, without what was read.
	Result SpanResult
}

// SpanResult is the part of a Result that a trace shows.
type SpanResult struct {
	Code                              Code
	Acknowledged, Required, Fallbacks int
}
