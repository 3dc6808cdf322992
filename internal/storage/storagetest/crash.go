package storagetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// CrashDisk is one machine's disk, across the crashes of the machine.
type CrashDisk interface {
	// Open starts the engine on what the disk holds. No engine is open on it.
	// Completions must come without further calls.
	Open(t testing.TB) storage.Engine
	// Crash cuts the power, whether an engine is open or not, and perhaps
	// while it is in use. The disk keeps all batches whose synced completion
	// has come, and some prefix of the others in the order of commits; what
	// comes after that may leave a torn tail, which recovery drops. The seed
	// chooses what is kept; over many seeds, sometimes batches that were not
	// synced are kept, and sometimes they are lost.
	Crash(t testing.TB, seed uint64)
}

// crashSeeds is how many random histories a crash test plays: enough that both
// of what may become of an unsynced batch is seen many times.
const crashSeeds = 24

// Crash runs the contract of a disk: what is synced survives a crash, what is
// not survives as a prefix.
func Crash(t *testing.T, newDisk func(t testing.TB) CrashDisk) {
	t.Run("Prefix", func(t *testing.T) { testPrefix(t, newDisk) })
	t.Run("Barrier", func(t *testing.T) { testBarrier(t, newDisk) })
	t.Run("Concurrent", func(t *testing.T) { testCrashInUse(t, newDisk) })
	t.Run("Idle", func(t *testing.T) { testCrashIdle(t, newDisk) })
	t.Run("CleanClose", func(t *testing.T) { testCleanClose(t, newDisk) })
}

// History is a sequence of batches to one engine, and what has been heard of
// each. Batch n writes n under the key "last", so that what is found after a
// crash tells how much of the history it is; and a number of other keys, so
// that part of a batch, or a batch left out, is seen.
//
// Commit may be called by one goroutine at a time; the rest by any.
type History struct {
	mu     sync.Mutex
	states []model // states[n] is what the engine holds after n batches
	synced int     // this many batches are durable for certain
}

// NewHistory returns the history of an engine that is empty.
func NewHistory() *History { return &History{states: []model{{}}} }

// Commit commits a next batch, made up from rng, of values up to size bytes.
// The completion is sent to done, if that is not nil.
func (h *History) Commit(e storage.Engine, rng *rand.Rand, d core.Durability, size int, done chan<- error) {
	n, batch := h.next(rng, size)
	e.Commit(batch, d, func(err error) {
		if err == nil && d == core.Sync {
			h.noteSynced(n)
		}
		if done != nil {
			done <- err
		}
	})
}

func (h *History) next(rng *rand.Rand, size int) (n int, batch []core.Write) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n = len(h.states)
	batch = append(batch, set("last", fmt.Sprint(n)))
	for range 1 + rng.IntN(5) {
		key := fmt.Sprintf("key %02d", rng.IntN(30))
		if rng.IntN(4) == 0 {
			batch = append(batch, remove(key))
			continue
		}
		batch = append(batch, set(key, strings.Repeat(fmt.Sprintf("%d,", n), 1+rng.IntN(1+size/4))))
	}
	h.states = append(h.states, h.states[n-1].apply(batch))
	return n, batch
}

func (h *History) noteSynced(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.synced = max(h.synced, n)
}

// Synced returns how many batches are durable for certain, and Committed how
// many there are.
func (h *History) Synced() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.synced
}

// Committed returns how many batches there are.
func (h *History) Committed() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.states) - 1
}

