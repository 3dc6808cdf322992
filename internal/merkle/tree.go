package merkle

import "math/bits"

// The shape of every tree. 1,024 leaves are one for each key of a partition of
// a thousand keys, and a hundred keys each in one of a hundred thousand, whose
// hashes still fit into a few KiB.
const (
	Fanout = 32
	Leaves = Fanout * Fanout

	leafBits = 10 // Leaves is 1<<leafBits
)

// Level names a row of a tree's nodes.
type Level uint8

// The levels, from the root down.
const (
	Root     Level = iota // one node
	Branches              // Fanout nodes
	Leaf                  // Leaves nodes
)

// Width returns the number of nodes of a level, 0 of one that is none.
func (l Level) Width() int {
	switch l {
	case Root:
		return 1
	case Branches:
		return Fanout
	case Leaf:
		return Leaves
	}
	return 0
}

// Tree is the hash tree of one partition. The zero Tree is empty.
type Tree struct {
	root   Hash
	blocks [Fanout]*block // nil: no key has been there
}

// block is a branch with its leaves.
type block struct {
	sum    Hash
	leaves [Fanout]Hash
}

// LeafAt returns the leaf that a ring position belongs to, on a ring of
// 1<<partitionBits partitions.
func LeafAt(position uint64, partitionBits uint8) int {
	return int(position << partitionBits >> (64 - leafBits))
}

// LeafRange returns the first and the last of the ring positions first to last
// of a partition that belong to a leaf. The partition must have at least
// Leaves positions, which 1<<54 partitions have.
func LeafRange(first, last uint64, leaf int) (from, to uint64) {
	shift := bits.Len64(last-first) - leafBits
	from = first + uint64(leaf)<<shift
	return from, from + (uint64(1)<<shift - 1)
}

// Change replaces a key's old hash by its new one, in O(1). The zero hash
// stands for a key that is not there.
func (t *Tree) Change(leaf int, before, after Hash) {
	if before == after {
		return
	}
	b := t.blocks[leaf/Fanout]
	if b == nil {
		b = new(block)
		t.blocks[leaf/Fanout] = b
	}
	by := after.Minus(before)
	l := &b.leaves[leaf%Fanout]
	*l = l.Plus(by)
	b.sum = b.sum.Plus(by)
	t.root = t.root.Plus(by)
}

// Root returns the sum of all keys' hashes.
func (t *Tree) Root() Hash { return t.root }

// Node returns the i-th node of a level, from the left.
func (t *Tree) Node(l Level, i int) Hash {
	switch l {
	case Root:
		return t.root
	case Branches:
		if b := t.blocks[i]; b != nil {
			return b.sum
		}
	case Leaf:
		if b := t.blocks[i/Fanout]; b != nil {
			return b.leaves[i%Fanout]
		}
	}
	return Hash{}
}

// Children appends the nodes of the level below l that stand under its i-th.
func Children(nodes []uint32, i uint32) []uint32 {
	for c := range uint32(Fanout) {
		nodes = append(nodes, i*Fanout+c)
	}
	return nodes
}
