package ring

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"unicode/utf8"

	"github.com/dynamo-kv/dynamo/internal/id"
)

const (
	// MaxReplicas bounds N. Every write goes to N nodes, so nobody wants more;
	// with it a layout of the most partitions stays below 2 MiB on the wire.
	MaxReplicas = 16

	// MaxZoneBytes bounds the name of a zone, as that of a node: the members
	// are gossiped with every layout.
	MaxZoneBytes = 64
)

// ErrInvalid is what every error of this package about its input wraps.
var ErrInvalid = errors.New("invalid layout")

// Member is a node as a layout sees it.
type Member struct {
	ID id.Node

	// Zone is what may fail as one: a rack, a room. Members without a zone
	// share the zone "".
	Zone string

	// Weight is the node's part relative to the others'; at least 1.
	Weight uint32
}

func (m Member) check() error {
	if _, err := id.ParseNode(string(m.ID)); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(m.Zone) > MaxZoneBytes {
		return fmt.Errorf("%w: the zone of %s has %d bytes; at most %d are allowed",
			ErrInvalid, m.ID, len(m.Zone), MaxZoneBytes)
	}
	if !utf8.ValidString(m.Zone) {
		return fmt.Errorf("%w: the zone of %s is not valid UTF-8", ErrInvalid, m.ID)
	}
	if m.Weight == 0 {
		return fmt.Errorf("%w: the weight of %s is 0; at least 1 is needed", ErrInvalid, m.ID)
	}
	return nil
}

// sortMembers returns a sorted copy of the members of a layout, each checked.
func sortMembers(members []Member) ([]Member, error) {
	if err := checkCount(len(members)); err != nil {
		return nil, err
	}
	sorted := slices.Clone(members)
	slices.SortFunc(sorted, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	for i, m := range sorted {
		if err := m.check(); err != nil {
			return nil, err
		}
		if i > 0 && sorted[i-1].ID == m.ID {
			return nil, fmt.Errorf("%w: two members have the ID %s", ErrInvalid, m.ID)
		}
	}
	return sorted, nil
}

func checkCount(members int) error {
	if members < 1 || members > id.MaxMembers {
		return fmt.Errorf("%w: %d members; 1 to %d are allowed", ErrInvalid, members, id.MaxMembers)
	}
	return nil
}

func checkReplicas(replicas int) error {
	if replicas < 1 || replicas > MaxReplicas {
		return fmt.Errorf("%w: %d replicas; 1 to %d are allowed", ErrInvalid, replicas, MaxReplicas)
	}
	return nil
}

// checkPartitions returns the number of bits of a partition's number.
func checkPartitions(partitions int) (uint8, error) {
	if partitions < 1 || partitions > id.MaxPartitions || partitions&(partitions-1) != 0 {
		return 0, fmt.Errorf("%w: %d partitions; a power of two from 1 to %d is needed",
			ErrInvalid, partitions, id.MaxPartitions)
	}
	return uint8(bits.TrailingZeros(uint(partitions))), nil
}
