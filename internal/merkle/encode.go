package merkle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

// The encoding. Integers are little-endian.
//
//	tree  = format version (1 byte), {block}, checksum (8 bytes)
//	block = index (1 byte), which leaves are not zero (4 bytes, the first
//	        leaf in the lowest bit), their hashes (16 bytes each)
//
// Blocks stand in their order, those without a leaf that is not zero are left
// out, and so a tree has one encoding. Branches and the root are sums and not
// written. The checksum is the xxhash64 of all before it. The version also
// stands for the functions behind the hashes.
const (
	formatVersion = 1
	checksumBytes = 8
	blockHeader   = 1 + 4

	// MaxEncodedBytes is the length of a tree with every leaf in use.
	MaxEncodedBytes = 1 + Fanout*(blockHeader+Fanout*HashBytes) + checksumBytes
)

// ErrMalformed is what every error of Decode wraps.
var ErrMalformed = errors.New("malformed hash tree")

// AppendBinary appends the encoding of t to b.
func (t *Tree) AppendBinary(b []byte) []byte {
	from := len(b)
	b = append(b, formatVersion)
	for i, block := range t.blocks {
		used := block.used()
		if used == 0 {
			continue
		}
		b = append(b, byte(i))
		b = binary.LittleEndian.AppendUint32(b, used)
		for ; used != 0; used &= used - 1 {
			b = block.leaves[bits.TrailingZeros32(used)].AppendBinary(b)
		}
	}
	return binary.LittleEndian.AppendUint64(b, xxhash.Sum64(b[from:]))
}

// used returns which leaves of a block are not zero, as bits.
func (b *block) used() (used uint32) {
	if b == nil {
		return 0
	}
	for i := range b.leaves {
		if !b.leaves[i].IsZero() {
			used |= 1 << i
		}
	}
	return used
}

// Decode reads what AppendBinary has written, and nothing else.
func Decode(b []byte) (*Tree, error) {
	if len(b) < 1+checksumBytes {
		return nil, fmt.Errorf("%w: %d bytes; at least %d are needed", ErrMalformed, len(b), 1+checksumBytes)
	}
	if b[0] != formatVersion {
		return nil, fmt.Errorf("%w: format %d; this program reads format %d", ErrMalformed, b[0], formatVersion)
	}
	body, sum := b[:len(b)-checksumBytes], binary.LittleEndian.Uint64(b[len(b)-checksumBytes:])
	if xxhash.Sum64(body) != sum {
		return nil, fmt.Errorf("%w: the checksum does not match", ErrMalformed)
	}
	t := new(Tree)
	next := 0 // the lowest index that the next block may have
	for body = body[1:]; len(body) > 0; {
		var err error
		if body, next, err = t.decodeBlock(body, next); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Tree) decodeBlock(body []byte, next int) (rest []byte, after int, err error) {
	if len(body) < blockHeader {
		return nil, 0, fmt.Errorf("%w: it ends within a block", ErrMalformed)
	}
	i, used := int(body[0]), binary.LittleEndian.Uint32(body[1:])
	body = body[blockHeader:]
	switch {
	case i < next || i >= Fanout:
		return nil, 0, fmt.Errorf("%w: block %d where %d to %d may stand", ErrMalformed, i, next, Fanout-1)
	case used == 0:
		return nil, 0, fmt.Errorf("%w: block %d is empty", ErrMalformed, i)
	case len(body) < bits.OnesCount32(used)*HashBytes:
		return nil, 0, fmt.Errorf("%w: it ends within block %d", ErrMalformed, i)
	}
	for ; used != 0; used &= used - 1 {
		h := decodeHash(body)
		if h.IsZero() {
			return nil, 0, fmt.Errorf("%w: a leaf of block %d is zero", ErrMalformed, i)
		}
		t.Change(i*Fanout+bits.TrailingZeros32(used), Hash{}, h)
		body = body[HashBytes:]
	}
	return body, i + 1, nil
}
