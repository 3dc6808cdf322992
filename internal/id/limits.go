package id

import "time"

// The limits of the system. Each has its reason beside it; those that users
// may change are defaults here and fields of the configuration.
const (
	// MaxKeyBytes bounds a key. Keys are held in indexes and in memory by
	// every engine; 2 KiB is what a URL can carry everywhere.
	MaxKeyBytes = 2048

	// DefaultMaxValueBytes is the value size accepted unless configured
	// otherwise. A value travels whole, N times, in every write.
	DefaultMaxValueBytes = 1 << 20

	// MaxValueBytes is the most that may be configured: 16 siblings of this
	// size do not fit into one sibling set any more.
	MaxValueBytes = 16 << 20

	// MaxSiblings bounds the versions of one key that a client's put may
	// leave. Merges are never refused, so a set may grow past it by them.
	MaxSiblings = 100

	// MaxSetBytes bounds the encoded sibling set that a client's put may
	// leave: a set is read, merged and sent as a whole.
	MaxSetBytes = 32 << 20

	// PruneClockEntries is the clock length that asks for pruning, and
	// MaxClockEntries the length that refuses a client's put: a clock is
	// compared and sent with every request for its key.
	PruneClockEntries = 10
	MaxClockEntries   = 1000

	// MaxContextBytes bounds a context token: MaxClockEntries entries of the
	// longest node IDs, encoded, with room to spare.
	MaxContextBytes = 128 << 10

	// MaxMembers bounds the members of a cluster, and MaxPartitions the
	// partitions of a layout: both are gossiped whole.
	MaxMembers    = 1024
	MaxPartitions = 1 << 16

	// MaxMessageBytes bounds one message between nodes: the largest sibling
	// set that a merge may build from MaxSetBytes on two sides, alone.
	MaxMessageBytes = 80 << 20
)

// MaxMessageAge is M of DESIGN section 4: a peer message that is older is
// dropped. It bounds how late a copy of old state can arrive, which is what
// makes forgetting safe.
const MaxMessageAge = 60 * time.Second

// MaxDiskAge is L of DESIGN section 4: a disk whose last stamp is older when
// its node starts is not served before other members have spoken, since what
// was deleted and forgotten meanwhile could come back from it. It spans a
// restart, an update and a reboot.
const MaxDiskAge = 5 * time.Minute

// MinTombstoneTTL bounds the time between the two rounds of forgetting from
// below: L + 2M of DESIGN section 4. A copy of old state that was under way in
// the first round is gone by the second.
const MinTombstoneTTL = MaxDiskAge + 2*MaxMessageAge
