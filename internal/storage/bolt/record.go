package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

// keyPrefix begins the keys in the bucket: bbolt knows no empty key.
const keyPrefix = 'k'

func inner(key []byte) []byte {
	return append(append(make([]byte, 0, 1+len(key)), keyPrefix), key...)
}

// sumBytes is the checksum before each value.
const sumBytes = 4

// castagnoli is the polynomial that processors compute.
var castagnoli = crc32.MakeTable(crc32.Castagnoli) //nolint:gochecknoglobals // a constant table

// sum is the checksum of a pair, by its key in the bucket. Where the key ends it
// need not say, since it stands there itself.
func sum(inner, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(inner, castagnoli), castagnoli, value)
}

// sealed returns a value as it is stored.
func sealed(inner, value []byte) []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, sumBytes+len(value)), sum(inner, value))
	return append(b, value...)
}

// unsealed returns the value that is stored under a key, which is lent as
// stored is, or why there is none.
func unsealed(inner, stored []byte) ([]byte, error) {
	if err := verify(inner, stored); err != nil {
		return nil, fmt.Errorf("%w: the record of the key %.40q: %w", storage.ErrDamaged, inner[min(1, len(inner)):], err)
	}
	return stored[sumBytes:], nil
}

func verify(inner, stored []byte) error {
	switch {
	case len(inner) == 0 || inner[0] != keyPrefix:
		return errors.New("the key is none of this engine")
	case len(stored) < sumBytes:
		return fmt.Errorf("it has %d bytes, and not even a checksum", len(stored))
	case binary.LittleEndian.Uint32(stored) != sum(inner, stored[sumBytes:]):
		return errors.New("the checksum is not that of the key and the value")
	}
	return nil
}
