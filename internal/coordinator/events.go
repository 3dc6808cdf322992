package coordinator

import (
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/guard"
)

// Deliver takes a peer's reply. One whose request is over has no effect.
func (c *Coordinator) Deliver(now core.Now, e *core.Envelope, out *core.Out) {
	c.deliver(now, e, out)
	c.open(now, out)
}

func (c *Coordinator) deliver(now core.Now, e *core.Envelope, out *core.Out) {
	s := c.slot(e.Req)
	if s == nil {
		return
	}
	t := s.findAsked(e.From)
	switch e.Msg.(type) {
	case *core.Applied:
		t = s.find(e.From)
	case *core.Hinted:
		t = s.findStandIn(e.From)
	}
	if t == nil || t.state == done || t.state == idle {
		return
	}
	s.traceReply(now, t, e.Msg, out)
	switch m := e.Msg.(type) {
	case *core.Refused:
		c.refused(now, s, t, e, m.Why, out)
	case *core.Applied, *core.Hinted:
		_, applied := e.Msg.(*core.Applied)
		if s.stage != writing && (s.stage != repairing || !applied || !t.repair) {
			return
		}
		t.state = done
	case *core.ReadReply:
		if s.stage == probing {
			t.state = done
			break
		}
		if s.stage == repairing {
			c.answeredLate(now, s, t, m.Set, out)
			break
		}
		if s.stage != reading {
			return
		}
		t.state, t.seen = done, m.Set
		if !c.merge(s, m.Set) {
			t.state = failed
		}
	case *core.Forwarded:
		if s.stage != forwarding {
			return
		}
		c.guard.Answered(now.Mono, &t.call, 0, out) // how long it took says as much of others
		c.forwarded(now, s, t, m.Result, out)
		return
	default:
		return // not a reply to anything that is asked here
	}
	if t.state == done {
		c.guard.Answered(now.Mono, &t.call, now.Mono-t.sent, out)
	}
	c.settle(now, s, out)
}

// refused handles a peer that has not executed the request and says why.
func (c *Coordinator) refused(now core.Now, s *slot, t *try, e *core.Envelope, why core.Refusal, out *core.Out) {
	if t.state != asked {
		return
	}
	if s.stage == forwarding && !t.refused && why != core.RefusedStart && why != core.RefusedExpired {
		s.spared(t.node)
	}
	t.refused = true
	switch why {
	case core.RefusedStale, core.RefusedNotOwner, core.RefusedBehind:
		t.state, t.due = stale, now.Mono+staleRetry
		if s.answered && (s.stage == repairing || s.stage == probing) {
			t.state = failed // a later read will see by the new layout
			c.guard.Refused(&t.call)
		}
		if c.view.Stamp().Older(e.Stamp) {
			ahead(t.node, e.Stamp, out)
		}
	case core.RefusedOverloaded:
		s.overloaded = true
		c.fail(now, s, t, guard.Overloaded, out)
	case core.RefusedStart, core.RefusedExpired:
		// A receiver remembers what it has executed within one start, and up to
		// the limit: a copy of this forward may have been executed before. So
		// it is asked no more, or it would mint the write twice, and another
		// owner gets it, as where nobody answers.
		t.state = failed
		c.guard.Refused(&t.call)
	case core.RefusedStorageFull:
		t.state = failed
		c.noteFull(now, s, t.node)
		c.guard.Refused(&t.call)
	default:
		t.state = failed
		c.guard.Refused(&t.call)
	}
}

// fail notes that a peer provably did nothing, or has not answered a request
// that may be repeated: it is asked again after a pause, or no more. Others
// stand in for it at once, whatever follows. What is not repeated: a forward,
// which goes to another owner instead, and what a client does not wait for and
// another read or anti-entropy will mend.
func (c *Coordinator) fail(now core.Now, s *slot, t *try, why guard.Reason, out *core.Out) {
	t.state, t.missed = failed, true
	if t.spent || s.stage == forwarding || s.answered && (s.stage == repairing || s.stage == probing) {
		c.guard.Failed(&t.call, why, out)
		return
	}
	if at, ok := c.guard.Retry(now.Mono, &t.call, why, s.deadline, out); ok {
		t.state, t.due = waiting, at
	}
}

// SendFailed is told that a request provably never left.
func (c *Coordinator) SendFailed(now core.Now, e *core.Envelope, out *core.Out) {
	s := c.slot(e.Req)
	if s == nil || e.Reply {
		return
	}
	t := s.findAsked(e.To)
	switch e.Msg.(type) {
	case *core.Apply:
		t = s.find(e.To)
	case *core.Hint:
		t = s.findStandIn(e.To)
	case *core.Forward:
		s.spared(e.To)
	}
	if t == nil || t.state != asked {
		return
	}
	s.traceAsked(now, t, "not sent", out)
	c.fail(now, s, t, guard.Unsent, out)
	c.settle(now, s, out)
	c.open(now, out)
}

// Durable is told that flush n of this shard and all before it are durable.
func (c *Coordinator) Durable(now core.Now, n uint64, out *core.Out) {
	ready := 0
	for ready < len(c.waits) && c.waits[ready].flush <= n {
		ready++
	}
	for i := range ready { // settling may add further waits, for later flushes
		w := c.waits[i]
		if s := c.slot(w.req); s != nil && s.local == asked && s.localFlush == w.flush {
			s.local = done
			s.traceDurable(now, out)
			c.mergeOwn(s)
			c.settle(now, s, out)
		}
	}
	c.waits = slices.Delete(c.waits, 0, ready)
	c.open(now, out)
}

