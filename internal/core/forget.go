package core

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// The messages of forgetting (DESIGN section 4): what the reaper of a
// partition, its first owner, asks the members of the cluster.
type (
	// Confirm asks a member to confirm a round: an owner, that it holds
	// exactly these sets durably; anybody else, that it holds nothing for
	// these keys. The first time the member takes a token for each key that it
	// confirms; again, it confirms that the token stands. Both sides must show
	// the same members and layouts. Reply: Confirmed.
	Confirm struct {
		Round   uint64 // grows with each round of the reaper's process
		Again   bool
		Members uint64 // a digest of the members that are not left, and of their starts
		Keys    []KeyDigest
	}
	// Confirmed has the keys that are not confirmed, as ascending indexes of
	// the Confirm's.
	Confirmed struct{ Except []uint32 }

	// Forget asks an owner to forget the keys of a round that everybody has
	// confirmed twice: a key with tombstones only is removed, of another one
	// the clock entries that no version needs. It requires the token and an
	// unchanged set. It may be repeated. Reply: Forgotten.
	Forget struct {
		Round   uint64
		Members uint64
		Keys    []KeyDigest
	}
	// Forgotten has the keys for which the owner had no token, as ascending
	// indexes of the Forget's.
	Forgotten struct{ Except []uint32 }
)

func (*Confirm) message()   {}
func (*Confirmed) message() {}
func (*Forget) message()    {}
func (*Forgotten) message() {}

// KeyDigest is a key with a digest of its sibling set: of its clock and its
// dots, which tell it from any other set of the key.
type KeyDigest struct {
	Key    []byte
	Digest uint64
}

// MaxForgetKeys bounds the keys of one round, and so of one Confirm or Forget.
const MaxForgetKeys = 1024

// Forgetting is how far forgetting has come here, since the start of the
// process.
type Forgetting struct {
	Reaped    uint64 // keys removed: they had tombstones only
	Pruned    uint64 // clock entries removed
	Cancelled uint64 // rounds given up, in whole
	Waiting   int    // keys that all have confirmed once
	// Blocker is the member that has kept the rounds of this node's partitions
	// from going on for the longest, since BlockedSince by the wall clock: it
	// does not answer, or shows other members or layouts. Empty: nobody.
	Blocker      id.Node
	BlockedSince time.Duration
}

// Plus returns the sum of both, with the blocker of longer standing.
func (f Forgetting) Plus(o Forgetting) Forgetting {
	f.Reaped += o.Reaped
	f.Pruned += o.Pruned
	f.Cancelled += o.Cancelled
	f.Waiting += o.Waiting
	if o.Blocker != "" && (f.Blocker == "" || o.BlockedSince < f.BlockedSince) {
		f.Blocker, f.BlockedSince = o.Blocker, o.BlockedSince
	}
	return f
}
