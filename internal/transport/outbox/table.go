package outbox

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/transport"
)

const (
	// maxPeers bounds the addresses that are sent to at a time: all members,
	// and as many that have moved to another address lately.
	maxPeers = 2 * id.MaxMembers

	// idleAfter is when an address that nothing is sent to is forgotten, and
	// its connection closed. Members gossip far more often.
	idleAfter = 5 * time.Minute
)

// Sender carries messages to one address. All its methods are called by the
// goroutine of that address.
type Sender interface {
	// Ready says whether messages can leave. It connects if it has to and if it
	// is time to (Peer.Pace), and waits for that. False: all that waits is given
	// back.
	Ready() bool
	// Send sends one message, which is not empty and lives until it returns.
	// What provably did not leave it hands to Peer.Fail.
	Send(now time.Duration, envelopes []core.Envelope)
	// Broken receives when Drop is to be called though there is nothing to
	// send. It may be nil.
	Broken() <-chan struct{}
	// Drop ends the connection, where there is one.
	Drop()
}

// Options of a Table. All are needed.
type Options struct {
	Handler transport.Handler
	Mono    func() time.Duration // the clock of deadlines
	Count   *transport.Counters
	Sender  func(*Peer) Sender // for a new address; it must not wait
}

// Table has the addresses that a transport sends to: each has a queue, and a
// goroutine that runs from the first Send to it until nothing was sent for
// idleAfter. Its methods may be called from any goroutine.
type Table struct {
	options Options
	ctx     context.Context // of all goroutines
	running sync.WaitGroup

	mu     sync.RWMutex // Send reads, also while it puts
	closed bool
	peers  map[string]*Peer
}

// NewTable returns an empty table. Its goroutines end with ctx; see Close.
func NewTable(ctx context.Context, o Options) *Table {
	return &Table{options: o, ctx: ctx, peers: map[string]*Peer{}}
}

// Send is that of transport.Transport.
func (t *Table) Send(addr string, e *core.Envelope) bool {
	known, ok := t.put(addr, e)
	if !known && t.add(addr) {
		_, ok = t.put(addr, e)
	}
	if !ok {
		t.options.Count.Refused()
	}
	return ok
}

// put says whether there is a peer at addr, and whether e was queued there. One
// whose queue is full holds nobody up but those who send to it.
func (t *Table) put(addr string, e *core.Envelope) (known, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	p := t.peers[addr]
	return p != nil, p != nil && p.queue.Put(e)
}

// add sees to it that there is a peer for addr, and says whether there is: not
// after Close, and not when there are too many.
func (t *Table) add(addr string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return false
	case t.peers[addr] != nil:
		return true
	case len(t.peers) >= maxPeers:
		return false
	}
	p := newPeer(t, addr)
	t.peers[addr] = p
	t.running.Go(p.run)
	return true
}

// retire forgets a peer that nothing waits for, and says whether it did.
func (t *Table) retire(p *Peer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !p.queue.CloseIfEmpty() {
		return false
	}
	delete(t.peers, p.addr)
	return true
}

// Reach is that of transport.Transport.
func (t *Table) Reach(addr string) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if p := t.peers[addr]; p != nil {
		p.Pace.again.Store(true)
	}
}

// Close refuses all further envelopes, gives back what waits, and returns when
// no goroutine is left. The context must have ended.
func (t *Table) Close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.running.Wait()
}

// Peer is one address. What is exported is for its Sender.
type Peer struct {
	Pace Pace

	table  *Table
	addr   string
	queue  *Queue
	batch  Batch
	sender Sender
}

func newPeer(t *Table, addr string) *Peer {
	p := &Peer{table: t, addr: addr, queue: New()}
	p.Pace.rng = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	p.sender = t.options.Sender(p)
	return p
}

// Addr returns the address.
func (p *Peer) Addr() string { return p.addr }

// Fail gives back what was provably not sent.
func (p *Peer) Fail(envelopes []core.Envelope) {
	p.table.options.Count.Failed(len(envelopes))
	transport.GiveBack(p.table.options.Handler, envelopes)
}

func (p *Peer) run() {
	defer p.end()
	idle := time.NewTimer(idleAfter)
	defer idle.Stop()
	for {
		select {
		case <-p.table.ctx.Done():
			return
		case <-p.queue.Ready():
			p.flush()
			idle.Reset(idleAfter)
		case <-p.sender.Broken():
			p.sender.Drop()
		case <-idle.C:
			if p.table.retire(p) {
				return
			}
			idle.Reset(idleAfter)
		}
	}
}

// end gives back what was not sent.
func (p *Peer) end() {
	p.Fail(p.queue.Close())
	p.sender.Drop()
}

// flush sends all that is queued, or gives it back.
func (p *Peer) flush() {
	o := &p.table.options
	defer p.batch.Reset()
	for more := true; more && p.table.ctx.Err() == nil; {
		if !p.sender.Ready() {
			p.Fail(p.queue.Drain())
			return
		}
		runtime.Gosched() // whoever is about to send shall, so that a batch forms
		now := o.Mono()
		more = p.queue.Take(now, &p.batch)
		o.Count.Expired(len(p.batch.Expired))
		transport.GiveBack(o.Handler, p.batch.Expired)
		if len(p.batch.Envelopes) > 0 {
			p.sender.Send(now, p.batch.Envelopes)
		}
	}
}
