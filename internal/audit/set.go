package audit

import "math/bits"

// Set is a growing set of small numbers: versions of one key. A Set that was
// handed on is never changed: Clone and Minus return new ones.
type Set []uint64

// Has says whether i is a member.
func (b Set) Has(i int) bool {
	w := i >> 6
	return w < len(b) && b[w]&(1<<(i&63)) != 0
}

// Put adds i in place, for an owner that has not handed b on.
func (b *Set) Put(i int) {
	w := i >> 6
	for len(*b) <= w {
		*b = append(*b, 0)
	}
	(*b)[w] |= 1 << (i & 63)
}

// Add adds all of o in place, for an owner that has not handed b on.
func (b *Set) Add(o Set) {
	for len(*b) < len(o) {
		*b = append(*b, 0)
	}
	for i, w := range o {
		(*b)[i] |= w
	}
}

// Clone returns a copy that its caller owns.
func (b Set) Clone() Set { return append(Set(nil), b...) }

// Minus returns the members of b that o lacks.
func (b Set) Minus(o Set) Set {
	out := b.Clone()
	for i := range min(len(out), len(o)) {
		out[i] &^= o[i]
	}
	return out
}

// IsEmpty says whether b has no member.
func (b Set) IsEmpty() bool {
	for _, w := range b {
		if w != 0 {
			return false
		}
	}
	return true
}

// Equal says whether both have the same members.
func (b Set) Equal(o Set) bool { return b.Minus(o).IsEmpty() && o.Minus(b).IsEmpty() }

// Each calls f for the members in order.
func (b Set) Each(f func(i int)) {
	for at, w := range b {
		for w != 0 {
			f(at<<6 + bits.TrailingZeros64(w))
			w &= w - 1
		}
	}
}

// Count returns the number of members.
func (b Set) Count() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}
