package migrate

import (
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// writer writes to an engine in batches.
type writer struct {
	engine   storage.Engine
	limits   limits
	batch    []core.Write
	bytes    int // of the batch
	unsynced int // of the batches since the last that was made durable

	written, deleted uint64 // keys
}

func (w *writer) put(p pair) error {
	w.written++
	return w.add(core.Write{Key: p.key, Value: p.value})
}

func (w *writer) remove(key []byte) error {
	w.deleted++
	return w.add(core.Write{Key: key, Delete: true})
}

func (w *writer) add(x core.Write) error {
	size := len(x.Key) + len(x.Value)
	if len(w.batch) == w.limits.batchKeys || len(w.batch) > 0 && w.bytes+size > w.limits.batchBytes {
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.batch = append(w.batch, x)
	w.bytes += size
	return nil
}

// flush commits the batch, and waits until the engine has taken it.
func (w *writer) flush() error {
	d := core.NoSync
	if w.unsynced += w.bytes; w.unsynced >= w.limits.syncBytes {
		d = core.Sync
	}
	return w.commit(d)
}

// finish makes durable whatever was written.
func (w *writer) finish() error { return w.commit(core.Sync) }

func (w *writer) commit(d core.Durability) error {
	done := make(chan error, 1)
	w.engine.Commit(w.batch, d, func(err error) { done <- err })
	if d == core.Sync {
		w.unsynced = 0
	}
	w.batch, w.bytes = nil, 0 // the engine may keep its slices until it is durable
	return <-done
}
