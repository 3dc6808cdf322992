package core

import (
	"encoding/binary"

	"github.com/dynamo-kv/dynamo/internal/ring"
)

// The store's keys begin with one byte that says what they hold. The bytes
// are part of the on-disk format.
const (
	prefixData      = 'd' // one sibling set with its local fields, a key each
	prefixControl   = 'm' // Control's own records
	prefixTree      = 't' // saved hash trees, a partition each
	prefixHint      = 'h' // one hint record, a key each
	prefixHintTally = 'n' // how much a partition's hints are, a partition each
)

// dataHeader is the length of what stands before the client's key: the prefix
// and the ring position, so that a partition is one range, whatever Q is.
const dataHeader = 1 + 8

// DataKey returns where the sibling set of a client's key is stored.
func DataKey(key []byte) []byte {
	return AppendDataKey(make([]byte, 0, dataHeader+len(key)), key)
}

// AppendDataKey appends DataKey(key) to b.
func AppendDataKey(b, key []byte) []byte {
	b = binary.BigEndian.AppendUint64(append(b, prefixData), uint64(ring.Hash(key)))
	return append(b, key...)
}

// ClientKey returns the client's key of a data key. It shares its memory.
func ClientKey(dataKey []byte) []byte { return dataKey[dataHeader:] }

// DataRange returns the range [from, to) of the data keys at the positions
// first to last, both included.
func DataRange(first, last ring.Position) (from, to []byte) {
	return rangeStart(first), rangeEnd(last)
}

// AllData returns the range [from, to) of every data key.
func AllData() (from, to []byte) { return []byte{prefixData}, []byte{prefixData + 1} }

// HintKey returns where the hint record of a client's key is stored: laid out
// as a data key, so that ClientKey takes it as well.
func HintKey(key []byte) []byte {
	b := DataKey(key)
	b[0] = prefixHint
	return b
}

// IsHintKey says whether a store's key is that of a hint record.
func IsHintKey(storeKey []byte) bool { return len(storeKey) > 0 && storeKey[0] == prefixHint }

// IsDataKey says whether a store's key is that of a sibling set.
func IsDataKey(storeKey []byte) bool { return len(storeKey) > 0 && storeKey[0] == prefixData }

// HintRange returns the range [from, to) of the hint keys at the positions
// first to last, both included.
func HintRange(first, last ring.Position) (from, to []byte) {
	from, to = DataRange(first, last)
	from[0] = prefixHint
	to[0] += prefixHint - prefixData // past the last position it stands one higher
	return from, to
}

// AllHints returns the range [from, to) of every hint key.
func AllHints() (from, to []byte) { return []byte{prefixHint}, []byte{prefixHint + 1} }

// HintTallyKey returns where the tally of a partition's hints is stored.
func HintTallyKey(p ring.Partition) []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixHintTally}, uint32(p))
}

// TallyPartition returns the partition of a tally's key.
func TallyPartition(storeKey []byte) ring.Partition {
	return ring.Partition(binary.BigEndian.Uint32(storeKey[1:]))
}

// AllHintTallies returns the range [from, to) of every partition's tally.
func AllHintTallies() (from, to []byte) {
	return []byte{prefixHintTally}, []byte{prefixHintTally + 1}
}

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

// IsTallyKey says whether a store's key is that of a partition's tally.
func IsTallyKey(storeKey []byte) bool {
	return len(storeKey) == 1+4 && storeKey[0] == prefixHintTally
}

// ControlName returns the name of Control's record at a store's key; ok is false
// for other keys.
func ControlName(storeKey []byte) (name string, ok bool) {
	if !IsControlKey(storeKey) {
		return "", false
	}
	return string(storeKey[1:]), true
}

// IsControlKey says whether a store's key is that of a record of Control's.
func IsControlKey(storeKey []byte) bool { return len(storeKey) > 0 && storeKey[0] == prefixControl }

// ControlKey returns where Control keeps its record of that name.
func ControlKey(name string) []byte { return append([]byte{prefixControl}, name...) }
