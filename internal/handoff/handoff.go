package handoff

import (
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/guard"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Limits of one shard's handoff.
const (
	// A chunk: large enough to be worth its round trip, small enough not to
	// hold up the requests that share its loop.
	chunkKeys  = 256
	chunkBytes = 64 << 10

	// maxPulls bounds the partitions pulled at once, and pushWindow the keys
	// pushed at once.
	maxPulls   = 8
	pushWindow = 64

	// chunkTimeout is how long a chunk or a push may take before it is asked
	// for again: reading 64 KiB from a slow disk under load, with room.
	chunkTimeout = 2 * time.Second

	// retryPause is how long after a refusal or a failure the same peer is
	// asked again.
	retryPause = 200 * time.Millisecond

	// roomPause is when a full node sees again whether there is room for what
	// it would bring here.
	roomPause = time.Second

	// pushSlots is the first slot number of pushes; pulls stand below it, one
	// a partition.
	pushSlots = id.MaxPartitions
)

// Local is this node's own copy, which the replica machine keeps.
type Local interface {
	Apply(key []byte, set version.Siblings, out *core.Out) (flush uint64, why core.Refusal)
	// HasRoom says whether this node takes what needs room.
	HasRoom() bool
	Chunk(first, last ring.Position, after []byte, limit core.Limit, out *core.Out) (items []core.Item, done bool, flush uint64)
	Holds(first, last ring.Position, out *core.Out) (held bool, flush uint64)
	Remove(key []byte, set version.Siblings, out *core.Out) bool
	Alarms() core.Alarms
	Hints
}

// Config of a Handoff. Every field is needed.
type Config struct {
	Self          id.Node
	Start         uint64 // the nonce of this start of the process
	Shard, Shards int
	W             int // as configured; lowered to the owners there are
	Seed          uint64
}

// Handoff moves the data of one shard's partitions.
type Handoff struct {
	config     Config
	local      Local
	gate       *admission.Gate
	rng        *rand.Rand
	guard      *guard.Guard
	view       *core.View
	generation uint32 // of pulls: a new one for each layout state
	pulls      []*pull
	pullSlots  [maxPulls]admission.Slot // of pulls under way
	planned    int                      // pulls at the beginning of this transition
	synced     ring.Name                // the layout for which nothing is left to pull
	pushes     pushes
	pushSlot   admission.Slot // of the window of pushes
	hints      deliveries
	hintSlot   admission.Slot // of the window of deliveries
	report     bool           // something in the report has changed
	reported   time.Duration
	alarms     core.Alarms     // as reported
	told       core.HintReport // as reported
}

// New returns a machine with nothing to move, and which moves what the gate lets
// through.
func New(c Config, local Local, gate *admission.Gate) *Handoff {
	return &Handoff{
		config: c,
		local:  local,
		gate:   gate,
		rng:    core.Stream(c.Seed, "handoff/"+strconv.Itoa(c.Shard)),
		// What is kept for others is offered without end, in sweeps: a call that
		// were repeated within one would only hold up the others.
		guard: guard.New(backoff.Policy{}, nil),
		view:  &core.View{Self: c.Self},
	}
}

// SetView plans the moves that a new layout state asks for.
func (h *Handoff) SetView(now core.Now, v *core.View, out *core.Out) {
	old := h.view
	before := old.Stamp()
	h.view = v
	h.guard.SetView(v)
	h.viewHints(now, old)
	if v.Stamp() == before {
		return
	}
	h.generation++
	h.report = true
	h.planPulls(now, before)
	h.planPushes(now, out)
	h.Tick(now, out)
}

// Tick does what is due, and at most one chunk of background work.
func (h *Handoff) Tick(now core.Now, out *core.Out) {
	h.tickPulls(now, out)
	h.tickPushes(now, out)
	h.tickHints(now, out)
	h.sendReport(now, out)
}

// Next returns when Tick is due.
func (h *Handoff) Next() (time.Duration, bool) {
	at := min(h.nextPull(), h.nextPush(), h.nextHint())
	switch {
	case h.reportDue():
		at = min(at, h.reported+reportEach)
	case h.hintsToldDue():
		at = min(at, h.reported+hintReportEach)
	}
	return at, at != core.Never
}

// Deliver takes a peer's reply.
func (h *Handoff) Deliver(now core.Now, e *core.Envelope, out *core.Out) {
	switch slot := e.Req.Slot(); {
	case !h.isCurrent(e.Req):
	case slot >= hintSlots:
		h.hinted(now, slot-hintSlots, e, out)
	case slot >= pushSlots:
		h.pushed(now, slot-pushSlots, e, out)
	default:
		h.pulled(now, ring.Partition(slot), e, out)
	}
	h.sendReport(now, out)
}

// SendFailed is told that a request provably never left.
func (h *Handoff) SendFailed(now core.Now, e *core.Envelope, out *core.Out) {
	if e.Reply {
		return
	}
	switch slot := e.Req.Slot(); {
	case !h.isCurrent(e.Req):
		out.Reports = append(out.Reports, core.PeerReport{Peer: e.To, Failed: 1})
	case slot >= hintSlots:
		h.hintFailed(now, slot-hintSlots, e.To, out)
	case slot >= pushSlots:
		h.pushFailed(now, slot-pushSlots, e.To, out)
	default:
		h.pullFailed(now, ring.Partition(slot), e.To, out)
	}
}

// isCurrent says that a request is of the present plan of pulls, or window of
// pushes or hints. It compares whole IDs, which have fewer bits for the
// generation than a counter.
func (h *Handoff) isCurrent(req core.ReqID) bool {
	slot, generation := req.Slot(), h.generation
	switch {
	case slot >= hintSlots:
		generation = h.hints.generation
	case slot >= pushSlots:
		generation = h.pushes.generation
	}
	return req == h.reqID(slot, generation)
}

func (h *Handoff) reqID(slot, generation uint32) core.ReqID {
	return core.NewReqID(h.config.Shard, core.MachineHandoff, slot, generation)
}

// Durable is told that flush n of this shard and all before it are durable.
func (h *Handoff) Durable(now core.Now, n uint64, out *core.Out) {
	h.pullsDurable(now, n, out)
}

func (h *Handoff) envelope(to id.Node, p ring.Partition, slot, generation uint32, deadline time.Duration, m core.Message) core.Envelope {
	return core.Envelope{
		From: h.config.Self, To: to, Cluster: h.view.Cluster, Start: h.config.Start,
		Req:       h.reqID(slot, generation),
		Partition: p, Stamp: h.view.Stamp(), Deadline: deadline, Msg: m,
	}
}

// refused tells Control of a peer that goes by newer layouts.
func (h *Handoff) refused(e *core.Envelope, out *core.Out) {
	if h.view.Stamp().Older(e.Stamp) {
		out.Reports = append(out.Reports, core.PeerReport{Peer: e.From, Ahead: e.Stamp})
	}
}

// reportEach bounds how often progress alone is told to Control, and
// hintReportEach how often the numbers of hints are, which change with every
// write while an owner is away.
const (
	reportEach     = 50 * time.Millisecond
	hintReportEach = time.Second
)

// reportDue says that Control does not know all that it should. A shard without
// a view has nothing to tell.
func (h *Handoff) reportDue() bool {
	return h.report || h.alarms != h.local.Alarms() && !h.view.Stamp().IsZero()
}

// hintsToldDue says that Control does not know the numbers of hints.
func (h *Handoff) hintsToldDue() bool {
	is, told := h.local.Hints(), &h.told
	return !h.view.Stamp().IsZero() && (is.Stored != told.Stored || is.Delivered != told.Delivered ||
		is.Refused != told.Refused || is.Expired != told.Expired || is.Lost != told.Lost || is.Bytes != told.Bytes || is.Limit != told.Limit)
}

// sendReport tells Control how far this shard has come, at once when the
// layouts have changed or all is pulled.
func (h *Handoff) sendReport(now core.Now, out *core.Out) {
	if !h.reportDue() && (!h.hintsToldDue() || now.Mono < h.reported+hintReportEach) {
		return
	}
	left := len(h.pulls)
	if left > 0 && now.Mono < h.reported+reportEach && h.reported != 0 {
		return
	}
	h.report, h.reported, h.alarms = false, now.Mono, h.local.Alarms()
	h.told = h.local.Hints()
	out.Shards = append(out.Shards, core.ShardReport{
		Shard: h.config.Shard, Stamp: h.view.Stamp(), Synced: h.synced,
		Pulls: h.planned, PullsLeft: left, Leftovers: h.pushes.left(), Alarms: h.alarms, Hints: h.told,
	})
}

// owned calls f for each partition of this shard.
func (h *Handoff) owned(l *ring.Layout, f func(p ring.Partition)) {
	for p := h.config.Shard; p < l.Partitions(); p += h.config.Shards {
		f(ring.Partition(p))
	}
}
