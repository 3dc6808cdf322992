package grouped

import (
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// Library is what the engine needs of a library. Its methods may be called by
// many goroutines at once, but Apply by one at a time. Every error that they
// return stops the engine.
type Library interface {
	// Get returns a copy of a key's value, which is not nil where there is one.
	Get(key []byte) (value []byte, found bool, err error)
	// Snapshot returns the store as it is now. It must not wait for an Apply
	// that waits for a snapshot to be closed.
	Snapshot() (Snapshot, error)
	// Apply carries out the batches in order, each of them atomically, as one
	// transaction if it can, and returns when all of them are durable.
	Apply(batches [][]core.Write) error
	// Stats returns what the library knows of; commits, fsyncs and stalls are
	// the engine's own.
	Stats() storage.Stats
	// Close lets go of everything. Nothing else is called after it.
	Close() error
}

// Snapshot is the store at one moment.
type Snapshot interface {
	// Ascend calls f for pairs from the key on, in order, until f returns
	// false. What f is given is lent for the time of the call.
	Ascend(from []byte, f func(key, value []byte) bool) error
	Close()
}
