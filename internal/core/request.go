package core

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Op is what a client asks for.
type Op uint8

// The operations. A delete is a put of a tombstone.
const (
	_ Op = iota
	OpGet
	OpPut
	OpDelete
	// OpInspect reads this node's own copy, whoever owns the key, and asks
	// nobody else: for people, and for checks of replicas.
	OpInspect
	// OpInspectHint reads what this node keeps of the key for others, likewise.
	OpInspectHint
	// OpSum sums up this node's own copy of a range of the ring, likewise: the
	// Request's Range is set instead of its key, and the Reply's Sum.
	OpSum

	// Ops is one more than the last of them.
	Ops = iota
)

// String returns the operation's name, as metrics and traces show it.
func (o Op) String() string {
	switch o {
	case OpGet:
		return "get"
	case OpPut:
		return "put"
	case OpDelete:
		return "delete"
	case OpInspect:
		return "inspect"
	case OpInspectHint:
		return "inspect_hint"
	case OpSum:
		return "sum"
	}
	return "unknown op"
}

// Quorum is whether fallbacks may stand in for owners.
type Quorum uint8

// The kinds of quorum.
const (
	QuorumDefault Quorum = iota // as configured
	QuorumSloppy
	QuorumStrict
)

// Repair is when a read's reply comes.
type Repair uint8

// The kinds of repair.
const (
	// RepairBackground: at once. Owners that miss what it shows get it after.
	RepairBackground Repair = iota
	// RepairBlocking: when R owners durably hold what it shows. Owners alone
	// count, whatever Quorum says.
	RepairBlocking
)

// DefaultRepairBytes is what read repair in the background may hold of a node's
// memory: some thousand repairs of usual sets at once. What does not find room
// is left to anti-entropy.
const DefaultRepairBytes = 32 << 20

// Options of one request. The zero value means: as configured.
type Options struct {
	R, W      int // replicas; 0: as configured, lowered to the owners there are
	Quorum    Quorum
	Repair    Repair          // of a get; other nodes never hear of it
	Overwrite bool            // the coordinator's own stored clock is the context
	WriteID   version.WriteID // zero: drawn by the first node
}

// Request is one request of a client, checked for sizes and ranges by the
// shell. Reply.Req returns Req to its waiter.
type Request struct {
	Req        ReqID
	Op         Op
	Key        []byte
	Value      []byte
	Context    version.Clock
	HasContext bool
	Options    Options
	Arrived    time.Duration // Mono, when the shell took it, for its metrics
	Deadline   time.Duration // Mono; at most id.MaxMessageAge away
	Trace      *Trace        // of whoever asks; nil: nobody looks
	Range      *Range        // of OpSum
	Client     Client        // nil: it stays
}

// Client is whoever waits for the reply to a request.
type Client interface {
	// Begins is called once, when a request that may have waited is to begin, and
	// says whether its client is still there: if not, nothing of it is done.
	Begins() bool
}

// Taker takes the result of a request, once and from any goroutine. It never
// waits.
type Taker interface{ Take(Result) }

// Reply ends a Request or a Join.
type Reply struct {
	Req    ReqID
	Result Result
	// Detail says in words what Code does not: why a Join is refused.
	Detail string
	Sum    *RangeSum // of OpSum
}

// Range is a part of one partition.
type Range struct {
	First, Last ring.Position // both included
	After       []byte        // go on after this key; nil from the start
	Keys        bool          // list them
}

// RangeSum is what a node holds of a Range, as far as one step reads: More
// follows after the key After. It is durable.
type RangeSum struct {
	Sum   TreeHash // of the keys' hashes in the hash trees
	Keys  [][]byte
	After []byte
	More  bool
}

// Join asks Control to become a member of the seeds' cluster. It is answered
// once identity, members and layout are held durably, or at the deadline.
type Join struct {
	Req      ReqID
	Seeds    []string // addresses
	Deadline time.Duration
}

// Result is how a request ended.
type Result struct {
	Code Code
	// Outcome of a write: whether any replica can have persisted it.
	Outcome Outcome
	// Acknowledged and Required count replicas: in the layout that was
	// furthest from its quorum, where two are live.
	Acknowledged, Required int
	// Fallbacks counts those of Acknowledged that are no owners and stand in
	// for one: they keep a write as a hint, or answer a read from their hints.
	Fallbacks int
	// Set is what a get found, merged over its replicas; tombstones included.
	Set version.Siblings
	// Context is the clock to hand back with a later write.
	Context version.Clock
	// Hint is what an OpInspectHint found, nil where nothing is kept.
	Hint *HintItem
}

// Code is how a request ended.
type Code uint8

// The codes.
const (
	_ Code = iota
	CodeOK
	CodeNotFound        // a get that found no live version; Context is usable
	CodeQuorum          // R or W cannot be met any more
	CodeTimeout         // the deadline passed
	CodeOverloaded      // a queue or table is full; not written
	CodeTooManySiblings // the write would leave more than id.MaxSiblings; not written
	CodeSetTooLarge     // … more than id.MaxSetBytes; not written
	CodeClockTooLong    // … more than id.MaxClockEntries; not written
	CodeNotReady        // this node has no layout yet; not written
	CodeStopped         // this node stops
	CodeRefused         // a Join that cannot be; Detail says why
	CodeStorageFull     // too few owners have room for the write

	// Codes is one more than the last of them.
	Codes = iota
)

// String returns the code's name, as metrics and traces show it.
func (c Code) String() string {
	switch c {
	case CodeOK:
		return "ok"
	case CodeNotFound:
		return "not_found"
	case CodeQuorum:
		return "quorum"
	case CodeTimeout:
		return "timeout"
	case CodeOverloaded:
		return "overloaded"
	case CodeTooManySiblings:
		return "too_many_siblings"
	case CodeSetTooLarge:
		return "set_too_large"
	case CodeClockTooLong:
		return "clock_too_long"
	case CodeNotReady:
		return "not_ready"
	case CodeStopped:
		return "stopped"
	case CodeRefused:
		return "refused"
	case CodeStorageFull:
		return "storage_full"
	}
	return "unknown"
}

// Outcome tells what became of a write: three answers, three values.
type Outcome uint8

// The outcomes.
const (
	_ Outcome = iota
	// NotWritten: no replica can have persisted it.
	NotWritten
	// Written: the quorum has made it durable.
	Written
	// Unknown: some replica may have persisted it, so it may yet appear.
	Unknown
)

// String returns the outcome as the APIs spell it.
func (o Outcome) String() string {
	switch o {
	case NotWritten:
		return "not_written"
	case Written:
		return "written"
	case Unknown:
		return "unknown"
	}
	return ""
}
