package replica

import "github.com/dynamo-kv/dynamo/internal/version"

// StoredSet returns the sibling set of a stored record, for whoever looks at
// a store from outside. The set's data shares value's memory.
func StoredSet(value []byte) (version.Siblings, error) {
	r, err := decodeRecord(value)
	return r.set, err
}
