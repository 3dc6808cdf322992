package memory

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/tidwall/btree"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// itemBytes is what a pair takes in the tree beside its bytes: two slice
// headers, a head and, nodes being two thirds full on average, half as much again.
const itemBytes = 84

// item is one pair. Its slices are the ones that were committed.
type item struct {
	// head is what the key begins with, and orders as it does: most searches end
	// without a look at the keys, each of which lies elsewhere in memory.
	head       uint64
	key, value []byte
}

func itemOf(key, value []byte) item { return item{head: headOf(key), key: key, value: value} }

// headOf returns the first eight bytes of a key. One that is shorter goes on with
// zeros, so that heads that differ order as their keys do.
func headOf(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

func less(a, b item) bool {
	if a.head != b.head {
		return a.head < b.head
	}
	return bytes.Compare(a.key, b.key) < 0
}

// Engine implements storage.Engine.
type Engine struct {
	gate    storage.Gate
	mu      sync.RWMutex
	tree    *btree.BTreeG[item] // nil when the engine is closed
	bytes   int64               // of all pairs, with itemBytes for each
	limit   int64               // of bytes; 0: none
	commits uint64
}

var _ storage.Engine = (*Engine)(nil)

// New returns an empty engine.
func New() *Engine {
	return &Engine{tree: btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

// NewLimited returns an empty engine that takes so many bytes at most: keys,
// values, and about what the tree needs for each pair.
func NewLimited(bytes int64) *Engine {
	e := New()
	e.limit = bytes
	return e
}

// Get implements core.Store.
func (e *Engine) Get(key []byte) ([]byte, error) {
	if err := e.gate.Enter(); err != nil {
		return nil, err
	}
	defer e.gate.Leave()
	e.mu.RLock()
	defer e.mu.RUnlock()
	found, ok := e.tree.Get(itemOf(key, nil))
	if !ok {
		return nil, core.ErrNotFound
	}
	return found.value, nil
}

// Scan implements core.Store.
func (e *Engine) Scan(from, to []byte, limit core.Limit, f func(key, value []byte) bool) (next []byte, err error) {
	if err := e.gate.Enter(); err != nil {
		return nil, err
	}
	defer e.gate.Leave()
	view := e.view()
	budget := storage.NewBudget(limit)
	stopped := false
	view.Ascend(itemOf(from, nil), func(i item) bool {
		switch {
		case to != nil && bytes.Compare(i.key, to) >= 0:
			return false
		case stopped, budget.Spent():
			next = i.key
			return false
		}
		budget.Take(i.key, i.value)
		stopped = !f(i.key, i.value)
		return true
	})
	return next, nil
}

// view returns the tree as it is now. It shares its nodes with the engine's,
// which copies each before it changes it the next time.
func (e *Engine) view() *btree.BTreeG[item] {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tree.Copy()
}

// Commit implements storage.Engine.
func (e *Engine) Commit(batch []core.Write, _ core.Durability, done func(error)) {
	if err := e.gate.Enter(); err != nil {
		done(err)
		return
	}
	defer e.gate.Leave()
	done(e.apply(batch))
}

func (e *Engine) apply(batch []core.Write) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	before, saved := e.bytes, e.undo(batch)
	for _, w := range batch {
		e.write(w)
	}
	if saved != nil && e.bytes > e.limit && e.bytes > before {
		err := fmt.Errorf("memory: %w: it holds %d bytes, may hold %d, and a batch needs %d more", storage.ErrFull, before, e.limit, e.bytes-before)
		e.tree, e.bytes = saved, before
		return err
	}
	e.commits++
	return nil
}

// undo returns what the tree is before a batch that may take it past the limit;
// nil where it cannot.
func (e *Engine) undo(batch []core.Write) *btree.BTreeG[item] {
	if e.limit == 0 {
		return nil
	}
	most := e.bytes
	for _, w := range batch {
		most += itemOf(w.Key, w.Value).size()
	}
	if most <= e.limit {
		return nil
	}
	return e.tree.Copy()
}

func (e *Engine) write(w core.Write) {
	var old item
	var replaced bool
	if w.Delete {
		old, replaced = e.tree.Delete(itemOf(w.Key, nil))
	} else {
		now := itemOf(w.Key, w.Value)
		if now.value == nil {
			now.value = []byte{} // an empty value reads the same in every engine
		}
		old, replaced = e.tree.Set(now)
		e.bytes += now.size()
	}
	if replaced {
		e.bytes -= old.size()
	}
}

func (i item) size() int64 { return int64(len(i.key)+len(i.value)) + itemBytes }

// Stats implements storage.Engine.
func (e *Engine) Stats() storage.Stats {
	if err := e.gate.Enter(); err != nil {
		return storage.Stats{}
	}
	defer e.gate.Leave()
	e.mu.RLock()
	defer e.mu.RUnlock()
	return storage.Stats{
		Keys:        int64(e.tree.Len()),
		MemoryBytes: e.bytes,
		Commits:     e.commits,
	}
}

// Close implements storage.Engine. What it held is gone.
func (e *Engine) Close() error {
	e.gate.Close()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tree = nil
	return nil
}
