package antientropy

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/guard"
	"github.com/dynamo-kv/dynamo/internal/histogram"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Limits of one shard's anti-entropy.
const (
	// A chunk of building trees: large enough to be worth its turn, small enough
	// not to hold up the requests that share its loop.
	buildKeys  = 256
	buildBytes = 64 << 10

	// requestTimeout is how long an answer may take, as in handoff. A request
	// that is not answered is repeated by the guard's policy before the exchange
	// breaks off.
	requestTimeout = 2 * time.Second

	// retryPause is how long after an exchange broke off, or found a peer
	// without some tree, the same peer is asked for the rest.
	retryPause = 2 * time.Second

	// turn is how long an exchange goes on when others are due.
	turn = 5 * time.Second

	// earliest is the part of the interval after which a peer may be due
	// again: varied, so that the nodes of a cluster do not act as one.
	earliest = 0.8

	// reportEach bounds how often progress is told to Control.
	reportEach = time.Second

	// walkSlot is the slot of the one request that walks the trees; those of
	// keys follow.
	walkSlot = 0
	keySlots = 1
)

// Local is this node's own copy, which the replica machine keeps.
type Local interface {
	Read(key []byte, out *core.Out) (set version.Siblings, flush uint64)
	Apply(key []byte, set version.Siblings, out *core.Out) (flush uint64, why core.Refusal)
	// HasRoom says whether this node takes what needs room.
	HasRoom() bool
	Conflict()
	// Tree returns a partition's hash tree, nil where none is ready.
	Tree(p ring.Partition) *merkle.Tree
	// Bucket lists the keys of a leaf after a data key, and takes what it has
	// read off the limit.
	Bucket(p ring.Partition, leaf int, after []byte, limit *core.Limit, out *core.Out) (keys []core.KeyHash, more bool)
	// BuildTrees does the next chunk of building trees.
	BuildTrees(limit core.Limit, out *core.Out) (left int)
	Trees() core.TreeReport
}

// Config of an AntiEntropy. Every field is needed.
type Config struct {
	Self          id.Node
	Start         uint64 // the nonce of this start of the process
	Shard, Shards int
	// Interval is how long a pair is left alone at most, while both are alive.
	// 0: this node takes no first step, and answers those that others take.
	Interval time.Duration
	Retry    backoff.Policy
	Seed     uint64
	Buckets  []time.Duration // the bounds by which durations are counted; none: they are not
}

// AntiEntropy compares and repairs the partitions of one shard.
type AntiEntropy struct {
	config     Config
	local      Local
	gate       *admission.Gate
	rng        *rand.Rand
	guard      *guard.Guard
	view       *core.View
	peers      []*peer  // with whom partitions are shared, sorted by ID
	dirty      []*dirty // to be compared first, oldest first
	next       turnOf   // whose turn comes next
	due        time.Duration
	session    *session       // the exchange under way, nil for none
	generation uint32         // of requests: an answer to an earlier one misses
	slot       admission.Slot // of the exchange
	paused     bool           // the exchange could go on, but for its slot
	buildSlot  admission.Slot // of building trees

	counters core.AntiEntropyCounters
	counts   core.TreeReport
	news     bool            // Control does not know all of it
	told     core.TreeReport // what it knows
	reported time.Duration   // when it was told
}

// New returns a machine with nothing to compare, and which does what the gate
// lets through.
func New(c Config, local Local, gate *admission.Gate) *AntiEntropy {
	rng := core.Stream(c.Seed, "antientropy/"+strconv.Itoa(c.Shard))
	return &AntiEntropy{
		config: c,
		local:  local,
		gate:   gate,
		rng:    rng,
		guard:  guard.New(c.Retry, rng),
		view:   &core.View{Self: c.Self},
		due:    core.Never,

		counters: core.AntiEntropyCounters{Durations: histogram.New(c.Buckets)},
	}
}

// Count adds what this machine has counted since the start, beside Counters.
func (a *AntiEntropy) Count(to *core.Counters) {
	to.Add(&core.Counters{AntiEntropy: a.counters})
	a.guard.Count(to)
}

// SetView plans whom to compare with. The exchange under way ends where the
// layouts have changed or its peer is not alive any more.
func (a *AntiEntropy) SetView(now core.Now, v *core.View, out *core.Out) {
	before := a.view.Stamp()
	a.view = v
	a.guard.SetView(v)
	if v.Stamp() != before {
		a.end(now, retryPause)
		a.plan(now)
		a.news = true
	}
	if s := a.session; s != nil && !a.alive(s.peer.node) {
		a.counters.Failed++
		a.end(now, 0)
	}
	a.reckon()
	a.Tick(now, out)
}

