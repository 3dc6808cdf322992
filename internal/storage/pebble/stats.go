package pebble

import (
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

// stalls counts how often and for how long pebble has made commits wait, by
// what it had to wait for first. It tells of the beginnings and ends of such
// times, which do not overlap.
type stalls struct {
	mu     sync.Mutex // guards what follows
	counts [storage.StallReasons]storage.Stalls
	why    storage.StallReason
	since  time.Time // zero: commits need not wait now
}

func (s *stalls) begin(i pebble.WriteStallBeginInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.why = reason(i.Reason)
	s.counts[s.why].Count++
	s.since = time.Now()
}

// reason returns what pebble waits for; it tells that in words, and has two of
// them.
func reason(words string) storage.StallReason {
	if strings.HasPrefix(words, "memtable") {
		return storage.StallMemory
	}
	return storage.StallTables
}

func (s *stalls) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[s.why].Spent += time.Since(s.since)
	s.since = time.Time{}
}

// read adds the counts to stats, a stall under way included.
func (s *stalls) read(stats *storage.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stats.StallsBy = s.counts
	if !s.since.IsZero() {
		stats.StallsBy[s.why].Spent += time.Since(s.since)
	}
	for _, r := range stats.StallsBy {
		stats.Stalls += r.Count
		stats.Stalled += r.Spent
	}
}

// Stats implements storage.Engine.
func (e *Engine) Stats() storage.Stats {
	if err := e.gate.Enter(); err != nil {
		return storage.Stats{}
	}
	defer e.gate.Leave()
	m := e.db.Metrics()
	stats := storage.Stats{
		Keys:           -1,
		DiskBytes:      int64(m.DiskSpaceUsage()) + unseenLog(m),
		LogBytes:       int64(m.WAL.Size),
		MemoryBytes:    int64(m.MemTable.Size+m.MemTable.ZombieSize) + m.BlockCache.Size,
		Commits:        e.commits.Load(),
		Fsyncs:         e.disk.Syncs(),
		FsyncTimes:     e.disk.SyncTimes(),
		CacheHits:      uint64(m.BlockCache.Hits),
		CacheMisses:    uint64(m.BlockCache.Misses),
		Flushes:        uint64(m.Flush.Count),
		Compactions:    uint64(m.Compact.Count),
		CompactionDebt: int64(m.Compact.EstimatedDebt),
		Levels:         int64(m.ReadAmp()),
		Level0:         m.Levels[0].TablesCount,
	}
	e.stalls.read(&stats)
	return stats
}

// unseenLog returns the bytes of logs that pebble does not count among those of
// its files: of the one that it writes it knows how large it was when it was
// opened, nothing where it is no recycled one.
func unseenLog(m *pebble.Metrics) int64 {
	return max(0, int64(m.WAL.Size)-int64(m.WAL.PhysicalSize))
}
