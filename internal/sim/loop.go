package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/node"
)

// machine is what a loop drives: a node.Shard or a node.Control.
type machine interface {
	Deliver(now core.Now, e *core.Envelope, out *core.Out)
	SendFailed(now core.Now, e *core.Envelope, out *core.Out)
	Durable(now core.Now, flush uint64, out *core.Out)
	Tick(now core.Now, out *core.Out)
	Next() (mono time.Duration, ok bool)
	Flush() uint64
}

// inputKind says what an input is.
type inputKind uint8

const (
	inSubmit inputKind = iota
	inDeliver
	inSendFailed
	inDurable
	inView
	inReport
	inShard
	inTick
	inBegin
	inJoin
	inLoad
	inRoom
)

// String returns the input's name, which is that of the method.
func (k inputKind) String() string {
	names := [...]string{"Submit", "Deliver", "SendFailed", "Durable", "SetView", "Report", "Shard", "Tick", "Begin", "Join", "Load", "Room"}
	if int(k) < len(names) {
		return names[k]
	}
	return "?"
}

// input is one thing for a loop to step.
type input struct {
	kind   inputKind
	env    *core.Envelope
	req    *core.Request
	join   *core.Join
	view   *core.View
	report core.PeerReport
	shard  core.ShardReport
	load   core.LoadReport
	room   core.RoomReport
	flush  uint64
}

// loop models a loop of a process: its queue, its drains, its flushes.
type loop struct {
	index     int // of a shard, or controlLoop
	machine   machine
	shard     *node.Shard   // nil in Control's loop
	control   *node.Control // nil in a shard's loop
	view      *core.View    // that the loop goes by
	queue     []input
	head      int // of the queue: what is before it has been stepped
	scheduled bool
	timer     time.Duration // when the earliest evTimer comes; core.Never: none
	out       core.Out

	// Flushes that wait for the disk, oldest first.
	flights []flight
	batch   uint64 // the disk's number of this loop's newest batch

	cancelled uint64 // rounds of forgetting, as reported last
	waits     uint64 // for slots, as reported last
}

// flight is a flush on its way to the disk, with what it holds back.
type flight struct {
	flush   uint64
	batch   uint64 // durable when the disk has synced this one
	stepped bool   // Durable is to be stepped: the flush had writes
	sends   []core.Envelope
	replies []core.Reply
}

// lengths are those of an Out's slices before a step.
type lengths struct {
	writes, sends, sendsHeld, replies, repliesHeld, statuses int
	spans, spansHeld, reached                                int
}

func (b *lengths) of(out *core.Out) {
	b.writes, b.sends, b.sendsHeld = len(out.Writes), len(out.Sends), len(out.SendsHeld)
	b.replies, b.repliesHeld = len(out.Replies), len(out.RepliesHeld)
	b.statuses, b.reached = len(out.Statuses), len(out.Reached)
	b.spans, b.spansHeld = len(out.Spans), len(out.SpansHeld)
}

// input queues in for a loop of p and makes sure that the loop drains.
func (w *world) input(p *process, index int, in input) {
	l := p.loop(index)
	l.queue = append(l.queue, in)
	w.schedule(p, l)
}

// schedule plans a drain: a goroutine needs a moment to wake up.
func (w *world) schedule(p *process, l *loop) {
	if l.scheduled {
		return
	}
	l.scheduled = true
	after := time.Microsecond + time.Duration(w.rng.ExpFloat64()*float64(10*time.Microsecond))
	at := max(w.now, p.stalledUntil) + after
	w.queue.push(event{at: at, kind: evDrain, node: int32(p.index), loop: int32(l.index), gen: p.gen})
}

// drain steps what is in the queue, at most node.MaxDrain inputs, and carries
// out the effects.
func (w *world) drain(p *process, l *loop) {
	l.scheduled = false
	if w.now < p.stalledUntil {
		w.schedule(p, l)
		return
	}
	now := core.Now{Mono: w.mono(p), Wall: w.wall(p)}
	out := &l.out
	out.Reset()
	for range min(len(l.queue)-l.head, node.MaxDrain) {
		in := l.queue[l.head]
		l.queue[l.head] = input{}
		l.head++
		w.step(p, l, now, &in)
	}
	if l.head == len(l.queue) {
		l.queue, l.head = l.queue[:0], 0
	}
	if at, ok := l.machine.Next(); ok && at <= now.Mono {
		w.step(p, l, now, &input{kind: inTick})
	}
	gen := p.gen
	w.flush(p, l)
	if w.halted || p.gen != gen {
		return
	}
	if l.head < len(l.queue) {
		w.schedule(p, l)
	}
	w.arm(p, l)
}

