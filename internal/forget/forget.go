package forget

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/guard"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Local is this node's own copy and its hints, which the replica machine keeps.
// It tells Tokens of every change of either. A flush is what an answer waits for, 0 if it is durable.
type Local interface {
	Read(key []byte, out *core.Out) (set version.Siblings, flush uint64)
	Chunk(first, last ring.Position, after []byte, limit core.Limit, out *core.Out) (items []core.Item, done bool, flush uint64)
	Holds(first, last ring.Position, out *core.Out) (held bool, flush uint64)
	// HoldsHint says whether anything is kept of a key for nodes that missed
	// writes, markers included, and HoldsHints whether anything is of any key
	// at some positions.
	HoldsHint(key []byte, out *core.Out) (held bool, flush uint64)
	HoldsHints(first, last ring.Position, out *core.Out) (held bool, flush uint64)
	Remove(key []byte, set version.Siblings, out *core.Out) bool
	Prune(key []byte, set version.Siblings, out *core.Out) (actors int)
}

// Config of a Forget. Every field is needed.
type Config struct {
	Self          id.Node
	Start         uint64 // the nonce of this start of the process
	Shard, Shards int
	TTL           time.Duration // between the two rounds, at least
	Interval      time.Duration // between two looks at a partition
	Seed          uint64
}

// Forget is the reaper of those of a shard's partitions whose first owner this
// node is, and what answers the reapers of the others.
type Forget struct {
	config Config
	local  Local
	tokens *Tokens
	gate   *admission.Gate
	slot   admission.Slot // of the active round, or of the scan under way
	rng    *rand.Rand
	guard  *guard.Guard

	view    *core.View
	layout  *ring.Layout // the only live one; nil in a transition: nothing is forgotten
	members uint64       // a digest of the view's

	scans []scan // of the partitions to reap, the next one first
	found found  // by the scan under way

	active       *round
	waiting      []*round          // for their second rounds, by due
	rounds       map[uint64]*round // those waiting and active, by number
	waitingBytes int
	number       uint64 // of the newest round
	generation   uint32 // of the step that the active round is in: an answer to an earlier one misses

	blockers []blocker // the one of longest standing first
	progress core.Forgetting
	next     time.Duration // when Tick has something to do
}

// blocker is a member that keeps rounds from going on.
type blocker struct {
	node  id.Node
	start uint64        // of its process: another one has yet to be asked
	since time.Duration // Wall
}

// New returns a machine with nothing to forget. The tokens are the ones that
// local tells of its changes; the gate says when it may go on.
func New(c Config, local Local, tokens *Tokens, gate *admission.Gate) *Forget {
	return &Forget{
		config: c, local: local, tokens: tokens, gate: gate,
		rng:    core.Stream(c.Seed, "forget/"+strconv.Itoa(c.Shard)),
		guard:  guard.New(backoff.Policy{}, nil), // a round asks again by itself, and is put off
		view:   &core.View{Self: c.Self},
		rounds: make(map[uint64]*round),
		next:   core.Never,
	}
}

// Progress returns how far forgetting has come.
func (f *Forget) Progress() core.Forgetting { return f.progress }

// SetView goes on by a newer view. Where its members or layouts are others, all
// tokens and rounds are void: answers from before and after do not add up.
func (f *Forget) SetView(now core.Now, v *core.View, out *core.Out) {
	layout, members := onlyLayout(v), membersOf(v, f.config.Start)
	stays := f.layout != nil && layout != nil && f.layout.Name() == layout.Name()
	f.view = v
	f.guard.SetView(v)
	if stays && members == f.members {
		return
	}
	f.layout, f.members = layout, members
	f.cancelAll()
	f.tokens.reset(layout)
	f.blockers = slices.DeleteFunc(f.blockers, func(b blocker) bool {
		p, known := v.Peer(b.node)
		return !known || p.Start != b.start
	})
	f.showBlocker()
	if !stays {
		f.planScans(now)
	}
	f.arm(now)
	f.Tick(now, out)
}

