package audit

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// The layout of a value: who wrote it, and a checksum over that, the key and
// the padding.
const (
	valueNumber = 8
	valueHeader = valueNumber + 8
)

// NewValue returns the value of a write: like no other, and checkable.
func NewValue(number int, key []byte, padding int) []byte {
	b := make([]byte, valueHeader+padding)
	binary.BigEndian.PutUint64(b, uint64(number))
	for i := range padding {
		b[valueHeader+i] = byte(number + i)
	}
	binary.BigEndian.PutUint64(b[valueNumber:], valueSum(b, key))
	return b
}

func valueSum(b, key []byte) uint64 {
	d := xxhash.New()
	_, _ = d.Write(b[:valueNumber]) // a digest takes everything
	_, _ = d.Write(key)
	_, _ = d.Write(b[valueHeader:])
	return d.Sum64()
}

// ParseValue returns the number of the write that made b for key.
func ParseValue(b, key []byte) (number int, ok bool) {
	if len(b) < valueHeader || binary.BigEndian.Uint64(b[valueNumber:]) != valueSum(b, key) {
		return 0, false
	}
	return int(binary.BigEndian.Uint64(b)), true
}
