package httpjson

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/transport"
	"github.com/dynamo-kv/dynamo/internal/transport/outbox"
	"github.com/dynamo-kv/dynamo/internal/transport/pause"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

// peer sends to one address, one batch after another. Everything but the queue
// belongs to its goroutine, which runs from the first Send to the address
// until nothing was sent for idleAfter.
type peer struct {
	t     *Transport
	addr  string
	queue *outbox.Queue
	rng   *rand.Rand
	batch outbox.Batch

	pauses   uint64    // of this process, when something was sent last
	attempts int       // that failed, since one was good
	next     time.Time // no attempt to send before it
}

func newPeer(t *Transport, addr string) *peer {
	return &peer{
		t: t, addr: addr, queue: outbox.New(), pauses: t.pauses.Now(),
		rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
	}
}

func (p *peer) run() {
	defer func() { p.fail(p.queue.Close()) }()
	idle := time.NewTimer(idleAfter)
	defer idle.Stop()
	for {
		select {
		case <-p.t.ctx.Done():
			return
		case <-p.queue.Ready():
			p.flush()
			idle.Reset(idleAfter)
		case <-idle.C:
			if p.t.retire(p) {
				return
			}
			idle.Reset(idleAfter)
		}
	}
}

// flush sends all that is queued, or gives it back.
func (p *peer) flush() {
	enc := p.t.encoders.Get().(*wire.Encoder)
	defer p.t.encoders.Put(enc)
	defer p.batch.Reset()
	for more := true; more && p.t.ctx.Err() == nil; {
		if time.Now().Before(p.next) {
			p.fail(p.queue.Drain())
			return
		}
		runtime.Gosched() // whoever is about to send shall
		now := p.t.mono()
		more = p.queue.Take(now, &p.batch)
		p.t.count.Expired(len(p.batch.Expired))
		transport.GiveBack(p.t.handler, p.batch.Expired)
		if len(p.batch.Envelopes) > 0 {
			p.send(enc, now)
		}
	}
}

// send sends the batch and waits until the peer has taken it in. What provably
// did not leave is given back; of what did, nobody is told more.
func (p *peer) send(enc *wire.Encoder, now time.Duration) {
	if pauses := p.t.pauses.Now(); pauses != p.pauses {
		p.t.client.forget() // nobody knows how old those connections are
		p.pauses = pauses
	}
	body, err := enc.EncodeJSON(now, p.batch.Envelopes)
	if err != nil {
		p.t.logger.Error("a message to a peer cannot be sent", "addr", p.addr, "error", err)
		p.fail(p.batch.Envelopes)
		return
	}
	if p.t.mono()-now > pause.Silence {
		// This process has stood still since the deadlines were written: they
		// would be believed.
		p.fail(p.batch.Envelopes)
		return
	}
	ctx, cancel := context.WithTimeout(p.t.ctx, min(sendTimeout, latest(p.batch.Envelopes)-now))
	defer cancel()
	var sent atomic.Bool
	raw, status, err := p.t.client.post(ctx, p.addr, EnvelopesPath, body, maxReplyBytes, func() {
		sent.Store(true)
		p.t.count.Sent(len(p.batch.Envelopes), len(body))
	})
	if !sent.Load() {
		p.fail(p.batch.Envelopes)
	}
	if err == nil {
		err = failure(status, raw)
	}
	if err != nil {
		p.backOff()
		p.t.logger.Debug("a peer has not taken a batch", "addr", p.addr, "sent", sent.Load(), "attempt", p.attempts, "error", err)
		return
	}
	p.attempts, p.next = 0, time.Time{}
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

// fail gives back what was provably not sent.
func (p *peer) fail(envelopes []core.Envelope) {
	p.t.count.Failed(len(envelopes))
	transport.GiveBack(p.t.handler, envelopes)
}

// backOff puts off the next attempt.
func (p *peer) backOff() {
	p.attempts++
	delay, _ := retry().Delay(p.attempts, p.rng)
	p.next = time.Now().Add(delay)
}
