package storage

import (
	"errors"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/histogram"
)

// The errors of engines and of Open, for errors.Is.
var (
	// ErrClosed is what every method of an engine returns after Close.
	ErrClosed = errors.New("storage engine is closed")
	// ErrFailed is part of what an engine returns after it failed: a write or
	// a sync did not reach the disk, or something that was stored cannot be
	// read. The node stops, and the next start recovers what was durable.
	ErrFailed = errors.New("storage engine has failed")
	// ErrFull is part of what Commit completes with where a batch needs more
	// memory than the engine may take. The batch is not applied, and the engine
	// goes on.
	ErrFull = errors.New("storage engine is full")
	// ErrInUse: another process, or another node in this one, holds the
	// data directory.
	ErrInUse = errors.New("data directory is in use")
	// ErrForeign: the data directory was written by another engine, another
	// node or a newer format, or not by this system at all.
	ErrForeign = errors.New("data directory is not this node's")
	// ErrDamaged: the data directory lacks what its identity says that it has,
	// or the identity cannot be read.
	ErrDamaged = errors.New("data directory is damaged")
)

// Engine stores bytes. Its methods may be called by many goroutines at once.
//
// Get and Scan are those of core.Store. Get returns core.ErrNotFound itself,
// never wrapped. A missing key and an empty value are different things. A nil
// key is the empty key; as a scan's end, nil means the end of the store.
//
// Scan shows the store as it is at one moment between two commits, and does
// not block commits. It always shows one pair if there is one, and ends after
// the pair with which a part of its limit is reached, sizes being those of
// keys and values: a zero limit is one pair. next is the first key that was
// not shown, nil if there is none in the range.
// f may call Get, Scan and Commit, but not Close.
type Engine interface {
	core.Store

	// Commit applies the batch atomically, its writes in order. It is visible
	// to Get and Scan when Commit returns, whatever becomes of it after that.
	//
	// done is called exactly once, from any goroutine, perhaps before Commit
	// returns:
	//   - nil: the batch has the durability that was asked for. With
	//     core.Sync, it and every batch whose Commit had returned when this
	//     one was called survive a crash of the machine; an empty batch is
	//     good for that as well. With core.NoSync nothing is promised yet: a
	//     crash keeps some prefix of such batches, in the order of commits.
	//   - ErrClosed: the engine was closed, and the batch is not applied.
	//   - ErrFull is part of it: the batch would take more memory than the
	//     engine may, and is not applied. A batch after which the engine holds
	//     no more than before is never refused.
	//   - otherwise the engine has failed, errors.Is(err, ErrFailed): whether
	//     the batch is durable is not known, and every later one fails too.
	// The completions of batches that one caller committed one after another
	// come in that order. done must not block, and must not use the engine.
	//
	// Commit does not wait for an fsync. It does wait where the engine has
	// more to do than its limits allow, which paces its callers.
	//
	// The engine keeps nothing of batch after Commit returned but the byte
	// slices of its writes, which are immutable.
	Commit(batch []core.Write, d core.Durability, done func(error))

	// Stats returns counters and sizes, zero after Close.
	Stats() Stats

	// Close waits for calls under way and for outstanding completions, makes
	// durable what was committed unless the engine has failed, and lets go of
	// everything. Further calls wait for the first, and return what it did:
	// nil, or the first failure that the engine met.
	Close() error
}

// Stats are an engine's counters since it was opened, and its sizes; what an
// engine does not have stays 0.
type Stats struct {
	Keys        int64  // keys that it holds, -1 where the engine does not count
	DiskBytes   int64  // files, those not needed any more included
	LogBytes    int64  // of them, the log of what is in no table yet
	MemoryBytes int64  // data and caches in memory
	Commits     uint64 // batches taken
	Fsyncs      uint64 // files and directories synced
	// FsyncTimes is how long these took, by Options.Buckets.
	FsyncTimes histogram.Histogram

	CacheHits, CacheMisses uint64 // blocks that were read
	Flushes                uint64 // of memory to tables
	Compactions            uint64 // of tables
	CompactionDebt         int64  // bytes that are to be compacted before there is peace
	Levels                 int64  // tables that a read may have to look into, at most
	Level0                 int64  // tables that overlap, not compacted even once
	Stalls                 uint64 // times that commits had to wait for the engine
	Stalled                time.Duration
	// StallsBy are those of them whose reason the engine tells.
	StallsBy [StallReasons]Stalls
	Damaged  uint64 // records that were found damaged
	Scrub    Scrub
}

// Scrub is how far an engine has come that reads what it has again and again, to
// find damage before anybody else does.
type Scrub struct {
	Bytes  uint64 // that were looked at
	Passes uint64 // over all that there was
	Found  uint64 // places that were damaged, those that cost nothing included
	// Done is the share of the pass under way that is behind it.
	Done float64
}

// Stalls are times that commits had to wait for the engine.
type Stalls struct {
	Count uint64
	Spent time.Duration
}

// StallReason is why commits had to wait.
type StallReason uint8

// The reasons that engines tell.
const (
	// StallMemory: what waits in memory to be written as tables is as much as
	// may: the disk is slower than the commits.
	StallMemory StallReason = iota
	// StallTables: there are as many overlapping tables as may be: compaction is
	// slower than the commits.
	StallTables

	// StallReasons is their number.
	StallReasons = iota
)

// String returns the reason as metrics show it.
func (r StallReason) String() string {
	switch r {
	case StallMemory:
		return "memory"
	case StallTables:
		return "tables"
	}
	return "unknown"
}
