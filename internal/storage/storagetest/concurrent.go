package storagetest

import (
	"errors"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// testCompletionOrder has several callers that do not wait, with durabilities
// that take their turns.
func testCompletionOrder(t *testing.T, e storage.Engine) {
	const callers, commits = 4, 200
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			done := make(chan int, commits)
			for i := range commits {
				d := core.Sync
				if (i+caller)%3 == 0 {
					d = core.NoSync
				}
				batch := []core.Write{set(fmt.Sprintf("%d/%d", caller, i), "v")}
				if i%17 == 0 {
					batch = nil
				}
				e.Commit(batch, d, func(err error) {
					if err != nil {
						t.Errorf("completion: %v", err)
					}
					done <- i
				})
			}
			for want := range commits {
				if got := <-done; got != want {
					t.Errorf("caller %d: completion of commit %d where that of %d was due", caller, got, want)
				}
			}
		})
	}
	wg.Wait()
}

// testCompletionOnce counts the completions of each batch until the engine is
// closed.
func testCompletionOnce(t *testing.T, e storage.Engine) {
	const commits = 100
	var times [commits]atomic.Int64
	for i := range commits {
		batch := []core.Write{set(fmt.Sprint(i), "v")}
		e.Commit(batch[:i%3%2], core.Durability(i%2), func(error) { times[i].Add(1) })
	}
	mustClose(t, e)
	for i := range commits {
		if n := times[i].Load(); n != 1 {
			t.Errorf("commit %d was completed %d times", i, n)
		}
	}
	closed := 0
	e.Commit([]core.Write{set("late", "v")}, core.Sync, func(error) { closed++ })
	if closed != 1 {
		t.Errorf("a commit to a closed engine was completed %d times", closed)
	}
}

func testEmptyBatch(t *testing.T, e storage.Engine) {
	put(t, e, set("a", "1"))
	put(t, e)
	if err := commit(e, core.NoSync); err != nil {
		t.Error(err)
	}
	if err := equal(all(t, e), []pair{{"a", "1"}}); err != nil {
		t.Error(err)
	}
}

// testConcurrent has committers, each with its own keys and a key that all of
// them share, beside readers.
func testConcurrent(t *testing.T, e storage.Engine) {
	const committers, commits = 8, 100
	var writing, reading sync.WaitGroup
	stop := make(chan struct{})
	for c := range committers {
		writing.Go(func() {
			for i := range commits {
				own, value := fmt.Sprintf("own/%d", c), fmt.Sprint(i)
				if err := commit(e, core.Durability(i%2), set(own, value), set("shared", own)); err != nil {
					t.Errorf("commit: %v", err)
					return
				}
				if got, ok := get(t, e, own); !ok || got != value {
					t.Errorf("%q reads %q, %v; want %q", own, got, ok, value)
				}
			}
		})
	}
	for range 2 {
		reading.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if n := len(all(t, e)); n > committers+1 {
					t.Errorf("%d pairs where there are at most %d", n, committers+1)
				}
			}
		})
	}
	writing.Wait()
	close(stop)
	reading.Wait()
	if n := len(all(t, e)); n != committers+1 {
		t.Errorf("%d pairs, want %d", n, committers+1)
	}
}

// testAtomic looks for a batch of which only a part is visible.
func testAtomic(t *testing.T, e storage.Engine) {
	const keys, commits = 20, 200
	write := func(value string) []core.Write {
		batch := make([]core.Write, 0, keys)
		for k := range keys {
			batch = append(batch, set(fmt.Sprintf("%02d", k), value))
		}
		return batch
	}
	put(t, e, write("0")...)
	var finished atomic.Bool
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for !finished.Load() {
				checkWhole(t, all(t, e), keys)
			}
		})
	}
	for i := range commits {
		if err := commit(e, core.NoSync, write(fmt.Sprint(i))...); err != nil {
			t.Errorf("commit: %v", err)
		}
	}
	finished.Store(true)
	wg.Wait()
}

