package storagetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Restart runs what the port says of an engine over several starts and orderly
// stops. Engines that are not durable hold nothing after a stop.
func Restart(t *testing.T, s Subject) {
	for name, test := range map[string]func(*testing.T, func() storage.Engine, bool){
		"CloseMakesDurable":  testCloseMakesDurable,
		"ClosedIsNotApplied": testClosedIsNotApplied,
		"StatsBeginAnew":     testStatsBeginAnew,
	} {
		t.Run(name, func(t *testing.T) {
			dir, rng := t.TempDir(), rand.New(rand.NewPCG(15, 16))
			test(t, func() storage.Engine {
				e, err := s.Open(dir, vfs.OS(), rand.New(rand.NewPCG(17, 18)), rng)
				if err != nil {
					t.Fatal(err)
				}
				return e
			}, s.Durable)
		})
	}
}

// testCloseMakesDurable closes an engine right after commits that nobody asked
// to be synced.
func testCloseMakesDurable(t *testing.T, open func() storage.Engine, durable bool) {
	want := make(model)
	for life := range 5 {
		e := open()
		if err := equal(all(t, e), want.pairs(nil, nil)); err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		for i := range 50 {
			batch := []core.Write{set(fmt.Sprintf("key %02d", (life*7+i*3)%60), fmt.Sprintf("%d/%d", life, i)), remove(fmt.Sprintf("key %02d", i))}
			want = want.apply(batch)
			e.Commit(batch, core.NoSync, func(err error) {
				if err != nil {
					t.Errorf("completion: %v", err)
				}
			})
		}
		mustClose(t, e)
		if !durable {
			want = make(model)
		}
	}
}

// testClosedIsNotApplied closes an engine that several callers commit to: what
// was refused for that is not there at the next start, and everything else is.
func testClosedIsNotApplied(t *testing.T, open func() storage.Engine, durable bool) {
	const callers = 4
	for range 5 {
		e := open()
		var mu sync.Mutex // guards taken and refused
		var taken, refused []string
		var running sync.WaitGroup
		begun := make(chan struct{}, callers)
		for c := range callers {
			running.Go(func() {
				for i, done := 0, false; !done; i++ {
					key := fmt.Sprintf("%d/%d", c, i)
					err := commit(e, core.Durability(i%2), set(key, "v"))
					if i == 0 {
						begun <- struct{}{}
					}
					mu.Lock()
					switch {
					case err == nil:
						taken = append(taken, key)
					case errors.Is(err, storage.ErrClosed):
						refused = append(refused, key)
						done = true
					default:
						t.Errorf("commit while the engine closes: %v", err)
						done = true
					}
					mu.Unlock()
				}
			})
		}
		for range callers {
			<-begun
		}
		mustClose(t, e)
		running.Wait()
		e = open()
		for _, key := range taken {
			if _, ok := get(t, e, key); ok != durable {
				t.Errorf("%q, whose commit was taken, is there after a stop: %v", key, ok)
			}
		}
		for _, key := range refused {
			if _, ok := get(t, e, key); ok {
				t.Errorf("%q, whose commit was refused, is there", key)
			}
		}
		put(t, e, removals(slices.Concat(taken, refused))...)
		mustClose(t, e)
	}
}

func removals(keys []string) []core.Write {
	var batch []core.Write
	for _, key := range keys {
		batch = append(batch, remove(key))
	}
	return batch
}

// testStatsBeginAnew looks at the counters over two lives.
func testStatsBeginAnew(t *testing.T, open func() storage.Engine, durable bool) {
	for life := range 2 {
		e := open()
		if n := e.Stats().Commits; n != 0 {
			t.Errorf("life %d: %d commits counted before the first", life, n)
		}
		before := e.Stats().Fsyncs
		for i := range 10 {
			put(t, e, set(fmt.Sprintf("%d/%d", life, i), "value"))
		}
		s := e.Stats()
		if s.Commits != 10 {
			t.Errorf("life %d: %d commits counted of 10", life, s.Commits)
		}
		if s.Keys != -1 && s.Keys != int64(len(all(t, e))) {
			t.Errorf("life %d: %d keys counted of %d", life, s.Keys, len(all(t, e)))
		}
		if synced := s.Fsyncs > before; synced != durable {
			t.Errorf("life %d: ten synced commits take the fsyncs from %d to %d", life, before, s.Fsyncs)
		}
		if (s.DiskBytes > 0) != durable || s.LogBytes > s.DiskBytes {
			t.Errorf("life %d: %d bytes on the disk, %d of them in a log", life, s.DiskBytes, s.LogBytes)
		}
		mustClose(t, e)
	}
}
