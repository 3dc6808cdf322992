package sim

import "math/bits"

// bitset is a growing set of small numbers: the mints of one key. A bitset
// that was handed on is never changed: with and union return new ones.
type bitset []uint64

func (b bitset) has(i int) bool {
	w := i >> 6
	return w < len(b) && b[w]&(1<<(i&63)) != 0
}

// set adds i in place, for an owner that has not handed b on.
func (b *bitset) set(i int) {
	w := i >> 6
	for len(*b) <= w {
		*b = append(*b, 0)
	}
	(*b)[w] |= 1 << (i & 63)
}

// add adds all of o in place, for an owner that has not handed b on.
func (b *bitset) add(o bitset) {
	for len(*b) < len(o) {
		*b = append(*b, 0)
	}
	for i, w := range o {
		(*b)[i] |= w
	}
}

// clone returns a copy that its caller owns.
func (b bitset) clone() bitset { return append(bitset(nil), b...) }

// minus returns the members of b that o lacks.
func (b bitset) minus(o bitset) bitset {
	out := b.clone()
	for i := range min(len(out), len(o)) {
		out[i] &^= o[i]
	}
	return out
}

// isEmpty says whether b has no member.
func (b bitset) isEmpty() bool {
	for _, w := range b {
		if w != 0 {
			return false
		}
	}
	return true
}

// each calls f for the members in order.
func (b bitset) each(f func(i int)) {
	for at, w := range b {
		for w != 0 {
			f(at<<6 + bits.TrailingZeros64(w))
			w &= w - 1
		}
	}
}

// count returns the number of members.
func (b bitset) count() (n int) {
	for _, w := range b {
		n += bits.OnesCount64(w)
	}
	return n
}
