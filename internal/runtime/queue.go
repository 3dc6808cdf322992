package runtime

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/histogram"
	"github.com/dynamo-kv/dynamo/internal/node"
)

// The bounds of one loop's queue.
const (
	// maxClients bounds the requests of clients that wait for a loop: at a few
	// microseconds a step, what it works off in some tens of milliseconds. While
	// a shard is overloaded it has room for fewer.
	maxClients = 4096

	// leastClients is the share of a drain that requests of clients always have:
	// what is under way goes first, and must not keep everybody else out.
	leastClients = node.MaxDrain / 8

	// maxPeers bounds the requests of peers that wait for a loop. It is larger
	// than maxClients, since dropping them wastes what the peer has done.
	maxPeers = 16384
)

// kind is what an input is.
type kind uint8

const (
	clientRequest kind = iota
	peerRequest
	peerReply
	sendFailed
	newView
	peerReports
	shardReport
	loadReport
	roomReport
	joinRequest
	countRequest
	lastRequest
	damageReport
	kinds
)

// input is one thing for a loop to step.
type input struct {
	kind   kind
	waiter *waiter // of clientRequest and joinRequest
	value  any     // always a pointer, so that it is not boxed
}

// queue is a loop's inbox. Any goroutine puts, the loop alone takes.
type queue struct {
	wake chan struct{} // of capacity 1: something is there
	full atomic.Bool   // there is no room for requests of clients; it changes under mu only

	mu      sync.Mutex // guards what follows
	inputs  []input    // but for requests of clients
	clients []input    // which wait until the rest has been stepped
	room    int        // for requests of clients
	counts  [kinds]int // of what waits and has not been stepped
	flushed uint64     // the latest flush that is durable
	failure error      // of a commit
	last    bool       // no more requests of clients are taken
	closed  bool
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1), room: maxClients} }

// put queues in and says whether it did: not when its kind is at its bound, or
// when the loop has ended.
func (q *queue) put(in input) bool {
	q.mu.Lock()
	full := q.closed ||
		in.kind == clientRequest && (q.last || q.counts[clientRequest] >= q.room) ||
		in.kind == peerRequest && q.counts[peerRequest] >= maxPeers
	if full {
		q.mu.Unlock()
		return false
	}
	if in.kind == clientRequest {
		q.clients = append(q.clients, in)
	} else {
		q.inputs = append(q.inputs, in)
	}
	q.counts[in.kind]++
	if in.kind == clientRequest && q.counts[clientRequest] >= q.room {
		q.full.Store(true)
	}
	q.mu.Unlock()
	q.signal()
	return true
}

// endRequests takes no more requests of clients. The loop closes ended when it
// has answered those that it has.
func (q *queue) endRequests(ended chan struct{}) {
	q.mu.Lock()
	q.last = true
	q.mu.Unlock()
	q.put(input{kind: lastRequest, value: &ended})
}