// onlyLayout returns the live layout where there is one alone, else nil.
func onlyLayout(v *core.View) *ring.Layout {
	if len(v.Layouts.Live) == 1 && v.Layouts.Phase == core.PhaseDone {
		return v.Layouts.Live[0]
	}
	return nil
}

// membersOf returns a digest of a view's members that are not left, and of
// their starts: a member that was restarted is another one here, since it has
// lost its tokens and may have lost more.
func membersOf(v *core.View, start uint64) uint64 {
	var b []byte
	add := func(n id.Node, start uint64) {
		b = append(binary.AppendUvarint(b, uint64(len(n))), n...)
		b = binary.BigEndian.AppendUint64(b, start)
	}
	own := false
	for _, p := range v.Peers { // sorted by ID
		if !own && p.ID > v.Self {
			own = true
			add(v.Self, start)
		}
		add(p.ID, p.Start)
	}
	if !own {
		add(v.Self, start)
	}
	return xxhash.Sum64(b)
}

// Tick does what is due: a step of the active round, the next round that has
// waited long enough, or one chunk of a scan.
func (f *Forget) Tick(now core.Now, out *core.Out) {
	if now.Mono < f.next || !f.gate.Go(now.Mono, &f.slot) {
		return
	}
	switch {
	case f.active != nil:
		f.repeat(now, out)
	case len(f.waiting) > 0 && f.waiting[0].dueAt <= now.Mono:
		r := f.wake()
		f.begin(now, r, r.step, out)
	case len(f.scans) > 0 && f.scans[0].due <= now.Mono:
		f.scan(now, out)
	}
	f.arm(now)
}

// Next returns when Tick is due.
func (f *Forget) Next() (time.Duration, bool) {
	at := max(f.next, f.gate.At(&f.slot))
	return at, at != core.Never
}

// arm computes when Tick is due, at the end of each step. The slot is held while
// answers are awaited, and while the next step can be taken at once.
func (f *Forget) arm(now core.Now) {
	f.reckon()
	if f.next > now.Mono && (f.active == nil || !f.active.flying()) {
		f.gate.Done(now.Mono, &f.slot)
	}
}

func (f *Forget) reckon() {
	f.next = core.Never
	if f.active != nil {
		f.next = f.active.due()
		return
	}
	if len(f.waiting) > 0 {
		f.next = f.waiting[0].dueAt
	}
	if len(f.scans) > 0 {
		f.next = min(f.next, f.scans[0].due)
	}
}

// digestOf returns the digest by which two holders of a key compare its sets.
func digestOf(set version.Siblings) uint64 { return xxhash.Sum64(set.Shape().AppendBinary(nil)) }

// forgettable says whether there is anything to forget of a key.
func forgettable(set version.Siblings) bool {
	return set.OnlyTombstones() || set.Clock.Len() > id.PruneClockEntries && set.Unused() > 0
}

// block notes that a member keeps rounds from going on.
func (f *Forget) block(now core.Now, n id.Node) {
	if !f.blocks(n) {
		p, _ := f.view.Peer(n)
		f.blockers = append(f.blockers, blocker{node: n, start: p.Start, since: now.Wall})
		f.showBlocker()
	}
}

// unblock notes that a member takes part again.
func (f *Forget) unblock(n id.Node) {
	f.blockers = slices.DeleteFunc(f.blockers, func(b blocker) bool { return b.node == n })
	f.showBlocker()
}

func (f *Forget) blocks(n id.Node) bool {
	return slices.ContainsFunc(f.blockers, func(b blocker) bool { return b.node == n })
}

func (f *Forget) showBlocker() {
	f.progress.Blocker, f.progress.BlockedSince = "", 0
	if len(f.blockers) > 0 {
		f.progress.Blocker, f.progress.BlockedSince = f.blockers[0].node, f.blockers[0].since
	}
}
