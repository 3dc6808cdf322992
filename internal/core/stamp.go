package core

import (
	"cmp"
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/ring"
)

// Phase is how far a node has come in the transition to its newest layout.
type Phase uint8

// The phases of a transition, in order. A node only ever moves forward.
const (
	// PhaseNone: no layout yet.
	PhaseNone Phase = iota
	// PhaseCopy: two live layouts. Writes go to the owners of both, reads to
	// those of the older, and new owners pull.
	PhaseCopy
	// PhaseMoved: every new owner is synced. Writes go to both, reads to the
	// owners of the newer, and reads under the older are refused.
	PhaseMoved
	// PhaseDone: one live layout. The first one is formed so; later ones come
	// to it when enough old owners refuse reads under the old layout, which
	// thereby is retired.
	PhaseDone
)

// String returns the phase's name as status shows it.
func (p Phase) String() string {
	switch p {
	case PhaseNone:
		return "none"
	case PhaseCopy:
		return "copying"
	case PhaseMoved:
		return "moved"
	case PhaseDone:
		return "stable"
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// Stamp says which layouts a node goes by: the full name of its newest layout
// and the phase of the transition to it. Requests carry the stamp of their
// sender; a replica refuses one that is older than its own (DESIGN section 5,
// scenarios read-gap-stamp and read-gap-retire). The zero stamp is older than
// any other.
type Stamp struct {
	Layout ring.Name
	Phase  Phase
}

// Compare orders stamps: by layout number, then digest, then phase.
func (s Stamp) Compare(o Stamp) int {
	if c := s.Layout.Compare(o.Layout); c != 0 {
		return c
	}
	return cmp.Compare(s.Phase, o.Phase)
}

// Older says that s is older than o.
func (s Stamp) Older(o Stamp) bool { return s.Compare(o) < 0 }

// IsZero says that the stamp's node has no layout yet.
func (s Stamp) IsZero() bool { return s == Stamp{} }

// String returns the stamp as logs and traces show it.
func (s Stamp) String() string { return s.Layout.String() + "/" + s.Phase.String() }