// arm plans a drain for when the machine wants to be ticked.
func (w *world) arm(p *process, l *loop) {
	next, ok := l.machine.Next()
	if !ok || next == core.Never {
		return
	}
	at := max(p.born+next, w.now+time.Microsecond)
	if at < l.timer {
		l.timer = at
		w.queue.push(event{at: at, kind: evTimer, node: int32(p.index), loop: int32(l.index), gen: p.gen})
	}
}

// step gives one input to the machine and looks at what it did.
func (w *world) step(p *process, l *loop, now core.Now, in *input) {
	out := &l.out
	var before lengths
	before.of(out)
	w.trace.begin(w.now, p.index, l.index, in.kind)
	w.trace.input(in)
	w.narrate(p, l, in)
	switch in.kind {
	case inDeliver:
		l.machine.Deliver(now, in.env, out)
	case inSendFailed:
		l.machine.SendFailed(now, in.env, out)
	case inDurable:
		w.land(p, l, in.flush)
		l.machine.Durable(now, in.flush, out)
	case inTick:
		l.machine.Tick(now, out)
	case inSubmit, inView:
		w.stepShard(l, now, in)
	case inReport, inShard, inLoad, inRoom, inBegin, inJoin:
		w.stepControl(p, l, now, in)
	}
	w.trace.effects(out, &before)
	w.trace.end()
	w.inspect(p, l, now, &before)
}

func (w *world) stepShard(l *loop, now core.Now, in *input) {
	if in.kind == inSubmit {
		l.shard.Submit(now, in.req, &l.out)
		return
	}
	l.view = in.view
	if in.view.Room != nil {
		w.report.Stats.Room.Measured++
	}
	l.shard.SetView(now, in.view, &l.out)
}

func (w *world) stepControl(p *process, l *loop, now core.Now, in *input) {
	switch in.kind {
	case inReport:
		l.control.Report(now, []core.PeerReport{in.report}, &l.out)
	case inShard:
		l.control.Shard(now, in.shard, &l.out)
	case inLoad:
		l.control.Load(now, in.load)
	case inRoom:
		l.control.Room(now, in.room)
	case inBegin:
		l.control.Begin(now, &l.out)
		w.doubts(p)
	case inJoin:
		l.control.Join(now, in.join, &l.out)
	case inSubmit, inDeliver, inSendFailed, inDurable, inView, inTick:
		panic(fmt.Sprintf("sim: %v is not for Control alone", in.kind))
	}
}

// inspect holds the effects of one step to the contract of core.Out, and lets
// the history see what was minted.
func (w *world) inspect(p *process, l *loop, now core.Now, before *lengths) {
	out := &l.out
	for i := before.sends; i < len(out.Sends); i++ {
		w.inspectEnvelope(p, now, &out.Sends[i])
		w.checkCalled(p, l, &out.Sends[i])
	}
	for i := before.sendsHeld; i < len(out.SendsHeld); i++ {
		w.inspectEnvelope(p, now, &out.SendsHeld[i])
	}
	w.checkSlots(p)
	w.inspectSpans(p, now, out.Spans[before.spans:])
	w.inspectSpans(p, now, out.SpansHeld[before.spansHeld:])
	if l.shard == nil {
		return
	}
	for i, wr := range out.Writes[before.writes:] {
		if core.IsDataKey(wr.Key) || core.IsHintKey(wr.Key) {
			w.checkRoom(p, l, wr, out.Writes[:before.writes+i])
		}
		switch {
		case !core.IsDataKey(wr.Key) && !core.IsHintKey(wr.Key):
		case wr.Delete:
			w.history.removed(p, l, wr.Key)
		default:
			w.history.stored(p, l, wr.Key, wr.Value)
		}
	}
}

func (w *world) inspectEnvelope(p *process, now core.Now, e *core.Envelope) {
	kind, _ := describe(e.Msg)
	w.inspectTrace(p, e)
	if r, ok := e.Msg.(*core.Refused); ok && r.Why == core.RefusedHintsFull {
		w.report.Stats.Hints.Refused++
	} else if ok && r.Why == core.RefusedStorageFull {
		w.report.Stats.Room.Refused++
	}
	switch {
	case e.From != p.id:
		w.fail("envelope", "%v sends %v as %v", p.id, kind, e.From)
	case e.To == "" && e.Addr == "":
		w.fail("envelope", "%v sends %v to nobody", p.id, kind)
	case kind == 0:
		w.fail("envelope", "%v sends a message of no known kind to %v", p.id, e.To)
	case e.Deadline > now.Mono+id.MaxMessageAge:
		w.fail("envelope", "%v sends %v to %v with a deadline %v away; at most %v is allowed", p.id, kind, e.To, e.Deadline-now.Mono, id.MaxMessageAge)
	case e.Deadline <= 0:
		w.fail("envelope", "%v sends %v to %v without a deadline", p.id, kind, e.To)
	}
}