// MarkDirty has a partition compared with all of its owners before others: it
// is known that they may differ.
func (a *AntiEntropy) MarkDirty(p ring.Partition) {
	l := a.view.ReadLayout()
	if l == nil || int(p)%a.config.Shards != a.config.Shard || !l.Owns(a.config.Self, p) {
		return
	}
	for _, d := range a.dirty {
		if d.partition == p {
			d.left = a.others(p) // what was compared may have been before
			if a.session != nil && !slices.Contains(a.session.again, p) {
				a.session.again = append(a.session.again, p)
			}
			a.reckon()
			return
		}
	}
	a.dirty = append(a.dirty, &dirty{partition: p, left: a.others(p)})
	a.reckon()
}

// Tick does what is due, and at most one chunk of building trees.
func (a *AntiEntropy) Tick(now core.Now, out *core.Out) {
	a.build(now, out)
	if a.session != nil {
		a.expire(now, out)
	}
	a.pump(now, out)
}

// build does the next chunk of building trees. What it reads is not told: the
// chunk is taken for full.
func (a *AntiEntropy) build(now core.Now, out *core.Out) {
	if a.local.Trees().Building == 0 { // it is done, or these partitions are not owned any more
		a.gate.Done(now.Mono, &a.buildSlot)
		return
	}
	if !a.gate.Go(now.Mono, &a.buildSlot) {
		return
	}
	left := a.local.BuildTrees(core.Limit{Keys: buildKeys, Bytes: buildBytes}, out)
	a.gate.Spend(now.Mono, &a.buildSlot, buildBytes)
	if left == 0 {
		a.gate.Done(now.Mono, &a.buildSlot)
	}
	a.news = true
}

// Next returns when Tick is due.
func (a *AntiEntropy) Next() (time.Duration, bool) {
	at := core.Never
	if a.local.Trees().Building > 0 {
		at = a.gate.At(&a.buildSlot)
	}
	if a.session != nil {
		at = min(at, a.sessionDue())
	} else {
		at = min(at, max(a.due, a.gate.At(&a.slot)))
	}
	if a.news && !a.view.Stamp().IsZero() {
		at = min(at, a.reported+reportEach)
	}
	return at, at != core.Never
}

// Deliver takes a peer's reply.
func (a *AntiEntropy) Deliver(now core.Now, e *core.Envelope, out *core.Out) {
	s := a.session
	if s == nil || e.From != s.peer.node {
		return
	}
	if r := s.find(e.Req); r == nil || !r.waits {
		return
	}
	a.answered(now, e, out)
	a.pump(now, out)
}

// SendFailed is told that a request provably never left: the exchange ends,
// since the peer cannot be reached.
func (a *AntiEntropy) SendFailed(now core.Now, e *core.Envelope, out *core.Out) {
	s := a.session
	if e.Reply || s == nil || e.To != s.peer.node {
		return
	}
	r := s.find(e.Req)
	if r == nil || !r.waits {
		return
	}
	a.failed(now, r, guard.Unsent, out)
}

// Report returns how far this shard has come where that is news for Control.
func (a *AntiEntropy) Report(now core.Now) (r core.TreeReport, news bool) {
	if !a.news || now.Mono < a.reported+reportEach && a.reported != 0 {
		return a.told, false
	}
	a.told, a.reported, a.news = a.Counters(), now.Mono, false
	return a.told, true
}

// Counters returns how far this shard has come.
func (a *AntiEntropy) Counters() core.TreeReport {
	r := a.local.Trees()
	r.Exchanges, r.Differing, r.Repaired = a.counts.Exchanges, a.counts.Differing, a.counts.Repaired
	for _, p := range a.peers {
		if len(p.shared) == 0 {
			continue
		}
		if r.Pairs == 0 || p.since < r.Since {
			r.Since = p.since
		}
		r.Pairs += len(p.shared)
		r.Compared += p.compared()
	}
	return r
}

// alive says whether a peer can be called: it is, and its breaker is closed.
func (a *AntiEntropy) alive(n id.Node) bool {
	p, ok := a.view.Peer(n)
	return ok && p.Status == core.Alive && !a.guard.Open(n)
}
