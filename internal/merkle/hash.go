package merkle

import (
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// Hash is the hash of one key's state, or the sum of many: 128 bits, the low
// half first. Zero is the sum of nothing.
type Hash [2]uint64

// HashBytes is the length of a Hash in an encoding.
const HashBytes = 16

// highSeed makes the high half of a hash another function than the low half.
// It is part of the format of trees on the disk and on the wire.
const highSeed = 0x9e3779b97f4a7c15

// Of returns the hash of b: two runs of xxhash64, with the seeds 0 and
// highSeed.
func Of(b []byte) Hash {
	var high xxhash.Digest
	high.ResetWithSeed(highSeed)
	_, _ = high.Write(b) // a digest never fails
	return Hash{xxhash.Sum64(b), high.Sum64()}
}

// IsZero says whether h is the sum of nothing.
func (h Hash) IsZero() bool { return h == Hash{} }

// Plus returns the sum of both.
func (h Hash) Plus(o Hash) Hash {
	low, carry := bits.Add64(h[0], o[0], 0)
	high, _ := bits.Add64(h[1], o[1], carry)
	return Hash{low, high}
}

// Minus takes o out of the sum h.
func (h Hash) Minus(o Hash) Hash {
	low, borrow := bits.Sub64(h[0], o[0], 0)
	high, _ := bits.Sub64(h[1], o[1], borrow)
	return Hash{low, high}
}

// AppendBinary appends the HashBytes of h to b.
func (h Hash) AppendBinary(b []byte) []byte {
	b = binary.LittleEndian.AppendUint64(b, h[0])
	return binary.LittleEndian.AppendUint64(b, h[1])
}

// decodeHash reads the first HashBytes of b.
func decodeHash(b []byte) Hash {
	return Hash{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
}
