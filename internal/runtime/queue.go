package runtime

import (
	"sync"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// The bounds of one loop's queue.
const (
	// maxClients bounds the requests of clients that wait for a loop: at a few
	// microseconds a step, what it works off in some tens of milliseconds.
	maxClients = 4096

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
	joinRequest
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

	mu      sync.Mutex // guards what follows
	inputs  []input
	counts  [kinds]int
	flushed uint64 // the latest flush that is durable
	failure error  // of a commit
	closed  bool
}

func newQueue() *queue { return &queue{wake: make(chan struct{}, 1)} }

// put queues in and says whether it did: not when its kind is at its bound, or
// when the loop has ended.
func (q *queue) put(in input) bool {
	q.mu.Lock()
	full := q.closed ||
		in.kind == clientRequest && q.counts[clientRequest] >= maxClients ||
		in.kind == peerRequest && q.counts[peerRequest] >= maxPeers
	if full {
		q.mu.Unlock()
		return false
	}
	q.inputs = append(q.inputs, in)
	q.counts[in.kind]++
	q.mu.Unlock()
	q.signal()
	return true
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

// take swaps the queue's inputs for spare, which must be empty, and returns
// them with the latest durable flush and a commit's failure.
func (q *queue) take(spare []input) (inputs []input, flushed uint64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	inputs, q.inputs = q.inputs, spare
	return inputs, q.flushed, q.failure
}

// began takes the counts of stepped inputs off the bounds.
func (q *queue) began(stepped *[kinds]int) {
	q.mu.Lock()
	for k, n := range stepped {
		q.counts[k] -= n
	}
	q.mu.Unlock()
}

// close ends the queue and returns what it still held.
func (q *queue) close() []input {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	inputs := q.inputs
	q.inputs = nil
	return inputs
}

// waiter is whoever waits for a reply: the loop sends at most one.
type waiter struct {
	reply chan core.Reply // of capacity 1
}

// spareWaiters has waiters whose reply has been taken, and those that no loop
// has: nobody will send to them. One that has given up is not put back, since
// its reply may still come.
type spareWaiters struct{ pool sync.Pool }

func (s *spareWaiters) get() *waiter {
	if w, ok := s.pool.Get().(*waiter); ok {
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
}

type waitSlot struct {
	generation uint32
	waiter     *waiter
}

// add notes w and returns the ID under which its reply will come.
func (w *waiters) add(one *waiter) core.ReqID {
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
	s.waiter = one
	return core.NewReqID(w.loop, core.MachineCoordinator, i, s.generation)
}

// answer gives r to the one who waits under its ID.
func (w *waiters) answer(r core.Reply) {
	i := r.Req.Slot()
	if int(i) >= len(w.slots) || w.slots[i].waiter == nil {
		return
	}
	s := &w.slots[i]
	if core.NewReqID(w.loop, core.MachineCoordinator, i, s.generation) != r.Req {
		return
	}
	s.waiter.reply <- r
	s.waiter = nil
	w.free = append(w.free, i)
}

// stop answers everyone who still waits: the node stops, and what became of a
// write is not known.
func (w *waiters) stop() {
	for i := range w.slots {
		if one := w.slots[i].waiter; one != nil {
			one.reply <- stopped(core.Unknown)
			w.slots[i].waiter = nil
		}
	}
}

func stopped(outcome core.Outcome) core.Reply {
	return core.Reply{Result: core.Result{Code: core.CodeStopped, Outcome: outcome}}
}
