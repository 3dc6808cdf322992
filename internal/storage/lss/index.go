package lss

import (
	"strings"
	"unsafe"

	"github.com/tidwall/btree"
)

// item is where the current record of a key is.
type item struct {
	key  string
	seg  uint32
	off  uint32
	size uint32 // damagedSize: the value is lost
	sum  uint32
}

// damagedSize stands for the size of a value that is lost. No value is that
// large.
const damagedSize = ^uint32(0)

func (i item) damaged() bool { return i.size == damagedSize }

// valueBytes is the size of the value, 0 if it is lost.
func (i item) valueBytes() uint32 {
	if i.damaged() {
		return 0
	}
	return i.size
}

// itemBytes is what a key takes in memory beside its bytes: measured, see
// TestMemory.
const itemBytes = 64

func itemOf(r record, segment uint32) item {
	i := item{key: r.key, seg: segment, off: r.off, size: r.size, sum: r.sum}
	if r.kind == kindDamaged {
		i.size = damagedSize
	}
	return i
}

type index = btree.BTreeG[item]

func newIndex() *index {
	return btree.NewBTreeGOptions(
		func(a, b item) bool { return a.key < b.key },
		btree.Options{NoLocks: true})
}

// view returns the bytes as a string without copying them, for a look-up that
// ends before they can change.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// arena keeps many short strings in few blocks.
type arena struct{ block strings.Builder }

// arenaBlock is small, since a block stays as long as one string of it does.
const arenaBlock = 16 << 10

func (a *arena) add(s string) string {
	if len(s) > arenaBlock/4 {
		return strings.Clone(s)
	}
	if a.block.Cap()-a.block.Len() < len(s) {
		a.block = strings.Builder{}
		a.block.Grow(arenaBlock)
	}
	start := a.block.Len()
	a.block.WriteString(s)
	return a.block.String()[start:]
}
