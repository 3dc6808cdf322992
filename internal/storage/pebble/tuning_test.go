package pebble_test

import (
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/pebble"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// mustCommit commits one pair and waits for its completion.
func mustCommit(t *testing.T, e *pebble.Engine, key string, value []byte, d core.Durability) {
	t.Helper()
	done := make(chan error, 1)
	e.Commit([]core.Write{{Key: []byte(key), Value: value}}, d, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// stallsWhile commits until the disk holds up what held says, and commits have
// to wait; then it lets the disk go on. It returns the figures in the middle of
// the stall, and after it.
func stallsWhile(t *testing.T, held func(op vfs.Op) bool) (during, after storage.Stats) {
	t.Helper()
	hold := make(chan struct{})
	release := sync.OnceFunc(func() { close(hold) })
	disk := vfs.Watch(vfs.NewDisk().FS(), func(op vfs.Op) error {
		if held(op) {
			<-hold
		}
		return nil
	})
	e := mustOpen(t, options(disk, true))
	stop, stopped := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() {
		release()
		<-stopped
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	go func() {
		defer close(stopped)
		value := make([]byte, 1<<10)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				e.Commit([]core.Write{{Key: fmt.Append(nil, i%64), Value: value}}, core.NoSync, func(error) {})
			}
		}
	}()
	for during = e.Stats(); during.Stalls == 0; during = e.Stats() {
		runtime.Gosched()
	}
	close(stop)
	release()
	<-stopped
	return during, e.Stats()
}

// A disk that does not take tables has commits wait for memory, which shows
// while it lasts, and how long it took.
func TestStallForMemory(t *testing.T) {
	during, after := stallsWhile(t, func(op vfs.Op) bool {
		return op.Kind == errorfs.OpCreate && filepath.Ext(op.Path) == ".sst"
	})
	if by := during.StallsBy[storage.StallMemory]; by.Count == 0 || during.Stalls != by.Count {
		t.Errorf("while a table cannot be written there are %d stalls, %d of them for memory", during.Stalls, by.Count)
	}
	by := after.StallsBy[storage.StallMemory]
	if by.Spent <= during.StallsBy[storage.StallMemory].Spent || after.Stalled < by.Spent {
		t.Errorf("the stall took %v of %v; it had taken %v in its middle", by.Spent, after.Stalled, during.Stalled)
	}
}

// A larger cache keeps what a smaller one has to read again.
func TestCacheBytes(t *testing.T) {
	const keys, size = 4096, 1 << 10
	misses := func(cacheBytes int64) uint64 {
		o := options(vfs.NewDisk().FS(), true)
		o.CacheBytes = cacheBytes
		e := mustOpen(t, o)
		for i := range keys {
			mustCommit(t, e, fmt.Sprintf("key-%04d", i), make([]byte, size), core.NoSync)
		}
		readAll := func() storage.Stats {
			for i := range keys {
				if _, err := e.Get(fmt.Appendf(nil, "key-%04d", i)); err != nil {
					t.Fatal(err)
				}
			}
			return e.Stats()
		}
		moved := func(a, b storage.Stats) bool { return a.Flushes != b.Flushes || a.Compactions != b.Compactions }
		before, once, again := e.Stats(), readAll(), readAll()
		for moved(before, again) { // what is flushed or compacted is in new blocks
			before, once, again = again, readAll(), readAll()
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		return again.CacheMisses - once.CacheMisses
	}
	small, large := misses(1<<20), misses(64<<20)
	if small < keys/64 || large > small/10 {
		t.Errorf("reading 4 MiB a second time misses %d blocks with a cache of 1 MiB, and %d with one of 64", small, large)
	}
}
