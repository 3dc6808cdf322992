package antientropy

import (
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/guard"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// session is an exchange with one peer.
type session struct {
	peer  *peer
	dirty bool
	began time.Duration
	// exchanges says that there is a tree to compare, so that the peer is asked.
	exchanges bool
	peerFull  bool // the peer has refused a set for want of room

	about   []ring.Partition // all of them, ascending
	todo    []ring.Partition // whose roots are to be compared
	asked   []ring.Partition // whose roots are being compared
	differ  []ring.Partition // to be walked, the one being walked first
	skipped []ring.Partition // of which here or there is no tree now
	again   []ring.Partition // that became dirty meanwhile

	ask   request // that walks the trees
	walk  *walk   // nil: no partition is being walked
	queue []difference
	slots [windowKeys]slot
}

// windowKeys bounds the keys that are exchanged at once: enough to be busy
// over a round trip of some milliseconds.
const windowKeys = 32

// request waits for its answer.
type request struct {
	waits    bool
	call     guard.Call
	began    time.Duration // when it was sent first
	paused   bool          // it is repeated at due; else it is waited for until then
	due      time.Duration // while it waits
	envelope core.Envelope
}

// find returns the request of that ID, nil where there is none.
func (s *session) find(id core.ReqID) *request {
	r := &s.ask
	if n := int(id.Slot()); n >= keySlots && n < keySlots+windowKeys {
		r = &s.slots[n-keySlots].request
	}
	if r.envelope.Req != id {
		return nil
	}
	return r
}

// unresolved returns the partitions that the session has not dealt with, as
// they stand in about.
func (s *session) unresolved() []ring.Partition {
	var left []ring.Partition
	for _, of := range [][]ring.Partition{s.todo, s.asked, s.differ, s.skipped} {
		left = append(left, of...)
	}
	if s.dirty {
		left = append(left, s.again...)
	}
	slices.Sort(left)
	return slices.Compact(left)
}

// idle says that no key is under way.
func (s *session) idle() bool {
	for i := range s.slots {
		if s.slots[i].waits {
			return false
		}
	}
	return len(s.queue) == 0
}

// send sends a request in a slot and waits for its answer.
func (a *AntiEntropy) send(now core.Now, slot uint32, r *request, p ring.Partition, m core.Message, out *core.Out) {
	a.generation++
	*r = request{waits: true, began: now.Mono, envelope: core.Envelope{
		From: a.config.Self, To: a.session.peer.node, Cluster: a.view.Cluster, Start: a.config.Start,
		Req:       core.NewReqID(a.config.Shard, core.MachineAntiEntropy, slot, a.generation),
		Partition: p, Stamp: a.view.Stamp(), Msg: m,
	}}
	a.try(now, r, out)
}

func (a *AntiEntropy) try(now core.Now, r *request, out *core.Out) {
	a.guard.Try(&r.call, r.envelope.To)
	r.envelope.Deadline = now.Mono + requestTimeout
	r.paused, r.due = false, r.envelope.Deadline
	out.Sends = append(out.Sends, r.envelope)
}

// sessionDue returns when the session needs a Tick.
func (a *AntiEntropy) sessionDue() time.Duration {
	s := a.session
	at := core.Never
	if s.ask.waits {
		at = s.ask.due
	}
	for i := range s.slots {
		if r := &s.slots[i].request; r.waits {
			at = min(at, r.due)
		}
	}
	if a.paused {
		at = min(at, a.gate.Rests(&a.slot))
	}
	return at
}

// inFlight says that something of the session waits for an answer.
func (s *session) inFlight() bool {
	if s.ask.waits {
		return true
	}
	for i := range s.slots {
		if s.slots[i].waits {
			return true
		}
	}
	return false
}

// goesOn says whether the session may do its next thing now. Where others wait
// for its slot it lets what is under way come to its end, and pauses.
func (a *AntiEntropy) goesOn(now core.Now) bool {
	if a.session.inFlight() {
		a.paused = !a.gate.Goes(now.Mono, &a.slot)
	} else {
		a.paused = !a.gate.Go(now.Mono, &a.slot)
	}
	return !a.paused
}

// expire repeats what has not been answered in time, and gives up on a peer
// that does not answer at all.
func (a *AntiEntropy) expire(now core.Now, out *core.Out) {
	s := a.session
	if !a.expireOne(now, &s.ask, out) {
		return
	}
	for i := range s.slots {
		if !a.expireOne(now, &s.slots[i].request, out) {
			return
		}
	}
}

// expireOne does what is due about a request; false: that was the end of the
// session. A set that it holds is not sent when it is as old as a message may be:
// what it shows may have been forgotten since (DESIGN section 4).
func (a *AntiEntropy) expireOne(now core.Now, r *request, out *core.Out) bool {
	switch {
	case !r.waits || r.due > now.Mono:
	case r.paused:
		a.try(now, r, out) // its breaker is closed, or the session would have ended
	default:
		at, again := a.guard.Retry(now.Mono, &r.call, guard.Silent, r.began+id.MaxMessageAge, out)
		if !again {
			a.counters.Failed++
			a.end(now, retryPause)
			return false
		}
		r.paused, r.due = true, at
	}
	return true
}

// failed ends the exchange with a peer that cannot be reached, or does not
// answer as it must.
func (a *AntiEntropy) failed(now core.Now, r *request, why guard.Reason, out *core.Out) {
	a.counters.Failed++
	a.guard.Failed(&r.call, why, out)
	a.end(now, retryPause)
}

// pump goes on until everything waits for an answer, for the next pace, or for
// the next peer's turn.
func (a *AntiEntropy) pump(now core.Now, out *core.Out) {
	for out.Failed == nil {
		if a.session == nil && !a.start(now) {
			return
		}
		if !a.step(now, out) {
			return
		}
	}
}

// step does the next thing of the session; false: it has to wait.
func (a *AntiEntropy) step(now core.Now, out *core.Out) bool {
	s := a.session
	if a.due <= now.Mono && now.Mono-s.began >= turn {
		a.end(now, retryPause)
		return true
	}
	a.exchange(now, out)
	switch {
	case s.ask.waits || !a.goesOn(now):
		return false
	case s.walk != nil:
		return a.stepWalk(now, out)
	case len(s.todo) > 0:
		a.compareRoots(now, out)
		return false
	case len(s.differ) > 0:
		s.walk = &walk{partition: s.differ[0], level: merkle.Root, nodes: []uint32{0}}
		return true
	}
	a.end(now, retryPause)
	return true
}

// compareRoots asks about as many partitions as a message takes.
func (a *AntiEntropy) compareRoots(now core.Now, out *core.Out) {
	s := a.session
	n := min(len(s.todo), core.MaxTreeNodes)
	s.asked, s.todo = s.todo[:n:n], s.todo[n:]
	m := &core.TreeCompare{Level: uint8(merkle.Root)}
	for _, p := range s.asked {
		m.Nodes = append(m.Nodes, uint32(p))
		m.Hashes = append(m.Hashes, core.TreeHash(a.local.Tree(p).Root()))
	}
	a.send(now, walkSlot, &s.ask, s.asked[0], m, out)
}

// answered takes the answer to a request.
func (a *AntiEntropy) answered(now core.Now, e *core.Envelope, out *core.Out) {
	s := a.session
	r := s.find(e.Req)
	n := int(e.Req.Slot()) - keySlots
	if m, ok := e.Msg.(*core.Refused); ok {
		a.guard.Refused(&r.call)
		a.refused(now, n, m, e, out)
		return
	}
	switch m := e.Msg.(type) {
	case *core.TreeDiffer:
		if asked, ok := r.envelope.Msg.(*core.TreeCompare); ok {
			a.took(now, r, out)
			a.differs(asked, m)
		}
	case *core.BucketReply:
		if asked, ok := r.envelope.Msg.(*core.BucketAsk); ok {
			if !a.listed(asked, m) { // it answers what it was not asked
				a.failed(now, r, guard.Silent, out)
				return
			}
			a.took(now, r, out)
		}
	case *core.ReadReply:
		if n >= 0 && !s.slots[n].pushing {
			a.took(now, r, out)
			a.fetched(now, n, m, out)
		}
	case *core.Applied:
		if n >= 0 && s.slots[n].pushing {
			a.took(now, r, out)
			s.slots[n].repaired = true
			a.keyDone(n)
		}
	}
}

// took notes that a request is answered. How long that took is no measure of
// the peer: it may have read many keys for it.
func (a *AntiEntropy) took(now core.Now, r *request, out *core.Out) {
	r.waits = false
	a.guard.Answered(now.Mono, &r.call, 0, out)
}

// refused ends the exchange, except where it is one set that the peer cannot
// take: then that key stays as it is, and where the peer is full, so do others
// that it would have to keep.
func (a *AntiEntropy) refused(now core.Now, n int, m *core.Refused, e *core.Envelope, out *core.Out) {
	if a.view.Stamp().Older(e.Stamp) {
		out.Reports = append(out.Reports, core.PeerReport{Peer: e.From, Ahead: e.Stamp})
	}
	switch {
	case n >= 0 && m.Why == core.RefusedInvalid:
		a.local.Conflict()
		a.keyDone(n)
	case n >= 0 && m.Why == core.RefusedStorageFull:
		a.session.peerFull = true
		a.keyDone(n)
	default:
		a.end(now, retryPause)
	}
}

// differs takes which of the nodes that were asked about differ. Nodes that
// were not asked about mean nothing.
func (a *AntiEntropy) differs(asked *core.TreeCompare, m *core.TreeDiffer) {
	s := a.session
	if merkle.Level(asked.Level) == merkle.Root && s.walk == nil {
		a.rootsDiffer(m)
		return
	}
	w := s.walk
	w.nodes = among(m.Differ, asked.Nodes)
	if len(m.Unknown) > 0 { // the peer has lost its tree: it is building a new one
		s.skipped = append(s.skipped, w.partition)
		w.nodes = nil
	}
}

// rootsDiffer sorts the partitions that were asked about. Those of the peer's
// other shards are asked again, except the first, by which the request was
// routed: no peer can say that of it.
func (a *AntiEntropy) rootsDiffer(m *core.TreeDiffer) {
	s := a.session
	nodes := make([]uint32, len(s.asked))
	for i, p := range s.asked {
		nodes[i] = uint32(p)
	}
	elsewhere := among(m.Elsewhere, nodes[1:])
	for _, n := range among(m.Differ, nodes) {
		s.differ = append(s.differ, ring.Partition(n))
		a.counts.Differing++
		a.news = true
	}
	for _, n := range among(m.Unknown, nodes) {
		s.skipped = append(s.skipped, ring.Partition(n))
	}
	again := make([]ring.Partition, 0, len(elsewhere)+len(s.todo))
	for _, n := range elsewhere {
		again = append(again, ring.Partition(n))
	}
	s.todo, s.asked = append(again, s.todo...), nil
}

// among returns those of the nodes that are in a list of asked ones, each
// once, ascending. Both are ascending, unless the peer makes it up.
func among(nodes, asked []uint32) []uint32 {
	var in []uint32
	for _, n := range nodes {
		if _, ok := slices.BinarySearch(asked, n); ok && (len(in) == 0 || in[len(in)-1] < n) {
			in = append(in, n)
		}
	}
	return in
}
