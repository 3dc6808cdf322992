package core

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Envelope carries one message from node to node.
type Envelope struct {
	From, To id.Node
	// Addr is where To listens, for messages of Control only: a seed has an
	// address before it has an ID here, and a joiner before it is a member.
	// Empty means: as the view says.
	Addr string
	// Cluster is the sender's cluster, 0 before it has one. A receiver in
	// another cluster drops the message; only gossip may carry 0.
	Cluster uint64
	// Req is opaque to the receiver of a request and echoed in its reply.
	Req   ReqID
	Reply bool
	// Start is the start nonce of the process that asks, echoed in the reply:
	// request IDs begin anew with each process, so a reply to an earlier start
	// of it must not be taken for an answer. Control's messages carry 0 and
	// have the nonce in their ReqID.
	Start uint64
	// Partition routes a request to its shard.
	Partition ring.Partition
	// Stamp says which layouts the sender goes by.
	Stamp Stamp
	// Deadline is Mono on this node and the time that remains on the wire.
	// Never later than id.MaxMessageAge after the message was made: a message
	// past it is dropped wherever it is, which bounds every message's age.
	Deadline time.Duration
	// Trace is where the request stands in a trace, nil where nobody looks. A
	// reply has none.
	Trace *Trace
	Msg   Message
}

// Answer returns the reply to a request, from the node whose view v is.
func (v *View) Answer(e *Envelope, deadline time.Duration, m Message) Envelope {
	return Envelope{
		From: v.Self, To: e.From, Cluster: v.Cluster, Req: e.Req, Reply: true, Start: e.Start,
		Partition: e.Partition, Stamp: v.Stamp(), Deadline: deadline, Msg: m,
	}
}

// Message is what an Envelope carries; the set of messages is sealed. All
// are pointers, so that none is boxed.
type Message interface{ message() }

// The messages. Each request is answered by its reply or by Refused.
type (
	// Apply asks a replica to merge a sibling set into its own and to make
	// the result durable. It may be repeated at will. Reply: Applied.
	Apply struct {
		Key []byte
		Set version.Siblings
	}
	// Applied says that the set of an Apply is covered by durable state.
	Applied struct{}

	// Hint asks a fallback to keep a sibling set for an owner that its sender
	// cannot reach, and to make it durable. It may be repeated at will. Reply:
	// Hinted.
	Hint struct {
		Key   []byte
		Set   version.Siblings
		Owner id.Node
	}
	// Hinted says that the set of a Hint is covered by a durable hint. It is
	// not Applied: in a transition one node may be asked both ways.
	Hinted struct{}

	// Read asks a replica for its own sibling set of a key. Reply: ReadReply.
	Read struct {
		Key []byte
		// Hints asks a fallback for what it holds of the key for owners that
		// cannot be reached.
		Hints bool
	}
	// ReadReply has the set, which is empty where there is none; the state
	// that it shows is durable.
	ReadReply struct{ Set version.Siblings }

	// Forward asks an owner to coordinate a write. It is not idempotent by
	// nature: the receiver executes (From, WriteID) once, only within the
	// start that it names, and never after Limit. Its envelope's deadline is
	// when the execution must have begun. Reply: Forwarded.
	Forward struct {
		Start    uint64        // the receiver's start nonce
		Limit    time.Duration // Wall after which it is not executed any more
		Timeout  time.Duration // what the receiver may take, from its receipt
		Attempt  uint32        // grows with each try of its sender: a refused one is never executed
		Fallback bool          // no owner can be reached: the receiver mints into its hints
		Op       Op            // OpPut or OpDelete
		Key      []byte
		Value    []byte
		Context  version.Clock
		Options  Options // WriteID is set
	}
	// Forwarded is the result of a Forward.
	Forwarded struct{ Result Result }

	// Pull asks an old owner for the next chunk of a partition. The receiver
	// must have adopted the sender's layout first. Reply: PullReply.
	Pull struct {
		Layout ring.Name // the layout that the sender becomes an owner in
		After  []byte    // resume after this key; nil from the start
	}
	// PullReply has a chunk in the store's order; what it shows is durable.
	PullReply struct {
		Items []Item
		Done  bool // nothing follows the last item
	}

	// Refused says that a request was not executed, and why.
	Refused struct{ Why Refusal }

	// Gossip tells what its sender knows of the cluster and asks for the
	// same. Reply: GossipReply. Control alone speaks these two.
	Gossip struct{ State GossipState }
	// GossipReply answers a Gossip.
	GossipReply struct{ State GossipState }
)

func (*Apply) message()       {}
func (*Applied) message()     {}
func (*Hint) message()        {}
func (*Hinted) message()      {}
func (*Read) message()        {}
func (*ReadReply) message()   {}
func (*Forward) message()     {}
func (*Forwarded) message()   {}
func (*Pull) message()        {}
func (*PullReply) message()   {}
func (*Refused) message()     {}
func (*Gossip) message()      {}
func (*GossipReply) message() {}

// Item is one key with its sibling set.
type Item struct {
	Key []byte
	Set version.Siblings
}

// Refusal is why a request was not executed. Whatever the reason, nothing of
// the request was done.
type Refusal uint8

// The refusals.
const (
	_ Refusal = iota
	// RefusedStale: the request's stamp is older than the receiver's. The
	// caller fetches the newer layout and tries again.
	RefusedStale
	// RefusedBehind: the receiver has not adopted the layout that the request
	// needs. The caller tries again later.
	RefusedBehind
	// RefusedStart: the Forward names another start of the receiver.
	RefusedStart
	// RefusedExpired: the Forward's limit has passed.
	RefusedExpired
	// RefusedOverloaded: a queue or table of the receiver is full.
	RefusedOverloaded
	// RefusedInvalid: the message breaks an invariant, such as equal dots
	// with different bytes. It is counted and logged at the receiver.
	RefusedInvalid
	// RefusedNotOwner: the receiver of a Forward does not own the partition.
	RefusedNotOwner
	// RefusedHintsFull: the receiver keeps as many bytes of hints as it may.
	RefusedHintsFull
	// RefusedStorageFull: the receiver has no room to store what it is asked
	// to. What frees room is still taken.
	RefusedStorageFull
)

// String returns the refusal's name, as metrics and logs show it.
func (r Refusal) String() string {
	switch r {
	case RefusedStale:
		return "stale layout"
	case RefusedBehind:
		return "layout not adopted yet"
	case RefusedStart:
		return "restarted"
	case RefusedExpired:
		return "expired"
	case RefusedOverloaded:
		return "overloaded"
	case RefusedInvalid:
		return "invalid"
	case RefusedNotOwner:
		return "not an owner"
	case RefusedHintsFull:
		return "hints full"
	case RefusedStorageFull:
		return "storage full"
	}
	return "unknown refusal"
}
