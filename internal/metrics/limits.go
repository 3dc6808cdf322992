package metrics

import "github.com/dynamo-kv/dynamo/internal/core"

// countedLimits are those that the machines and queues count.
func countedLimits() []core.LimitName {
	names := make([]core.LimitName, core.Limits)
	for i := range names {
		names[i] = core.LimitName(i)
	}
	return names
}

func limitFamilies() []family {
	return []family{
		counters("limits_hit_total", "Times that a limit was reached, by its name.",
			[]string{"limit"}, func(r *Reading, show show) {
				for _, l := range countedLimits() {
					show(float64(r.Counters.Limits[l]), l.String())
				}
				show(float64(r.Status.Hints.Refused), "hint_bytes")
				show(float64(r.Transport.Refused), "outbox")
			}),
		durations("drain_duration_seconds", "Time that a shard's loop took for what it does at once, reads of the disk included.",
			nil, func(r *Reading, show showDurations) { show(&r.Counters.Drains) }),
		gauges("queue_depth", "Requests that wait for a loop, over all loops, by whose they are.",
			[]string{"queue"}, func(r *Reading, show show) {
				show(float64(r.Queued.Clients), "client")
				show(float64(r.Queued.Peers), "peer")
			}),
		gauges("queue_depth_max", "Requests that wait in the loop with the most of them.",
			[]string{"queue"}, func(r *Reading, show show) {
				show(float64(r.Queued.MostClients), "client")
				show(float64(r.Queued.MostPeers), "peer")
			}),
		gauges("queue_limit", "Requests that may wait for one loop; what is more is turned away.",
			[]string{"queue"}, func(r *Reading, show show) {
				show(float64(r.Queued.ClientsLimit), "client")
				show(float64(r.Queued.PeersLimit), "peer")
			}),
	}
}
