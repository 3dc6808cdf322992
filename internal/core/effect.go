package core

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// ErrNotFound is what a Store's Get returns for a key that it does not hold.
var ErrNotFound = errors.New("key not found")

// ErrDamaged is part of what a Store's Get returns for a key whose value the
// disk has lost. The store goes on, and the key can be written again.
var ErrDamaged = errors.New("stored record is damaged")

// Damage tells a shard of records that the store has found that the disk has
// lost. They may be of other shards, or written again since.
type Damage struct {
	Keys [][]byte // of the store
	More bool     // there are more than are named
}

// ErrOldDisk is why a node stops whose disk is an older copy of its data than
// other members remember: the data must be set aside, and the node begin anew
// with an empty disk.
var ErrOldDisk = errors.New("the data directory holds an old copy of this node's data")

// Store is what a machine may read: the engine, synchronously, through its
// loop's overlay of batches that are not complete. A returned slice is
// immutable and stays valid.
type Store interface {
	// Get returns the value of key, ErrNotFound, an ErrDamaged, or the engine's
	// error, on which the node stops.
	Get(key []byte) ([]byte, error)
	// Scan calls f for the keys of [from, to) in order, until f returns false
	// or the limit is reached. next is where to go on, nil at the end. It
	// passes over keys that are damaged.
	Scan(from, to []byte, limit Limit, f func(key, value []byte) bool) (next []byte, err error)
}

// Limit bounds a scan; whichever comes first. A scan that starts returns at
// least one key.
type Limit struct {
	Keys  int
	Bytes int
}

// Durability is what a commit's completion promises.
type Durability uint8

// The durabilities.
const (
	// Sync: the completion comes when the batch survives a crash of the machine.
	Sync Durability = iota
	// NoSync: the completion comes at once; a crash loses the latest batches.
	NoSync
)

// Write is one change to the store.
type Write struct {
	Key    []byte
	Value  []byte
	Delete bool
}

// Out has all effects of one drain of a loop. Its slices are reused by the
// loop that owns it; what they point to is not.
//
// The order in which the shell must carry them out: Writes are committed as
// one atomic batch, the flush; Sends and Replies leave at once; SendsHeld and
// RepliesHeld leave when this flush and all before it are durable.
type Out struct {
	Writes      []Write
	Sends       []Envelope
	SendsHeld   []Envelope
	Replies     []Reply
	RepliesHeld []Reply
	Reports     []PeerReport   // from a shard, for Control
	Shards      []ShardReport  // from a shard, for Control
	Loads       []LoadReport   // from a shard, for Control
	Statuses    []StatusChange // from Control, for whoever watches
	// Reached are addresses where a peer is said to listen again, from Control:
	// before anything is sent, the transport is told to try them at once.
	Reached []string
	// Spans are of traced requests. Those of SpansHeld end when this flush and
	// all before it are durable.
	Spans, SpansHeld []Span
	// Failed is set when the store failed or holds what cannot be read: the
	// node must stop, since what it would go on with is not known.
	Failed error
}

// Reset empties out for the next drain and lets go of what it pointed to.
func (o *Out) Reset() {
	clear(o.Writes)
	clear(o.Sends)
	clear(o.SendsHeld)
	o.Writes = o.Writes[:0]
	o.Sends = o.Sends[:0]
	o.SendsHeld = o.SendsHeld[:0]
	clear(o.Replies)
	clear(o.RepliesHeld)
	o.Replies = o.Replies[:0]
	o.RepliesHeld = o.RepliesHeld[:0]
	clear(o.Reports)
	o.Reports = o.Reports[:0]
	clear(o.Shards)
	o.Shards = o.Shards[:0]
	clear(o.Loads)
	o.Loads = o.Loads[:0]
	clear(o.Statuses)
	o.Statuses = o.Statuses[:0]
	clear(o.Reached)
	o.Reached = o.Reached[:0]
	clear(o.Spans)
	clear(o.SpansHeld)
	o.Spans, o.SpansHeld = o.Spans[:0], o.SpansHeld[:0]
	o.Failed = nil
}

