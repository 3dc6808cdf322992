package pebble

import (
	"sync"
	"time"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

// stalls counts how often and for how long pebble has made commits wait. It
// tells of the beginnings and ends of such times, which do not overlap.
type stalls struct {
	mu    sync.Mutex // guards what follows
	count uint64
	spent time.Duration
	since time.Time // zero: commits need not wait now
}

func (s *stalls) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	s.since = time.Now()
}

func (s *stalls) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spent += time.Since(s.since)
	s.since = time.Time{}
}

// read returns the counts, a stall under way included.
func (s *stalls) read() (count uint64, spent time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	spent = s.spent
	if !s.since.IsZero() {
		spent += time.Since(s.since)
	}
	return s.count, spent
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
		DiskBytes:      int64(m.DiskSpaceUsage()),
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
	}
	stats.Stalls, stats.Stalled = e.stalls.read()
	return stats
}
