package lss

import "github.com/dynamo-kv/dynamo/internal/storage"

// Stats implements storage.Engine.
func (e *Engine) Stats() storage.Stats {
	if err := e.gate.Enter(); err != nil {
		return storage.Stats{}
	}
	defer e.gate.Leave()
	stats := storage.Stats{
		Commits:     e.commits.Load(),
		Fsyncs:      e.disk.Syncs(),
		FsyncTimes:  e.disk.SyncTimes(),
		Compactions: e.merges.Load(),
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	stats.Keys = int64(e.index.Len())
	stats.MemoryBytes = e.keyBytes + stats.Keys*itemBytes
	for _, g := range e.queue {
		stats.MemoryBytes += int64(cap(g.buf))
	}
	for _, b := range e.spare {
		stats.MemoryBytes += int64(cap(b))
	}
	for _, s := range e.current.segments {
		stats.DiskBytes += s.fileBytes.Load()
		stats.MemoryBytes += int64(len(s.filter))*8 + int64(len(s.records))*recordMemory
		if !s.sealed {
			stats.LogBytes += int64(s.size)
		}
		if e.mergeable(s) {
			stats.CompactionDebt += s.live
		}
	}
	if e.next != nil {
		stats.DiskBytes += e.next.fileBytes.Load()
	}
	stats.Stalls, stats.Stalled = e.stalls, e.stalled
	stats.Damaged, stats.Scrub = e.damaged, e.scrubbed
	return stats
}

// recordMemory is the size of a record in memory.
const recordMemory = 48
