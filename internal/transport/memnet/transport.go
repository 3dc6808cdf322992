package memnet

import (
	"runtime"
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
	done    chan struct{}  // closed by Close
	senders sync.WaitGroup // a goroutine for each peer
	inbound sync.WaitGroup // messages that are being received

	mu     sync.Mutex
	closed bool
	peers  map[string]*outbox.Queue
}

func newTransport(n *Network, addr string, h transport.Handler, mono func() time.Duration) *Transport {
	return &Transport{
		network: n, addr: addr, handler: h, mono: mono,
		done: make(chan struct{}), peers: map[string]*outbox.Queue{},
	}
}

// Send queues e for the node at addr.
func (t *Transport) Send(addr string, e *core.Envelope) bool {
	q := t.peer(addr)
	if q == nil || !q.Put(e) {
		t.count.Refused()
		return false
	}
	return true
}

// peer returns the queue for addr, nil after Close.
func (t *Transport) peer(addr string) *outbox.Queue {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	q := t.peers[addr]
	if q == nil {
		q = outbox.New()
		t.peers[addr] = q
		t.senders.Go(func() { t.run(q, link{from: t.addr, to: addr}) })
	}
	return q
}

// run sends what is queued for one peer, until Close.
func (t *Transport) run(q *outbox.Queue, l link) {
	defer func() { t.fail(q.Close()) }()
	var batch outbox.Batch
	var enc wire.Encoder
	for {
		select {
		case <-t.done:
			return
		case <-q.Ready():
		}
		for more := true; more && !t.stopping(); {
			runtime.Gosched() // so that a batch forms
			now := t.mono()
			more = q.Take(now, &batch)
			t.count.Expired(len(batch.Expired))
			transport.GiveBack(t.handler, batch.Expired)
			if len(batch.Envelopes) > 0 {
				t.send(&enc, now, l, batch.Envelopes)
			}
		}
	}
}

func (t *Transport) stopping() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

func (t *Transport) send(enc *wire.Encoder, now time.Duration, l link, envelopes []core.Envelope) {
	to, left, f := t.network.route(l, envelopes)
	switch f {
	case refused:
		t.fail(left)
	case lost:
		t.count.Sent(len(envelopes), 0)
	case arrives:
		defer to.inbound.Done()
		b := enc.Encode(now, left, func(size int) []byte { return make([]byte, size) })
		t.count.Sent(len(envelopes), len(b))
		_ = to.receive(b) // counted there, and its sender would not be told
	}
}

func (t *Transport) fail(envelopes []core.Envelope) {
	t.count.Failed(len(envelopes))
	transport.GiveBack(t.handler, envelopes)
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
		close(t.done)
		t.network.leave(t)
	}
	t.inbound.Wait()
	t.senders.Wait()
	return nil
}
