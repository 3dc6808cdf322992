package coordinator

import (
	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/guard"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/latency"
	"github.com/dynamo-kv/dynamo/internal/quorum"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// startRead asks the R fastest owners, or all of them, this node's own copy
// among them where it has one. Answers from an earlier layout stay merged, but
// count no more.
func (c *Coordinator) startRead(now core.Now, s *slot, out *core.Out) {
	l := c.view.ReadLayout()
	s.stage = reading
	s.layout = l.Name()
	c.letGo(s, out)
	s.local = idle
	for _, owner := range l.Owners(s.partition) {
		if owner != c.config.Self {
			s.peers = append(s.peers, try{node: owner})
		}
	}
	c.rank(s.peers)
	if l.Owns(c.config.Self, s.partition) {
		set, flush := c.local.Read(s.key, out)
		s.own = set
		c.awaitLocal(s, flush)
		s.traceLocal(now, "read", out)
		c.mergeOwn(s)
	}
	if c.config.Reads.All {
		c.askAll(now, s, out)
	}
	c.askMissing(now, s, out)
	c.setHedge(now, s)
	c.probe(now, s, out)
	c.settle(now, s, out)
}

// askAll asks every owner that is not to be passed over.
func (c *Coordinator) askAll(now core.Now, s *slot, out *core.Out) {
	for i := range s.peers {
		if t := &s.peers[i]; t.state == idle && !c.avoids(s, t.node) {
			c.ask(now, s, t, out)
		}
	}
}

// askMissing asks as many further owners as are wanted to meet R by those
// that are still expected to answer.
func (c *Coordinator) askMissing(now core.Now, s *slot, out *core.Out) {
	expected := 0
	if s.local == asked || s.local == done {
		expected++
	}
	for i := range s.peers {
		if st := s.peers[i].state; st == asked || st == done {
			expected++
		}
	}
	for want := c.need(s, c.view.ReadLayout()); expected < want; expected++ {
		if !c.askNext(now, s, out) {
			return
		}
	}
}

// askNext asks one more node: an owner that is alive, then a fallback for one
// that is not, and an owner that is thought to be dead at the very last.
func (c *Coordinator) askNext(now core.Now, s *slot, out *core.Out) bool {
	t := s.next()
	if t != nil && (!s.sloppy || c.status(t.node) == core.Alive) {
		c.ask(now, s, t, out)
		return true
	}
	l := c.view.ReadLayout()
	if s.sloppy {
		if owners := c.wanting(s, l); len(owners) > 0 {
			if n, ok := c.takeSpare(s, l); ok {
				c.readFallback(now, s, owners[0], n, out)
				return true
			}
		}
	}
	if t == nil {
		return false
	}
	c.ask(now, s, t, out)
	return true
}

// readFallback asks a fallback for its hints, which may be this node.
func (c *Coordinator) readFallback(now core.Now, s *slot, owner, n id.Node, out *core.Out) {
	if n == c.config.Self {
		set, flush := c.local.ReadHint(s.key, out)
		s.own = set
		c.awaitLocal(s, flush)
		s.traceLocal(now, "read", out)
		c.mergeOwn(s)
		return
	}
	s.peers = append(s.peers, try{node: n, owner: owner})
	c.ask(now, s, &s.peers[len(s.peers)-1], out)
}

// rank orders peers: those believed alive first, among them the known fast
// ones, then the unknown ones in their original order. There are few.
func (c *Coordinator) rank(peers []try) {
	for i := 1; i < len(peers); i++ {
		for j := i; j > 0 && c.better(peers[j].node, peers[j-1].node); j-- {
			peers[j], peers[j-1] = peers[j-1], peers[j]
		}
	}
}

func (c *Coordinator) better(a, b id.Node) bool {
	if aliveA, aliveB := c.status(a) == core.Alive, c.status(b) == core.Alive; aliveA != aliveB {
		return aliveA
	}
	if !c.config.Select {
		return false
	}
	pa, _ := c.view.Peer(a)
	pb, _ := c.view.Peer(b)
	return latency.Compare(pa.P99, pb.P99) < 0
}

// setHedge plans when one more owner is asked.
func (c *Coordinator) setHedge(now core.Now, s *slot) {
	s.hedge = core.Never
	if s.next() == nil || !c.config.Reads.Hedge {
		return
	}
	delay := minHedge
	for i := range s.peers {
		if s.peers[i].state != asked {
			continue
		}
		p, _ := c.view.Peer(s.peers[i].node)
		if p.P95 == 0 {
			p.P95 = unknownP95
		}
		delay = max(delay, p.P95)
	}
	s.hedge = now.Mono + min(delay, c.config.PeerTimeout)
}

// hedged asks one more owner, since those asked are slower than they use to
// be, and lets their percentiles show it.
func (c *Coordinator) hedged(now core.Now, s *slot, out *core.Out) {
	for i := range s.peers {
		if t := &s.peers[i]; t.state == asked {
			guard.Slow(t.node, now.Mono-t.sent, out)
		}
	}
	s.hedge = core.Never
	if t := s.next(); t != nil && !c.avoids(s, t.node) {
		c.counters.Hedges++
		c.ask(now, s, t, out)
		c.setHedge(now, s)
	}
}

// merge adds an answer. It reports whether the answer was sound.
func (c *Coordinator) merge(s *slot, set version.Siblings) bool {
	merged, err := version.Merge(s.merged, set)
	if err != nil {
		c.local.Conflict()
		return false
	}
	s.merged = merged
	return true
}

// mergeOwn adds this node's own answer once it is durable: what a crash may
// still take away must not be shown, though others make up the quorum
// (scenario lost-observed-read).
func (c *Coordinator) mergeOwn(s *slot) {
	late := s.stage == repairing && s.answered && !s.repaired
	if s.local == done && (s.stage == reading || late) {
		c.merge(s, s.own)
	}
}

// settleRead answers once R owners have answered, or cannot any more.
func (c *Coordinator) settleRead(now core.Now, s *slot, out *core.Out) {
	t, fallbacks := c.tally(s, c.view.ReadLayout())
	switch t.Verdict() {
	case quorum.Pending:
		c.askMissing(now, s, out)
	case quorum.Lost:
		c.countQuorum(core.QuorumRead, quorum.Lost, 0)
		c.finish(now, s, core.Result{
			Code: core.CodeQuorum, Outcome: core.NotWritten, Acknowledged: t.Yes, Fallbacks: fallbacks, Required: t.Need,
		}, out)
	case quorum.Won:
		c.countQuorum(core.QuorumRead, quorum.Won, fallbacks)
		if s.op == core.OpDelete {
			s.context = s.merged.Clock
			c.renew(s)
			c.startWrite(now, s, out) // which sends all owners what this read has found
			return
		}
		if s.options.Repair == core.RepairBlocking && !bug.On(bug.AnswerBeforeRepair) {
			c.repairFirst(now, s, out)
			return
		}
		c.answer(now, s, c.found(s, t, fallbacks), out)
		c.repairLater(now, s, out)
	}
}

// found is the answer of a read.
func (c *Coordinator) found(s *slot, t quorum.Tally, fallbacks int) core.Result {
	r := core.Result{
		Code: core.CodeOK, Set: s.merged, Context: s.merged.Clock,
		Acknowledged: t.Yes, Fallbacks: fallbacks, Required: t.Need,
	}
	switch len(s.merged.Live()) {
	case 0:
		r.Code = core.CodeNotFound
	case 1:
	default:
		c.counters.Divergent++
	}
	return r
}

// expired is the answer of a request whose deadline has passed.
func (c *Coordinator) expired(s *slot) core.Result {
	r := core.Result{Code: core.CodeTimeout, Outcome: core.NotWritten}
	switch s.stage {
	case reading:
		t, fallbacks := c.tally(s, c.view.ReadLayout())
		r.Acknowledged, r.Fallbacks, r.Required = t.Yes, fallbacks, t.Need
	case writing:
		_, t, fallbacks := c.tallyWrite(s)
		r.Acknowledged, r.Fallbacks, r.Required = t.Yes, fallbacks, t.Need
		r.Outcome = core.Unknown
		r.Context = s.seen
	case repairing:
		t := c.tallyHeld(s)
		r.Acknowledged, r.Required = t.Yes, t.Need
	case forwarding:
		r.Required = c.need(s, c.view.ReadLayout())
	case probing, free:
	}
	return r
}
