package coordinator

import (
	"encoding/binary"
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

// Limits of one shard's coordinator.
const (
	// maxSlots bounds the requests under way: past it a client hears
	// overloaded while those that are under way still finish.
	maxSlots = 16384

	// maxBackground bounds the slots that only await replicas beyond W. Past
	// it a write lets go of its stragglers at once, as it would at its
	// deadline; repair finds them.
	maxBackground = 4096

	// fastShare of PeerTimeout is what requests under way may take: past PeerTimeout
	// peers count as failed and are asked again, which must not come of load, nor
	// of load and a moment in which a node does nothing else.
	fastShare = 10

	// staleRetry is when a peer that refused for our older layout is asked
	// again if no newer view has come by then.
	staleRetry = 50 * time.Millisecond

	// lateShare is the part of PeerTimeout by which a loop may be late to notice
	// that a peer has not answered in time. Past it the loop was busy or stood
	// still for that long, and the answer may be in its own queue.
	lateShare = 4

	// The delay before a read asks one more peer: the p95 of those that have
	// not answered, unknownP95 where nothing is known, at least minHedge, so
	// that the noise of a fast network does not double the reads.
	unknownP95 = 10 * time.Millisecond
	minHedge   = time.Millisecond
)

// Local is this node's own copy, which the replica machine keeps. Read
// returns the flush that the set waits for, 0 if it is durable.
type Local interface {
	Read(key []byte, out *core.Out) (set version.Siblings, flush uint64)
	Write(w core.LocalWrite, out *core.Out) core.LocalResult
	// Apply merges a set into the own copy, which is durable after the flush;
	// or says why nothing was done.
	Apply(key []byte, set version.Siblings, out *core.Out) (flush uint64, why core.Refusal)
	// HasRoom says whether this node takes what needs room.
	HasRoom() bool
	// Conflict counts a peer's answer that breaks an invariant.
	Conflict()
	Hints
}

// Hints is what this node keeps for owners that cannot be reached.
type Hints interface {
	ReadHint(key []byte, out *core.Out) (set version.Siblings, flush uint64)
	// HintRoom says whether a hint of about so many bytes would find room.
	HintRoom(bytes int) bool
	// HintsFor says whether anything like the key may be kept for n.
	HintsFor(key []byte, n id.Node) bool
	// Hint keeps a set for an owner, durably after the flush that it returns.
	Hint(now core.Now, m *core.Hint, owned bool, out *core.Out) (flush uint64, why core.Refusal)
	// Mark notes durably that owners missed a write that this node has.
	Mark(now core.Now, key []byte, owners []id.Node, out *core.Out)
	// Settle forgets what is kept for an owner that durably holds exactly set,
	// if that is all that it missed.
	Settle(key []byte, n id.Node, set version.Siblings, out *core.Out) bool
}

// Config of a Coordinator. Every field is needed.
type Config struct {
	Self        id.Node
	Start       uint64 // the nonce of this start of the process
	Shard       int
	R, W        int  // as configured; lowered to the owners there are
	Strict      bool // as configured: only owners count
	PeerTimeout time.Duration
	Retry       backoff.Policy
	Reads       Reads
	// Select has the fastest known owner execute what is forwarded and answer
	// reads; else the first of the preference list that is alive does.
	Select bool
	// ProbeShare is the share of requests with which an owner that was not
	// chosen is asked as well, so that it is known when it has become faster.
	ProbeShare float64
	Seed       uint64
	// RepairBytes is what reads that are answered may keep for repairs at once;
	// 0: reads repair nothing in the background.
	RepairBytes uint64
}

// Reads says whom a read asks.
type Reads struct {
	// All asks all owners at once, where R of them would do.
	All bool
	// Hedge asks one more owner when those that were asked are slower than they
	// use to be.
	Hedge bool
}

// Coordinator runs the requests of one shard.
type Coordinator struct {
	config     Config
	local      Local
	rng        *rand.Rand
	probes     probes
	guard      *guard.Guard
	view       *core.View
	slots      []*slot
	free       []uint32
	background int // slots that are answered and still open
	timers     timers
	waits      []wait // in order of their flushes
	forwards   forwards
	attempts   uint32 // tries of forwards so far: their numbers grow over all requests, since a client may repeat one
	repairs    repairs
	latencies  latencies
	full       []fullPeer
	valve      *admission.Valve
	door       door
	counters   core.Counters
}

// wait is a slot that waits for its own node's flush.
type wait struct {
	flush uint64
	req   core.ReqID
}

// New returns a coordinator without requests and without a view.
func New(c Config, local Local) *Coordinator {
	rng := core.Stream(c.Seed, "coordinator/"+strconv.Itoa(c.Shard))
	return &Coordinator{
		config:   c,
		local:    local,
		rng:      rng,
		probes:   newProbes(&c),
		guard:    guard.New(c.Retry, rng),
		view:     &core.View{Self: c.Self},
		forwards: newForwards(),
		door:     newDoor(),
		valve:    admission.NewValve(c.PeerTimeout/fastShare, maxSlots+1), // open, slots are the limit
	}
}

// Active returns the number of requests under way, those included that only
// await replicas beyond their quorum.
func (c *Coordinator) Active() int { return len(c.slots) - len(c.free) }

// start begins a client's request.
func (c *Coordinator) start(now core.Now, s *slot, w arrival, out *core.Out) {
	r := w.request
	s.client = r.Req
	s.op, s.key, s.value, s.options = r.Op, r.Key, r.Value, r.Options
	s.context = r.Context
	s.began, s.arrived = now.Mono, w.at
	s.trace = newTrace(now, r.Trace)
	s.deadline = min(r.Deadline, now.Mono+id.MaxMessageAge)
	if r.Options.Repair == core.RepairBlocking {
		s.options.Quorum = core.QuorumStrict // what fallbacks hold makes no two reads meet
	}
	s.options.Quorum = c.quorum(s.options.Quorum)
	s.sloppy = s.options.Quorum == core.QuorumSloppy
	if s.options.WriteID.IsZero() {
		s.options.WriteID = c.drawWriteID()
	}
	c.begin(now, s, out)
}

// quorum returns the kind of quorum of a request that asks for q.
func (c *Coordinator) quorum(q core.Quorum) core.Quorum {
	switch {
	case q != core.QuorumDefault:
		return q
	case c.config.Strict:
		return core.QuorumStrict
	}
	return core.QuorumSloppy
}

func (c *Coordinator) drawWriteID() version.WriteID {
	var w version.WriteID
	binary.BigEndian.PutUint64(w[:8], c.rng.Uint64())
	binary.BigEndian.PutUint64(w[8:], c.rng.Uint64())
	return w
}

// begin takes a request's first step by the view as it is.
func (c *Coordinator) begin(now core.Now, s *slot, out *core.Out) {
	s.traceEnd(now, out)
	l := c.view.ReadLayout()
	s.partition = l.Partition(s.key)
	wanted := s.options.W
	if s.op == core.OpGet {
		wanted = s.options.R
	}
	owned := l.Owns(c.config.Self, s.partition)
	s.fallback = s.fallback && !owned
	s.listed, s.spare = false, nil
	switch {
	case wanted > l.OwnerCount():
		c.finish(now, s, core.Result{Code: core.CodeQuorum, Outcome: core.NotWritten, Required: wanted}, out)
	case s.op == core.OpGet:
		c.startRead(now, s, out)
	case !owned && !s.fallback:
		c.startForward(now, s, out)
	case s.op == core.OpDelete && s.options.Overwrite:
		// A stale owner must miss nothing that was acknowledged, or the
		// delete would leave it behind.
		c.startRead(now, s, out)
	default:
		c.startWrite(now, s, out)
	}
}

// need returns how many of l's owners must answer or acknowledge.
func (c *Coordinator) need(s *slot, l *ring.Layout) int {
	asked, configured := s.options.W, c.config.W
	if s.stage == reading || s.stage == repairing {
		asked, configured = s.options.R, c.config.R
	}
	if asked == 0 {
		asked = configured
	}
	return min(asked, l.OwnerCount())
}

// ask sends the slot's message to a peer.
func (c *Coordinator) ask(now core.Now, s *slot, t *try, out *core.Out) {
	t.state = asked
	t.resort = c.guard.Open(t.node)
	t.spent = t.resort && t.missed && !t.call.UnderWay()
	c.guard.Try(&t.call, t.node)
	t.sent = now.Mono
	t.due = now.Mono + c.config.PeerTimeout
	e := core.Envelope{
		From: c.config.Self, To: t.node, Cluster: c.view.Cluster, Req: s.id, Start: c.config.Start,
		Partition: s.partition, Stamp: c.view.Stamp(), Deadline: s.deadline, Trace: s.traceAsk(t),
	}
	switch s.stage {
	case reading, probing:
		e.Msg = &core.Read{Key: s.key, Hints: t.owner != ""}
	case writing:
		if t.owner == "" {
			e.Msg = &core.Apply{Key: s.key, Set: s.set}
		} else {
			e.Msg = &core.Hint{Key: s.key, Set: s.set, Owner: t.owner}
		}
	case forwarding:
		e.Deadline = min(e.Deadline, t.due)
		e.Msg = c.forwardMessage(now, s, t)
	case repairing:
		e.Msg = &core.Apply{Key: s.key, Set: s.merged}
		t.repair = true
		c.repairs.now.Sent++
	case free:
		panic("coordinator: a free slot asks a peer")
	}
	out.Sends = append(out.Sends, e)
	c.arm(s)
}

// arm makes sure that the slot is woken when it is due.
func (c *Coordinator) arm(s *slot) {
	if at := s.due(); s.place == 0 || at < s.armed {
		c.timers.arm(s, at)
	}
}

// answer replies to whoever waits; the slot may go on.
func (c *Coordinator) answer(now core.Now, s *slot, r core.Result, out *core.Out) {
	if len(s.unsure) > 0 && r.Outcome == core.NotWritten {
		r.Outcome = core.Unknown
	}
	if r.Code == core.CodeOverloaded && r.Outcome == core.Unknown { // it says that nothing was done
		r.Code, r.Required = core.CodeQuorum, c.need(s, c.view.ReadLayout())
	}
	s.answered = true
	c.background++
	c.latencies.add(now.Mono - s.arrived)
	c.valve.Ended(now.Mono-s.began, len(s.peers) > 0)
	s.traceAnswer(now, r, out)
	if s.forward == nil {
		c.countAnswer(s, r.Code)
		out.Replies = append(out.Replies, core.Reply{Req: s.client, Result: r})
		return
	}
	c.forwards.finish(forwardKey{s.forward.From, s.options.WriteID}, r)
	var m core.Message = &core.Forwarded{Result: r}
	if s.local == failed && r.Code == core.CodeStorageFull && r.Outcome == core.NotWritten {
		m = &core.Refused{Why: core.RefusedStorageFull} // it is this node that is full, whatever W is
	}
	out.Sends = append(out.Sends, c.reply(now, s.forward, m))
}

func (c *Coordinator) reply(now core.Now, e *core.Envelope, m core.Message) core.Envelope {
	return c.view.Answer(e, now.Mono+id.MaxMessageAge, m)
}

// finish ends a request: it is answered, if it has not been, and its slot is
// free again.
func (c *Coordinator) finish(now core.Now, s *slot, r core.Result, out *core.Out) {
	if !s.answered {
		c.answer(now, s, r, out)
	}
	if s.stage == writing {
		c.remember(now, s, out)
	}
	c.repairs.ended(now, s)
	s.traceEnd(now, out)
	c.letGo(s, out)
	c.timers.disarm(s)
	c.probes.ended(s)
	c.background--
	*s = slot{id: s.id, peers: s.peers, unsure: s.unsure[:0]}
	c.free = append(c.free, s.id.Slot())
}

// letGo forgets who takes part in a request.
func (c *Coordinator) letGo(s *slot, out *core.Out) {
	for i := range s.peers {
		c.guard.Dropped(&s.peers[i].call, out)
	}
	clear(s.peers)
	s.peers = s.peers[:0]
}

func (c *Coordinator) take() *slot {
	var i uint32
	switch {
	case len(c.free) > 0:
		i = c.free[len(c.free)-1]
		c.free = c.free[:len(c.free)-1]
	case len(c.slots) < maxSlots:
		i = uint32(len(c.slots))
		c.slots = append(c.slots, &slot{})
	default:
		c.counters.Limits[core.LimitRequests]++
		return nil
	}
	s := c.slots[i]
	*s = slot{id: c.reqID(i, s.id.Generation()+1), peers: s.peers, unsure: s.unsure, hedge: core.Never}
	return s
}

func (c *Coordinator) reqID(i, generation uint32) core.ReqID {
	return core.NewReqID(c.config.Shard, core.MachineCoordinator, i, generation)
}

// slot returns the slot that waits under req, nil where it is over.
func (c *Coordinator) slot(req core.ReqID) *slot {
	i := req.Slot()
	if int(i) >= len(c.slots) || c.slots[i].id != req || c.slots[i].stage == free {
		return nil
	}
	return c.slots[i]
}

// settle looks at a slot after an event: whether it is decided, whom to ask
// next, when to wake.
func (c *Coordinator) settle(now core.Now, s *slot, out *core.Out) {
	switch s.stage {
	case reading:
		c.settleRead(now, s, out)
	case writing:
		c.settleWrite(now, s, out)
	case forwarding:
		c.settleForward(now, s, out)
	case repairing:
		if s.answered {
			c.settleLater(now, s, out)
		} else {
			c.settleFirst(now, s, out)
		}
	case probing:
		if !s.open() {
			c.finish(now, s, core.Result{}, out)
		}
	case free:
	}
	if s.stage != free {
		c.arm(s)
	}
}
