// Package coretest has what tests of several machines share: a store in
// memory that is as simple as its contract allows.
package coretest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// Store is a core.Store in a map. It is not safe for concurrent use.
type Store struct {
	pairs   map[string][]byte
	damaged map[string]bool
	// Broken, when set, is what every read returns.
	Broken error
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{pairs: make(map[string][]byte)} }

// Commit applies a batch at once.
func (s *Store) Commit(batch []core.Write) {
	for _, w := range batch {
		delete(s.damaged, string(w.Key))
		if w.Delete {
			delete(s.pairs, string(w.Key))
		} else {
			s.pairs[string(w.Key)] = w.Value
		}
	}
}

// Damage has the disk lose the record of a key, until it is written again.
func (s *Store) Damage(key []byte) {
	if s.damaged == nil {
		s.damaged = make(map[string]bool)
	}
	delete(s.pairs, string(key))
	s.damaged[string(key)] = true
}

// Len returns the number of keys.
func (s *Store) Len() int { return len(s.pairs) }

// Clone returns a copy, as a disk is copied.
func (s *Store) Clone() *Store {
	return &Store{pairs: maps.Clone(s.pairs), damaged: maps.Clone(s.damaged)}
}

// Get is core.Store's.
func (s *Store) Get(key []byte) ([]byte, error) {
	if s.Broken != nil {
		return nil, s.Broken
	}
	if s.damaged[string(key)] {
		return nil, fmt.Errorf("%w: as the test wants it", core.ErrDamaged)
	}
	v, ok := s.pairs[string(key)]
	if !ok {
		return nil, core.ErrNotFound
	}
	return v, nil
}

// Scan is core.Store's.
func (s *Store) Scan(from, to []byte, limit core.Limit, f func(key, value []byte) bool) ([]byte, error) {
	if s.Broken != nil {
		return nil, s.Broken
	}
	var keys []string
	for k := range s.pairs { // sorted below
		if k >= string(from) && (to == nil || k < string(to)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	size := 0
	for i, k := range keys {
		if i > 0 && (i >= limit.Keys || size >= limit.Bytes) || !f([]byte(k), s.pairs[k]) {
			return []byte(k), nil
		}
		size += len(k) + len(s.pairs[k])
	}
	return nil, nil
}
