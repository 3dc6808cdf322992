package runtime

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// maxAsks bounds those who wait for an answer of this node alone. They are
// people, scripts and tests; nodes that speak with each other are none of them.
const maxAsks = 1024

// asks are those who wait for an answer of this node alone.
type asks struct {
	mu    sync.Mutex
	next  uint64
	waits map[core.ReqID]chan core.Message // of capacity 1
}

// newAsks begins with a number that was not in use before a restart.
func newAsks() *asks { return &asks{next: rand.Uint64(), waits: map[core.ReqID]chan core.Message{}} }

// begin returns the number of a question and where its answer will come; false:
// too many wait.
func (a *asks) begin() (core.ReqID, <-chan core.Message, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.waits) >= maxAsks {
		return 0, nil, false
	}
	a.next++
	req := core.NewReqID(core.MaxShards-1, core.MachineOutside, uint32(a.next>>32)%core.MaxSlots, uint32(a.next))
	c := make(chan core.Message, 1)
	a.waits[req] = c
	return req, c, true
}

func (a *asks) end(req core.ReqID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.waits, req)
}

// answer gives e to the one who waits for it. It is the first answer or none.
func (a *asks) answer(e *core.Envelope) {
	a.mu.Lock()
	c := a.waits[e.Req]
	delete(a.waits, e.Req)
	a.mu.Unlock()
	if c != nil {
		c <- e.Msg
	}
}

// isOutside says whether a message answers, or pretends to be, a question from
// outside.
func isOutside(e *core.Envelope) bool { return e.Req.Machine() == core.MachineOutside }

// Ask has this node itself carry out a request that peers send each other, by
// the very steps that a peer's takes, and returns the reply: by the timeout, or
// when ctx ends. From says who asks; key is the one that m is about, nil for
// Gossip. Where there is no reply the code says why; what became of the request
// is not known then, unless it is CodeNotReady or CodeOverloaded.
func (r *Runtime) Ask(ctx context.Context, from id.Node, key []byte, m core.Message, timeout time.Duration) (core.Message, core.Code) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	deadline := r.mono() + timeout
	for {
		reply, code := r.askOnce(ctx, from, key, m, deadline)
		refused, ok := reply.(*core.Refused)
		if !ok || refused.Why != core.RefusedStale || ctx.Err() != nil {
			return reply, code
		}
		// The shard has a newer view than the one that was asked by, and so has
		// this runtime by now.
	}
}

func (r *Runtime) askOnce(ctx context.Context, from id.Node, key []byte, m core.Message, deadline time.Duration) (core.Message, core.Code) {
	v := r.view.Load()
	l := v.ReadLayout()
	if l == nil {
		return nil, core.CodeNotReady
	}
	req, answer, ok := r.asks.begin()
	if !ok {
		return nil, core.CodeOverloaded
	}
	defer r.asks.end(req)
	e := &core.Envelope{From: from, To: r.self, Cluster: v.Cluster, Req: req, Stamp: v.Stamp(), Deadline: deadline, Msg: m}
	if key != nil {
		e.Partition = l.Partition(key)
	}
	if !r.loop(e).queue.put(input{kind: peerRequest, value: e}) {
		return nil, r.turnedAway().Code
	}
	select {
	case reply := <-answer:
		return reply, core.CodeOK
	case <-r.stop:
		return nil, core.CodeStopped
	case <-ctx.Done():
		return nil, core.CodeTimeout
	}
}

// Sum sums up what this node holds of the positions first to last, partition by
// partition. With most above 0 it lists the keys as well, in the order of their
// positions, up to about as many, and stops there: More follows.
func (r *Runtime) Sum(ctx context.Context, first, last ring.Position, most int, timeout time.Duration) (core.RangeSum, core.Code) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	l := r.view.Load().ReadLayout()
	if l == nil {
		return core.RangeSum{}, core.CodeNotReady
	}
	var sum core.RangeSum
	for p := l.At(first); ; p++ {
		from, to := l.Range(p)
		part := core.Range{First: max(first, from), Last: min(last, to), Keys: most > 0}
		if code := r.sumPartition(ctx, p, part, most, &sum); code != core.CodeOK {
			return core.RangeSum{}, code
		}
		if !sum.More && part.Last == last {
			return sum, core.CodeOK
		}
		if most > 0 && len(sum.Keys) >= most {
			sum.More = true
		}
		if sum.More {
			return sum, core.CodeOK
		}
	}
}

// sumPartition adds what a part of one partition holds.
func (r *Runtime) sumPartition(ctx context.Context, p ring.Partition, part core.Range, most int, sum *core.RangeSum) core.Code {
	shard := r.shards[int(p)%len(r.shards)]
	for {
		deadline, _ := ctx.Deadline()
		ask := part // each step's is its own
		q := &core.Request{Op: core.OpSum, Range: &ask, Deadline: r.mono() + time.Until(deadline)}
		w := &waiter{reply: make(chan core.Reply, 1)}
		if !shard.queue.put(input{kind: clientRequest, waiter: w, value: q}) {
			return r.turnedAway().Code
		}
		select {
		case reply := <-w.reply:
			if reply.Result.Code != core.CodeOK {
				return reply.Result.Code
			}
			sum.Sum = core.TreeHash(merkle.Hash(sum.Sum).Plus(merkle.Hash(reply.Sum.Sum)))
			sum.Keys = append(sum.Keys, reply.Sum.Keys...)
			if part.After = reply.Sum.After; !reply.Sum.More {
				return core.CodeOK
			}
			if most > 0 && len(sum.Keys) >= most {
				sum.More = true
				return core.CodeOK
			}
		case <-ctx.Done():
			return core.CodeTimeout
		}
	}
}
