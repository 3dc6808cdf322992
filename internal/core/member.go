package core

import (
	"cmp"
	"time"

	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// State is a member's place in its life in the cluster. It is gossiped.
type State uint8

// The states.
const (
	_       State = iota
	Joining       // known, but in no layout yet
	Active        // in the layout
	Leaving
	Left // kept for ever, so that an old record cannot bring the member back
)

// String returns the state as status shows it.
func (s State) String() string {
	switch s {
	case Joining:
		return "joining"
	case Active:
		return "active"
	case Leaving:
		return "leaving"
	case Left:
		return "left"
	}
	return "unknown"
}

// Status is what this node believes of a peer's health: a local opinion that
// is never gossiped and never changes a layout.
type Status uint8

// The statuses.
const (
	NoStatus Status = iota // of a member that has left, or is not known
	Alive
	Suspected
	Dead
)

// String returns the status as status shows it.
func (s Status) String() string {
	switch s {
	case NoStatus:
		return "none"
	case Alive:
		return "alive"
	case Suspected:
		return "suspected"
	case Dead:
		return "dead"
	}
	return "unknown"
}

// Member is a member's record, written by that member alone and gossiped.
type Member struct {
	ID          id.Node
	Addr        string
	Zone        string
	Datacentre  string
	Weight      uint32
	Instance    uint64 // of its data directory: another one means another disk
	Start       uint64 // the start nonce of its process
	Incarnation uint64 // grows with each start
	Heartbeat   uint64 // grows with each gossip round and each change below
	Changed     uint64 // the heartbeat of the latest change of anything but the heartbeat
	State       State
	Stamp       Stamp     // what all of its shards have durably adopted
	Synced      ring.Name // the layout for which it has pulled all that it gained
}

// Newer says that m tells more than o: the higher incarnation, then the later
// change wins. Heartbeats alone are told apart from records.
func (m Member) Newer(o Member) bool {
	return cmp.Or(cmp.Compare(m.Incarnation, o.Incarnation), cmp.Compare(m.Changed, o.Changed)) > 0
}

// LayoutState is the layouts that a node goes by. States are ordered by their
// stamp; the newest wins everywhere.
type LayoutState struct {
	Live  []*ring.Layout // oldest first, one or two
	Phase Phase
}

// Stamp returns the state's stamp, zero where there is no layout.
func (l LayoutState) Stamp() Stamp {
	if len(l.Live) == 0 {
		return Stamp{}
	}
	return Stamp{Layout: l.Live[len(l.Live)-1].Name(), Phase: l.Phase}
}

// Reading returns the layout whose owners answer reads and coordinate writes,
// nil where there is none.
func (l LayoutState) Reading() *ring.Layout {
	if len(l.Live) == 0 {
		return nil
	}
	if l.Phase == PhaseMoved {
		return l.Live[len(l.Live)-1]
	}
	return l.Live[0]
}

// GossipState is what a Gossip carries.
type GossipState struct {
	Cluster uint64
	// DiskStamp is the newest one that is durable on the sender's disk, and
	// Remembers the newest that it knows of the receiver's; 0 for none.
	DiskStamp, Remembers uint64
	Members              []Member // records; the sender's own is among them
	// Layouts is set where the receiver is not known to have it.
	Layouts LayoutState
	Digest  Digest
	// Wants asks for the records of the members whose IDs have these hashes.
	Wants []uint64
}

// Digest says in few bytes which records its sender has. The members are
// divided into buckets by the first bits of their IDs' hashes.
type Digest struct {
	Buckets uint32   // how many: a power of two, or 0 where there is no digest
	Chunk   []Bucket // those of them that the message is about
	// Versions has every record of the buckets that a reply has found to
	// differ.
	Versions []RecordVersion
}

// Bucket is what a digest says of one of them.
type Bucket struct {
	Index uint32
	Who   uint64 // combines which processes it has: IDs, starts, incarnations
	// What combines what their records say, but for heartbeats. In a reply it
	// is 0, or the bucket differs.
	What uint64
	// Heartbeats are those of its members in the order of their IDs' hashes. In
	// a reply it may be empty, and those are 0 that the receiver knows.
	Heartbeats []uint64
}

// RecordVersion says which record of a member somebody has.
type RecordVersion struct {
	Member      uint64 // hash of its ID
	Incarnation uint64
	Changed     uint64
	Heartbeat   uint64
}

// View is what the shards know of the cluster: an immutable snapshot that
// Control builds, delivered to a shard as an input.
type View struct {
	Self    id.Node
	Cluster uint64
	Layouts LayoutState
	Peers   []Peer // sorted by ID, this node excluded
	// Budgets are the shards' shares of background work, by shard; nil: there
	// is no limit.
	Budgets []Budget
	// Room is how much the shards may store; nil: nobody measures.
	Room *Room
	// Revision is another one where anything but the budgets and the room is;
	// 0: not known.
	Revision uint64
}

// Peer is another member as the shards need it.
type Peer struct {
	ID     id.Node
	Addr   string
	Start  uint64
	Status Status
	P95    time.Duration // of recent requests to it; 0: not known
	P99    time.Duration
	// Circuit is the state of its breaker.
	Circuit Circuit
}

// Stamp returns the view's stamp.
func (v *View) Stamp() Stamp { return v.Layouts.Stamp() }

// ReadLayout returns the layout whose owners answer reads and coordinate
// writes, nil where there is none.
func (v *View) ReadLayout() *ring.Layout { return v.Layouts.Reading() }

// Peer returns the peer of that ID.
func (v *View) Peer(n id.Node) (Peer, bool) {
	lo, hi := 0, len(v.Peers)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if v.Peers[mid].ID < n {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(v.Peers) && v.Peers[lo].ID == n {
		return v.Peers[lo], true
	}
	return Peer{}, false
}

// ClusterStatus is what Control knows, for people and for health checks: a
// snapshot that nobody changes.
type ClusterStatus struct {
	Self    id.Node
	Cluster uint64
	Members []MemberStatus // sorted by ID, this node included
	Layouts LayoutState
	// Replicas is N as configured; UnderReplicated says that the newest
	// layout has fewer owners.
	Replicas        int
	UnderReplicated bool
	// Serving says that the node answers clients: it has a cluster and a
	// layout. WaitsFor says what is missing otherwise.
	Serving  bool
	WaitsFor string
	// Pulls and PullsLeft count this node's partitions of the transition
	// under way; Leftovers counts partitions with keys that it does not own.
	Pulls, PullsLeft, Leftovers int
	Alarms                      Alarms // of all shards
	// Blocking lists the members that the transition under way waits for and
	// that are suspected or dead.
	Blocking []id.Node
	Trees    TreeReport
	Hints    HintReport   // of all shards
	Repairs  RepairReport // of all shards
	// Forgetting is that of all shards.
	Forgetting Forgetting
	Background Background
	Room       RoomStatus
}

// MemberStatus is a member as this node sees it.
type MemberStatus struct {
	Member
	Status Status
	// Circuit is its breaker's state, and Changes how often that has changed.
	Circuit Circuit
	Changes CircuitChanges
	// P95 and P99 are those of recent requests to it, 0: not known.
	P95, P99 time.Duration
}
