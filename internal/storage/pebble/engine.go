package pebble

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Engine implements storage.Engine.
type Engine struct {
	db        *pebble.DB
	disk      *vfs.FailStop
	stalls    *stalls
	gate      storage.Gate
	completer *completer
	commits   atomic.Uint64
	close     func() error
}

var _ storage.Engine = (*Engine)(nil)

// Open opens the engine in its folder.
func Open(o Options) (*Engine, error) {
	disk := vfs.NewFailStop(o.FS, func(err error) {
		o.Logger.Error("storage engine has failed; nothing more is written to its disk", "error", err)
		if o.OnFailure != nil {
			o.OnFailure(failure(err))
		}
	}, o.Buckets...)
	// One cache for whatever is opened here, memtables included, which pebble
	// takes out of its share.
	cache := pebble.NewCache(o.CacheBytes)
	defer cache.Unref() // what is open holds on to it
	if err := create(o, disk, cache); err != nil {
		return nil, err
	}
	o.Create = false
	stalls := new(stalls)
	db, err := open(o, disk, cache, stalls)
	if err != nil {
		return nil, err
	}
	e := &Engine{db: db, disk: disk, stalls: stalls}
	e.completer = newCompleter(e.failed)
	e.close = sync.OnceValue(e.shutDown)
	return e, nil
}

// create makes an empty store, if that is asked for. Pebble makes its first
// log before it has come to the format that we want, and in the older one a
// damaged log looks like one that ends in a torn write, so that what follows
// the damage would be dropped silently. Hence no data goes to that log: the
// store is closed, and opened again.
func create(o Options, disk *vfs.FailStop, cache *pebble.Cache) error {
	if !o.Create {
		return nil
	}
	db, err := open(o, disk, cache, new(stalls))
	if err != nil {
		return err
	}
	if err := stopped(disk, db.Close()); err != nil {
		return fmt.Errorf("pebble: %w", err)
	}
	return nil
}

// open opens the store, or with o.Create makes it.
func open(o Options, disk *vfs.FailStop, cache *pebble.Cache, stalls *stalls) (*pebble.DB, error) {
	db, err := pebble.Open(o.Dir, o.library(disk, cache, stalls))
	if err := stopped(disk, err); err != nil {
		if db != nil {
			_ = db.Close() // it is of no use, and nothing reaches its disk
		}
		return nil, fmt.Errorf("pebble: %w", err)
	}
	return db, nil
}

// stopped returns the disk's failure if there is one, since pebble is not told
// and what it says is void then; else err.
func stopped(disk *vfs.FailStop, err error) error {
	if failed := disk.Err(); failed != nil {
		return failure(failed)
	}
	return err
}

func failure(err error) error { return fmt.Errorf("%w: %w", storage.ErrFailed, err) }

// failed returns the engine's failure, nil as long as there is none.
func (e *Engine) failed() error { return stopped(e.disk, nil) }

// fail stops the engine for an error that pebble returned, and returns the
// failure that it has then.
func (e *Engine) fail(err error) error {
	e.disk.Fail(err)
	return e.failed()
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
	value, closer, err := e.db.Get(inner(key))
	if err == pebble.ErrNotFound { //nolint:errorlint // pebble returns it as it is, and this is the hot path
		return nil, core.ErrNotFound
	}
	if err != nil {
		return nil, e.fail(err)
	}
	value = clone(value)
	if err := closer.Close(); err != nil {
		return nil, e.fail(err)
	}
	return value, nil
}

// clone copies what pebble lends until its next step. It never returns nil.
func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }

// Scan implements core.Store.
func (e *Engine) Scan(from, to []byte, limit core.Limit, f func(key, value []byte) bool) (next []byte, err error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.gate.Leave()
	if to != nil && bytes.Compare(from, to) >= 0 {
		return nil, nil
	}
	bounds := pebble.IterOptions{LowerBound: inner(from)}
	if to != nil {
		bounds.UpperBound = inner(to)
	}
	iter, err := e.db.NewIter(&bounds)
	if err != nil {
		return nil, e.fail(err)
	}
	next, err = show(iter, limit, f)
	if closeErr := iter.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, e.fail(err)
	}
	return next, nil
}

// show calls f for what iter finds, until f or the limit ends it.
func show(iter *pebble.Iterator, limit core.Limit, f func(key, value []byte) bool) (next []byte, err error) {
	budget := storage.NewBudget(limit)
	stopped := false
	for ok := iter.First(); ok; ok = iter.Next() {
		if stopped || budget.Spent() {
			return clone(outer(iter.Key())), nil
		}
		value, err := iter.ValueAndErr()
		if err != nil {
			return nil, err
		}
		key, value := clone(outer(iter.Key())), clone(value)
		budget.Take(key, value)
		stopped = !f(key, value)
	}
	return nil, iter.Error()
}

// Commit implements storage.Engine.
func (e *Engine) Commit(batch []core.Write, d core.Durability, done func(error)) {
	if err := e.gate.Enter(); err != nil {
		done(err)
		return
	}
	defer e.gate.Leave()
	e.commits.Add(1)
	x := completion{done: done}
	if x.err = e.failed(); x.err == nil {
		x.batch, x.err = e.apply(batch, d)
	}
	e.completer.add(x)
}

// apply makes the batch visible. It returns the batch that is to be waited
// for, nil if there is none.
func (e *Engine) apply(batch []core.Write, d core.Durability) (*pebble.Batch, error) {
	b, err := e.build(batch, d)
	if err != nil {
		return nil, e.fail(err)
	}
	if d == core.Sync {
		if err := e.db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
			return nil, e.fail(err)
		}
		return b, nil
	}
	if err := e.db.Apply(b, pebble.NoSync); err != nil {
		return nil, e.fail(err)
	}
	return nil, b.Close()
}

// build returns the batch as pebble's.
func (e *Engine) build(batch []core.Write, d core.Durability) (*pebble.Batch, error) {
	size := 0
	for _, w := range batch {
		size += len(w.Key) + len(w.Value) + writeBytes
	}
	b := e.db.NewBatchWithSize(size + batchBytes)
	for _, w := range batch {
		var err error
		if w.Delete {
			err = b.Delete(inner(w.Key), nil)
		} else {
			err = b.Set(inner(w.Key), w.Value, nil)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(batch) == 0 && d == core.Sync {
		// Pebble skips empty batches, and this one is asked for its fsync: it
		// takes a record in the log that recovery ignores.
		return b, b.LogData(nil, nil)
	}
	return b, nil
}

// What a batch takes in pebble's encoding: a header, and for each write its
// kind and two lengths.
const (
	batchBytes = 12 + 16
	writeBytes = 1 + 5 + 5
)

// Close implements storage.Engine.
func (e *Engine) Close() error { return e.close() }

func (e *Engine) shutDown() error {
	e.gate.Close()
	e.completer.close()
	if err := stopped(e.disk, e.db.Close()); err != nil {
		return fmt.Errorf("pebble: %w", err)
	}
	return nil
}