// Check returns how many batches the engine holds, and an error unless it
// holds exactly those, and between least and most of them.
func (h *History) Check(e storage.Engine, least, most int) (n int, err error) {
	found := make([]pair, 0)
	if _, err := e.Scan(nil, nil, everything(), func(k, v []byte) bool {
		found = append(found, pair{string(k), string(v)})
		if string(k) == "last" {
			_, err = fmt.Sscan(string(v), &n)
		}
		return err == nil
	}); err != nil {
		return 0, err
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("a damaged value: %w", err)
	case n < least:
		return n, fmt.Errorf("batch %d is the last one found, and %d were durable", n, least)
	case n > most:
		return n, fmt.Errorf("batch %d is found, and only %d were committed", n, most)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := equal(found, h.states[n].pairs(nil, nil)); err != nil {
		return n, fmt.Errorf("what is found is not batches 1 to %d: %w", n, err)
	}
	return n, nil
}

// cut makes the first n batches the whole history: the others were lost.
func (h *History) cut(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.states = h.states[:n+1]
	h.synced = n
}

// recovered opens the engine after a crash and checks what it holds. least is
// what was synced before the crash began. Once it has been shown, it is
// durable: the next crash must not take it back.
func recovered(t testing.TB, disk CrashDisk, h *History, least int) (storage.Engine, int) {
	t.Helper()
	e := disk.Open(t)
	n, err := h.Check(e, least, h.Committed())
	if err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	return e, n
}

// tally counts what became of unsynced batches, over all seeds of a test.
type tally struct{ kept, lost int }

// testPrefix plays random histories of one caller over several crashes.
func testPrefix(t *testing.T, newDisk func(t testing.TB) CrashDisk) {
	var sum tally
	for seed := range uint64(crashSeeds) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			disk, h := newDisk(t), NewHistory()
			e := disk.Open(t)
			for range 3 {
				writeSome(t, e, h, rng)
				least := h.Synced()
				disk.Crash(t, rng.Uint64())
				var n int
				e, n = recovered(t, disk, h, least)
				sum.kept += n - least
				sum.lost += h.Committed() - n
				h.cut(n)
			}
			mustClose(t, e)
		})
	}
	t.Logf("%d unsynced batches were kept, %d were lost", sum.kept, sum.lost)
	if !t.Failed() && (sum.kept == 0 || sum.lost == 0) {
		t.Errorf("of unsynced batches, %d were kept and %d were lost: this disk does not show both", sum.kept, sum.lost)
	}
}

