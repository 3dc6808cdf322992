package enginebench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	gosync "sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/self"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// Figures are those of one load.
type Figures struct {
	Name       string  `json:"name"`
	Operations int64   `json:"operations"`
	Rate       float64 `json:"ops_per_second"`
	CPU        float64 `json:"cpu_us_per_operation"` // of the callers too; 0 where the system does not tell
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
}

// Report is what was measured of one engine.
type Report struct {
	Engine     string    `json:"engine"`
	Keys       uint64    `json:"keys"`
	ValueBytes int       `json:"value_bytes"`
	Loads      []Figures `json:"loads"`
	DiskBytes  int64     `json:"disk_bytes"`       // after the loads
	RSS        int64     `json:"rss_bytes"`        // of the process, after the loads
	PeakRSS    int64     `json:"peak_rss_bytes"`   // of the process, at most
	Stalled    float64   `json:"stalled_seconds"`  // that puts had to wait for the engine
	Open       *Opened   `json:"reopen,omitempty"` // nil: it is not durable
}

// Opened is what it took to open the store that a killed process has left.
type Opened struct {
	Milliseconds float64 `json:"ms"`
	RSS          int64   `json:"rss_bytes"` // of the process, right after it
}

// load is one of the loads; run does one operation of a worker.
type load struct {
	name    string
	workers int
	run     func(w *worker) (int, error)
}

// The names of the loads, in their order.
const (
	putSync1   = "synced put, 1 writer"
	putSync16  = "synced put, 16 writers"
	putSync64  = "synced put, 64 writers"
	putNoSync  = "unsynced put, 1 writer"
	get1       = "get, 1 reader"
	get16      = "get, 16 readers"
	scanChunks = "scan, pairs"
)

func loads() []load {
	return []load{
		{name: putSync1, workers: 1, run: put(core.Sync)},
		{name: putSync16, workers: 16, run: put(core.Sync)},
		{name: putSync64, workers: 64, run: put(core.Sync)},
		{name: putNoSync, workers: 1, run: put(core.NoSync)},
		{name: get1, workers: 1, run: get},
		{name: get16, workers: 16, run: get},
		{name: scanChunks, workers: 1, run: scan},
	}
}

// worker is one caller of an engine.
type worker struct {
	e     storage.Engine
	o     *Options
	rng   *rand.Rand
	bytes []byte // the pool; nobody changes it
	done  chan error
	tell  func(error)
	from  []byte // where a scan goes on
}

func newWorker(e storage.Engine, o *Options, pool []byte, n uint64) *worker {
	w := &worker{e: e, o: o, rng: rand.New(rand.NewPCG(n, 1)), bytes: pool, done: make(chan error, 1)}
	w.tell = func(err error) { w.done <- err }
	return w
}

// poolBytes is how many different values there are: so many that hardly two in
// a block of an engine have anything in common, since an engine that finds it
// would seem to write less than it will of real values.
const poolBytes = 4 << 20

// newPool returns random bytes, of which values are parts.
func newPool(valueBytes int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 0, poolBytes+valueBytes+8)
	for len(b) < poolBytes+valueBytes {
		b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
	}
	return b
}

// value returns one that does not compress. Nobody changes it.
func (w *worker) value() []byte {
	at := w.rng.IntN(poolBytes)
	return w.bytes[at : at+w.o.ValueBytes : at+w.o.ValueBytes]
}

func put(d core.Durability) func(*worker) (int, error) {
	return func(w *worker) (int, error) {
		w.e.Commit([]core.Write{{Key: key(w.rng.Uint64N(w.o.Keys)), Value: w.value()}}, d, w.tell)
		return 1, <-w.done
	}
}

func get(w *worker) (int, error) {
	_, err := w.e.Get(key(w.rng.Uint64N(w.o.Keys)))
	return 1, err
}

func scan(w *worker) (int, error) {
	shown := 0
	next, err := w.e.Scan(w.from, nil, core.Limit{Keys: 256, Bytes: 64 << 10}, func(_, _ []byte) bool {
		shown++
		return true
	})
	w.from = next
	return shown, err
}

