package lss

import (
	"strings"
	"unsafe"

	"github.com/tidwall/btree"
)

// place is where the current record of a key is.
type place struct {
	seg  uint32
	off  uint32
	size uint32 // damagedSize: the value is lost
	sum  uint32
}

// item is a key and its place.
type item struct {
	key string
	place
}

// damagedSize stands for the size of a value that is lost. No value is that
// large.
const damagedSize = ^uint32(0)

func (p place) damaged() bool { return p.size == damagedSize }

// valueBytes is the size of the value, 0 if it is lost.
func (p place) valueBytes() uint32 {
	if p.damaged() {
		return 0
	}
	return p.size
}

// itemBytes is what a key takes in memory beside its bytes: measured, see
// TestMemory.
const itemBytes = 64

func placeOf(r record, segment uint32) place {
	p := place{seg: segment, off: r.off, size: r.size, sum: r.sum}
	if r.kind == kindDamaged {
		p.size = damagedSize
	}
	return p
}

// index orders the keys. A tree of strings compares its keys without a call of
// a function for each, which is a quarter of what a look costs.
type index = btree.Map[string, place]

// indexDegree: nodes of 31 to 63 keys, or two pages of a processor's cache.
const indexDegree = 32

func newIndex() *index { return btree.NewMap[string, place](indexDegree) }

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
