package pebble_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// The figures that are shown of pebble move with what it does.
func TestStats(t *testing.T) {
	o := options(vfs.NewDisk().FS(), true)
	o.Buckets = []time.Duration{time.Millisecond, time.Second}
	e := mustOpen(t, o)
	value := make([]byte, 1<<10)
	commit := func(i int) {
		t.Helper()
		done := make(chan error, 1)
		batch := []core.Write{{Key: fmt.Append(nil, i%512), Value: value}}
		e.Commit(batch, core.Sync, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	moved := func(s storage.Stats) bool {
		return s.Flushes > 0 && s.Compactions > 0 && s.Levels > 0 && s.CacheMisses > 0 && s.CacheHits > 0
	}
	const most = 1 << 16 // writes, by which pebble has compacted whatever it does in between
	n := 0
	for ; n < 8; n++ { // which are in the first log alone
		commit(n)
	}
	if s := e.Stats(); s.LogBytes < 8<<10 || s.DiskBytes < s.LogBytes {
		t.Errorf("after %d commits the log has %d bytes, and all files %d", n, s.LogBytes, s.DiskBytes)
	}
	for ; n < most && (n < 1024 || !moved(e.Stats())); n++ {
		commit(n)
		for range 2 { // of a key that has long been in a table
			if _, err := e.Get(fmt.Append(nil, (n+1)%512)); n >= 512 && err != nil {
				t.Fatal(err)
			}
		}
	}
	s := e.Stats()
	if !moved(s) || s.Commits != uint64(n) || s.Keys != -1 {
		t.Errorf("after %d commits: %+v", n, s)
	}
	if s.Fsyncs == 0 || s.FsyncTimes.Count() == 0 || s.LogBytes == 0 || s.DiskBytes < s.LogBytes || s.MemoryBytes == 0 {
		t.Errorf("%d syncs, %d of them timed, log %d, disk %d, memory %d",
			s.Fsyncs, s.FsyncTimes.Count(), s.LogBytes, s.DiskBytes, s.MemoryBytes)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
