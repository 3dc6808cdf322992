package coordinator

import (
	"slices"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/quorum"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// hintOverhead is about what a hint needs beside its key and value: a clock,
// a dot, its owners.
const hintOverhead = 256

func hintSize(key, value []byte) int { return len(key) + len(value) + hintOverhead }

// status returns what is believed of a node. One that is in a layout and not
// in the view yet is not known to be well, and one whose breaker is open is as
// good as dead: whoever asked it would wait in vain.
func (c *Coordinator) status(n id.Node) core.Status {
	switch {
	case n == c.config.Self:
		return core.Alive
	case c.guard.Open(n):
		return core.Dead
	}
	if p, ok := c.view.Peer(n); ok && p.Status != 0 {
		return p.Status
	}
	return core.Suspected
}

// owners returns the owners of every live layout, each once.
func (c *Coordinator) owners(s *slot) []id.Node {
	var all []id.Node
	for _, l := range c.view.Layouts.Live {
		for _, n := range l.Owners(s.partition) {
			if !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	return all
}

// avoids says whether an owner is passed over, for as long as others will do.
// Where only owners count, one that is believed dead is asked all the same,
// since belief may be wrong; but not one whose breaker is open.
func (c *Coordinator) avoids(s *slot, owner id.Node) bool {
	return s.sloppy && c.status(owner) == core.Dead || c.guard.Open(owner)
}

// maxSpare bounds the fallbacks of one request: in the time that a request has,
// no more can be asked in vain one after another.
const maxSpare = 32

// list looks for the fallbacks of a request: whoever is on a preference list
// and is no owner, in one layout at least, those first that are alive. Dead
// ones are left out, so that a request that cannot succeed ends at once.
func (c *Coordinator) list(s *slot) {
	if s.listed {
		return
	}
	s.listed, s.spare = true, nil
	live := c.view.Layouts.Live
	if s.stage != writing {
		live = []*ring.Layout{c.view.ReadLayout()}
	}
	for _, status := range [...]core.Status{core.Alive, core.Suspected} {
		for _, l := range live {
			l.Preference(s.partition, func(n id.Node) bool {
				if c.status(n) == status && c.isSpare(s, live, n) {
					s.spare = append(s.spare, n)
				}
				return len(s.spare) < maxSpare
			})
		}
	}
}

// isSpare says whether a node can stand in for an owner of a layout, and has
// not been asked to.
func (c *Coordinator) isSpare(s *slot, live []*ring.Layout, n id.Node) bool {
	if s.stage == writing && n == c.config.Self {
		return false // it has the request
	}
	foreign := slices.ContainsFunc(live, func(l *ring.Layout) bool { return !l.Owns(n, s.partition) })
	return foreign && s.findStandIn(n) == nil && !slices.Contains(s.spare, n) && !c.lacksRoom(s, n)
}

// takeSpare returns the next fallback of a request in a layout.
func (c *Coordinator) takeSpare(s *slot, l *ring.Layout) (id.Node, bool) {
	c.list(s)
	for i, n := range s.spare {
		if !l.Owns(n, s.partition) {
			s.spare = slices.Delete(s.spare, i, i+1)
			return n, true
		}
	}
	return "", false
}

// standing says how far others are in standing in for an owner in l: done,
// asked where one may yet be, else idle.
func (c *Coordinator) standing(s *slot, l *ring.Layout, owner id.Node) tryState {
	best := idle
	for i := range s.peers {
		t := &s.peers[i]
		if t.owner != owner || l.Owns(t.node, s.partition) {
			continue
		}
		switch t.state {
		case done:
			return done
		case idle, asked, stale:
			best = asked
		case waiting, failed, avoided:
		}
	}
	return best
}

// standsHere says whether this node, which is no owner in l, stands in for one
// itself: it has minted into its hints, or reads them, or holds the key by
// another layout.
func (c *Coordinator) standsHere(s *slot, l *ring.Layout) bool {
	return (s.local == done || s.local == asked) && !l.Owns(c.config.Self, s.partition)
}

// tallyHere adds what this node itself and the fallbacks not asked yet mean
// for the places that are empty, of which there is at least one.
func (c *Coordinator) tallyHere(s *slot, l *ring.Layout, t quorum.Tally, fallbacks int) (quorum.Tally, int) {
	if c.standsHere(s, l) {
		t.No = max(0, t.No-1)
		if s.local == done {
			t.Yes++
			fallbacks++
		}
	}
	if t.No == 0 {
		return t, fallbacks
	}
	c.list(s)
	for _, n := range s.spare {
		if t.No > 0 && !l.Owns(n, s.partition) {
			t.No--
		}
	}
	for i := range s.peers { // failed, and asked once more
		if r := &s.peers[i]; t.No > 0 && r.owner != "" && r.state == waiting && !l.Owns(r.node, s.partition) {
			t.No--
		}
	}
	return t, fallbacks
}

// missing says whether an owner is one that others stand in for: it has
// failed, or is believed to be about to.
func (c *Coordinator) missing(s *slot, owner id.Node) bool {
	switch s.state(c.config.Self, owner) {
	case failed, waiting, avoided:
		return true
	case idle, asked:
		t := s.find(owner)
		return c.status(owner) != core.Alive || t != nil && t.missed
	case stale, done:
	}
	return false
}

// wanting returns the owners in l that are missing and have nobody to stand in
// for them.
func (c *Coordinator) wanting(s *slot, l *ring.Layout) []id.Node {
	var owners []id.Node
	for _, owner := range l.Owners(s.partition) {
		if c.missing(s, owner) && c.standing(s, l, owner) == idle {
			owners = append(owners, owner)
		}
	}
	if len(owners) > 0 && c.standsHere(s, l) {
		return owners[1:] // this node does, for one of them
	}
	return owners
}

// standIn asks the next fallbacks of a write for the owners that are missing.
// Where there are none left for one that has failed, or whose fallback has, those
// that are believed dead are asked after all.
func (c *Coordinator) standIn(now core.Now, s *slot, out *core.Out) {
	if !s.sloppy {
		return
	}
	for _, l := range c.view.Layouts.Live {
		for _, owner := range c.wanting(s, l) {
			n, ok := c.takeSpare(s, l)
			if !ok && s.passedOver(owner) {
				continue
			}
			if !ok {
				c.askAvoided(now, s, out)
				break
			}
			s.peers = append(s.peers, try{node: n, owner: owner})
			c.ask(now, s, &s.peers[len(s.peers)-1], out)
		}
	}
}

// askAvoided asks the owners that are believed dead after all: belief may be
// wrong, and nobody else is left. It reports whether there are any.
func (c *Coordinator) askAvoided(now core.Now, s *slot, out *core.Out) bool {
	found := false
	for i := range s.peers {
		if t := &s.peers[i]; t.state == avoided {
			c.ask(now, s, t, out)
			found = true
		}
	}
	return found
}

// fallBack has a fallback execute a write that no owner can be reached for.
// This node is one, and the nearest: it takes it itself, unless it is no
// member of the layout or has no room, when any other will do. An Overwrite goes
// to the first fallback that is alive, so that overwrites in sequence meet there
// as well.
func (c *Coordinator) fallBack(now core.Now, s *slot, out *core.Out) bool {
	l := c.view.ReadLayout()
	room := l.Has(c.config.Self) && !l.Owns(c.config.Self, s.partition) && c.local.HintRoom(hintSize(s.key, s.value))
	if s.options.Overwrite || !room {
		for n, ok := c.takeSpare(s, l); ok; n, ok = c.takeSpare(s, l) {
			if n == c.config.Self && room {
				break
			}
			if n == c.config.Self || room && c.status(n) != core.Alive {
				continue
			}
			s.peers = append(s.peers, try{node: n, owner: l.Owners(s.partition)[0]})
			c.ask(now, s, &s.peers[len(s.peers)-1], out)
			return true
		}
	}
	if !room {
		return false
	}
	c.letGo(s, out)
	s.fallback, s.stage, s.local = true, free, idle
	c.beginAnew(now, s, out)
	return true
}

// remember makes sure that every owner gets a write that it may have missed:
// where no fallback keeps a hint for it and none is kept here, it is marked.
// What owners missed of the key before is theirs with this write.
func (c *Coordinator) remember(now core.Now, s *slot, out *core.Out) {
	var missed []id.Node
	live := c.view.Layouts.Live
	for i, l := range live {
		for _, owner := range l.Owners(s.partition) {
			switch {
			case owner == c.config.Self, i > 0 && live[0].Owns(owner, s.partition):
			case s.state(c.config.Self, owner) == done:
				if c.local.HintsFor(s.key, owner) {
					c.local.Settle(s.key, owner, s.set, out)
				}
			case !s.stoodIn(owner):
				missed = append(missed, owner)
			}
		}
	}
	switch {
	case len(missed) == 0:
	case !s.fallback:
		c.local.Mark(now, s.key, missed, out)
	case s.minted != c.view.Stamp(): // there may be owners that the hint is not for yet
		for _, owner := range missed {
			c.local.Hint(now, &core.Hint{Key: s.key, Set: s.set, Owner: owner}, false, out)
		}
	}
}

// stoodIn says whether a fallback durably keeps the write for an owner.
func (s *slot) stoodIn(owner id.Node) bool {
	return slices.ContainsFunc(s.peers, func(t try) bool { return t.owner == owner && t.state == done })
}

// passedOver says whether an owner is not asked, and nobody else was in its place: the
// others may do. Where they cannot, settleWrite asks it, before the write is lost.
func (s *slot) passedOver(owner id.Node) bool {
	t := s.find(owner)
	return t != nil && t.state == avoided && !slices.ContainsFunc(s.peers, func(t try) bool { return t.owner == owner })
}

// waits says whether any node is being waited for or will be asked again.
func (s *slot) waits() bool {
	return slices.ContainsFunc(s.peers, func(t try) bool {
		return t.state == waiting || t.state == stale || t.state == idle || t.state == asked && t.due < core.Never
	})
}
