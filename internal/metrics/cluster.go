package metrics

import (
	"github.com/dynamo-kv/dynamo/internal/core"
)

func statuses() []core.Status { return []core.Status{core.Alive, core.Suspected, core.Dead} }

func clusterFamilies() []family {
	return []family{
		gauges("cluster_members", "Members of the cluster that have not left, by this node's opinion of their health; itself included.",
			[]string{"status"}, func(r *Reading, show show) {
				count := make(map[core.Status]int)
				for _, m := range r.Status.Members {
					if m.State != core.Left {
						count[m.Status]++
					}
				}
				for _, s := range statuses() {
					show(float64(count[s]), s.String())
				}
			}),
		gauge("serving", "1 while this node answers clients, else 0; the status says what it waits for.",
			func(r *Reading) float64 { return one(r.Status.Serving) }),
		gauge("under_replicated", "1 while there are fewer than N nodes to hold a key, else 0.",
			func(r *Reading) float64 { return one(r.Status.UnderReplicated) }),
		gauge("layout_version", "Number of the newest layout; 0 before there is one.",
			func(r *Reading) float64 { return float64(r.Status.Layouts.Stamp().Layout.Number) }),
		gauge("layouts_live", "Layouts that requests go by: 2 while partitions move.",
			func(r *Reading) float64 { return float64(len(r.Status.Layouts.Live)) }),
		gauge("transfer_partitions_pending", "Partitions that the layout gives this node and that are not yet copied.",
			func(r *Reading) float64 { return float64(r.Status.PullsLeft) }),
		gauge("leftover_partitions", "Partitions with keys here that this node does not own.",
			func(r *Reading) float64 { return float64(r.Status.Leftovers) }),
		counter("gossip_rounds_total", "Rounds of gossip that this node has begun.",
			func(r *Reading) uint64 { return r.Counters.Gossip.Rounds }),
		durations("gossip_duration_seconds", "Time from telling a member the news to its answer.",
			nil, func(r *Reading, show showDurations) { show(&r.Counters.Gossip.Durations) }),
		counters("gossip_dropped_total", "Messages and records of gossip that were left out, by why.",
			[]string{"reason"}, func(r *Reading, show show) {
				g := &r.Counters.Gossip
				show(float64(g.Foreign), "foreign")
				show(float64(g.Invalid), "invalid")
				show(float64(g.Expired), "expired")
				show(float64(g.Taken), "taken")
			}),
		counters("layout_plans_total", "Layouts that this node has planned.",
			[]string{"result"}, func(r *Reading, show show) {
				show(float64(r.Counters.Gossip.Plans), "made")
				show(float64(r.Counters.Gossip.Failed), "failed")
			}),
		counter("stalls_total", "Times that this node itself had stood still, and so judged nobody.",
			func(r *Reading) uint64 { return r.Counters.Gossip.Stalls }),
	}
}

// one is a truth as a gauge shows it.
func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
