package metrics

func repairFamilies() []family {
	return []family{
		counter("antientropy_syncs_total", "Exchanges that this node has begun with another owner of its partitions.",
			func(r *Reading) uint64 { return r.Status.Trees.Exchanges }),
		counter("antientropy_syncs_failed_total", "Exchanges with another owner that this node has begun and that broke off, since the other did not answer as it must.",
			func(r *Reading) uint64 { return r.Counters.AntiEntropy.Failed }),
		durations("antientropy_duration_seconds", "Time that an exchange took, its repairs included.",
			nil, func(r *Reading, show showDurations) { show(&r.Counters.AntiEntropy.Durations) }),
		counter("antientropy_partitions_differing_total", "Partitions that two owners found to hold differently.",
			func(r *Reading) uint64 { return r.Status.Trees.Differing }),
		counter("antientropy_keys_synced_total", "Keys that anti-entropy found to differ and has repaired, here or at the other owner.",
			func(r *Reading) uint64 { return r.Status.Trees.Repaired }),
		gauge("antientropy_pairs", "Pairs of a partition and another owner of it whose comparison this node leads; 0 where anti-entropy is off.",
			func(r *Reading) float64 { return float64(r.Status.Trees.Pairs) }),
		gauge("antientropy_pairs_compared", "Pairs that have been compared since the layouts changed or the node started.",
			func(r *Reading) float64 { return float64(r.Status.Trees.Compared) }),
		gauge("hash_trees_building", "Hash trees of partitions that are being built.",
			func(r *Reading) float64 { return float64(r.Status.Trees.Building) }),
		counters("hash_trees_total", "Hash trees, by where they came from since the start; wrong ones were found not to be those of their data.",
			[]string{"source"}, func(r *Reading, show show) {
				show(float64(r.Status.Trees.Built), "built")
				show(float64(r.Status.Trees.Loaded), "loaded")
				show(float64(r.Status.Trees.Wrong), "wrong")
			}),
		counter("read_repairs_total", "Owners, this node included, that a read found behind and that were sent what it found.",
			func(r *Reading) uint64 { return r.Status.Repairs.Sent + r.Status.Repairs.Own }),
		counter("read_repairs_failed_total", "Owners that a read found behind, and that have not acknowledged in time what they were sent, or could not take it.",
			func(r *Reading) uint64 { return r.Status.Repairs.Failed }),
		counter("read_repairs_dropped_total", "Owners that a read found behind and that are left to anti-entropy: too many at once.",
			func(r *Reading) uint64 { return r.Status.Repairs.Dropped }),
		counter("blocking_reads_waited_total", "Blocking reads that could not answer before they had repaired an owner.",
			func(r *Reading) uint64 { return r.Status.Repairs.Waited }),
	}
}

func forgettingFamilies() []family {
	return []family{
		counter("tombstones_reaped_total", "Deleted keys that this node has forgotten.",
			func(r *Reading) uint64 { return r.Status.Forgetting.Reaped }),
		counter("clock_entries_pruned_total", "Entries of keys' clocks that this node has forgotten.",
			func(r *Reading) uint64 { return r.Status.Forgetting.Pruned }),
		gauge("forgetting_keys_waiting", "Keys that all nodes have agreed on once, and for whose second round this node waits.",
			func(r *Reading) float64 { return float64(r.Status.Forgetting.Waiting) }),
		counter("forgetting_rounds_cancelled_total", "Rounds of forgetting that this node gave up.",
			func(r *Reading) uint64 { return r.Status.Forgetting.Cancelled }),
		gauge("forgetting_blocked", "1 while a member keeps this node from forgetting, else 0; the status names it.",
			func(r *Reading) float64 { return one(r.Status.Forgetting.Blocker != "") }),
		counter("lost_data_total", "Sets that show that this node's disk has lost what it had acknowledged.",
			func(r *Reading) uint64 { return r.Status.Alarms.LostData }),
		counter("conflicts_total", "Sets that were refused since equal dots had different bytes in them.",
			func(r *Reading) uint64 { return r.Status.Alarms.Conflicts }),
	}
}
