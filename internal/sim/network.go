package sim

import (
	"math/rand/v2"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/node"
)

// maxTransit bounds how long a message may be on its way: a real transport's
// keepalive and TCP user timeout keep it below half of M.
const maxTransit = id.MaxMessageAge / 2

// network is the model of what lies between the nodes. It loses, delays,
// reorders and duplicates; it never damages a message, which checksums find.
type network struct {
	rng     *rand.Rand
	latency time.Duration
	refuse  float64
	addrs   map[string]int // who listens where, by index; looked up by key only

	// What is wrong now, from the active faults.
	cut       [maxNodes][maxNodes]bool // from, to
	loss      float64
	duplicate float64
	lateBy    time.Duration // of duplicates
	reorder   float64
	slowBy    time.Duration // of reordered messages

	stats NetworkStats
}

// NetworkStats counts messages between nodes.
type NetworkStats struct {
	Sent, Delivered       uint64
	Lost, Cut, Duplicated uint64
	Delayed               uint64
	Refused, Expired      uint64
	ToTheDead             uint64 // arrived where nobody listened any more
}

func newNetwork(p *Plan) network {
	return network{
		rng: core.Stream(p.Seed, "sim/network"), latency: p.Latency, refuse: p.Refuse,
		addrs: make(map[string]int),
	}
}

// transit draws how long a message is on its way.
func (n *network) transit() time.Duration {
	d := n.latency/2 + time.Duration(n.rng.ExpFloat64()*float64(n.latency)/2)
	if n.reorder > 0 && n.rng.Float64() < n.reorder {
		n.stats.Delayed++
		d += drawTime(n.rng, n.slowBy)
	}
	return min(d, maxTransit)
}

// send carries an envelope of a loop of p. A message to itself skips the
// network.
func (w *world) send(p *process, l *loop, e *core.Envelope) {
	if e.To == p.id {
		w.arrive(p, e)
		return
	}
	n := &w.net
	n.stats.Sent++
	addr := e.Addr
	if addr == "" && l.view != nil {
		peer, _ := l.view.Peer(e.To)
		addr = peer.Addr
	}
	remaining := e.Deadline - w.mono(p)
	to, known := n.addrs[addr]
	switch {
	case remaining <= 0:
		n.stats.Expired++
		w.refused(p, e, time.Microsecond)
		return
	case !known:
		n.stats.Refused++
		w.refused(p, e, n.transit())
		return
	case n.cut[p.index][to]:
		n.stats.Cut++
		return
	case !w.nodes[to].up && n.rng.Float64() < n.refuse:
		n.stats.Refused++
		w.refused(p, e, n.transit())
		return
	case n.rng.Float64() < n.loss:
		n.stats.Lost++
		return
	}
	w.carry(to, e, remaining, n.transit())
	if n.duplicate > 0 && n.rng.Float64() < n.duplicate {
		n.stats.Duplicated++
		w.carry(to, e, remaining, min(n.transit()+drawTime(n.rng, n.lateBy), maxTransit))
	}
}

// carry brings a copy of an envelope to a node after a while. On the wire its
// deadline is the time that remains.
func (w *world) carry(to int, e *core.Envelope, remaining, after time.Duration) {
	c := *e
	c.Deadline = remaining
	w.queue.push(event{at: w.now + after, kind: evArrive, node: int32(to), env: &c})
}

// refused tells the sender after a while that a request never left. Nobody
// waits to hear that of a reply.
func (w *world) refused(p *process, e *core.Envelope, after time.Duration) {
	if e.Reply {
		return
	}
	c := *e
	w.queue.push(event{at: w.now + after, kind: evRefused, node: int32(p.index), gen: p.gen, env: &c})
}

// arrived gives an envelope that was carried to whoever runs there now, which
// may be a later process than the one that it was sent to.
func (w *world) arrived(p *process, e *core.Envelope) {
	if !p.up {
		w.net.stats.ToTheDead++
		return
	}
	w.net.stats.Delivered++
	e.Deadline += w.mono(p)
	w.arrive(p, e)
}

// arrive routes an envelope to its loop.
func (w *world) arrive(p *process, e *core.Envelope) {
	c := *e
	i := node.Route(&c, len(p.shards))
	if i < 0 {
		i = controlLoop
	}
	w.input(p, i, input{kind: inDeliver, env: &c})
}
