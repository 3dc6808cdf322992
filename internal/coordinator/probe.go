package coordinator

import (
	"math/rand/v2"
	"strconv"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

const (
	// maxProbes bounds the probes under way in a shard: far more than are of use.
	maxProbes = 64

	// unknownShare is the share of requests beside which an owner is probed of
	// which nothing is known, where there are probes: a node that only forwards
	// learns of nobody else's latency, and has none to choose by at first.
	unknownShare = 0.1
)

// probes decides when an owner is asked only for the sake of its latency.
// Whoever is known to be slow is not chosen any more, and so would stay known
// for it. A probe is a read beside a request, which does not wait for it: a
// request that tried a slow owner itself would be as slow as that.
type probes struct {
	share float64
	rng   *rand.Rand // of its own, so that other draws do not depend on it
	open  int
}

func newProbes(c *Config) probes {
	return probes{share: c.ProbeShare, rng: core.Stream(c.Seed, "coordinator/probes/"+strconv.Itoa(c.Shard))}
}

// ended gives back the place of a slot that was a probe.
func (p *probes) ended(s *slot) {
	if s.stage == probing {
		p.open--
	}
}

// probe reads the key of a request from an owner that was not chosen to be
// asked, now and then.
func (c *Coordinator) probe(now core.Now, s *slot, out *core.Out) {
	p := &c.probes
	if !c.config.Select || p.share <= 0 || p.open >= maxProbes {
		return
	}
	draw := p.rng.Float64()
	if draw >= max(p.share, unknownShare) {
		return
	}
	node, ok := c.whomToProbe(s, draw >= p.share)
	if !ok {
		return
	}
	beside := c.take()
	if beside == nil {
		return
	}
	beside.stage, beside.answered = probing, true
	beside.op, beside.key, beside.partition = core.OpGet, s.key, s.partition
	beside.began, beside.deadline = now.Mono, now.Mono+2*c.config.PeerTimeout // it ends by its timeout
	beside.peers = append(beside.peers[:0], try{node: node})
	c.background++
	c.counters.Calls.Probes++
	p.open++
	c.ask(now, beside, &beside.peers[0], out)
}

// whomToProbe draws one of the owners of a request that tell nothing by it: those
// that are not asked, and those that it was forwarded to. Where only those will
// do of which nothing is known, it draws among them.
func (c *Coordinator) whomToProbe(s *slot, unknown bool) (found id.Node, ok bool) {
	n := 0
	for i := range s.peers {
		t := &s.peers[i]
		tells := t.state != idle && s.stage != forwarding
		if tells || t.owner != "" || c.status(t.node) != core.Alive {
			continue
		}
		peer, _ := c.view.Peer(t.node)
		if unknown && peer.P99 > 0 || !unknown && t.state != idle {
			continue
		}
		if n++; c.probes.rng.IntN(n) == 0 {
			found = t.node
		}
	}
	return found, n > 0
}
