package transport

import "github.com/dynamo-kv/dynamo/internal/core"

// Handler is what a transport delivers to. Its methods must not block, and
// are called from any goroutine, several at a time.
type Handler interface {
	// Deliver takes an envelope that came in. It belongs to the receiver.
	Deliver(e *core.Envelope)
	// SendFailed takes back a request that Send had accepted and that was
	// provably never sent. It is not called for replies, not from within Send
	// and not after Close has returned.
	SendFailed(e *core.Envelope)
}

// Transport sends envelopes to other nodes. Its methods may be called from
// any goroutine.
type Transport interface {
	// Send queues e for the node that listens on addr and says whether it
	// did. It returns false, and nothing is queued, when the outbox of that
	// address is full, when e is larger than id.MaxMessageBytes, and when the
	// transport is closed. *e is copied; what its message points to is held,
	// and must not change any more. From, To, Cluster and Deadline must be
	// set; Addr is not looked at. Send never waits.
	Send(addr string, e *core.Envelope) bool
	// Reach ends the pause that follows a failed attempt to connect to addr:
	// the caller has heard of a node that listens there. The next envelope for
	// it is tried at once. Reach never waits.
	Reach(addr string)
	// Stats counts what the transport has done since it was made.
	Stats() Stats
	// Close ends all connections and goroutines and waits for them. Requests
	// that are still queued come back through SendFailed. It is idempotent.
	Close() error
}

// Stats counts since the start. Envelopes divided by messages is how well
// batching works.
type Stats struct {
	Sent     Traffic // handed to a connection
	Received Traffic // its envelopes were delivered
	Refused  uint64  // Send returned false
	Failed   uint64  // accepted and provably not sent, for another reason than its deadline
	Expired  uint64  // the deadline passed in the outbox
	Unknown  uint64  // received, of a kind that a newer node speaks
	Invalid  uint64  // messages received that were refused as malformed
}

// Plus returns what two transports of one node have done together.
func (s Stats) Plus(o Stats) Stats {
	return Stats{
		Sent: s.Sent.plus(o.Sent), Received: s.Received.plus(o.Received),
		Refused: s.Refused + o.Refused, Failed: s.Failed + o.Failed, Expired: s.Expired + o.Expired,
		Unknown: s.Unknown + o.Unknown, Invalid: s.Invalid + o.Invalid,
	}
}

// Traffic is what went one way.
type Traffic struct {
	Envelopes uint64
	Messages  uint64 // batches, hellos aside
	Bytes     uint64 // of the encoded messages
}

func (t Traffic) plus(o Traffic) Traffic {
	return Traffic{Envelopes: t.Envelopes + o.Envelopes, Messages: t.Messages + o.Messages, Bytes: t.Bytes + o.Bytes}
}

// GiveBack hands the requests among envelopes that were never sent back to h.
// Transports call it; the envelopes are copied.
func GiveBack(h Handler, envelopes []core.Envelope) {
	for i := range envelopes {
		if !envelopes[i].Reply {
			e := envelopes[i]
			h.SendFailed(&e)
		}
	}
}
