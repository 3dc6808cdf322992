package replica

import (
	"encoding/binary"
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// record is what is stored for a key: the replicated sibling set and the
// fields that never leave this node. A hint record is one as well: its set is
// what is kept for its owners, and its epoch, if it has one, is of an actor of
// its own, so that a node mints for a key as an owner and as a fallback
// without ever meeting itself.
type record struct {
	// epoch is of the actor that mints for this key, zero for none yet.
	epoch version.Epoch
	// owners that missed a write, sorted by node; only a hint record has any.
	owners []core.HintOwner
	set    version.Siblings
	// hash is the set's in the hash trees, where it is known. It is not stored:
	// it goes with the record in memory, so that a write does not compute that
	// of what it replaces.
	hash merkle.Hash
}

// The first two bytes of a stored record. The second is the encoding of all
// that follows, and so the seam for compression and encryption at rest: each
// record says its own, so that a store may hold several at once. Of a record
// and not of each value in it, since what a key has in common with itself is
// between its siblings and in their clock. Hash trees are of sets and not of
// records, so that owners compare equal whatever they encode.
const (
	recordFormat = 1
	encodingRaw  = 0 // the only one there is

	flagEpoch  = 1 << 0
	flagOwners = 1 << 1
)

// encode returns the record as it is stored, and the record with its data in
// there, so that it keeps nothing else alive.
func (r record) encode() (value []byte, own record) {
	var few [64]byte // without owners, as most records are, it is enough
	own = r
	value, own.set = r.set.Encode(r.appendHead(few[:0]))
	return value, own
}

// size returns the length of the record as it is stored.
func (r record) size() int {
	var few [64]byte
	return len(r.appendHead(few[:0])) + r.set.Size()
}

// appendHead appends what a stored record has before its set.
func (r record) appendHead(head []byte) []byte {
	flags := byte(0)
	if !r.epoch.IsZero() {
		flags |= flagEpoch
	}
	if len(r.owners) > 0 {
		flags |= flagOwners
	}
	head = append(head, recordFormat, encodingRaw, flags)
	if flags&flagEpoch != 0 {
		head = binary.BigEndian.AppendUint64(head, r.epoch.Start)
		head = binary.AppendUvarint(head, r.epoch.Seq)
	}
	if flags&flagOwners != 0 {
		head = appendOwners(head, r.owners)
	}
	return head
}

// decodeRecord reads a stored record. The record's data shares b's memory.
func decodeRecord(b []byte) (record, error) {
	if len(b) < 3 {
		return record{}, fmt.Errorf("stored record has %d bytes; at least 3 are needed", len(b))
	}
	if b[0] != recordFormat {
		return record{}, fmt.Errorf("stored record has format %d; this program reads format %d: a newer one has written it, start that", b[0], recordFormat)
	}
	if b[1] != encodingRaw {
		return record{}, fmt.Errorf("stored record has encoding %d; this program reads encoding %d: a newer one has written it, start that", b[1], encodingRaw)
	}
	var r record
	var err error
	flags, rest := b[2], b[3:]
	if flags&^(flagEpoch|flagOwners) != 0 {
		return record{}, fmt.Errorf("stored record has unknown flags %#x", flags)
	}
	if flags&flagEpoch != 0 {
		if r.epoch, rest, err = decodeEpoch(rest); err != nil {
			return record{}, err
		}
	}
	if flags&flagOwners != 0 {
		if r.owners, rest, err = decodeOwners(rest); err != nil {
			return record{}, err
		}
	}
	set, rest, err := version.DecodeSiblings(rest)
	if err != nil {
		return record{}, fmt.Errorf("stored record: %w", err)
	}
	if len(rest) > 0 {
		return record{}, fmt.Errorf("stored record has %d bytes too many", len(rest))
	}
	r.set = set
	return r, nil
}

func decodeEpoch(b []byte) (version.Epoch, []byte, error) {
	if len(b) < 8 {
		return version.Epoch{}, nil, fmt.Errorf("stored record ends within its epoch")
	}
	e := version.Epoch{Start: binary.BigEndian.Uint64(b)}
	seq, n := binary.Uvarint(b[8:])
	if n <= 0 {
		return version.Epoch{}, nil, fmt.Errorf("stored record has a damaged epoch")
	}
	e.Seq = seq
	return e, b[8+n:], nil
}
