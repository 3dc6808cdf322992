package runtime

import (
	"runtime"
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/histogram"
	"github.com/dynamo-kv/dynamo/internal/node"
)

// machine is what a loop drives: a Shard or Control.
type machine interface {
	Deliver(now core.Now, e *core.Envelope, out *core.Out)
	SendFailed(now core.Now, e *core.Envelope, out *core.Out)
	Durable(now core.Now, flush uint64, out *core.Out)
	Tick(now core.Now, out *core.Out)
	Next() (time.Duration, bool)
	Flush() uint64
}

// loop drives one machine. Its goroutine owns all fields but queue.
type loop struct {
	runtime    *Runtime
	machine    machine
	durability core.Durability                                      // of its batches
	begin      func(now core.Now, out *core.Out)                    // before the first drain
	step       func(l *loop, now core.Now, in input, out *core.Out) // what only one kind of machine takes
	after      func()                                               // at the end of each drain
	queue      *queue
	waiters    waiters
	out        core.Out
	left       lists // taken and not yet stepped
	spare      lists
	room       func() int                      // for requests of clients that wait
	finish     func(out *core.Out) (more bool) // the last steps before a stop in order
	drains     histogram.Histogram             // how long they took

	flushed   uint64 // the flush up to which Durable has been stepped
	committed uint64 // the latest flush that had a batch
	held      []heldEffect
	heldSpans []heldSpan

	ended chan struct{} // closed when no client waits any more; nil: nobody wants to know
}

// heldEffect leaves when its flush is durable.
type heldEffect struct {
	flush uint64
	send  core.Envelope
	reply core.Reply
	sends bool
}

// run is the loop's goroutine.
func (l *loop) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	defer l.end()
	l.out.Reset()
	l.begin(l.runtime.now(), &l.out)
	err := l.flush(&l.out)
	for err == nil && l.wait(timer) {
		began := l.runtime.now()
		err = l.drain(began)
		l.drains.Observe(l.runtime.mono() - began.Mono)
	}
	if err != nil {
		l.runtime.fail(err)
		return
	}
	l.commitLast()
}

// commitLast commits what the machine leaves for the next start. Nobody waits
// for it: closing the engine makes durable what was committed, and where that
// fails the next start does without.
func (l *loop) commitLast() {
	for more := true; more; {
		l.out.Reset()
		more = l.finish(&l.out)
		n := l.machine.Flush()
		if len(l.out.Writes) > 0 {
			l.runtime.engine.Commit(l.out.Writes, l.durability, func(err error) { l.queue.durable(n, err) })
		}
	}
}

// wait returns true when there may be something to do, false when the runtime
// stops.
func (l *loop) wait(timer *time.Timer) bool {
	select {
	case <-l.runtime.stop:
		return false
	default:
	}
	if len(l.left.inputs)+len(l.left.clients) > 0 {
		return true
	}
	if at, ok := l.machine.Next(); ok {
		timer.Reset(max(0, at-l.runtime.mono()))
	} else {
		timer.Reset(time.Hour)
	}
	select {
	case <-l.runtime.stop:
		return false
	case <-l.queue.wake:
		// Whoever fills the queue is likely to go on: one turn of the
		// scheduler more makes larger batches and costs nothing when idle.
		runtime.Gosched()
	case <-timer.C:
	}
	return true
}

// drain steps what is there, at most node.MaxDrain inputs, and carries out
// the effects. What has been begun goes on before more is begun.
func (l *loop) drain(now core.Now) error {
	flushed, err := l.queue.take(&l.left, &l.spare)
	if err != nil {
		return err
	}
	out := &l.out
	out.Reset()
	if flushed > l.flushed {
		l.flushed = flushed
		l.release()
		l.machine.Durable(now, flushed, out)
	}
	var stepped [kinds]int
	rest := node.MaxDrain - min(len(l.left.clients), leastClients)
	rest -= l.stepAll(now, &l.left.inputs, rest, &stepped, out)
	l.stepAll(now, &l.left.clients, rest+leastClients, &stepped, out)
	if at, ok := l.machine.Next(); ok && at <= now.Mono {
		l.machine.Tick(now, out)
	}
	l.queue.began(&stepped, l.room())
	if err := l.flush(out); err != nil {
		return err
	}
	l.tellEnd()
	return nil
}

