package grouped

import (
	"bytes"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/histogram"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

const (
	// flushBytes is how much is gathered of what nobody waits for before it
	// takes a transaction of its own.
	flushBytes = 1 << 20
	// groupBytes is at how much a group is full: a transaction holds its pages
	// in memory until it ends, and whoever is in it waits for all of it. A
	// batch that is larger is a group of its own.
	groupBytes = 8 << 20
	// maxPending is at how much that the library does not hold yet commits
	// wait: as much as the largest sibling set, twice.
	maxPending = 64 << 20
	// writeBytes is what a write takes beside its bytes: three words for each
	// of its slices, in the batch and in the overlay.
	writeBytes = 120
)

// Options of one engine. Logger is required.
type Options struct {
	// Name is that of the library, for errors and the log.
	Name      string
	Logger    *slog.Logger
	OnFailure func(error)
	// Buckets are the bounds by which the durations of transactions are
	// counted.
	Buckets []time.Duration
}

// Engine implements storage.Engine.
type Engine struct {
	o       Options
	library Library
	gate    storage.Gate
	failure atomic.Pointer[error]
	commits atomic.Uint64
	close   func() error
	flushed chan struct{} // closed when the flusher has ended

	// outstanding counts completions that were queued and whose done has not
	// returned. It is raised under mu.
	outstanding atomic.Int64

	mu      sync.Mutex // guards what follows
	overlay overlay
	queue   []*group // what the flusher has to do, oldest first
	numbers uint64   // of groups
	pending int      // bytes that the library does not hold yet
	closing bool
	work    sync.Cond // the flusher waits here
	room    sync.Cond // commits wait here
	stalls  uint64
	stalled time.Duration
	syncs   histogram.Histogram
	count   uint64 // of transactions
}

var _ storage.Engine = (*Engine)(nil)

// New returns the engine of a library that is open, and owns the library from
// then on.
func New(l Library, o Options) *Engine {
	e := &Engine{
		o:       o,
		library: l,
		overlay: newOverlay(),
		syncs:   histogram.New(o.Buckets),
		flushed: make(chan struct{}),
	}
	e.work.L, e.room.L = &e.mu, &e.mu
	e.close = sync.OnceValue(e.shutDown)
	go e.flush()
	return e
}

// Fail stops the engine for an error that it has not seen itself, and returns
// the failure that it has then: the first.
func (e *Engine) Fail(err error) error {
	failure := fmt.Errorf("%w: %s: %w", storage.ErrFailed, e.o.Name, err)
	if e.failure.CompareAndSwap(nil, &failure) {
		e.o.Logger.Error("storage engine has failed; nothing more is written to its disk", "engine", e.o.Name, "error", err)
		if e.o.OnFailure != nil {
			e.o.OnFailure(failure)
		}
	}
	return e.failed()
}

// failed returns the engine's failure, nil as long as there is none.
func (e *Engine) failed() error {
	if p := e.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// enter begins a call that reads.
func (e *Engine) enter() error {
	if err := e.gate.Enter(); err != nil {
		return err
	}
	if err := e.failed(); err != nil {
		e.gate.Leave()
		return err
	}
	return nil
}

// Get implements core.Store.
func (e *Engine) Get(key []byte) ([]byte, error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.gate.Leave()
	e.mu.Lock()
	i, ok := e.overlay.tree.Get(item{key: key})
	e.mu.Unlock()
	if ok {
		if i.removed {
			return nil, core.ErrNotFound
		}
		return i.value, nil
	}
	value, found, err := e.library.Get(key)
	switch {
	case err != nil:
		return nil, e.Fail(err)
	case !found:
		return nil, core.ErrNotFound
	}
	return value, nil
}

// pair is what a scan shows once.
type pair struct{ key, value []byte }

// Scan implements core.Store.
func (e *Engine) Scan(from, to []byte, limit core.Limit, f func(key, value []byte) bool) (next []byte, err error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.gate.Leave()
	if to != nil && bytes.Compare(from, to) >= 0 {
		return nil, nil
	}
	found, next, err := e.gather(from, to, limit)
	if err != nil {
		return nil, e.Fail(err)
	}
	for n, p := range found {
		if !f(p.key, p.value) {
			if n+1 < len(found) {
				next = found[n+1].key
			}
			return next, nil
		}
	}
	return next, nil
}

// gather returns what a scan shows, and the first key that it does not.
func (e *Engine) gather(from, to []byte, limit core.Limit) (found []pair, next []byte, err error) {
	e.mu.Lock()
	over := e.overlay.copy()
	snapshot, err := e.library.Snapshot()
	e.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	defer snapshot.Close()
	budget := storage.NewBudget(limit)
	err = over.merge(snapshot, from, to, func(key, value []byte) bool {
		if budget.Spent() {
			next = key
			return false
		}
		budget.Take(key, value)
		found = append(found, pair{key, value})
		return true
	})
	return found, next, err
}

// Commit implements storage.Engine.
func (e *Engine) Commit(batch []core.Write, d core.Durability, done func(error)) {
	if err := e.gate.Enter(); err != nil {
		done(err)
		return
	}
	defer e.gate.Leave()
	e.commits.Add(1)
	if now, err := e.put(append([]core.Write(nil), batch...), d, done); now {
		done(err)
	}
}

// put makes a batch visible and has done called, unless it may be called at
// once, by the caller.
func (e *Engine) put(batch []core.Write, d core.Durability, done func(error)) (now bool, err error) {
	size := sizeOf(batch)
	e.mu.Lock()
	defer e.mu.Unlock()
	if err = e.makeRoom(size); err == nil && len(batch) > 0 {
		g := e.tail(size)
		g.batches = append(g.batches, batch)
		g.bytes += size
		e.pending += size
		e.overlay.apply(batch, g.number)
		if g.bytes >= flushBytes {
			e.work.Signal()
		}
	}
	if d == core.NoSync && e.outstanding.Load() == 0 {
		return true, err
	}
	g := e.tail(0)
	g.done = append(g.done, completion{done: done, err: err})
	e.outstanding.Add(1)
	e.work.Signal()
	return false, nil
}

// makeRoom returns when size bytes more may be pending, or with the engine's
// failure.
func (e *Engine) makeRoom(size int) error {
	var since time.Time
	for {
		err := e.failed()
		if err != nil || e.pending == 0 || e.pending+size <= maxPending {
			if !since.IsZero() {
				e.stalled += time.Since(since)
			}
			return err
		}
		if since.IsZero() {
			since = time.Now()
			e.stalls++
		}
		e.queue[len(e.queue)-1].now = true
		e.work.Signal()
		e.room.Wait()
	}
}

func sizeOf(batch []core.Write) int {
	size := 0
	for _, w := range batch {
		size += len(w.Key) + len(w.Value) + writeBytes
	}
	return size
}

// Stats implements storage.Engine.
func (e *Engine) Stats() storage.Stats {
	if err := e.gate.Enter(); err != nil {
		return storage.Stats{}
	}
	defer e.gate.Leave()
	stats := e.library.Stats()
	e.mu.Lock()
	defer e.mu.Unlock()
	stats.MemoryBytes += int64(e.pending)
	stats.Commits = e.commits.Load()
	stats.Fsyncs, stats.FsyncTimes = e.count, e.syncs
	stats.Stalls, stats.Stalled = e.stalls, e.stalled
	return stats
}

// Close implements storage.Engine.
func (e *Engine) Close() error { return e.close() }

func (e *Engine) shutDown() error {
	e.gate.Close()
	e.mu.Lock()
	e.closing = true
	e.work.Signal()
	e.mu.Unlock()
	<-e.flushed
	err := e.library.Close()
	if failed := e.failed(); failed != nil {
		return failed
	}
	if err != nil {
		return e.Fail(err)
	}
	return nil
}
