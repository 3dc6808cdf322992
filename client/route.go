package client

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// slowShare is the percentile of a node's answers by which it is chosen.
	slowShare = 0.99

	// A node is clearly slower than another one where its percentile is
	// slowFactor times as high, and more than slowSlack higher: what is less is
	// noise, and to follow it would send all requests to one node.
	slowFactor = 2
	slowSlack  = 5 * time.Millisecond

	// probeEvery is how often an owner that is passed over gets a read all the
	// same, to which nobody listens: after a hundred it is known how fast it is.
	probeEvery = 100 * time.Millisecond
)

// pick returns the node that the request goes to next: nil where all have
// been tried.
func (c *Client) pick(r *request) *node {
	t := c.topology.Load()
	owners := t.ownersOf(r.key)
	if n := c.pickOwner(t, owners, r); n != nil {
		return n
	}
	from := rand.IntN(len(t.nodes))
	for _, most := range [...]health{suspected, dead} {
		for _, i := range owners { // dead ones: who knows
			if m := &t.nodes[i]; m.usable(r) && m.now() <= most {
				return m.node
			}
		}
		for i := range t.nodes {
			if m := &t.nodes[(from+i)%len(t.nodes)]; m.usable(r) && m.now() <= most {
				return m.node
			}
		}
	}
	return nil
}

// pickOwner returns the first of the healthiest owners that is not clearly
// slower than another one; for an Overwrite the first of the healthiest. There
// is none when all are dead.
func (c *Client) pickOwner(t *topology, owners []uint16, r *request) *node {
	best, fastest := suspected, int64(math.MaxInt64)
	for _, i := range owners {
		m := &t.nodes[i]
		if !m.usable(r) || m.now() > best {
			continue
		}
		if h := m.now(); h < best {
			best, fastest = h, math.MaxInt64
		}
		if p := m.slow.Load(); p > 0 {
			fastest = min(fastest, p)
		}
	}
	for _, i := range owners {
		m := &t.nodes[i]
		if !m.usable(r) || m.now() > best || !r.overwrite && clearlySlower(m.slow.Load(), fastest) {
			continue
		}
		c.probeOthers(t, owners, m, r)
		return m.node
	}
	return nil
}

// probeOthers sees to it that owners which are passed over are known: those
// before the one that is chosen, and those that might be faster.
func (c *Client) probeOthers(t *topology, owners []uint16, chosen *member, r *request) {
	after := false // the one that is chosen
	for _, i := range owners {
		m := &t.nodes[i]
		switch {
		case m == chosen:
			after = true
			if m.slow.Load() <= int64(slowSlack) {
				return // none is clearly faster
			}
		case m.usable(r) && m.live() && (!after || m.health == healthy):
			c.probe(m.node, r)
		}
	}
}

func clearlySlower(p, fastest int64) bool {
	return fastest < p/slowFactor && fastest+int64(slowSlack) < p
}

// usable says whether the request may be sent to the node.
func (m *member) usable(r *request) bool { return m.node != nil && !slices.Contains(r.tried, m.node) }

// now returns the node's health as it is known here.
func (m *member) now() health {
	switch {
	case !m.live():
		return dead
	case m.stalled.Load():
		return max(m.health, suspected)
	}
	return m.health
}

// probe sends a read of the request's key to a node that is passed over, now
// and then.
func (c *Client) probe(n *node, r *request) {
	now, last := int64(time.Since(c.began)), n.probed.Load()
	if now-last < int64(probeEvery) || !n.probed.CompareAndSwap(last, now) {
		return
	}
	p := &request{op: opGet, key: slices.Clone(r.key), deadline: r.deadline, answers: make(chan *attempt, 1)}
	_ = n.put(p.attempt(n)) // whether it is sent and answered does not matter
}

// budget bounds the repetitions that add load where there is too much of it
// already: to a tenth of the requests, and a hundred at once.
type budget struct{ spent atomic.Int64 } // in tenths of a repetition

const (
	repetition = 10
	maxSpent   = 100 * repetition
)

// earn counts a request that has ended.
func (b *budget) earn() {
	if b.spent.Load() > 0 {
		b.spent.Add(-1)
	}
}

// spend says whether a request may be repeated, and counts it.
func (b *budget) spend() bool {
	if b.spent.Add(repetition) <= maxSpent {
		return true
	}
	b.spent.Add(-repetition)
	return false
}
