package coordinator

import (
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/quorum"
)

// Count adds what this coordinator has counted since the start.
func (c *Coordinator) Count(to *core.Counters) {
	to.Add(&c.counters)
	c.guard.Count(to)
}

// countAnswer counts the request of a client that is answered.
func (c *Coordinator) countAnswer(s *slot, code core.Code) {
	c.counters.Requests[s.op][code]++
	switch code {
	case core.CodeTooManySiblings:
		c.counters.Limits[core.LimitSiblings]++
	case core.CodeSetTooLarge:
		c.counters.Limits[core.LimitSetBytes]++
	case core.CodeClockTooLong:
		c.counters.Limits[core.LimitClock]++
	default:
	}
}

// countQuorum counts a quorum that is decided, and the fallbacks in one that
// is met.
func (c *Coordinator) countQuorum(kind core.QuorumKind, verdict quorum.Verdict, fallbacks int) {
	result := core.QuorumExpired
	switch verdict {
	case quorum.Won:
		result = core.QuorumMet
		c.counters.Fallbacks[kind] += uint64(fallbacks)
	case quorum.Lost:
		result = core.QuorumLost
	case quorum.Pending:
	}
	c.counters.Quorums[kind][result]++
}

// countExpired counts the quorum of a request whose deadline has come.
func (c *Coordinator) countExpired(s *slot) {
	if s.answered {
		return
	}
	switch s.stage {
	case reading:
		c.countQuorum(core.QuorumRead, quorum.Pending, 0)
	case writing:
		c.countQuorum(core.QuorumWrite, quorum.Pending, 0)
	case repairing:
		c.countQuorum(core.QuorumRepair, quorum.Pending, 0)
	case free, forwarding, probing:
	}
}
