package coordinator

import (
	"cmp"
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

const (
	// forwardLimit is how long after its sending a forward may still begin to
	// be executed, on the wall clocks of two nodes: more than clocks of one
	// cluster differ, and less than a message may live.
	forwardLimit = 10 * time.Second

	// maxForwards bounds the tries that a shard remembers: what a busy shard
	// executes within forwardLimit. Past it forwards are not answered.
	maxForwards = 1 << 17
)

// startForward hands the write to another owner: the fastest, or for an
// Overwrite the first that is alive, so that overwrites in sequence meet at one
// node.
func (c *Coordinator) startForward(now core.Now, s *slot, out *core.Out) {
	l := c.view.ReadLayout()
	s.stage = forwarding
	s.layout = l.Name()
	c.letGo(s, out)
	for _, owner := range l.Owners(s.partition) {
		if owner == c.config.Self {
			continue // it has no room
		}
		t := try{node: owner}
		if c.avoids(s, owner) || c.lacksRoom(s, owner) {
			t.state = avoided // another owner or a fallback takes it instead
		}
		s.peers = append(s.peers, t)
	}
	if s.options.Overwrite {
		slices.SortStableFunc(s.peers, func(a, b try) int { return cmp.Compare(c.status(a.node), c.status(b.node)) })
	} else {
		c.rank(s.peers)
	}
	c.settle(now, s, out)
}

// forwardedTo is a node that may have executed a forward, with the start and the
// limit of its first sending. A receiver remembers what it has executed within one
// start and up to the limit. So it is sent the forward with these again, and refuses
// it where it has forgotten (seed 650: the layout changed, and an owner that had
// executed the write and crashed was sent it as one of its next start).
type forwardedTo struct {
	node     id.Node
	start    uint64
	limit    time.Duration
	sendings int // that it may have executed
}

// forwardTo notes that a node is about to be sent the write, and returns what that
// goes by.
func (c *Coordinator) forwardTo(now core.Now, s *slot, n id.Node) forwardedTo {
	i := slices.IndexFunc(s.unsure, func(f forwardedTo) bool { return f.node == n })
	if i < 0 {
		peer, _ := c.view.Peer(n)
		i = len(s.unsure)
		s.unsure = append(s.unsure, forwardedTo{node: n, start: peer.Start, limit: now.Wall + forwardLimit})
	}
	s.unsure[i].sendings++
	return s.unsure[i]
}

// spared notes that a node has not executed one sending of the write, and never will.
func (s *slot) spared(n id.Node) {
	i := slices.IndexFunc(s.unsure, func(f forwardedTo) bool { return f.node == n })
	if i < 0 {
		return // it says so twice
	}
	s.unsure[i].sendings--
	if s.unsure[i].sendings == 0 {
		s.unsure = slices.Delete(s.unsure, i, i+1)
	}
}

func (c *Coordinator) forwardMessage(now core.Now, s *slot, t *try) *core.Forward {
	to := c.forwardTo(now, s, t.node)
	c.attempts = max(1, c.attempts+1)
	c.counters.Forwarded++
	return &core.Forward{
		Start:    to.start,
		Limit:    to.limit,
		Timeout:  s.deadline - now.Mono,
		Attempt:  c.attempts,
		Fallback: t.owner != "",
		Op:       s.op,
		Key:      s.key,
		Value:    s.value,
		Context:  s.context,
		Options:  s.options,
	}
}

// settleForward asks the next owner where nobody is being waited for. An
// owner that has not answered in time may still do: it stays asked, and the
// next one gets the same write ID. Where the layout has changed meanwhile, the
// next one is among its owners, and perhaps this node.
func (c *Coordinator) settleForward(now core.Now, s *slot, out *core.Out) {
	for i := range s.peers {
		if t := &s.peers[i]; t.state == asked && t.due != core.Never {
			return
		}
	}
	if c.view.ReadLayout().Name() != s.layout {
		c.beginAnew(now, s, out)
		return
	}
	if t := s.next(); t != nil {
		c.ask(now, s, t, out)
		c.probe(now, s, out)
		return
	}
	if s.sloppy && !s.waits() && c.fallBack(now, s, out) {
		return
	}
	if s.open() {
		return
	}
	if i := slices.IndexFunc(s.peers, func(t try) bool { return t.state == avoided }); i >= 0 {
		c.ask(now, s, &s.peers[i], out) // belief may be wrong, and nobody else is left
	} else {
		r := core.Result{Code: core.CodeQuorum, Outcome: core.NotWritten, Required: c.need(s, c.view.ReadLayout())}
		switch {
		case s.overloaded:
			r.Code = core.CodeOverloaded
		case s.full:
			r.Code = core.CodeStorageFull
		}
		c.finish(now, s, r, out)
	}
}

// forwarded passes an owner's result on. One that has found no room for the write,
// with others or at all, has not executed it, and never will: the next owner may.
func (c *Coordinator) forwarded(now core.Now, s *slot, t *try, r core.Result, out *core.Out) {
	if r.Outcome == core.NotWritten {
		s.spared(t.node)
	}
	if r.Code == core.CodeStorageFull && r.Outcome == core.NotWritten {
		t.state, s.full = failed, true
		c.settle(now, s, out)
		return
	}
	t.state = done
	c.finish(now, s, r, out)
}

// forwardKey names a forwarded write at its receiver.
type forwardKey struct {
	origin id.Node
	id     version.WriteID
}

// forwards remembers what other nodes have forwarded here, so that each write is
// executed once, whatever copies and tries of it come, and a try that was refused
// never is. One that has failed is not executed again either: the version may have
// been minted and replaced meanwhile, and would come back.
type forwards struct {
	entries map[forwardKey]*forwardEntry // looked up by key only
	order   []forwardExpiry              // in order of receipt: none keeps those behind it for longer than 2*forwardLimit
	wall    time.Duration                // the latest wall clock seen: it never goes back here
}

type forwardEntry struct {
	until    time.Duration // on wall: the latest limit of its tries
	refused  uint32        // the latest attempt that was refused; 0: none
	executed bool
	finished bool // what was executed has ended, with result
	result   core.Result
}

type forwardExpiry struct {
	at  time.Duration // on wall; there is a later one where the entry's until is later
	key forwardKey
}

func newForwards() forwards {
	return forwards{entries: make(map[forwardKey]*forwardEntry)}
}

// advance moves the wall clock on and forgets what its limit protects by now.
func (f *forwards) advance(wall time.Duration) {
	f.wall = max(f.wall, wall)
	n := 0
	for n < len(f.order) && f.order[n].at < f.wall {
		if x := f.order[n]; f.entries[x.key].until == x.at {
			delete(f.entries, x.key)
		}
		n++
	}
	if n == len(f.order) {
		f.order = f.order[:0]
	} else {
		f.order = f.order[n:]
	}
}

// entry returns what is to be remembered of a forward until a limit, nil where
// there is no room for it.
func (f *forwards) entry(k forwardKey, limit time.Duration) *forwardEntry {
	e := f.entries[k]
	if e != nil && limit <= e.until {
		return e
	}
	if len(f.order) >= maxForwards {
		return nil
	}
	if e == nil {
		e = &forwardEntry{}
		f.entries[k] = e
	}
	e.until = limit
	f.order = append(f.order, forwardExpiry{at: limit, key: k})
	return e
}

func (f *forwards) finish(k forwardKey, r core.Result) {
	if e := f.entries[k]; e != nil {
		e.finished, e.result = true, r
	}
}

// Forward executes a write that another node's coordinator forwarded. The
// caller has checked its cluster and deadline; stale says that its stamp is
// older than the view's.
func (c *Coordinator) Forward(now core.Now, e *core.Envelope, stale bool, out *core.Out) {
	m := e.Msg.(*core.Forward)
	f := &c.forwards
	f.advance(now.Wall)
	if m.Start != c.config.Start {
		c.refuse(now, e, core.RefusedStart, out)
		return
	}
	if f.wall > m.Limit || m.Limit > f.wall+2*forwardLimit { // past it, or clocks differ by more than it can bear
		c.refuse(now, e, core.RefusedExpired, out)
		return
	}
	entry := f.entry(forwardKey{e.From, m.Options.WriteID}, m.Limit)
	if entry == nil {
		c.counters.Limits[core.LimitForwards]++
		return // a refusal that is not remembered would not be one
	}
	switch {
	case entry.finished && !bug.On(bug.ForwardTwice):
		out.Sends = append(out.Sends, c.reply(now, e, &core.Forwarded{Result: entry.result}))
	case entry.executed && !bug.On(bug.ForwardTwice), m.Attempt <= entry.refused:
		// Under way, or a copy of a try that was refused.
	default:
		entry.executed = true
		if why := c.execute(now, e, m, stale, out); why != 0 {
			entry.executed, entry.refused = false, m.Attempt
			c.refuse(now, e, why, out)
		}
	}
}

// execute begins a forwarded write, or says why not.
func (c *Coordinator) execute(now core.Now, e *core.Envelope, m *core.Forward, stale bool, out *core.Out) core.Refusal {
	l := c.view.ReadLayout()
	switch {
	case stale:
		return core.RefusedStale
	case l == nil:
		return core.RefusedNotOwner
	}
	fallback := !l.Owns(c.config.Self, l.Partition(m.Key))
	sloppy := c.quorum(m.Options.Quorum) == core.QuorumSloppy
	switch {
	case fallback && (!m.Fallback || !sloppy):
		return core.RefusedNotOwner
	case fallback && !c.local.HasRoom():
		return core.RefusedStorageFull
	case fallback && !c.local.HintRoom(hintSize(m.Key, m.Value)):
		return core.RefusedHintsFull
	}
	s := c.take()
	if s == nil {
		return core.RefusedOverloaded
	}
	c.counters.Executed++
	s.forward = e
	s.trace = newTrace(now, e.Trace)
	s.sloppy, s.fallback = sloppy, fallback
	s.op, s.key, s.value, s.options, s.context = m.Op, m.Key, m.Value, m.Options, m.Context
	s.deadline = now.Mono + min(m.Timeout, id.MaxMessageAge)
	s.began, s.arrived = now.Mono, now.Mono
	c.begin(now, s, out)
	return 0
}

func (c *Coordinator) refuse(now core.Now, e *core.Envelope, why core.Refusal, out *core.Out) {
	out.Sends = append(out.Sends, c.reply(now, e, &core.Refused{Why: why}))
}