// durable notes that flush n and all before it are durable, or that the
// commit failed.
func (q *queue) durable(n uint64, err error) {
	q.mu.Lock()
	if err != nil {
		q.failure = err
	} else {
		q.flushed = max(q.flushed, n)
	}
	q.mu.Unlock()
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// lists are inputs that the loop has taken, or room for more.
type lists struct{ inputs, clients []input }

// take swaps the queue's inputs for those that are spare, as far as the loop has
// stepped all that it took before. It returns the latest durable flush and a
// commit's failure.
func (q *queue) take(left, spare *lists) (flushed uint64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(left.inputs) == 0 {
		left.inputs, q.inputs = q.inputs, spare.inputs[:0]
		spare.inputs = left.inputs
	}
	if len(left.clients) == 0 {
		left.clients, q.clients = q.clients, spare.clients[:0]
		spare.clients = left.clients
	}
	return q.flushed, q.failure
}

// began takes the counts of stepped inputs off the bounds, and says how many
// requests of clients may wait from now on.
func (q *queue) began(stepped *[kinds]int, room int) {
	q.mu.Lock()
	for k, n := range stepped {
		q.counts[k] -= n
	}
	q.room = min(room, maxClients)
	if full := q.counts[clientRequest] >= q.room; full != q.full.Load() {
		q.full.Store(full)
	}
	q.mu.Unlock()
}

// waiting returns how many requests of clients and of peers wait.
func (q *queue) waiting() (clients, peers int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.counts[clientRequest], q.counts[peerRequest]
}

// close ends the queue and returns what it still held.
func (q *queue) close() []input {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	inputs := append(q.inputs, q.clients...)
	q.inputs, q.clients = nil, nil
	return inputs
}

// waiter is whoever waits for a reply: the loop gives at most one.
type waiter struct {
	reply chan core.Reply // of capacity 1
	state atomic.Uint32   // of a client's: waits, begun or gone

	to    core.Taker    // in place of reply, where it is set
	spare *spareWaiters // gets the waiter back then
}

func (w *waiter) give(r core.Reply) {
	if w.to == nil {
		w.reply <- r
		return
	}
	to, spare := w.to, w.spare
	w.to, w.spare = nil, nil
	spare.put(w)
	to.Take(r.Result)
}

// The states of a waiter. The loop begins a request, or its client goes before
// that, whichever comes first: then nothing of it is done.
const (
	waits uint32 = iota
	begun
	gone
)

// Begins says that the request may begin: its client is still there.
func (w *waiter) Begins() bool { return w.state.CompareAndSwap(waits, begun) }

// leave says that the request was not begun, and will not be.
func (w *waiter) leave() bool { return w.state.CompareAndSwap(waits, gone) }

// spareWaiters has waiters whose reply has been taken, and those that no loop
// has: nobody will send to them. One that has given up is not put back, since
// its reply may still come.
type spareWaiters struct{ pool sync.Pool }

func (s *spareWaiters) get() *waiter {
	if w, ok := s.pool.Get().(*waiter); ok {
		w.state.Store(waits)
		return w
	}
	return &waiter{reply: make(chan core.Reply, 1)}
}

func (s *spareWaiters) put(w *waiter) { s.pool.Put(w) }

// waiters gives replies to those who wait. One loop owns it.
type waiters struct {
	slots []waitSlot
	free  []uint32
	loop  int
	// durations are how long those waited who have a reply.
	durations [core.Ops]histogram.Histogram
}

func newWaiters(loop int, buckets []time.Duration) waiters {
	w := waiters{loop: loop}
	for op := range w.durations {
		w.durations[op] = histogram.New(buckets)
	}
	return w
}

// none says that nobody waits.
func (w *waiters) none() bool { return len(w.free) == len(w.slots) }

type waitSlot struct {
	generation uint32
	waiter     *waiter
	op         core.Op // 0 of a Join
	arrived    time.Duration
}

// add notes who waits for the reply to an operation that arrived then, and
// returns the ID under which it will come.
func (w *waiters) add(one *waiter, op core.Op, arrived time.Duration) core.ReqID {
	var i uint32
	if n := len(w.free); n > 0 {
		i = w.free[n-1]
		w.free = w.free[:n-1]
	} else {
		i = uint32(len(w.slots))
		w.slots = append(w.slots, waitSlot{})
	}
	s := &w.slots[i]
	s.generation++
	s.waiter, s.op, s.arrived = one, op, arrived
	return core.NewReqID(w.loop, core.MachineCoordinator, i, s.generation)
}

// answer gives r to the one who waits under its ID, and counts how long that
// one has waited by now.
func (w *waiters) answer(now time.Duration, r core.Reply) {
	i := r.Req.Slot()
	if int(i) >= len(w.slots) || w.slots[i].waiter == nil {
		return
	}
	s := &w.slots[i]
	if core.NewReqID(w.loop, core.MachineCoordinator, i, s.generation) != r.Req {
		return
	}
	s.waiter.give(r)
	s.waiter = nil
	w.durations[s.op].Observe(now - s.arrived)
	w.free = append(w.free, i)
}

// stop answers everyone who still waits: the node stops, and what became of a
// write is not known.
func (w *waiters) stop() {
	for i := range w.slots {
		if one := w.slots[i].waiter; one != nil {
			one.give(stopped(core.Unknown))
			w.slots[i].waiter = nil
		}
	}
}

func stopped(outcome core.Outcome) core.Reply {
	return core.Reply{Result: core.Result{Code: core.CodeStopped, Outcome: outcome}}
}
