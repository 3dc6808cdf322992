package ring

import (
	"cmp"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// Layout is an immutable, named assignment of partitions to owners. Build one
// with Form, Plan or DecodeLayout.
type Layout struct {
	name     Name
	parent   Name
	bits     uint8 // Q is 1<<bits
	replicas int   // N as configured
	width    int   // owners of each partition: min(N, members)
	members  []Member

	// index has the owners of partition p at [p*width, (p+1)*width), as
	// indexes into members. owners has the same as IDs, so that a lookup
	// allocates nothing.
	index  []uint16
	owners []id.Node

	// owning is the number of members that own a partition: a walk around the
	// ring that has met that many has met them all.
	owning int
}

// newLayout builds a layout out of parts that are valid already and that it
// takes over.
func newLayout(number uint64, parent Name, bits uint8, replicas int, members []Member, index []uint16) *Layout {
	l := &Layout{
		name:     Name{Number: number},
		parent:   parent,
		bits:     bits,
		replicas: replicas,
		width:    min(replicas, len(members)),
		members:  members,
		index:    index,
		owners:   make([]id.Node, len(index)),
	}
	owns := make([]bool, len(members))
	for i, m := range index {
		l.owners[i] = members[m].ID
		if !owns[m] {
			owns[m] = true
			l.owning++
		}
	}
	l.name.Digest = xxhash.Sum64(l.appendBody(nil))
	return l
}

// Name returns the layout's name.
func (l *Layout) Name() Name { return l.name }

// Parent returns the name of the layout that this one was planned from; it is
// zero for the first.
func (l *Layout) Parent() Name { return l.parent }

// Partitions returns Q, a power of two. It never changes in a cluster.
func (l *Layout) Partitions() int { return 1 << l.bits }

// Replicas returns N as configured. While there are fewer members, partitions
// have fewer owners: see OwnerCount.
func (l *Layout) Replicas() int { return l.replicas }

// OwnerCount returns the number of owners of every partition: N, or the number
// of members where that is smaller.
func (l *Layout) OwnerCount() int { return l.width }

// Members returns the members, sorted by ID. The slice is shared: do not
// modify it.
func (l *Layout) Members() []Member { return l.members }

// Has reports whether n is a member.
func (l *Layout) Has(n id.Node) bool {
	_, ok := l.find(n)
	return ok
}

// Member returns the member n.
func (l *Layout) Member(n id.Node) (Member, bool) {
	i, ok := l.find(n)
	if !ok {
		return Member{}, false
	}
	return l.members[i], true
}

func (l *Layout) find(n id.Node) (int, bool) {
	return slices.BinarySearchFunc(l.members, n, func(m Member, n id.Node) int { return cmp.Compare(m.ID, n) })
}

// Owners returns the owners of a partition, in order; none for a partition
// that the layout does not have. The slice is shared: do not modify it.
func (l *Layout) Owners(p Partition) []id.Node {
	if !l.valid(p) {
		return nil
	}
	from, to := int(p)*l.width, (int(p)+1)*l.width
	return l.owners[from:to:to]
}

// Owns reports whether n is an owner of a partition.
func (l *Layout) Owns(n id.Node, p Partition) bool {
	return slices.Contains(l.Owners(p), n)
}

// Load returns the number of partitions that n owns.
func (l *Layout) Load(n id.Node) int {
	m, ok := l.find(n)
	if !ok {
		return 0
	}
	load := 0
	for _, o := range l.index {
		if int(o) == m {
			load++
		}
	}
	return load
}
