package grpcstream

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/frame"
	"github.com/dynamo-kv/dynamo/internal/transport/outbox"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

// sender sends to one address, over one stream.
type sender struct {
	t    *Transport
	peer *outbox.Peer
	link *link // nil: not connected
}

// Broken receives when the link, if there is one, has ended.
func (s *sender) Broken() <-chan struct{} {
	if s.link == nil {
		return nil
	}
	return s.link.broken
}

// Ready says whether there is a link to send over. It makes one if it is time
// to.
func (s *sender) Ready() bool {
	pauses := s.t.pauses.Now()
	if s.link != nil && s.link.pauses != pauses {
		s.Drop()
		s.peer.Pace.Good() // it is not the peer's fault
	}
	if s.link != nil {
		if s.link.whole() {
			return true
		}
		s.Drop()
	}
	return s.peer.Pace.Due() && s.connect(pauses)
}

func (s *sender) connect(pauses uint64) bool {
	l, err := dial(s.t.ctx, s.peer.Addr(), s.t.dialOptions)
	if err != nil {
		attempts := s.peer.Pace.Failed()
		s.t.logger.Debug("a peer cannot be reached", "addr", s.peer.Addr(), "attempt", attempts, "error", err)
		return false
	}
	l.pauses = pauses
	s.link = l
	return true
}

// Send sends a message. Where that fails, whether the peer has got it is
// unknown.
func (s *sender) Send(now time.Duration, envelopes []core.Envelope) {
	enc := s.t.encoders.Get().(*wire.Encoder)
	defer s.t.encoders.Put(enc)
	var m frame.Message
	b := enc.Encode(now, envelopes, m.Alloc)
	s.t.count.Sent(len(envelopes), len(b))
	if err := s.link.send(&m); err != nil {
		s.Drop()
	}
}

// Drop ends the link, if there is one.
func (s *sender) Drop() {
	l := s.link
	if l == nil {
		return
	}
	s.link = nil
	err := l.close()
	s.peer.Pace.Ended(l.born)
	s.t.logger.Debug("the connection to a peer has ended", "addr", s.peer.Addr(), "error", err)
}