// Measure fills a store and puts each load on it. It tells what it is about.
// The store stays open: whoever wants to see what a kill leaves kills the
// process; close ends it otherwise.
func Measure(ctx context.Context, o Options, tell func(stage string)) (r Report, closer func() error, err error) {
	r = Report{Engine: o.Engine, Keys: o.Keys, ValueBytes: o.ValueBytes}
	e, err := o.open()
	if err != nil {
		return r, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	tell("writing the keys")
	pool := newPool(o.ValueBytes)
	if err := fill(ctx, newWorker(e, &o, pool, 0)); err != nil {
		return r, nil, fmt.Errorf("writing the keys: %w", err)
	}
	for _, l := range loads() {
		tell(l.name)
		f, err := l.measure(ctx, e, &o, pool)
		if err != nil {
			return r, nil, fmt.Errorf("%s: %w", l.name, err)
		}
		r.Loads = append(r.Loads, f)
	}
	if err := sync(e); err != nil {
		return r, nil, err
	}
	r.Stalled = e.Stats().Stalled.Seconds()
	r.RSS, r.PeakRSS = self.Memory()
	if Durable(o.Engine) {
		r.DiskBytes = onDisk(o.Dir)
	}
	return r, e.Close, nil
}

// fill writes every key once, in batches of the size that a busy shard makes.
func fill(ctx context.Context, w *worker) error {
	const chunk = 256
	for first := uint64(0); first < w.o.Keys; first += chunk {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var batch []core.Write
		for n := first; n < min(first+chunk, w.o.Keys); n++ {
			batch = append(batch, core.Write{Key: key(n), Value: w.value()})
		}
		w.e.Commit(batch, core.NoSync, w.tell)
		if err := <-w.done; err != nil {
			return err
		}
	}
	return sync(w.e)
}

// timeEach: one operation in so many is timed, which keeps the clock out of
// the figures of those that take less than a microsecond.
const timeEach = 16

func (l *load) measure(ctx context.Context, e storage.Engine, o *Options, pool []byte) (Figures, error) {
	within, cancel := context.WithTimeout(ctx, o.Length)
	defer cancel()
	var (
		operations atomic.Int64
		mu         gosync.Mutex
		failed     error
		took       = latencies()
		workers    gosync.WaitGroup
	)
	began, spent := time.Now(), self.CPU()
	for n := range l.workers {
		workers.Go(func() {
			done, own, err := l.work(within, newWorker(e, o, pool, uint64(n)+1))
			operations.Add(done)
			mu.Lock()
			defer mu.Unlock()
			took.Merge(own)
			failed = errors.Join(failed, err)
		})
	}
	workers.Wait()
	elapsed, used := time.Since(began), self.CPU()-spent
	f := Figures{
		Name: l.name, Operations: operations.Load(), Rate: float64(operations.Load()) / elapsed.Seconds(),
		P50: float64(took.ValueAtQuantile(50)) / 1e3, P99: float64(took.ValueAtQuantile(99)) / 1e3,
	}
	if f.Operations > 0 {
		f.CPU = float64(used.Nanoseconds()) / 1e3 / float64(f.Operations)
	}
	return f, errors.Join(failed, ctx.Err())
}

// latencies returns a histogram of microseconds up to a minute.
func latencies() *hdrhistogram.Histogram { return hdrhistogram.New(1, time.Minute.Microseconds(), 2) }

// work does operations until ctx ends, and one at least.
func (l *load) work(ctx context.Context, w *worker) (operations int64, took *hdrhistogram.Histogram, err error) {
	took = latencies()
	for i := 0; i == 0 || ctx.Err() == nil; i++ {
		timed := i%timeEach == 0
		began := time.Time{}
		if timed {
			began = time.Now()
		}
		n, err := l.run(w)
		if err != nil {
			return operations, took, err
		}
		if timed {
			_ = took.RecordValue(min(max(1, time.Since(began).Microseconds()), time.Minute.Microseconds())) // within its bounds
		}
		operations += int64(n)
	}
	return operations, took, nil
}

// Reopen opens a store that a killed process has left, and looks whether every
// hundredth key is there.
func Reopen(o Options) (Opened, error) {
	began := time.Now()
	e, err := o.open()
	if err != nil {
		return Opened{}, err
	}
	opened := Opened{Milliseconds: float64(time.Since(began).Microseconds()) / 1e3}
	opened.RSS, _ = self.Memory()
	for n := uint64(0); n < o.Keys && err == nil; n += 100 {
		if _, err = e.Get(key(n)); err != nil {
			err = fmt.Errorf("key %q, which was durable: %w", key(n), err)
		}
	}
	return opened, errors.Join(err, e.Close())
}