// checkWhole reports a scan that shows parts of several batches.
func checkWhole(t *testing.T, found []pair, keys int) {
	if len(found) != keys {
		t.Errorf("%d pairs, want %d", len(found), keys)
		return
	}
	for _, p := range found {
		if p.value != found[0].value {
			t.Errorf("one scan shows %q and %q, which were committed one after the other", found[0].value, p.value)
			return
		}
	}
}

func testClose(t *testing.T, e storage.Engine) {
	put(t, e, set("a", "1"))
	mustClose(t, e)
	mustClose(t, e)
	_, err := e.Get([]byte("a"))
	isClosed(t, "Get", err)
	_, err = e.Scan(nil, nil, everything(), func(_, _ []byte) bool {
		t.Error("a scan of a closed engine shows something")
		return true
	})
	isClosed(t, "Scan", err)
	for _, d := range []core.Durability{core.Sync, core.NoSync} {
		isClosed(t, "Commit", commit(e, d, set("b", "2")))
		isClosed(t, "Commit of nothing", commit(e, d))
	}
	if s := e.Stats(); !reflect.DeepEqual(s, storage.Stats{}) {
		t.Errorf("the stats of a closed engine are %+v, want zero", s)
	}
}

// testCloseWaits closes an engine with completions outstanding.
func testCloseWaits(t *testing.T, e storage.Engine) {
	const commits = 500
	var completed atomic.Int64
	for i := range commits {
		e.Commit([]core.Write{set(fmt.Sprint(i), "v")}, core.Sync, func(err error) {
			if err != nil {
				t.Errorf("completion: %v", err)
			}
			completed.Add(1)
		})
	}
	mustClose(t, e)
	if n := completed.Load(); n != commits {
		t.Errorf("Close returned after %d of %d completions", n, commits)
	}
}

// testCloseWaitsForScan closes an engine while a scan is under way, which ends
// as if nothing had happened.
func testCloseWaitsForScan(t *testing.T, e storage.Engine) {
	pairs := fill(t, e, 10)
	var closed atomic.Bool
	var closing sync.WaitGroup
	var found []pair
	_, err := e.Scan(nil, nil, everything(), func(k, v []byte) bool {
		if len(found) == 0 {
			closing.Go(func() {
				if err := e.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
				closed.Store(true)
			})
			for { // until Close has begun
				if _, err := e.Get([]byte("000")); errors.Is(err, storage.ErrClosed) {
					break
				}
			}
		}
		if closed.Load() {
			t.Error("Close has returned while a scan is under way")
		}
		found = append(found, pair{string(k), string(v)})
		return true
	})
	closing.Wait()
	if err != nil {
		t.Errorf("a scan that began before Close: %v", err)
	}
	if err := equal(found, pairs); err != nil {
		t.Error(err)
	}
}

// testCloseRaces closes an engine that is in use, twice at once.
func testCloseRaces(t *testing.T, e storage.Engine) {
	var users, closers sync.WaitGroup
	started := make(chan struct{}, 4)
	for u := range cap(started) {
		users.Go(func() {
			for i := 0; ; i++ {
				err := commit(e, core.Durability(i%2), set(fmt.Sprintf("%d/%d", u, i), "v"))
				if err == nil {
					_, err = e.Get([]byte("0/0"))
				}
				if err == nil {
					_, err = e.Scan(nil, nil, core.Limit{Keys: 10, Bytes: 1000}, func(_, _ []byte) bool { return true })
				}
				if i == 0 {
					started <- struct{}{}
				}
				if errors.Is(err, storage.ErrClosed) {
					return
				}
				if err != nil && !errors.Is(err, core.ErrNotFound) {
					t.Errorf("in use while it is closed: %v", err)
				}
			}
		})
	}
	for range cap(started) {
		<-started
	}
	for range 2 {
		closers.Go(func() {
			if err := e.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	closers.Wait()
	users.Wait()
}