// Next returns when Tick is due.
func (c *Coordinator) Next() (time.Duration, bool) {
	at := c.door.at
	if due, ok := c.timers.next(); ok {
		at = min(at, due)
	}
	return at, at != core.Never
}

// Tick wakes the requests that are due.
func (c *Coordinator) Tick(now core.Now, out *core.Out) {
	c.dropLate(now, out)
	for s := c.timers.pop(now.Mono); s != nil; s = c.timers.pop(now.Mono) {
		c.wake(now, s, out)
	}
	c.open(now, out)
}

// wake does what a slot waits to do by now.
func (c *Coordinator) wake(now core.Now, s *slot, out *core.Out) {
	if s.deadline <= now.Mono {
		c.countExpired(s)
		c.finish(now, s, c.expired(s), out)
		return
	}
	for i := range s.peers {
		t := &s.peers[i]
		if t.due > now.Mono {
			continue
		}
		switch t.state {
		case asked:
			s.traceAsked(now, t, "no answer in time", out)
			c.timedOut(now, s, t, out)
		case waiting:
			c.askAgain(now, s, t, out)
		case stale:
			c.askStale(now, s, t, out)
		case idle, done, failed, avoided:
		}
	}
	if s.stage == reading && s.hedge <= now.Mono {
		c.hedged(now, s, out)
	}
	c.settle(now, s, out)
}

// timedOut notes that a peer has not answered in the time that it has.
func (c *Coordinator) timedOut(now core.Now, s *slot, t *try, out *core.Out) {
	why := guard.Silent
	if now.Mono-t.due > c.config.PeerTimeout/lateShare {
		why = guard.Late
	}
	switch s.stage {
	case forwarding:
		t.due = core.Never // it may still answer; another owner is asked
		c.guard.Failed(&t.call, why, out)
	case probing:
		guard.Slow(t.node, now.Mono-t.sent, out)
		c.fail(now, s, t, why, out)
	case reading, writing, repairing:
		c.fail(now, s, t, why, out)
	case free:
	}
}

// askAgain repeats a call that is due, unless the peer's breaker has opened
// meanwhile: then it is one of those that are asked when nobody else is left.
func (c *Coordinator) askAgain(now core.Now, s *slot, t *try, out *core.Out) {
	if t.resort || !c.guard.Open(t.node) {
		c.ask(now, s, t, out)
		return
	}
	c.guard.Dropped(&t.call, out)
	switch {
	case t.owner != "":
		t.state = failed
	case s.stage == writing:
		t.state = avoided
	default:
		t.state = idle
	}
}

// askStale asks a peer again that goes by newer layouts. Of a forward it is asked
// in its turn, when nobody else has time to answer: two owners would mint the write
// twice.
func (c *Coordinator) askStale(now core.Now, s *slot, t *try, out *core.Out) {
	if s.stage == forwarding {
		t.state = idle
		return
	}
	c.ask(now, s, t, out)
}

// SetView goes on by a newer view. Where only peers' addresses or speeds have
// changed, the requests under way do not care.
func (c *Coordinator) SetView(now core.Now, v *core.View, out *core.Out) {
	before := c.view.Stamp()
	c.view = v
	c.guard.SetView(v)
	if before == v.Stamp() {
		return
	}
	for _, s := range c.slots {
		s.listed, s.spare = false, nil // by another layout there are others
		switch s.stage {
		case reading:
			c.readAnew(now, s, out)
		case writing:
			c.askOwners(now, s, out)
		case repairing:
			c.repairAnew(now, s, out)
		case forwarding, probing:
		case free:
			continue
		}
		for i := range s.peers {
			if s.stage != free && s.peers[i].state == stale {
				c.askStale(now, s, &s.peers[i], out)
			}
		}
		if s.stage != free {
			c.settle(now, s, out)
		}
	}
	c.open(now, out)
}

// beginAnew takes a request's first step once more, by a newer layout or as a
// fallback.
func (c *Coordinator) beginAnew(now core.Now, s *slot, out *core.Out) {
	c.renew(s)
	c.begin(now, s, out)
}

// renew has a request go on under another ID, so that nobody's answer of before is
// taken for one of after: the same node may now be asked for something else.
func (c *Coordinator) renew(s *slot) {
	s.id = c.reqID(s.id.Slot(), s.id.Generation()+1)
	c.timers.disarm(s)
}

// readAnew starts a read over where its layout has changed.
func (c *Coordinator) readAnew(now core.Now, s *slot, out *core.Out) {
	l := c.view.ReadLayout()
	if l.Name() == s.layout {
		return
	}
	if s.op == core.OpDelete && !l.Owns(c.config.Self, s.partition) && !s.fallback && s.forward != nil {
		// Nothing has been written, and a second hop is not taken.
		c.finish(now, s, core.Result{Code: core.CodeQuorum, Outcome: core.NotWritten, Required: c.need(s, l)}, out)
		return
	}
	c.beginAnew(now, s, out)
}
