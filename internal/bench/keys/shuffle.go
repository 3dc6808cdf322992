package keys

import "math/bits"

// shuffle is a fixed permutation of the numbers below n, so that the keys
// that are asked for most are spread over all of them, and each has its rank
// for itself: a hash modulo n would put several ranks on one key.
type shuffle struct {
	n    uint64
	mask uint64 // of the least power of two that n fits in, less one
	half int    // half of its bits
}

func newShuffle(n uint64) shuffle {
	width := bits.Len64(n - 1)
	return shuffle{n: n, mask: 1<<width - 1, half: max(width/2, 1)}
}

// of mixes i among the numbers under the mask until the result is below n.
// Mixing permutes those, so walking along its cycles permutes the numbers
// below n; more than half of all are below, so it takes two steps or fewer
// on average.
func (s shuffle) of(i uint64) uint64 {
	for {
		i = s.mix(i)
		if i < s.n {
			return i
		}
	}
}

// mix permutes the numbers under the mask: each of its steps can be undone.
func (s shuffle) mix(i uint64) uint64 {
	const odd, odd2, add = 0x9e3779b97f4a7c15, 0xbf58476d1ce4e5b9, 0x94d049bb133111eb
	i = (i*odd + add) & s.mask
	i ^= i >> s.half
	i = (i * odd2) & s.mask
	i ^= i >> s.half
	return i
}
