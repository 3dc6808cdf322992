package coordinator

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/guard"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// stage is what a slot does.
type stage uint8

const (
	free stage = iota
	reading
	writing
	forwarding
	repairing // a read that is decided
	probing   // nobody's: an owner is asked for the sake of its latency
)

// slot is one request under way, or free.
type slot struct {
	id    core.ReqID // its generation grows with each use
	stage stage
	op    core.Op
	// answered says that the client has its reply, while replicas that have
	// not acknowledged yet are still being awaited and tried again.
	answered bool
	// sloppy says that fallbacks may stand in for owners, fallback that this
	// node is one, which mints into its hints since no owner can be reached.
	sloppy, fallback bool

	key       []byte
	partition ring.Partition
	value     []byte
	context   version.Clock
	options   core.Options
	began     time.Duration // at this node
	arrived   time.Duration // likewise, before it waited for its shard
	deadline  time.Duration

	// When it is woken: for those that are, armed has the time, armedSeq the order
	// among equals, and place where it stands among the timers, 1 the first.
	armed    time.Duration
	armedSeq uint64
	place    int // 0: it is not

	// Who waits: a client of this node, or another node that forwarded.
	client  core.ReqID
	forward *core.Envelope // nil: a client

	peers []try
	// spare are the fallbacks that may still be asked, the next one first,
	// once listed says that they have been looked for.
	spare  []id.Node
	listed bool
	// local says how this node's own copy stands: asked once it has the
	// request, done once what it holds is durable.
	local tryState

	localFlush uint64 // that local waits for

	// A read.
	layout ring.Name        // that it counts answers in
	merged version.Siblings // over the answers so far
	own    version.Siblings // this node's own answer: merged once it is durable
	hedge  time.Duration    // when the next peer is asked as well; core.Never: not

	// repaired says that a read's repairs were sent, held what they count for.
	repaired bool
	held     uint64

	// A write that has been minted.
	set    version.Siblings
	seen   version.Clock // the context to answer with
	minted core.Stamp    // the view's when it was minted

	// unsure are the nodes that may have executed the write, which they were
	// forwarded by this layout or by one before.
	unsure     []forwardedTo
	overloaded bool // a forward: an owner refused it for its load
	full       bool // a write: a node had no room for it, this one perhaps

	trace *trace // nil: nobody looks
}

// tryState is how one node stands to a request.
type tryState uint8

const (
	idle    tryState = iota // not asked
	asked                   // no answer yet
	waiting                 // failed; will be asked again at due
	stale                   // refused for our old layout; to be asked again with the next view, or at due
	done                    // answered
	failed                  // failed, and not asked again
	avoided                 // an owner that is believed dead, or whose breaker is open, and not asked
)

// try is one node that takes part in a request.
type try struct {
	node id.Node
	// owner is whom the node stands in for, empty where it is asked as the
	// owner that it is. In a transition one node may be asked both ways.
	owner  id.Node
	state  tryState
	call   guard.Call
	repair bool // it was sent what a read has found
	// refused says that it has refused once: what refuses it again may be a copy
	// of that, though the try that followed is executed.
	refused bool
	missed  bool // it has failed once: others stand in for it until it answers
	// resort says that it is asked though its breaker is open, since nobody else
	// is left, and spent that it had its tries before that: this is the last.
	resort, spent bool
	sent          time.Duration
	trace         *core.Trace      // of the wait for its answer; nil: nobody looks, or it is over
	seen          version.Siblings // its answer to a read, as an owner
	due           time.Duration    // of asked: when it counts as failed; of waiting and stale: when it is asked again
}

// find returns how node n stands as an owner.
func (s *slot) find(n id.Node) *try {
	for i := range s.peers {
		if s.peers[i].node == n && s.peers[i].owner == "" {
			return &s.peers[i]
		}
	}
	return nil
}

// findStandIn returns how node n stands as a fallback.
func (s *slot) findStandIn(n id.Node) *try {
	for i := range s.peers {
		if s.peers[i].node == n && s.peers[i].owner != "" {
			return &s.peers[i]
		}
	}
	return nil
}

// findAsked returns a try of node n that waits for an answer, whichever part
// it plays, or its only one.
func (s *slot) findAsked(n id.Node) *try {
	var found *try
	for i := range s.peers {
		if t := &s.peers[i]; t.node == n && (found == nil || found.state != asked) {
			found = t
		}
	}
	return found
}

// state says how node n stands to the request, this node included.
func (s *slot) state(self, n id.Node) tryState {
	if n == self {
		return s.local
	}
	if t := s.find(n); t != nil {
		return t.state
	}
	return idle
}

// next returns the first peer that has not been asked, nil where there is
// none.
func (s *slot) next() *try {
	for i := range s.peers {
		if s.peers[i].state == idle {
			return &s.peers[i]
		}
	}
	return nil
}

// open says whether any peer may still answer or be asked.
func (s *slot) open() bool {
	for i := range s.peers {
		switch s.peers[i].state {
		case idle, asked, waiting, stale:
			return true
		case done, failed, avoided:
		}
	}
	return false
}

// due returns when the slot wants to be woken.
func (s *slot) due() time.Duration {
	at := s.deadline
	if s.stage == reading {
		at = min(at, s.hedge)
	}
	for i := range s.peers {
		switch s.peers[i].state {
		case asked, waiting, stale:
			at = min(at, s.peers[i].due)
		case idle, done, failed, avoided:
		}
	}
	return at
}
