package client

import (
	"fmt"
	"sync/atomic"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// op is what a request asks for.
type op uint8

const (
	opGet op = iota
	opPut
	opDelete
)

// String returns the operation's name, as errors show it.
func (o op) String() string {
	return [...]string{"get", "put", "delete"}[o]
}

// request is one request, with all that is known of its attempts. Its first
// half is what is asked, which does not change once the first attempt is made.
type request struct {
	op        op
	key       []byte
	value     []byte
	context   []byte // encoded; empty for none
	overwrite bool
	r, w      uint32
	quorum    dynamov1.QuorumKind
	blocking  bool
	writeID   version.WriteID
	timeout   time.Duration
	deadline  time.Time
	requestID string     // in nodes' logs and traces; empty: each node chooses
	trace     string     // W3C's traceparent; empty: none
	met       *QuorumMet // to be filled in
	settle    Resolver   // of an update
	err       error      // the first that an option has found

	answers chan *attempt // of capacity maxOpen, so that nobody waits to answer
	timer   *time.Timer
	first   attempt     // most requests have one
	gone    atomic.Bool // its caller waits no more: what has not been sent shall not be
	open    int         // attempts without an answer
	tried   []*node     // in order, since the latest pause
	next    time.Time   // when something is to be done, if no answer comes
	pausing bool        // until next, and nobody has been asked
	pauses  int         // so far
	late    bool        // the latest attempt has had its time
	second  bool        // it goes on after a quorum that was not met
	maybe   bool        // a node may have carried out the write
	last    error       // why the latest attempt failed
	failed  string      // the request ID in the latest failure that a node told
}

// newRequest returns a request that can be used, and used again.
func newRequest() *request {
	r := &request{answers: make(chan *attempt, maxOpen), timer: time.NewTimer(time.Hour)}
	r.timer.Stop()
	return r
}

// attempt returns an attempt at n.
func (r *request) attempt(n *node) *attempt {
	a := &r.first
	if a.of != nil {
		a = new(attempt) // the first one may still be under way
	}
	a.of, a.to = r, n
	return a
}

// attempt is one request sent to one node. Its link answers it once.
type attempt struct {
	of    *request
	to    *node
	sent  time.Time // zero: it was not
	held  bool      // it was held back instead
	reply *dynamov1.Reply
	err   error // in place of a reply: the connection's
}

func (r *request) keep(err error) {
	if r.err == nil {
		r.err = err
	}
}

// check finds what is wrong with what no node should be sent; nodes check the
// rest.
func (r *request) check() *Error {
	switch {
	case r.err != nil:
		return invalid("%v", r.err)
	case r.settle != nil:
		return invalid("settle is for updates; reads and writes do not take it")
	case r.op == opGet && r.overwrite:
		return invalid("overwrite is for writes; a read does not take it")
	case r.op != opGet && r.blocking:
		return invalid("blocking repair is for reads; a write is on W replicas when it is answered")
	case len(r.key) == 0:
		return invalid("the key is empty; a key has 1 to %d bytes", id.MaxKeyBytes)
	case len(r.key) > id.MaxKeyBytes:
		return &Error{Kind: ErrTooLarge, Detail: fmt.Sprintf("the key has %d bytes; 1 to %d are allowed", len(r.key), id.MaxKeyBytes)}
	case len(r.value) > id.MaxValueBytes:
		return &Error{Kind: ErrTooLarge, Detail: fmt.Sprintf("the value has %d bytes; no node accepts more than %d", len(r.value), id.MaxValueBytes)}
	}
	return nil
}

func invalid(format string, args ...any) *Error {
	return &Error{Kind: ErrInvalidRequest, Detail: fmt.Sprintf(format, args...)}
}

// size returns about the bytes that the request takes in a message.
func (r *request) size() int {
	return len(r.key) + len(r.value) + len(r.context) + len(r.requestID) + len(r.trace) + 64
}