// StatusChange is a new opinion of a peer's health. From is NoStatus where the
// peer has just become known, To where it has left.
type StatusChange struct {
	Peer     id.Node
	From, To Status
}

// PeerReport tells Control how a peer answered a shard.
type PeerReport struct {
	Peer   id.Node
	OK     uint32 // answers of any kind
	Failed uint32 // failed sends and timeouts, each try of a call
	// Latency is the time of one answered request, 0 where there is none.
	Latency time.Duration
	// Calls is what the peer's breaker goes by.
	Calls Calls
	// Ahead is a stamp of the peer that is newer than the shard's view, zero
	// otherwise: Control then gossips with the peer at once.
	Ahead Stamp
}

// ShardReport tells Control how far a shard has come.
type ShardReport struct {
	Shard  int
	Stamp  Stamp     // the view that it goes by
	Synced ring.Name // the layout for which it has pulled all that it gained
	// Pulls and PullsLeft count the partitions that this transition brings
	// here, and those of them not yet pulled.
	Pulls, PullsLeft int
	// Leftovers counts partitions with keys here that this node does not own.
	Leftovers int
	Alarms    Alarms
	Trees     TreeReport
	Hints     HintReport
	Repairs   RepairReport

	Forgetting Forgetting
}

// RepairReport counts read repairs since the start of the process: in one
// shard, or in all.
type RepairReport struct {
	Sent    uint64 // sets sent to owners that had answered with less, or for a blocking read
	Own     uint64 // times that this node's own copy was behind
	Dropped uint64 // owners known to be behind and left to anti-entropy, at the limit
	Waited  uint64 // blocking reads that could not answer at once
	Failed  uint64 // sets that an owner has not acknowledged in time, or could not take
}

// Plus returns the sum of both.
func (r RepairReport) Plus(o RepairReport) RepairReport {
	return RepairReport{
		Sent: r.Sent + o.Sent, Own: r.Own + o.Own, Dropped: r.Dropped + o.Dropped, Waited: r.Waited + o.Waited, Failed: r.Failed + o.Failed,
	}
}

// HintReport tells what a shard, or a node, keeps for owners that missed
// writes. The counts that end in the past tense run from the start of the
// process.
type HintReport struct {
	Bytes, Limit uint64 // of what is kept, and may be
	Records      uint64
	Pending      []HintsPending // by target, sorted; nobody may change it
	Stored       uint64         // keys that a target was noted for
	Delivered    uint64         // keys that a target has acknowledged durably
	Refused      uint64         // for want of room
	Expired      uint64         // markers that have grown too old
	Lost         uint64         // records that the disk has lost
}

// HintsPending counts the keys that are kept for one owner.
type HintsPending struct {
	Target id.Node
	Keys   uint64
}

// Plus returns the sum of both.
func (h HintReport) Plus(o HintReport) HintReport {
	return HintReport{
		Bytes: h.Bytes + o.Bytes, Limit: h.Limit + o.Limit, Records: h.Records + o.Records,
		Pending: plusPending(h.Pending, o.Pending),
		Stored:  h.Stored + o.Stored, Delivered: h.Delivered + o.Delivered,
		Refused: h.Refused + o.Refused, Expired: h.Expired + o.Expired, Lost: h.Lost + o.Lost,
	}
}

func plusPending(a, b []HintsPending) []HintsPending {
	sum := slices.Clone(a)
	for _, p := range b {
		i, found := slices.BinarySearchFunc(sum, p.Target, func(h HintsPending, n id.Node) int { return cmp.Compare(h.Target, n) })
		if found {
			sum[i].Keys += p.Keys
		} else {
			sum = slices.Insert(sum, i, p)
		}
	}
	return sum
}

// Alarms counts what should not happen, since the start of the process.
type Alarms struct {
	// LostData counts sets from outside that show a higher counter for a live
	// actor of this node than it has minted: its disk has lost something.
	LostData uint64
	// Conflicts counts sets refused for equal dots with different bytes.
	Conflicts uint64
}

// Plus returns the sum of both.
func (a Alarms) Plus(b Alarms) Alarms {
	return Alarms{LostData: a.LostData + b.LostData, Conflicts: a.Conflicts + b.Conflicts}
}
