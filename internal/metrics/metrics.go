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
	source                                                                   Source
	members                                                                  *prometheus.Desc
	pending, bytes, limit, stored, delivered, hintsRefused, expired          *prometheus.Desc
	treesBuilding, repaired, lostData, conflicts, leftovers, transfersToCome *prometheus.Desc
}

func newCollector(source Source) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("dynamo_"+name, help, labels, nil)
	}
	return &collector{
		source: source,
		members: desc("cluster_members",
			"Members of the cluster that have not left, by this node's opinion of their health; itself included.", "status"),
		pending:         desc("hints_pending", "Keys that this node keeps for another one, which missed a write of them.", "target"),
		bytes:           desc("hints_bytes", "Bytes of the hints that this node keeps."),
		limit:           desc("hints_limit_bytes", "Bytes of hints from which on new ones are refused."),
		stored:          desc("hints_stored_total", "Keys that were kept for another node."),
		delivered:       desc("hints_delivered_total", "Keys that another node has durably taken over."),
		hintsRefused:    desc("hints_refused_total", "Hints that were refused for want of room."),
		expired:         desc("hints_expired_total", "Markers, which hold no data, that grew too old; anti-entropy brings what they stood for."),
		treesBuilding:   desc("hash_trees_building", "Hash trees of partitions that are being built."),
		repaired:        desc("anti_entropy_keys_repaired_total", "Keys that anti-entropy found to differ and has repaired."),
		lostData:        desc("lost_data_total", "Sets that show that this node's disk has lost what it had acknowledged."),
		conflicts:       desc("conflicts_total", "Sets that were refused since equal dots had different bytes in them."),
		leftovers:       desc("leftover_partitions", "Partitions with keys here that this node does not own."),
		transfersToCome: desc("transfer_partitions_pending", "Partitions that the layout gives this node and that are not yet copied."),
	}
}

// Describe names every metric.
func (c *collector) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, to) }

// Collect reads every metric.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	st := c.source.Status()
	c.collectMembers(&st, to)
	c.collectHints(&st.Hints, to)
	gauge, count := prometheus.GaugeValue, prometheus.CounterValue
	send(to, c.treesBuilding, gauge, float64(st.Trees.Building))
	send(to, c.repaired, count, float64(st.Trees.Repaired))
	send(to, c.lostData, count, float64(st.Alarms.LostData))
	send(to, c.conflicts, count, float64(st.Alarms.Conflicts))
	send(to, c.leftovers, gauge, float64(st.Leftovers))
	send(to, c.transfersToCome, gauge, float64(st.PullsLeft))
}

func send(to chan<- prometheus.Metric, d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
	to <- prometheus.MustNewConstMetric(d, t, v, labels...)
}

// collectHints tells of every target that something is kept for, and of no
// other: a label that nothing is kept under would stay for ever.
func (c *collector) collectHints(h *core.HintReport, to chan<- prometheus.Metric) {
	for _, p := range h.Pending {
		send(to, c.pending, prometheus.GaugeValue, float64(p.Keys), string(p.Target))
	}
	send(to, c.bytes, prometheus.GaugeValue, float64(h.Bytes))
	send(to, c.limit, prometheus.GaugeValue, float64(h.Limit))
	send(to, c.stored, prometheus.CounterValue, float64(h.Stored))
	send(to, c.delivered, prometheus.CounterValue, float64(h.Delivered))
	send(to, c.hintsRefused, prometheus.CounterValue, float64(h.Refused))
	send(to, c.expired, prometheus.CounterValue, float64(h.Expired))
}

func (c *collector) collectMembers(st *core.ClusterStatus, to chan<- prometheus.Metric) {
	count := make(map[core.Status]int)
	for _, m := range st.Members {
		if m.State != core.Left {
			count[m.Status]++
		}
	}
	for _, s := range []core.Status{core.Alive, core.Suspected, core.Dead} {
		send(to, c.members, prometheus.GaugeValue, float64(count[s]), s.String())
	}
}
