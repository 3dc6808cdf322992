package sim

import (
	"math/rand/v2"
	"time"

	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/breaker"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/node"
)

// Calling is how the nodes of a run call each other.
type Calling struct {
	Breaker    breaker.Config // zero: none ever opens
	Retry      backoff.Policy // zero: no call is repeated
	Select     bool
	ProbeShare float64
	ReadAll    bool
	ReadHedge  bool
}

// drawCalling draws breakers that open soon and late in most runs, and the
// other ways to choose whom to ask.
func (p *Plan) drawCalling(rng *rand.Rand) {
	c := &p.Calling
	if rng.IntN(8) > 0 {
		c.Breaker = breaker.Default()
		c.Breaker.Failures = pick(rng, 3, 5)
		c.Breaker.Reset = pick(rng, 3*time.Second, 10*time.Second, 30*time.Second)
	}
	if rng.IntN(8) > 0 {
		c.Retry = backoff.Default()
	}
	c.Select = rng.IntN(4) > 0
	c.ProbeShare = pick(rng, 0, 0.01, 0.1)
	c.ReadAll = rng.IntN(4) == 0
	c.ReadHedge = rng.IntN(4) > 0
}

// apply sets what a node's options have of it.
func (c *Calling) apply(o *node.Options) {
	o.Breaker, o.Retry = c.Breaker, c.Retry
	o.Select, o.ProbeShare = c.Select, c.ProbeShare
	o.ReadAll, o.ReadHedge = c.ReadAll, c.ReadHedge
}

// CircuitStats counts what breakers and their owners did.
type CircuitStats struct {
	Opened, HalfOpened, Closed uint64
	Reopened                   uint64 // half-open ones that a probe opened again
}

func (s *CircuitStats) add(o *CircuitStats) {
	s.Opened += o.Opened
	s.HalfOpened += o.HalfOpened
	s.Closed += o.Closed
	s.Reopened += o.Reopened
}

// circuitBound is how long a breaker may be open of a peer that answers: until
// it is half-open, and until its probes are answered or given up; once more
// where probes of before the healing were lost, and once where others were to
// noise.
func (w *world) circuitBound() time.Duration {
	b := w.plan.Calling.Breaker
	if b.Failures == 0 {
		return 0
	}
	return 3*(b.Reset+2*w.plan.Gossip) + time.Second
}

// checkCircuits holds the breakers of a new view to the truth: one whose peer
// has been there and well for long enough is closed. Messages that are lost all
// the time are no calm.
func (w *world) checkCircuits(p *process, v *core.View) {
	for i := range v.Peers {
		peer := &v.Peers[i]
		q := w.nodes[peerIndex(peer.ID)]
		w.countCircuit(p, peer)
		since := &p.open[q.index]
		switch {
		case peer.Circuit.State == core.CircuitClosed:
			*since = 0
			continue
		case *since == 0:
			*since = w.now
		}
		from := w.now - w.circuitBound()
		if *since < from && w.calm(from) && w.plan.Noise.Share == 0 && q.up && q.born < from && p.born < from && p.joined && q.joined {
			w.fail("breaker", "the breaker of %v for %v, with which nothing is wrong, has not been closed for %v", p.id, q.id, w.now-*since)
		}
	}
}

// countCircuit counts a change of a breaker since the view before.
func (w *world) countCircuit(p *process, peer *core.Peer) {
	before := core.Circuit{}
	if p.view != nil {
		old, _ := p.view.Peer(peer.ID)
		before = old.Circuit
	}
	s := &w.report.Stats.Circuits
	if peer.Circuit.State == before.State {
		return
	}
	switch peer.Circuit.State {
	case core.CircuitOpen:
		s.Opened++
		if before.State == core.CircuitHalfOpen {
			s.Reopened++
		}
	case core.CircuitHalfOpen:
		s.HalfOpened++
	case core.CircuitClosed:
		s.Closed++
	}
}

// checkCalled holds a request of a background machine to its guard: it calls
// nobody whose breaker is open. What a client waits for may, when nobody else
// is left.
func (w *world) checkCalled(p *process, l *loop, e *core.Envelope) {
	if e.Reply || l.shard == nil || l.view == nil {
		return
	}
	switch e.Req.Machine() {
	case core.MachineHandoff, core.MachineAntiEntropy, core.MachineForget:
	case core.MachineCoordinator, core.MachineMembership, core.MachineOutside:
		return
	}
	if peer, _ := l.view.Peer(e.To); peer.Circuit.State != core.CircuitClosed {
		kind, _ := describe(e.Msg)
		w.fail("breaker", "%v sends %v to %v, whose breaker is %v", p.id, kind, e.To, peer.Circuit.State)
	}
}
