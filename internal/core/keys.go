package core

import (
	"encoding/binary"

	"github.com/dynamo-kv/dynamo/internal/ring"
)

// The store's keys begin with one byte that says what they hold. The bytes
// are part of the on-disk format.
const (
	prefixData    = 'd' // one sibling set with its local fields, a key each
	prefixControl = 'm' // Control's own records
)

// dataHeader is the length of what stands before the client's key: the prefix
// and the ring position, so that a partition is one range, whatever Q is.
const dataHeader = 1 + 8

// DataKey returns where the sibling set of a client's key is stored.
func DataKey(key []byte) []byte {
	b := make([]byte, dataHeader+len(key))
	b[0] = prefixData
	binary.BigEndian.PutUint64(b[1:], uint64(ring.Hash(key)))
	copy(b[dataHeader:], key)
	return b
}

// ClientKey returns the client's key of a data key. It shares its memory.
func ClientKey(dataKey []byte) []byte { return dataKey[dataHeader:] }

// PositionOf returns where on the ring the client's key of a data key is.
func PositionOf(dataKey []byte) ring.Position {
	return ring.Position(binary.BigEndian.Uint64(dataKey[1:]))
}

// DataRange returns the range [from, to) of the data keys at the positions
// first to last, both included.
func DataRange(first, last ring.Position) (from, to []byte) {
	return rangeStart(first), rangeEnd(last)
}

// AllData returns the range [from, to) of every data key.
func AllData() (from, to []byte) { return []byte{prefixData}, []byte{prefixData + 1} }

func rangeStart(p ring.Position) []byte {
	b := make([]byte, dataHeader)
	b[0] = prefixData
	binary.BigEndian.PutUint64(b[1:], uint64(p))
	return b
}

func rangeEnd(last ring.Position) []byte {
	if last == ^ring.Position(0) {
		return []byte{prefixData + 1}
	}
	return rangeStart(last + 1)
}

// ControlKey returns where Control keeps its record of that name.
func ControlKey(name string) []byte { return append([]byte{prefixControl}, name...) }
