package replica

import (
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// StoredSet returns the sibling set of a stored record, for whoever looks at
// a store from outside. The set's data shares value's memory.
func StoredSet(value []byte) (version.Siblings, error) {
	r, err := decodeRecord(value)
	return r.set, err
}

// SavedRoot returns the root of a stored hash tree, likewise, and how many bits
// of a position are its partition.
func SavedRoot(value []byte) (root merkle.Hash, bits uint8, err error) {
	if len(value) < 2 {
		return merkle.Hash{}, 0, fmt.Errorf("a saved hash tree of %d bytes", len(value))
	}
	tree, err := decodeSavedTree(value, value[1])
	if err != nil {
		return merkle.Hash{}, 0, err
	}
	return tree.Root(), value[1], nil
}

// StoredHint returns for whom a stored hint record is, and what it holds for
// those that it does not only mark. They share value's memory.
func StoredHint(value []byte) ([]core.HintOwner, version.Siblings, error) {
	r, err := decodeRecord(value)
	return r.owners, r.set, err
}

// StoredTally returns how many records a stored tally of hints counts, and how
// many bytes.
func StoredTally(value []byte) (records, bytes uint64, err error) {
	t, err := decodeTally(value)
	return t.records, t.bytes, err
}

// InspectHint returns all that is kept of a key for others, nil where nothing
// is, and the flush that it waits for: for people. Set is what is kept, and
// not what a delivery would send along of this node's own copy.
func (r *Replica) InspectHint(key []byte, out *core.Out) (hint *core.HintItem, flush uint64) {
	rec, flush, ok := r.getHint(key, out)
	if !ok || len(rec.owners) == 0 {
		return nil, flush
	}
	return &core.HintItem{Key: key, Owners: rec.owners, Set: rec.set}, flush
}
