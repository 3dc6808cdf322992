package coordinator

import (
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// fullFor is how long a peer that had no room is asked for none: some times the
// interval in which it measures its room, so that most writes do without a
// refusal, and it has what it is asked again for soon after it has room.
const fullFor = time.Second

// fullPeer is a peer that had no room, until a time. There are as many as a
// cluster has members at most, and few.
type fullPeer struct {
	node  id.Node
	until time.Duration
}

// noteFull remembers that a node had no room for a slot's write.
func (c *Coordinator) noteFull(now core.Now, s *slot, n id.Node) {
	s.full = true
	c.forgetFull(now)
	c.full = slices.DeleteFunc(c.full, func(f fullPeer) bool { return f.node == n })
	c.full = append(c.full, fullPeer{node: n, until: now.Mono + fullFor})
}

// forgetFull lets go of what was noted too long ago.
func (c *Coordinator) forgetFull(now core.Now) {
	c.full = slices.DeleteFunc(c.full, func(f fullPeer) bool { return f.until <= now.Mono })
}

// lacksRoom says that a peer is not to be asked for room. A delete may free some
// wherever it comes to, so that it goes everywhere.
func (c *Coordinator) lacksRoom(s *slot, n id.Node) bool {
	return s.op == core.OpPut && slices.ContainsFunc(c.full, func(f fullPeer) bool { return f.node == n })
}

// mayFit says whether enough nodes may have room for a write to meet its
// quorum in every live layout, as far as is known. Where it does not, the write
// is refused before anything is stored, instead of leaving a copy where there
// is room.
func (c *Coordinator) mayFit(now core.Now, s *slot) bool {
	c.forgetFull(now)
	if len(c.full) == 0 || s.op != core.OpPut {
		return true
	}
	for _, l := range c.view.Layouts.Live {
		fit := 0
		for _, owner := range l.Owners(s.partition) {
			if !c.lacksRoom(s, owner) {
				fit++
			}
		}
		if s.sloppy && fit < c.need(s, l) {
			l.Preference(s.partition, func(n id.Node) bool {
				if !l.Owns(n, s.partition) && !c.lacksRoom(s, n) && c.status(n) != core.Dead {
					fit++
				}
				return fit < c.need(s, l)
			})
		}
		if fit < c.need(s, l) {
			return false
		}
	}
	return true
}

// moveOn hands a write that this node has no room for to another owner, or to a
// fallback, and says whether it did: one that was forwarded here goes back to
// who sent it.
func (c *Coordinator) moveOn(now core.Now, s *slot, out *core.Out) bool {
	if s.forward != nil || s.fallback {
		return false
	}
	s.full, s.local = true, idle
	if s.options.Overwrite {
		s.context = version.Clock{} // what a read before has found is for that owner to find
	}
	c.startForward(now, s, out)
	return true
}