// writeSome commits batches of every durability, and waits for some of them.
func writeSome(t testing.TB, e storage.Engine, h *History, rng *rand.Rand) {
	t.Helper()
	syncing := rng.IntN(100) // percent of the batches
	for range 5 + rng.IntN(40) {
		d := core.NoSync
		if rng.IntN(100) < syncing {
			d = core.Sync
		}
		size := 100
		if rng.IntN(4) == 0 {
			size = 20_000
		}
		done := make(chan error, 1)
		h.Commit(e, rng, d, size, done)
		if rng.IntN(3) == 0 {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
}

// testBarrier has an empty synced batch make durable what came before it.
func testBarrier(t *testing.T, newDisk func(t testing.TB) CrashDisk) {
	for seed := range uint64(crashSeeds) / 4 {
		rng := rand.New(rand.NewPCG(seed, 2))
		disk, h := newDisk(t), NewHistory()
		e := disk.Open(t)
		for range 10 {
			h.Commit(e, rng, core.NoSync, 2000, nil)
		}
		put(t, e)
		least := h.Committed()
		for range 10 {
			h.Commit(e, rng, core.NoSync, 2000, nil)
		}
		disk.Crash(t, seed)
		e, _ = recovered(t, disk, h, least)
		mustClose(t, e)
	}
}

// testCrashInUse crashes a machine on which several callers write, each to a
// range of keys of its own. Of each, a prefix survives.
func testCrashInUse(t *testing.T, newDisk func(t testing.TB) CrashDisk) {
	const callers = 4
	for seed := range uint64(crashSeeds) / 2 {
		disk := newDisk(t)
		e := disk.Open(t)
		var wg sync.WaitGroup
		var acked, sent [callers]atomic.Int64
		enough := make(chan struct{})
		for c := range callers {
			wg.Go(func() { countUp(t, e, c, &sent[c], &acked[c], enough) })
		}
		for range callers {
			<-enough
		}
		var least [callers]int64
		for c := range callers {
			least[c] = acked[c].Load()
		}
		disk.Crash(t, seed)
		wg.Wait()
		e = disk.Open(t)
		for c := range callers {
			checkCount(t, e, c, least[c], sent[c].Load())
		}
		mustClose(t, e)
	}
}

// crashAfter is how many batches each caller has durable before the crash.
const crashAfter = 5

// countUp commits 1, 2, 3 … under both keys of a caller until the engine is
// gone, and says on enough when crashAfter of them are durable.
func countUp(t *testing.T, e storage.Engine, caller int, sent, acked *atomic.Int64, enough chan<- struct{}) {
	const ahead = 4 // batches that wait for their completion at once
	slots := make(chan struct{}, ahead)
	var gone atomic.Bool
	told := false
	for i := int64(1); !gone.Load(); i++ {
		slots <- struct{}{}
		sent.Store(i)
		value := fmt.Sprint(i)
		batch := []core.Write{set(fmt.Sprintf("%d/first", caller), value), set(fmt.Sprintf("%d/second", caller), value)}
		e.Commit(batch, core.Sync, func(err error) {
			switch {
			case err == nil:
				acked.Store(i)
			case !errors.Is(err, storage.ErrClosed) && !errors.Is(err, storage.ErrFailed):
				t.Errorf("commit on a machine that has crashed: %v", err)
				gone.Store(true)
			default:
				gone.Store(true)
			}
			<-slots
		})
		if i == crashAfter+ahead {
			told = true
			enough <- struct{}{}
		}
	}
	if !told {
		t.Errorf("caller %d: the engine was gone before the crash", caller)
		enough <- struct{}{}
	}
}

// checkCount checks what is left of what countUp wrote.
func checkCount(t *testing.T, e storage.Engine, caller int, least, most int64) {
	t.Helper()
	first, _ := get(t, e, fmt.Sprintf("%d/first", caller))
	second, _ := get(t, e, fmt.Sprintf("%d/second", caller))
	if first != second {
		t.Errorf("caller %d: %q and %q of one batch", caller, first, second)
	}
	var n int64
	if first != "" {
		if _, err := fmt.Sscan(first, &n); err != nil {
			t.Errorf("caller %d: a damaged value: %v", caller, err)
		}
	}
	if n < least || n > most {
		t.Errorf("caller %d: batch %d is left; %d were durable and %d committed", caller, n, least, most)
	}
}

// testCrashIdle crashes again and again without a commit in between: what has
// been shown after a crash stays.
func testCrashIdle(t *testing.T, newDisk func(t testing.TB) CrashDisk) {
	for seed := range uint64(crashSeeds) / 2 {
		rng := rand.New(rand.NewPCG(seed, 3))
		disk, h := newDisk(t), NewHistory()
		e := disk.Open(t)
		writeSome(t, e, h, rng)
		least := h.Synced()
		disk.Crash(t, rng.Uint64())
		for range 3 {
			var n int
			_, n = recovered(t, disk, h, least)
			h.cut(n)
			least = n
			disk.Crash(t, rng.Uint64())
			disk.Crash(t, rng.Uint64()) // with no engine open
		}
		e, _ = recovered(t, disk, h, least)
		mustClose(t, e)
	}
}

// testCleanClose closes the engine: all that was committed is durable then.
func testCleanClose(t *testing.T, newDisk func(t testing.TB) CrashDisk) {
	for seed := range uint64(crashSeeds) / 4 {
		rng := rand.New(rand.NewPCG(seed, 4))
		disk, h := newDisk(t), NewHistory()
		for round := range 3 {
			e := disk.Open(t)
			if _, err := h.Check(e, h.Committed(), h.Committed()); err != nil {
				t.Fatalf("after a clean close: %v", err)
			}
			for range 20 {
				h.Commit(e, rng, core.NoSync, 2000, nil)
			}
			mustClose(t, e)
			if round > 0 {
				disk.Crash(t, rng.Uint64())
			}
		}
		e, _ := recovered(t, disk, h, h.Committed())
		mustClose(t, e)
	}
}
