package coordinator

import (
	"slices"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/quorum"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// startWrite mints at this node and sends the whole set to the other owners. A
// node that has no room hands the write to one that may have.
func (c *Coordinator) startWrite(now core.Now, s *slot, out *core.Out) {
	if !c.mayFit(now, s) {
		c.finish(now, s, core.Result{Code: core.CodeStorageFull, Outcome: core.NotWritten}, out)
		return
	}
	var owners []id.Node
	if s.fallback {
		owners = c.owners(s)
	}
	res := c.local.Write(core.LocalWrite{
		For:       owners,
		Key:       s.key,
		Context:   s.context,
		Overwrite: s.options.Overwrite,
		Write: version.Write{
			ID:        s.options.WriteID,
			Tombstone: s.op == core.OpDelete,
			Timestamp: int64(now.Wall),
			Data:      s.value,
		},
	}, out)
	if res.Code == core.CodeStorageFull {
		s.local = failed
		if c.moveOn(now, s, out) {
			return
		}
	}
	if res.Code != core.CodeOK {
		c.finish(now, s, core.Result{Code: res.Code, Outcome: core.NotWritten}, out)
		return
	}
	s.traceEnd(now, out) // of the read before it, if there was one
	s.stage = writing
	s.listed, s.spare = false, nil
	s.set, s.seen, s.minted = res.Set, res.Context, c.view.Stamp()
	s.value = nil // it is in the set now
	c.letGo(s, out)
	c.awaitLocal(s, res.Flush)
	s.traceLocal(now, "write", out)
	c.askOwners(now, s, out)
	c.settle(now, s, out)
}

// awaitLocal notes the flush that this node's own copy waits for: nearly always
// the latest, and an earlier one where a read finds a key that is on its way.
func (c *Coordinator) awaitLocal(s *slot, flush uint64) {
	if flush == 0 {
		s.local = done
		return
	}
	s.local, s.localFlush = asked, flush
	at := len(c.waits)
	for at > 0 && c.waits[at-1].flush > flush {
		at--
	}
	c.waits = slices.Insert(c.waits, at, wait{flush: flush, req: s.id})
}

// askOwners sends the set to each owner of each live layout that has not got
// it yet.
func (c *Coordinator) askOwners(now core.Now, s *slot, out *core.Out) {
	for _, l := range c.view.Layouts.Live {
		for _, owner := range l.Owners(s.partition) {
			if owner == c.config.Self || s.find(owner) != nil {
				continue
			}
			s.peers = append(s.peers, try{node: owner})
			t := &s.peers[len(s.peers)-1]
			switch {
			case c.avoids(s, owner):
				t.state = avoided
			case c.lacksRoom(s, owner):
				t.state, s.full = failed, true
			default:
				c.ask(now, s, t, out)
			}
		}
	}
}

// settleWrite answers once W is met in each live layout, or cannot be met in
// one, and lets go of the slot when nothing is open any more.
func (c *Coordinator) settleWrite(now core.Now, s *slot, out *core.Out) {
	if !s.answered {
		verdict, worst, fallbacks := c.tallyWrite(s)
		r := core.Result{Acknowledged: worst.Yes, Fallbacks: fallbacks, Required: worst.Need, Context: s.seen}
		switch verdict {
		case quorum.Pending:
			c.standIn(now, s, out)
			return
		case quorum.Won:
			r.Code, r.Outcome = core.CodeOK, core.Written
			c.countQuorum(core.QuorumWrite, verdict, fallbacks)
			c.answer(now, s, r, out)
		case quorum.Lost:
			if c.askAvoided(now, s, out) {
				c.standIn(now, s, out)
				return
			}
			// This node has written it, so it may yet reach the others.
			r.Code, r.Outcome = core.CodeQuorum, core.Unknown
			if s.full {
				r.Code = core.CodeStorageFull
			}
			c.countQuorum(core.QuorumWrite, verdict, 0)
			c.finish(now, s, r, out)
			return
		}
	}
	crowded := c.background > maxBackground
	if open := s.open(); !open || crowded {
		if open {
			c.counters.Limits[core.LimitStragglers]++
		}
		c.finish(now, s, core.Result{}, out)
	}
}

// tallyWrite counts acknowledgements in every live layout: each distinct node
// once. The verdict is that of all of them together; worst is the layout
// furthest from its quorum.
func (c *Coordinator) tallyWrite(s *slot) (verdict quorum.Verdict, worst quorum.Tally, fallbacks int) {
	verdict = quorum.Won
	for i, l := range c.view.Layouts.Live {
		t, n := c.tally(s, l)
		if i == 0 || t.Missing() > worst.Missing() {
			worst, fallbacks = t, n
		}
		switch t.Verdict() {
		case quorum.Won:
		case quorum.Pending:
			if verdict == quorum.Won {
				verdict = quorum.Pending
			}
		case quorum.Lost:
			verdict = quorum.Lost
		}
	}
	return verdict, worst, fallbacks
}

// tally counts l's owners, and the fallbacks that stand in for those that are
// missing. It counts places, of which there is one for each owner: the owner
// has filled it, or a fallback that keeps the request for that very owner.
// When the fallback delivers its hint, the holder moves, and the place stays
// filled; counting both would count one copy twice.
func (c *Coordinator) tally(s *slot, l *ring.Layout) (t quorum.Tally, fallbacks int) {
	owners := l.Owners(s.partition)
	t = quorum.Tally{Need: c.need(s, l), Total: len(owners)}
	if s.stage == writing && bug.On(bug.SuccessBelowW) {
		t.Need--
	}
	empty, twice := 0, 0
	for _, owner := range owners {
		state := s.state(c.config.Self, owner)
		lost := state == failed || state == avoided
		switch {
		case state == done:
			t.Yes++
		case !s.sloppy || !c.missing(s, owner):
			if lost {
				t.No++
			}
		default:
			switch c.standing(s, l, owner) {
			case done:
				t.Yes++
				fallbacks++
				twice++
			case asked:
			default:
				empty++
				if lost {
					t.No++
				}
			}
		}
	}
	if bug.On(bug.CountFallbackTwice) {
		twice = min(twice, empty)
		t.Yes, fallbacks, t.No = t.Yes+twice, fallbacks+twice, max(0, t.No-twice)
	}
	if empty > 0 {
		t, fallbacks = c.tallyHere(s, l, t, fallbacks)
	}
	return t, fallbacks
}
