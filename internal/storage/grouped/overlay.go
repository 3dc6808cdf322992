package grouped

import (
	"bytes"

	"github.com/tidwall/btree"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// item is the newest write to one key that the library may not hold yet. Its
// slices are the ones that were committed.
type item struct {
	key, value []byte
	removed    bool
	group      uint64 // the group that it belongs to
}

func less(a, b item) bool { return bytes.Compare(a.key, b.key) < 0 }

// overlay is what was committed and is not in the library for certain.
type overlay struct{ tree *btree.BTreeG[item] }

func newOverlay() overlay {
	return overlay{btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

// apply puts a batch over what is there.
func (o overlay) apply(batch []core.Write, group uint64) {
	for _, w := range batch {
		i := item{key: w.Key, value: w.Value, removed: w.Delete, group: group}
		if i.value == nil {
			i.value = []byte{} // an empty value reads the same in every engine
		}
		o.tree.Set(i)
	}
}

// drop removes what a group has left: the library holds it now. What later
// groups wrote stays.
func (o overlay) drop(g *group) {
	for _, batch := range g.batches {
		for _, w := range batch {
			if i, ok := o.tree.Get(item{key: w.Key}); ok && i.group == g.number {
				o.tree.Delete(i)
			}
		}
	}
}

// copy returns the overlay as it is now. It shares its nodes with the
// original, which copies each before it changes it the next time.
func (o overlay) copy() overlay { return overlay{o.tree.Copy()} }

// merge calls f for the pairs of a snapshot with the overlay over it, in
// [from, to), until f returns false. What f is given is its own.
func (o overlay) merge(s Snapshot, from, to []byte, f func(key, value []byte) bool) error {
	m := merger{over: o.tree.Iter(), to: to, f: f}
	defer m.over.Release()
	m.more = m.over.Seek(item{key: from})
	err := s.Ascend(from, func(key, value []byte) bool {
		if covered := m.before(key); !m.done && !covered {
			m.show(clone(key), clone(value))
		}
		return !m.done
	})
	if err == nil {
		m.rest()
	}
	return err
}

// merger is a merge under way.
type merger struct {
	over btree.IterG[item]
	more bool // over is at an item that was not shown yet
	to   []byte
	f    func(key, value []byte) bool
	done bool // nothing more is to be shown
}

func (m *merger) show(key, value []byte) {
	if m.to != nil && bytes.Compare(key, m.to) >= 0 || !m.f(key, value) {
		m.done = true
	}
}

// step shows the item that the overlay is at, and goes on to the next.
func (m *merger) step() {
	if i := m.over.Item(); !i.removed {
		m.show(i.key, i.value)
	}
	m.more = m.over.Next()
}

// before shows what the overlay has up to a key of the snapshot, and reports
// whether the overlay has something for that key itself, which covers it.
func (m *merger) before(key []byte) (covered bool) {
	for m.more && !m.done {
		order := bytes.Compare(m.over.Item().key, key)
		if order > 0 {
			break
		}
		covered = order == 0
		m.step()
	}
	return covered
}

// rest shows what the overlay has after the last key of the snapshot.
func (m *merger) rest() {
	for m.more && !m.done {
		m.step()
	}
}

// clone copies what is lent. It never returns nil.
func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }
