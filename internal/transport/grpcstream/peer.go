package grpcstream

import (
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/frame"
	"github.com/dynamo-kv/dynamo/internal/transport"
	"github.com/dynamo-kv/dynamo/internal/transport/outbox"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

// peer sends to one address. Everything but the queue belongs to its
// goroutine, which runs from the first Send to the address until nothing was
// sent for idleAfter.
type peer struct {
	t     *Transport
	addr  string
	queue *outbox.Queue
	rng   *rand.Rand
	batch outbox.Batch

	link     *link     // nil: not connected
	attempts int       // that failed or broke soon, since a link lasted
	next     time.Time // no attempt to connect before it
}

func newPeer(t *Transport, addr string) *peer {
	return &peer{
		t: t, addr: addr, queue: outbox.New(),
		rng: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
	}
}

func (p *peer) run() {
	defer p.end()
	idle := time.NewTimer(idleAfter)
	defer idle.Stop()
	for {
		select {
		case <-p.t.ctx.Done():
			return
		case <-p.queue.Ready():
			p.flush()
			idle.Reset(idleAfter)
		case <-p.broken():
			p.drop()
		case <-idle.C:
			if p.t.retire(p) {
				return
			}
			idle.Reset(idleAfter)
		}
	}
}

// end gives back what was not sent.
func (p *peer) end() {
	p.fail(p.queue.Close())
	if p.link != nil {
		p.drop()
	}
}

// broken receives when the link, if there is one, has ended.
func (p *peer) broken() <-chan struct{} {
	if p.link == nil {
		return nil
	}
	return p.link.broken
}

// flush sends all that is queued, or gives it back.
func (p *peer) flush() {
	enc := p.t.encoders.Get().(*wire.Encoder)
	defer p.t.encoders.Put(enc)
	defer p.batch.Reset()
	for more := true; more && p.t.ctx.Err() == nil; {
		if !p.connected() {
			p.fail(p.queue.Drain())
			return
		}
		runtime.Gosched() // whoever is about to send shall: see the package's documentation
		now := p.t.mono()
		more = p.queue.Take(now, &p.batch)
		p.t.count.Expired(len(p.batch.Expired))
		transport.GiveBack(p.t.handler, p.batch.Expired)
		if len(p.batch.Envelopes) > 0 {
			p.send(enc, now)
		}
	}
}

func (p *peer) send(enc *wire.Encoder, now time.Duration) {
	var m frame.Message
	b := enc.Encode(now, p.batch.Envelopes, m.Alloc)
	p.t.count.Sent(len(p.batch.Envelopes), len(b))
	if err := p.link.send(&m); err != nil {
		p.drop()
	}
}

// fail gives back what was provably not sent.
func (p *peer) fail(envelopes []core.Envelope) {
	p.t.count.Failed(len(envelopes))
	transport.GiveBack(p.t.handler, envelopes)
}

// connected says whether there is a link to send over. It makes one if it is
// time to.
func (p *peer) connected() bool {
	pauses := p.t.pauses.Now()
	if p.link != nil && p.link.pauses != pauses {
		p.drop()
		p.lasted() // it is not the peer's fault
	}
	if p.link != nil {
		if p.link.whole() {
			return true
		}
		p.drop()
	}
	if time.Now().Before(p.next) {
		return false
	}
	l, err := dial(p.t.ctx, p.addr, p.t.dialOptions)
	if err != nil {
		p.backOff()
		p.t.logger.Debug("a peer cannot be reached", "addr", p.addr, "attempt", p.attempts, "error", err)
		return false
	}
	l.pauses = pauses
	p.link = l
	return true
}

// drop ends the link. One that did not last counts as a failed attempt.
func (p *peer) drop() {
	l := p.link
	p.link = nil
	err := l.close()
	if time.Since(l.born) < retry().Max {
		p.backOff()
	} else {
		p.lasted()
	}
	p.t.logger.Debug("the connection to a peer has ended", "addr", p.addr, "error", err)
}

// lasted lets the next attempt be made at once.
func (p *peer) lasted() { p.attempts, p.next = 0, time.Time{} }

// backOff puts off the next attempt.
func (p *peer) backOff() {
	p.attempts++
	pause, _ := retry().Delay(p.attempts, p.rng)
	p.next = time.Now().Add(pause)
}
