package replica

import (
	"encoding/binary"
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/version"
)

// record is what is stored for a key: the replicated sibling set and the
// fields that never leave this node.
type record struct {
	// epoch is of the actor that mints for this key, zero for none yet.
	epoch version.Epoch
	set   version.Siblings
}

// The first two bytes of a stored record. The encoding byte is the seam for
// compression and encryption of the rest.
const (
	recordFormat = 1
	encodingRaw  = 0

	flagEpoch = 1
)

func (r record) encode() []byte {
	b := make([]byte, 0, 3+8+binary.MaxVarintLen64+r.set.Size())
	b = append(b, recordFormat, encodingRaw)
	if r.epoch.IsZero() {
		b = append(b, 0)
	} else {
		b = append(b, flagEpoch)
		b = binary.BigEndian.AppendUint64(b, r.epoch.Start)
		b = binary.AppendUvarint(b, r.epoch.Seq)
	}
	return r.set.AppendBinary(b)
}

// decodeRecord reads a stored record. The record's data shares b's memory.
func decodeRecord(b []byte) (record, error) {
	if len(b) < 3 {
		return record{}, fmt.Errorf("stored record has %d bytes; at least 3 are needed", len(b))
	}
	if b[0] != recordFormat {
		return record{}, fmt.Errorf("stored record has format %d; this program reads format %d", b[0], recordFormat)
	}
	if b[1] != encodingRaw {
		return record{}, fmt.Errorf("stored record has encoding %d; this program reads encoding %d", b[1], encodingRaw)
	}
	var r record
	rest := b[3:]
	switch b[2] {
	case 0:
	case flagEpoch:
		if len(rest) < 8 {
			return record{}, fmt.Errorf("stored record ends within its epoch")
		}
		r.epoch.Start = binary.BigEndian.Uint64(rest)
		seq, n := binary.Uvarint(rest[8:])
		if n <= 0 {
			return record{}, fmt.Errorf("stored record has a damaged epoch")
		}
		r.epoch.Seq = seq
		rest = rest[8+n:]
	default:
		return record{}, fmt.Errorf("stored record has unknown flags %#x", b[2])
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
