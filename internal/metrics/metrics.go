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
	source           Source
	members, pending *prometheus.Desc
	figures          []figure
}

// figure is a metric without labels.
type figure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*core.ClusterStatus) float64
}

func newCollector(source Source) *collector {
	return &collector{
		source: source,
		members: desc("cluster_members",
			"Members of the cluster that have not left, by this node's opinion of their health; itself included.", "status"),
		pending: desc("hints_pending", "Keys that this node keeps for another one, which missed a write of them.", "target"),
		figures: figures(),
	}
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("dynamo_"+name, help, labels, nil)
}

// figures lists every metric without labels.
func figures() []figure {
	gauge := func(name, help string, value func(*core.ClusterStatus) float64) figure {
		return figure{desc(name, help), prometheus.GaugeValue, value}
	}
	count := func(name, help string, value func(*core.ClusterStatus) float64) figure {
		return figure{desc(name, help), prometheus.CounterValue, value}
	}
	return []figure{
		gauge("hints_bytes", "Bytes of the hints that this node keeps.",
			func(st *core.ClusterStatus) float64 { return float64(st.Hints.Bytes) }),
		gauge("hints_limit_bytes", "Bytes of hints from which on new ones are refused.",
			func(st *core.ClusterStatus) float64 { return float64(st.Hints.Limit) }),
		count("hints_stored_total", "Keys that were kept for another node.",
			func(st *core.ClusterStatus) float64 { return float64(st.Hints.Stored) }),
		count("hints_delivered_total", "Keys that another node has durably taken over.",
			func(st *core.ClusterStatus) float64 { return float64(st.Hints.Delivered) }),
		count("hints_refused_total", "Hints that were refused for want of room.",
			func(st *core.ClusterStatus) float64 { return float64(st.Hints.Refused) }),
		count("hints_expired_total", "Markers, which hold no data, that grew too old; anti-entropy brings what they stood for.",
			func(st *core.ClusterStatus) float64 { return float64(st.Hints.Expired) }),
		gauge("hash_trees_building", "Hash trees of partitions that are being built.",
			func(st *core.ClusterStatus) float64 { return float64(st.Trees.Building) }),
		count("anti_entropy_keys_repaired_total", "Keys that anti-entropy found to differ and has repaired.",
			func(st *core.ClusterStatus) float64 { return float64(st.Trees.Repaired) }),
		count("tombstones_reaped_total", "Deleted keys that this node has forgotten.",
			func(st *core.ClusterStatus) float64 { return float64(st.Forgetting.Reaped) }),
		count("clock_entries_pruned_total", "Entries of keys' clocks that this node has forgotten.",
			func(st *core.ClusterStatus) float64 { return float64(st.Forgetting.Pruned) }),
		gauge("forgetting_keys_waiting", "Keys for whose second round this node waits.",
			func(st *core.ClusterStatus) float64 { return float64(st.Forgetting.Waiting) }),
		count("forgetting_rounds_cancelled_total", "Rounds of forgetting that this node gave up.",
			func(st *core.ClusterStatus) float64 { return float64(st.Forgetting.Cancelled) }),
		gauge("forgetting_blocked", "1 while a member keeps this node from forgetting, else 0; the status names it.",
			func(st *core.ClusterStatus) float64 { return float64(min(1, len(st.Forgetting.Blocker))) }),
		gauge("leftover_partitions", "Partitions with keys here that this node does not own.",
			func(st *core.ClusterStatus) float64 { return float64(st.Leftovers) }),
		gauge("transfer_partitions_pending", "Partitions that the layout gives this node and that are not yet copied.",
			func(st *core.ClusterStatus) float64 { return float64(st.PullsLeft) }),
		count("lost_data_total", "Sets that show that this node's disk has lost what it had acknowledged.",
			func(st *core.ClusterStatus) float64 { return float64(st.Alarms.LostData) }),
		count("conflicts_total", "Sets that were refused since equal dots had different bytes in them.",
			func(st *core.ClusterStatus) float64 { return float64(st.Alarms.Conflicts) }),
	}
}

// Describe names every metric.
func (c *collector) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, to) }

// Collect reads every metric.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	st := c.source.Status()
	c.collectMembers(&st, to)
	// Of every target that something is kept for, and of no other: a label that
	// nothing is kept under would stay for ever.
	for _, p := range st.Hints.Pending {
		to <- prometheus.MustNewConstMetric(c.pending, prometheus.GaugeValue, float64(p.Keys), string(p.Target))
	}
	for _, f := range c.figures {
		to <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(&st))
	}
}

func (c *collector) collectMembers(st *core.ClusterStatus, to chan<- prometheus.Metric) {
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
