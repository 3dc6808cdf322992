package metrics

import (
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

func storageFamilies() []family {
	return []family{
		gauge("storage_keys", "Keys that the storage engine holds, its own records of the cluster included; -1 where it does not count them.",
			func(r *Reading) float64 { return float64(r.Storage.Keys) }),
		gauge("storage_disk_bytes", "Bytes of the storage engine's files, those not needed any more included.",
			func(r *Reading) float64 { return float64(r.Storage.DiskBytes) }),
		gauge("storage_log_bytes", "Bytes of the storage engine's log, of what is in no table yet.",
			func(r *Reading) float64 { return float64(r.Storage.LogBytes) }),
		gauge("storage_free_bytes", "Bytes that the storage can still take: on its file system, or below the limit of its memory; 0 where that is not measured.",
			func(r *Reading) float64 { return float64(r.Status.Room.Left) }),
		gauge("storage_total_bytes", "Bytes that the storage could take if it were empty; 0 where that is not measured.",
			func(r *Reading) float64 { return float64(r.Status.Room.Total) }),
		gauges("storage_room_mark_bytes", "Free bytes at which the storage has that state.",
			[]string{"state"}, func(r *Reading, show show) {
				show(float64(r.Status.Room.Low), core.RoomLow.String())
				show(float64(r.Status.Room.Full), core.RoomFull.String())
			}),
		gauges("storage_room_state", "1 for the state that the storage's room is in, 0 for the others: at full it takes no more writes but deletes.",
			[]string{"state"}, func(r *Reading, show show) {
				for _, s := range []core.RoomState{core.RoomPlenty, core.RoomLow, core.RoomFull} {
					show(one(r.Status.Room.State == s), s.String())
				}
			}),
		counter("storage_refused_writes_total", "Writes of clients, and sets and hints from other nodes, that were refused for want of room.",
			func(r *Reading) uint64 { return r.Counters.Limits[core.LimitStorage] }),
		gauge("storage_memory_bytes", "Bytes of data and caches that the storage engine holds in memory.",
			func(r *Reading) float64 { return float64(r.Storage.MemoryBytes) }),
		counter("storage_commits_total", "Batches that the storage engine has taken.",
			func(r *Reading) uint64 { return r.Storage.Commits }),
		counter("storage_fsyncs_total", "Files and directories that the storage engine has synced.",
			func(r *Reading) uint64 { return r.Storage.Fsyncs }),
		durations("storage_fsync_duration_seconds", "Time that a sync of a file or directory of the storage engine took.",
			nil, func(r *Reading, show showDurations) { show(&r.Storage.FsyncTimes) }),
		counters("storage_cache_requests_total", "Blocks that the storage engine has read, by whether its cache had them.",
			[]string{"result"}, func(r *Reading, show show) {
				show(float64(r.Storage.CacheHits), "hit")
				show(float64(r.Storage.CacheMisses), "miss")
			}),
		counters("record_cache_requests_total", "Reads of stored records, by whether the shards' caches had them.",
			[]string{"result"}, func(r *Reading, show show) {
				show(float64(r.Counters.Records.Hits), "hit")
				show(float64(r.Counters.Records.Misses), "miss")
			}),
		gauge("record_cache_bytes", "Bytes of the records in the shards' caches.",
			func(r *Reading) float64 { return float64(r.Counters.Records.Bytes) }),
		counter("storage_flushes_total", "Times that the storage engine has written a table of what it held in memory.",
			func(r *Reading) uint64 { return r.Storage.Flushes }),
		counter("storage_compactions_total", "Times that the storage engine has made new tables of old ones.",
			func(r *Reading) uint64 { return r.Storage.Compactions }),
		gauge("storage_compaction_debt_bytes", "Bytes that the storage engine would compact if nothing more were written, by its estimate.",
			func(r *Reading) float64 { return float64(r.Storage.CompactionDebt) }),
		gauge("storage_read_amplification", "Tables that a read may have to look into, at most.",
			func(r *Reading) float64 { return float64(r.Storage.Levels) }),
		gauge("storage_level0_tables", "Tables of the storage engine that overlap, since they have not been compacted even once.",
			func(r *Reading) float64 { return float64(r.Storage.Level0) }),
		counters("storage_stalls_total", "Times that commits had to wait for the storage engine to catch up, by what it had to catch up with.",
			[]string{"reason"}, func(r *Reading, show show) {
				stalls(r, func(reason string, s storage.Stalls) { show(float64(s.Count), reason) })
			}),
		counters("storage_stalled_seconds_total", "Time for which commits had to wait for the storage engine to catch up, by what it had to catch up with.",
			[]string{"reason"}, func(r *Reading, show show) {
				stalls(r, func(reason string, s storage.Stalls) { show(s.Spent.Seconds(), reason) })
			}),
	}
}

// damageFamilies are what the storage engine finds that the disk has changed.
func damageFamilies() []family {
	return []family{
		counter("storage_damaged_records_total", "Records that the storage engine has found damaged since it was opened.",
			func(r *Reading) uint64 { return r.Storage.Damaged }),
		counter("storage_scrubbed_bytes_total", "Bytes that the storage engine has read again to check them: scrubbing.",
			func(r *Reading) uint64 { return r.Storage.Scrub.Bytes }),
		counter("storage_scrub_passes_total", "Times that scrubbing has come to the end of what is stored.",
			func(r *Reading) uint64 { return r.Storage.Scrub.Passes }),
		counter("storage_scrub_damage_total", "Damaged places that scrubbing has found, those that cost nothing included.",
			func(r *Reading) uint64 { return r.Storage.Scrub.Found }),
		gauge("storage_scrub_progress_ratio", "Share of what is stored that is behind the pass of scrubbing under way, 0 to 1.",
			func(r *Reading) float64 { return r.Storage.Scrub.Done }),
	}
}

// stalls shows each reason for which commits had to wait, and as other the
// stalls for which the engine tells none.
func stalls(r *Reading, show func(reason string, s storage.Stalls)) {
	other := storage.Stalls{Count: r.Storage.Stalls, Spent: r.Storage.Stalled}
	for i, s := range r.Storage.StallsBy {
		show(storage.StallReason(i).String(), s)
		other.Count -= s.Count
		other.Spent -= s.Spent
	}
	show("other", other)
}
