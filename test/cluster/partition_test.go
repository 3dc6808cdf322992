package cluster

import (
	"fmt"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/audit"
)

// awaitWrite has a client write through a node until it succeeds, and returns
// the write. What it tried is in the log.
func (c *caller) awaitWrite(p *process, key string, strict bool) (o *audit.Op) {
	c.m.t.Helper()
	await(c.m.t, fmt.Sprintf("a write of %s through %s, strict %v, to succeed", key, p.id, strict), func() bool {
		o, _ = c.write(p, key, nil, false, strict, []*process{p})
		return o != nil
	})
	return o
}

// TestTier3Halves cuts a cluster in two, and sloppy writes go on on both
// sides. After the heal the siblings of both are there, no more and no fewer.
func TestTier3Halves(t *testing.T) {
	m := newMachines(t, 5)
	stop := m.work()
	m.goOn(300)
	m.net.split(0, 1)
	m.goOn(300)
	probe := m.caller(tier3Clients)
	for round := range 3 {
		for _, p := range m.nodes {
			probe.awaitWrite(p, fmt.Sprint("both-", round), false)
		}
	}
	m.net.heal()
	m.goOn(200)
	stop()
	m.check()
}
