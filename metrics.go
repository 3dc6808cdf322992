package dynamo

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dynamo-kv/dynamo/internal/metrics"
)

// Metrics returns a collector of all that the node measures, for a registry of
// the program's own; docs/metrics.md lists it. The node serves the same at
// /metrics, from a registry that nothing else is in. It collects nothing before
// Start, and with Config.Metrics.Enabled off.
//
// Where several nodes run in one program, tell them apart by a label:
//
//	for _, n := range nodes {
//		prometheus.WrapRegistererWith(prometheus.Labels{"node": n.ID()}, registry).MustRegister(n.Metrics())
//	}
func (n *Node) Metrics() prometheus.Collector { return n.shown }

// reading is all that the node shows at this moment; false: nothing.
func (n *Node) reading() (*metrics.Reading, bool) {
	p := n.parts.Load()
	if p == nil || !n.cfg.Metrics.Enabled {
		return nil, false
	}
	return &metrics.Reading{
		Status:    p.runtime.Status(),
		Counters:  p.runtime.Counters(),
		Queued:    p.runtime.Queued(),
		Storage:   p.engine.Stats(),
		Transport: p.peers.Stats(),
		Build:     metrics.ReadBuild(),
		Process:   metrics.ReadProcess(),
		Buckets:   n.cfg.Metrics.Buckets,
	}, true
}

// buckets returns the bounds by which durations are counted, none where they
// are not.
func (c *Config) buckets() []time.Duration {
	if !c.Metrics.Enabled {
		return nil
	}
	return c.Metrics.Buckets
}
