package metrics

import "github.com/dynamo-kv/dynamo/internal/core"

func admissionFamilies() []family {
	background := func(value func(b *core.Background) float64) func(*Reading) float64 {
		return func(r *Reading) float64 { return value(&r.Status.Background) }
	}
	return []family{
		gauge("background_throttled", "1 while requests are too slow for all the background work that there might be, else 0.",
			background(func(b *core.Background) float64 { return one(b.Throttled()) })),
		gauge("background_slots", "Pieces of background work that may run at once now.",
			background(func(b *core.Background) float64 { return float64(b.Slots) })),
		gauge("background_slots_max", "Pieces of background work that may run at once while requests are fast.",
			background(func(b *core.Background) float64 { return float64(b.MaxSlots) })),
		gauge("background_slots_held", "Slots that background work holds, as the shards have told last.",
			background(func(b *core.Background) float64 { return float64(b.Held) })),
		gauge("background_slots_wanted", "Slots that there is work for, those that it holds included.",
			background(func(b *core.Background) float64 { return float64(b.Wanted) })),
		gauge("background_bytes_per_second", "Bytes a second that background work may move now; 0: there is no limit.",
			background(func(b *core.Background) float64 { return float64(b.BytesPerSecond) })),
		counter("background_waits_total", "Times that background work had to wait for a slot.",
			func(r *Reading) uint64 { return r.Status.Background.Waits }),
		counter("background_slowdowns_total", "Times that slow requests took slots away from background work.",
			func(r *Reading) uint64 { return r.Status.Background.Shrunk }),
		gauge("foreground_p99_seconds", "p99 of the latest requests, by which background work is slowed down; 0: too few are known.",
			background(func(b *core.Background) float64 { return b.P99.Seconds() })),
		gauge("foreground_threshold_seconds", "p99 of requests above which background work is slowed down.",
			background(func(b *core.Background) float64 { return b.Target.Seconds() })),
		counters("expired_total", "What was dropped without being begun, since its time was up or nobody waited for it any more.",
			[]string{"what"}, func(r *Reading, show show) {
				show(float64(r.Counters.ExpiredRequests), "request")
				show(float64(r.Counters.ExpiredMessages), "message")
			}),
	}
}