// flush ends a drain and carries out its effects in the order that core.Out
// states.
func (w *world) flush(p *process, l *loop) {
	out := &l.out
	n := l.machine.Flush()
	if errors.Is(out.Failed, core.ErrOldDisk) {
		w.renew(p)
		return
	}
	if out.Failed != nil {
		w.fail("store", "%v: loop %d failed: %v", p.id, l.index, out.Failed)
		w.halted = true
		return
	}
	w.commit(p, l, n)
	for i := range out.Sends {
		w.send(p, l, &out.Sends[i])
	}
	for i := range out.Replies {
		w.answer(p, &out.Replies[i])
	}
	for _, r := range out.Reports {
		w.input(p, controlLoop, input{kind: inReport, report: r})
	}
	for _, r := range out.Shards {
		if r.Forgetting.Cancelled < l.cancelled {
			w.fail("report", "%v: loop %d has cancelled %d rounds, and now reports %d", p.id, l.index, l.cancelled, r.Forgetting.Cancelled)
		}
		w.report.Stats.Cancelled += r.Forgetting.Cancelled - l.cancelled
		l.cancelled = r.Forgetting.Cancelled
		w.input(p, controlLoop, input{kind: inShard, shard: r})
	}
	for _, r := range out.Loads {
		w.report.Stats.SlotWaits += r.Waits - l.waits
		l.waits = r.Waits
		w.input(p, controlLoop, input{kind: inLoad, load: r})
	}
	if l.control == nil {
		return
	}
	if v := l.control.View(); v != nil {
		w.viewed(p, v)
		w.noteSlots(v)
		l.view = v
		w.showView(p)
	}
}

// commit gives the batch to the disk, and holds back what waits for it.
func (w *world) commit(p *process, l *loop, n uint64) {
	out := &l.out
	if len(out.Writes) > 0 {
		batch, err := p.disk.Append(out.Writes)
		if err != nil {
			panic(fmt.Sprintf("sim: the disk of a running process refuses a batch: %v", err))
		}
		l.batch = batch
		w.pull(onCommit, p, 2*w.plan.Fsync+p.slowDisk) // before, in or after the fsync
	}
	if len(out.Writes)+len(out.SendsHeld)+len(out.RepliesHeld) == 0 {
		return
	}
	f := flight{flush: n, batch: l.batch, stepped: len(out.Writes) > 0}
	f.sends = append(f.sends, out.SendsHeld...)
	f.replies = append(f.replies, out.RepliesHeld...)
	l.flights = append(l.flights, f)
	if l.batch <= p.disk.Synced() {
		w.input(p, l.index, input{kind: inDurable, flush: n})
		return
	}
	w.startFsync(p)
}

// land releases what flush n and those before it hold back.
func (w *world) land(p *process, l *loop, n uint64) {
	done := 0
	for done < len(l.flights) && l.flights[done].flush <= n {
		f := &l.flights[done]
		for i := range f.sends {
			w.send(p, l, &f.sends[i])
		}
		for i := range f.replies {
			w.answer(p, &f.replies[i])
		}
		l.flights[done] = flight{}
		done++
	}
	l.flights = l.flights[done:]
}

// startFsync begins an fsync of all that is committed, unless one is under
// way already; the next begins when that ends.
func (w *world) startFsync(p *process) {
	if p.syncing || p.disk.Synced() == p.disk.Last() {
		return
	}
	p.syncing = true
	at := w.now + w.fsyncTime(p)
	w.queue.push(event{at: at, kind: evFsync, node: int32(p.index), gen: p.gen, n: int64(p.disk.Last())})
}

// fsyncTime draws how long an fsync takes: with a long tail, as disks do.
func (w *world) fsyncTime(p *process) time.Duration {
	d := w.plan.Fsync/2 + time.Duration(w.rng.ExpFloat64()*float64(w.plan.Fsync)/2)
	if w.rng.IntN(200) == 0 {
		d += drawTime(w.rng, 200*time.Millisecond)
	}
	if p.slowDisk > 0 {
		d += drawTime(w.rng, p.slowDisk)
	}
	return d
}

// synced completes an fsync: the loops whose flushes are durable are told.
func (w *world) synced(p *process, number uint64) {
	p.syncing = false
	p.disk.Sync(number)
	w.noteSynced(p)
	for i := -1; i < len(p.shards); i++ {
		index := i
		if i < 0 {
			index = controlLoop
		}
		l := p.loop(index)
		latest := uint64(0)
		for _, f := range l.flights {
			if f.batch > p.disk.Synced() {
				break
			}
			latest = f.flush
		}
		if latest > 0 {
			w.input(p, index, input{kind: inDurable, flush: latest})
		}
	}
	w.startFsync(p)
}
