package memnet

import (
	"context"
	"sync"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/transport"
	"github.com/dynamo-kv/dynamo/internal/transport/outbox"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

var _ transport.Transport = (*Transport)(nil)

// Transport is one node's end of a Network.
type Transport struct {
	network *Network
	addr    string
	handler transport.Handler
	mono    func() time.Duration
	count   transport.Counters
	cancel  context.CancelFunc // of the peers
	peers   *outbox.Table

	mu      sync.Mutex
	closed  bool
	inbound sync.WaitGroup // messages that are being received: added to under mu
}

func newTransport(n *Network, addr string, h transport.Handler, mono func() time.Duration) *Transport {
	ctx, cancel := context.WithCancel(context.Background())
	t := &Transport{network: n, addr: addr, handler: h, mono: mono, cancel: cancel}
	t.peers = outbox.NewTable(ctx, outbox.Options{
		Handler: h, Mono: mono, Count: &t.count,
		Sender: func(p *outbox.Peer) outbox.Sender {
			return &sender{t: t, peer: p, link: link{from: addr, to: p.Addr()}}
		},
	})
	return t
}

// Send queues e for the node at addr.
func (t *Transport) Send(addr string, e *core.Envelope) bool { return t.peers.Send(addr, e) }

// Reach does nothing: no attempt is put off here.
func (t *Transport) Reach(string) {}

// sender sends to one address. There is no connection: every message finds
// its own way.
type sender struct {
	t    *Transport
	peer *outbox.Peer
	link link
	enc  wire.Encoder
}

// Ready says that messages can leave.
func (s *sender) Ready() bool { return true }

// Broken receives never.
func (s *sender) Broken() <-chan struct{} { return nil }

// Drop does nothing.
func (s *sender) Drop() {}

// Send lets a message arrive, be lost or come back.
func (s *sender) Send(now time.Duration, envelopes []core.Envelope) {
	to, left, f := s.t.network.route(s.link, envelopes)
	switch f {
	case refused:
		s.peer.Fail(left)
	case lost:
		s.t.count.Sent(len(envelopes), 0)
	case arrives:
		defer to.inbound.Done()
		b := s.enc.Encode(now, left, func(size int) []byte { return make([]byte, size) })
		s.t.count.Sent(len(envelopes), len(b))
		_ = to.receive(b) // counted there, and its sender would not be told
	}
}

// enter says that a message is about to be received. False: not any more. The
// caller ends it with inbound.Done.
func (t *Transport) enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.inbound.Add(1)
	return true
}

// receive delivers a message. Its caller has entered.
func (t *Transport) receive(b []byte) error {
	var d wire.Decoder
	r, err := d.Decode(t.mono(), b, t.handler.Deliver)
	t.count.Received(r.Delivered, r.Unknown, len(b), err)
	return err
}

// Stats counts what the transport has done.
func (t *Transport) Stats() transport.Stats { return t.count.Stats() }

// Close frees the address and ends the transport's goroutines.
func (t *Transport) Close() error {
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	t.mu.Unlock()
	if first {
		t.cancel()
		t.network.leave(t)
	}
	t.inbound.Wait()
	t.peers.Close()
	return nil
}
