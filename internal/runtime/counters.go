package runtime

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// countWait is how long Counters waits for the loops. One that a disk holds up
// must not hold up whoever wants to see that it is: what it told last is shown
// then.
const countWait = 500 * time.Millisecond

// turned counts what the queues turned away, so that no loop knows of it.
type turned struct {
	requests [core.Ops][core.Codes]atomic.Uint64
	peers    atomic.Uint64
	left     atomic.Uint64 // requests whose clients went before they were begun
}

func (t *turned) count(op core.Op, code core.Code) { t.requests[op][code].Add(1) }

// add adds it to what the loops have counted.
func (t *turned) add(to *core.Counters) {
	for op := range t.requests {
		for code := range t.requests[op] {
			n := t.requests[op][code].Load()
			to.Requests[op][code] += n
			if core.Code(code) == core.CodeOverloaded {
				to.Limits[core.LimitClients] += n
			}
		}
	}
	to.Limits[core.LimitPeers] += t.peers.Load()
	to.ExpiredRequests += t.left.Load()
}

// counted is what the loops told last.
type counted struct {
	mu   sync.Mutex // guards what follows, and is held while the loops are asked
	last []core.Counters
	// asks are those that a loop has not answered yet, nil for none: a loop that
	// is held up has one of them in its queue, however often it is asked.
	asks []*countAsk
}

// countAsk asks a loop what its machine has counted.
type countAsk struct{ reply chan *core.Counters } // of capacity 1

// answer runs on the loop, with what counts its machine.
func (a *countAsk) answer(l *loop, count func(*core.Counters)) {
	c := &core.Counters{Durations: l.waiters.durations, Drains: l.drains}
	count(c)
	a.reply <- c
}

// Counters returns what the node's machines and its queues have counted since
// the start. The loops are asked, each between two steps.
func (r *Runtime) Counters() core.Counters {
	r.counted.mu.Lock()
	defer r.counted.mu.Unlock()
	loops := r.allLoops()
	if r.counted.last == nil {
		r.counted.last = make([]core.Counters, len(loops))
		r.counted.asks = make([]*countAsk, len(loops))
	}
	asks := r.counted.asks
	for i, l := range loops {
		if asks[i] != nil {
			r.takeCount(asks[i], i)
		}
		if asks[i] != nil {
			continue
		}
		ask := &countAsk{reply: make(chan *core.Counters, 1)}
		if l.queue.put(input{kind: countRequest, value: ask}) {
			asks[i] = ask
		}
	}
	limit := time.NewTimer(countWait)
	defer limit.Stop()
	over := false
	for i, ask := range asks {
		switch {
		case ask == nil:
		case over:
			r.takeCount(ask, i)
		default:
			over = !r.awaitCount(ask, i, limit.C)
		}
	}
	var sum core.Counters
	for i := range r.counted.last {
		sum.Add(&r.counted.last[i])
	}
	r.turned.add(&sum)
	return sum
}

// awaitCount takes a loop's answer, unless the time is over or the node stops.
func (r *Runtime) awaitCount(ask *countAsk, i int, limit <-chan time.Time) bool {
	select {
	case c := <-ask.reply:
		r.counted.last[i], r.counted.asks[i] = *c, nil
		return true
	case <-limit:
	case <-r.stop:
	}
	return false
}

// takeCount takes a loop's answer if it is there.
func (r *Runtime) takeCount(ask *countAsk, i int) {
	select {
	case c := <-ask.reply:
		r.counted.last[i], r.counted.asks[i] = *c, nil
	default:
	}
}

// allLoops returns the loops of the shards, and the control loop.
func (r *Runtime) allLoops() []*loop {
	return append(slices.Clip(r.shards), r.control)
}

// Queued is how much waits for the loops.
type Queued struct {
	Clients, Peers           int // requests, over all loops
	MostClients, MostPeers   int // in the loop with the most
	ClientsLimit, PeersLimit int // for each loop
}

// Queued returns how much waits for the loops now.
func (r *Runtime) Queued() Queued {
	q := Queued{ClientsLimit: maxClients, PeersLimit: maxPeers}
	for _, l := range r.allLoops() {
		clients, peers := l.queue.waiting()
		q.Clients += clients
		q.Peers += peers
		q.MostClients, q.MostPeers = max(q.MostClients, clients), max(q.MostPeers, peers)
	}
	return q
}
