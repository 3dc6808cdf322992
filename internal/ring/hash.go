package ring

import "github.com/cespare/xxhash/v2"

// Position is a place on the ring: the 64-bit hash space, closed to a circle.
type Position uint64

// Hash returns the position of a key: xxhash64 with seed 0. It is part of the
// on-disk and wire format for ever: another hash would place every key of
// every cluster somewhere else.
func Hash(key []byte) Position {
	return Position(xxhash.Sum64(key))
}

// Partition is the number of one of the Q equal slices of the ring, 0 to Q-1,
// in the order of their positions.
type Partition uint32

// Partition returns the partition of a key.
func (l *Layout) Partition(key []byte) Partition {
	return l.At(Hash(key))
}

// At returns the partition that holds a position.
func (l *Layout) At(pos Position) Partition {
	return Partition(pos >> l.shift()) // a shift by 64, with one partition, gives 0
}

// Range returns the first and the last position of a partition, both
// inclusive. Of a partition that the layout does not have it returns an empty
// range: first is then larger than last.
func (l *Layout) Range(p Partition) (first, last Position) {
	if !l.valid(p) {
		return 1, 0
	}
	size := Position(1)<<l.shift() - 1 // with one partition: 1<<64 is 0, minus 1 is everything
	first = Position(p) << l.shift()
	return first, first + size
}

func (l *Layout) shift() uint {
	return 64 - uint(l.bits)
}

func (l *Layout) valid(p Partition) bool {
	return uint64(p) < 1<<l.bits
}
