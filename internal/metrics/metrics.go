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
}

func newCollector(source Source) *collector {
	return &collector{
		source: source,
		members: prometheus.NewDesc("dynamo_cluster_members",
			"Members of the cluster that have not left, by this node's opinion of their health; itself included.",
			[]string{"status"}, nil),
	}
}

// Describe names every metric.
func (c *collector) Describe(to chan<- *prometheus.Desc) { to <- c.members }

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
}
