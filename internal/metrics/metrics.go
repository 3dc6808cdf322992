package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// Source is where the figures come from: snapshots that are cheap to take.
type Source interface {
	// Status returns a snapshot that the caller owns.
	Status() core.ClusterStatus
}

// Handler returns what answers GET /metrics with the figures of source, as
// they are at that moment.
func Handler(source Source) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newCollector(source))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}

// collector reads a status when it is asked for figures: nothing is counted
// twice, and a node that nobody watches pays nothing.
type collector struct {
	source  Source
	members *prometheus.Desc
	// Of hints: by target, and over all of them.
	hintsPending                              *prometheus.Desc
	hintBytes                                 *prometheus.Desc
	hintsStored, hintsDelivered, hintsRefused *prometheus.Desc
}

func newCollector(source Source) *collector {
	return &collector{
		source: source,
		members: prometheus.NewDesc("dynamo_cluster_members",
			"Members of the cluster that have not left, by this node's opinion of their health; itself included.",
			[]string{"status"}, nil),
		hintsPending: prometheus.NewDesc("dynamo_hints_pending",
			"Keys that this node keeps for a node that missed writes of them.", []string{"target"}, nil),
		hintBytes: prometheus.NewDesc("dynamo_hints_bytes",
			"Bytes that the hints of this node need.", nil, nil),
		hintsStored: prometheus.NewDesc("dynamo_hints_stored_total",
			"Hints that this node has taken since it started.", nil, nil),
		hintsDelivered: prometheus.NewDesc("dynamo_hints_delivered_total",
			"Hints that were settled with their targets since the node started.", nil, nil),
		hintsRefused: prometheus.NewDesc("dynamo_hints_refused_total",
			"Hints that found no room since the node started.", nil, nil),
	}
}

// Describe names every metric.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.members, c.hintsPending, c.hintBytes, c.hintsStored, c.hintsDelivered, c.hintsRefused} {
		to <- d
	}
}

// Collect reads every metric.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	st := c.source.Status()
	count := make(map[core.Status]int)
	for _, m := range st.Members {
		if m.State != core.Left {
			count[m.Status]++
		}
	}
	for _, s := range []core.Status{core.Alive, core.Suspected, core.Dead} {
		to <- prometheus.MustNewConstMetric(c.members, prometheus.GaugeValue, float64(count[s]), s.String())
	}
	for _, p := range st.Hints.Pending {
		to <- prometheus.MustNewConstMetric(c.hintsPending, prometheus.GaugeValue, float64(p.Keys), string(p.Target))
	}
	to <- prometheus.MustNewConstMetric(c.hintBytes, prometheus.GaugeValue, float64(st.Hints.Bytes))
	to <- prometheus.MustNewConstMetric(c.hintsStored, prometheus.CounterValue, float64(st.Hints.Stored))
	to <- prometheus.MustNewConstMetric(c.hintsDelivered, prometheus.CounterValue, float64(st.Hints.Delivered))
	to <- prometheus.MustNewConstMetric(c.hintsRefused, prometheus.CounterValue, float64(st.Hints.Refused))
}
