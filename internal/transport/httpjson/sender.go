package httpjson

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/transport/outbox"
	"github.com/dynamo-kv/dynamo/internal/transport/pause"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

// sender sends to one address, one batch after another, over the connections
// that all senders share.
type sender struct {
	t      *Transport
	peer   *outbox.Peer
	pauses uint64 // of this process, when something was sent last
}

// Ready says whether it is time to send.
func (s *sender) Ready() bool { return s.peer.Pace.Due() }

// Broken receives never: a request finds out by itself.
func (s *sender) Broken() <-chan struct{} { return nil }

// Drop does nothing: the connections are the client's.
func (s *sender) Drop() {}

// Send sends a batch and waits until the peer has taken it in. What provably
// did not leave is given back; of what did, nobody is told more.
func (s *sender) Send(now time.Duration, envelopes []core.Envelope) {
	if pauses := s.t.pauses.Now(); pauses != s.pauses {
		s.t.client.forget() // nobody knows how old those connections are
		s.pauses = pauses
	}
	enc := s.t.encoders.Get().(*wire.Encoder)
	defer s.t.encoders.Put(enc)
	body, err := enc.EncodeJSON(now, envelopes)
	if err != nil {
		s.t.logger.Error("a message to a peer cannot be sent", "addr", s.peer.Addr(), "error", err)
		s.peer.Fail(envelopes)
		return
	}
	if s.t.mono()-now > pause.Silence {
		// This process has stood still since the deadlines were written: they
		// would be believed.
		s.peer.Fail(envelopes)
		return
	}
	sent, err := s.post(now, envelopes, body)
	if !sent {
		s.peer.Fail(envelopes)
	}
	if err != nil {
		attempts := s.peer.Pace.Failed()
		s.t.logger.Debug("a peer has not taken a batch", "addr", s.peer.Addr(), "sent", sent, "attempt", attempts, "error", err)
		return
	}
	s.peer.Pace.Good()
}

// post sends a body and says whether it may have left, and what went wrong.
func (s *sender) post(now time.Duration, envelopes []core.Envelope, body []byte) (bool, error) {
	ctx, cancel := context.WithTimeout(s.t.ctx, min(sendTimeout, latest(envelopes)-now))
	defer cancel()
	var sent atomic.Bool
	raw, status, err := s.t.client.post(ctx, s.peer.Addr(), EnvelopesPath, body, maxReplyBytes, func() {
		sent.Store(true)
		s.t.count.Sent(len(envelopes), len(body))
	})
	if err == nil {
		err = failure(status, raw)
	}
	return sent.Load(), err
}

// latest returns the last of the envelopes' deadlines: after it, none is of use
// to the peer.
func latest(envelopes []core.Envelope) time.Duration {
	at := envelopes[0].Deadline
	for i := range envelopes {
		at = max(at, envelopes[i].Deadline)
	}
	return at
}
