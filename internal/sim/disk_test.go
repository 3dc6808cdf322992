package sim_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/sim"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/storagetest"
)

// The model disk keeps the contract that every real engine is held to, so
// that what holds in simulation holds on them.
func TestDiskContract(t *testing.T) {
	storagetest.Crash(t, func(testing.TB) storagetest.CrashDisk { return &modelDisk{disk: sim.NewDisk()} })
}

// modelDisk lets the contract's suite, which has callers of its own, use a
// sim.Disk, which has no lock and does nothing by itself.
type modelDisk struct {
	mu     sync.Mutex // guards disk and its engine's fields
	disk   *sim.Disk
	engine *modelEngine
}

func (m *modelDisk) Open(testing.TB) storage.Engine {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.disk.Recover()
	m.engine = &modelEngine{on: m, wake: sync.NewCond(&m.mu), ended: make(chan struct{})}
	go m.engine.complete()
	return m.engine
}

func (m *modelDisk) Crash(_ testing.TB, seed uint64) {
	m.mu.Lock()
	m.disk.Crash(rand.New(rand.NewPCG(seed, 0)))
	e := m.engine
	if e != nil {
		e.gone = true
		e.wake.Broadcast()
	}
	m.mu.Unlock()
	if e != nil {
		<-e.ended
	}
}

// modelEngine is an engine on a modelDisk.
type modelEngine struct {
	on      *modelDisk
	wake    *sync.Cond
	waiting []waiting // in the order of commits
	gone    bool
	ended   chan struct{}
}

// waiting is a batch whose completion has not been called.
type waiting struct {
	number uint64
	sync   bool
	done   func(error)
}

func (e *modelEngine) Get(key []byte) ([]byte, error) {
	e.on.mu.Lock()
	defer e.on.mu.Unlock()
	if e.gone {
		return nil, storage.ErrClosed
	}
	return e.on.disk.Get(key)
}

func (e *modelEngine) Scan(from, to []byte, limit core.Limit, f func(key, value []byte) bool) ([]byte, error) {
	e.on.mu.Lock()
	defer e.on.mu.Unlock()
	if e.gone {
		return nil, storage.ErrClosed
	}
	return e.on.disk.Scan(from, to, limit, f)
}

func (e *modelEngine) Commit(batch []core.Write, d core.Durability, done func(error)) {
	e.on.mu.Lock()
	if e.gone {
		e.on.mu.Unlock()
		done(storage.ErrClosed)
		return
	}
	defer e.on.mu.Unlock()
	number, err := e.on.disk.Append(batch)
	if err != nil {
		panic(err) // a crash sets gone
	}
	e.waiting = append(e.waiting, waiting{number, d == core.Sync, done})
	e.wake.Signal()
}

// complete is the engine's goroutine: it syncs, and calls completions.
func (e *modelEngine) complete() {
	defer close(e.ended)
	for {
		e.on.mu.Lock()
		for len(e.waiting) == 0 && !e.gone {
			e.wake.Wait()
		}
		batches := e.waiting
		e.waiting = nil
		gone := e.gone
		last := uint64(0)
		for _, b := range batches {
			if b.sync {
				last = b.number
			}
		}
		if !gone {
			e.on.disk.Sync(last)
		}
		e.on.mu.Unlock()
		for _, b := range batches {
			if gone {
				b.done(storage.ErrClosed)
			} else {
				b.done(nil)
			}
		}
		if gone {
			return
		}
	}
}

func (e *modelEngine) Stats() storage.Stats { return storage.Stats{} }

func (e *modelEngine) Close() error {
	e.on.mu.Lock()
	if !e.gone {
		e.on.disk.Sync(e.on.disk.Last())
		e.gone = true
		e.wake.Broadcast()
	}
	e.on.mu.Unlock()
	<-e.ended
	return nil
}