// tellEnd tells whoever wants to know that no client waits any more.
func (l *loop) tellEnd() {
	if l.ended == nil || !l.waiters.none() {
		return
	}
	if clients, _ := l.queue.waiting(); clients == 0 {
		close(l.ended)
		l.ended = nil
	}
}

// stepAll steps the first inputs of a list and returns how many.
func (l *loop) stepAll(now core.Now, list *[]input, most int, stepped *[kinds]int, out *core.Out) int {
	n := min(len(*list), most)
	for i := range (*list)[:n] {
		in := (*list)[i]
		(*list)[i] = input{}
		stepped[in.kind]++
		l.stepOne(now, in, out)
	}
	*list = (*list)[n:]
	return n
}

func (l *loop) stepOne(now core.Now, in input, out *core.Out) {
	switch in.kind {
	case clientRequest:
		l.submit(now, in, out)
	case peerRequest, peerReply:
		l.machine.Deliver(now, in.value.(*core.Envelope), out)
	case sendFailed:
		l.machine.SendFailed(now, in.value.(*core.Envelope), out)
	case lastRequest:
		l.ended = *in.value.(*chan struct{})
	default:
		l.step(l, now, in, out)
	}
}

// submit steps a request of a client, who may have gone. One for a key may wait
// in the machine before it begins, which then asks.
func (l *loop) submit(now core.Now, in input, out *core.Out) {
	switch q := in.value.(*core.Request); q.Op {
	case core.OpGet, core.OpPut, core.OpDelete:
		q.Client = in.waiter
	default:
		if !in.waiter.Begins() {
			return
		}
	}
	l.step(l, now, in, out)
}

// flush carries out a drain's effects, in the order that core.Out states.
func (l *loop) flush(out *core.Out) error {
	n := l.machine.Flush()
	if out.Failed != nil {
		return out.Failed
	}
	if len(out.Writes) > 0 {
		l.committed = n
		l.runtime.meter.wrote(out.Writes)
		l.runtime.engine.Commit(out.Writes, l.durability, func(err error) { l.queue.durable(n, err) })
	}
	for _, addr := range out.Reached {
		l.runtime.transport.Reach(addr)
	}
	for i := range out.Sends {
		l.send(&out.Sends[i])
	}
	if len(out.Replies) > 0 {
		now := l.runtime.mono()
		for i := range out.Replies {
			l.waiters.answer(now, out.Replies[i])
		}
	}
	for i := range out.SendsHeld {
		l.held = append(l.held, heldEffect{flush: l.committed, send: out.SendsHeld[i], sends: true})
	}
	for i := range out.RepliesHeld {
		l.held = append(l.held, heldEffect{flush: l.committed, reply: out.RepliesHeld[i]})
	}
	l.trace(out)
	l.release()
	l.runtime.report(out)
	l.after()
	l.runtime.tell(out.Statuses)
	return nil
}

// release lets go of the held effects whose flush is durable.
func (l *loop) release() {
	n := 0
	for n < len(l.held) && l.held[n].flush <= l.flushed {
		if h := &l.held[n]; h.sends {
			l.send(&h.send)
		} else {
			l.waiters.answer(l.runtime.mono(), h.reply)
		}
		n++
	}
	l.held = slices.Delete(l.held, 0, n)
	l.releaseSpans()
}

// send hands an envelope to the transport; what it does not take fails.
func (l *loop) send(e *core.Envelope) {
	if l.runtime.send(e) || e.Reply {
		return
	}
	failed := *e
	l.queue.put(input{kind: sendFailed, value: &failed})
}

// end answers everyone who still waits for this loop.
func (l *loop) end() {
	l.waiters.stop()
	for _, in := range slices.Concat(l.left.inputs, l.left.clients, l.queue.close()) {
		if in.waiter != nil {
			in.waiter.give(stopped(core.NotWritten))
		}
	}
}
