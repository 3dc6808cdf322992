package coordinator

import (
	"math/rand/v2"
	"strconv"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// maxProbes bounds the probes under way in a shard: far more than are of use.
const maxProbes = 64

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
	if !c.config.Select || p.share <= 0 || p.open >= maxProbes || p.rng.Float64() >= p.share {
		return
	}
	n := 0
	var chosen try
	for i := range s.peers {
		t := &s.peers[i]
		if t.state == idle && t.owner == "" && c.status(t.node) == core.Alive {
			if n++; p.rng.IntN(n) == 0 {
				chosen.node = t.node
			}
		}
	}
	if n == 0 {
		return
	}
	beside := c.take()
	if beside == nil {
		return
	}
	beside.stage, beside.answered = probing, true
	beside.op, beside.key, beside.partition = core.OpGet, s.key, s.partition
	beside.began, beside.deadline = now.Mono, now.Mono+2*c.config.PeerTimeout // it ends by its timeout
	beside.peers = append(beside.peers[:0], chosen)
	c.background++
	c.counters.Calls.Probes++
	p.open++
	c.ask(now, beside, &beside.peers[0], out)
}
