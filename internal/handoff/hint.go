package handoff

import (
	"cmp"
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/guard"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Limits of the delivery of hints.
const (
	// hintWindow bounds the keys delivered at once, as pushWindow does.
	hintWindow = pushWindow

	// MarkerAge is how long a marker is kept. A marker holds no data, and what
	// it stands for is in this node's own copy: an owner that was away for
	// longer has missed so much that comparing hash trees costs less than a
	// message a key.
	MarkerAge = 3 * time.Hour

	// The pause before an owner that has not answered is tried again grows
	// from retryPause by 2 to maxHintPause: its return is mostly seen in the
	// view at once, and this is for what no view shows, such as a cut between
	// two nodes that everybody else can reach.
	maxHintPause = 10 * time.Second

	// sweepEach is how often all hints are looked at though no owner has come
	// back: markers grow old.
	sweepEach = 10 * time.Minute

	// settlePause is how long after a sweep what was stored meanwhile waits
	// for the next one, so that a stream of hints costs a sweep a second.
	settlePause = time.Second

	// hintReads bounds the partitions that one window is filled from.
	hintReads = 16

	// hintSlots is the first slot number of deliveries; pushes stand below it.
	hintSlots = pushSlots + pushWindow
)

// Hints is what this node keeps for owners that missed writes, which the
// replica machine stores. The records are the truth: what is here only says
// when to look at them.
type Hints interface {
	HintChunk(first, last ring.Position, at []byte, limit core.Limit, out *core.Out) (items []core.HintItem, next []byte)
	NextHinted(p ring.Partition) (hinted ring.Partition, pending []core.HintsPending, ok bool)
	// Settle forgets what is kept for an owner that durably holds exactly set;
	// false says that it has changed since.
	Settle(key []byte, n id.Node, set version.Siblings, out *core.Out) bool
	ExpireMarkers(key []byte, before int64, out *core.Out)
	HintRevision() uint64
	Hints() core.HintReport
}

// deliveries brings hints to their owners: in sweeps over all of them, in the
// order of partitions and keys, a window of keys at a time. A sweep passes
// over what its owners cannot take now.
type deliveries struct {
	sweeping   bool
	due        time.Duration  // when the next sweep begins, or goes on
	ended      time.Duration  // when the latest did
	partition  ring.Partition // that the sweep is at, and all before it is done
	next       []byte         // the key of it to go on at; nil: its first
	window     []*delivery    // under way; a slot is nil when it is over
	generation uint32         // of the window: an answer to an earlier one misses
	revision   uint64         // of the hints when the sweep began
	again      time.Duration  // when what this sweep leaves can be tried again
	everything bool           // the sweep looks at partitions that nobody can take, too
	swept      time.Duration  // when such a sweep began last
	pauses     []pause        // of owners that do not answer, sorted by node
}

// delivery is one key on its way to one owner, or to those that have taken
// that owner's place.
type delivery struct {
	partition ring.Partition
	key       []byte
	owner     id.Node
	set       version.Siblings
	peers     []target
	here      bool // this node is one of those
}

// pause is until when an owner is left alone.
type pause struct {
	node  id.Node
	until time.Duration
	tries int
}

// viewHints looks for owners that have come back: those that are alive again,
// or in another start, or at another address. Where layouts have changed,
// every hint may have other owners.
func (h *Handoff) viewHints(now core.Now, before *core.View) {
	d := &h.hints
	changed := before.Stamp() != h.view.Stamp()
	for _, p := range h.view.Peers {
		old, known := before.Peer(p.ID)
		if !takes(&p) || known && takes(&old) && old.Addr == p.Addr && old.Start == p.Start {
			continue
		}
		d.pauses = slices.DeleteFunc(d.pauses, func(q pause) bool { return q.node == p.ID })
		changed = true
	}
	if changed {
		d.again = now.Mono
		d.due = min(d.due, now.Mono)
	}
}

// takes says whether a peer can be called: it is alive, and its breaker is
// closed.
func takes(p *core.Peer) bool {
	return p.Status == core.Alive && p.Circuit.State == core.CircuitClosed
}

// nextHint returns when something is to be done about hints.
func (h *Handoff) nextHint() time.Duration {
	d := &h.hints
	if h.view.ReadLayout() == nil {
		return core.Never
	}
	at := core.Never
	switch {
	case len(d.window) > 0:
		for _, one := range d.window {
			if one != nil {
				at = min(at, one.due())
			}
		}
		return at
	case d.sweeping:
		return max(d.due, h.gate.At(&h.hintSlot))
	}
	if _, _, ok := h.local.NextHinted(0); !ok {
		return core.Never
	}
	at = min(d.due, d.swept+sweepEach)
	if d.revision != h.local.HintRevision() {
		at = min(at, d.ended+settlePause)
	}
	return max(at, h.gate.At(&h.hintSlot))
}

// due returns when the delivery is given up.
func (d *delivery) due() time.Duration {
	at := core.Never
	for i := range d.peers {
		if !d.peers[i].acked {
			at = min(at, d.peers[i].due)
		}
	}
	return at
}

// tickHints begins a sweep that is due, reads the next window of one, and
// gives up on owners that have not answered in time.
func (h *Handoff) tickHints(now core.Now, out *core.Out) {
	d := &h.hints
	if h.view.ReadLayout() == nil || h.nextHint() > now.Mono {
		return
	}
	if len(d.window) > 0 {
		h.expireHints(now, out)
		return
	}
	if !h.gate.Go(now.Mono, &h.hintSlot) {
		return
	}
	if !d.sweeping {
		h.beginSweep(now)
	}
	h.fillHints(now, out)
}

func (h *Handoff) beginSweep(now core.Now) {
	d := &h.hints
	d.sweeping, d.partition, d.next = true, 0, nil
	d.revision, d.again, d.due = h.local.HintRevision(), core.Never, now.Mono
	d.everything = d.swept+sweepEach <= now.Mono
	if d.everything {
		d.swept = now.Mono
	}
}

// endSweep plans the next one.
func (h *Handoff) endSweep(now core.Now) {
	d := &h.hints
	d.sweeping, d.ended = false, now.Mono
	d.due = d.again
	h.gate.Done(now.Mono, &h.hintSlot)
}

// expireHints gives up on deliveries that were not acknowledged in time.
func (h *Handoff) expireHints(now core.Now, out *core.Out) {
	for slot, one := range h.hints.window {
		if one == nil || one.due() > now.Mono {
			continue
		}
		for i := range one.peers {
			if t := &one.peers[i]; !t.acked && t.due <= now.Mono {
				h.guard.Failed(&t.call, guard.Silent, out)
				h.pauseHints(now, t.node)
			}
		}
		h.dropHint(now, uint32(slot))
	}
	h.windowDone(now, out)
}

// pauseHints leaves an owner alone for a while that grows. One failure of many
// at once counts once.
func (h *Handoff) pauseHints(now core.Now, n id.Node) {
	d := &h.hints
	i, found := slices.BinarySearchFunc(d.pauses, n, func(p pause, n id.Node) int { return cmp.Compare(p.node, n) })
	if !found {
		d.pauses = slices.Insert(d.pauses, i, pause{node: n})
	}
	p := &d.pauses[i]
	if p.until <= now.Mono {
		p.until = now.Mono + min(retryPause<<min(p.tries, 10), maxHintPause)
		p.tries++
	}
	d.again = min(d.again, p.until)
}

// answeredHints ends an owner's pause.
func (h *Handoff) answeredHints(n id.Node) {
	h.hints.pauses = slices.DeleteFunc(h.hints.pauses, func(p pause) bool { return p.node == n })
}

// dropHint leaves a delivery for the next sweep.
func (h *Handoff) dropHint(now core.Now, slot uint32) {
	h.hints.window[slot] = nil
	h.hints.again = min(h.hints.again, now.Mono+retryPause)
}

// windowDone goes on with the sweep when nothing of the window is under way.
func (h *Handoff) windowDone(now core.Now, out *core.Out) {
	d := &h.hints
	if len(d.window) == 0 || slices.ContainsFunc(d.window, func(one *delivery) bool { return one != nil }) {
		return
	}
	d.window = d.window[:0]
	d.generation++
	d.due = now.Mono
	h.tickHints(now, out)
}

// fillHints reads the next hints of the sweep and sends those whose owners can
// take them: one chunk a step at most, of a few partitions where they are
// small. What is sent need not be durable here: neither is what a coordinator
// sends while it flushes.
func (h *Handoff) fillHints(now core.Now, out *core.Out) {
	d := &h.hints
	d.due = now.Mono
	left := core.Limit{Keys: hintWindow, Bytes: chunkBytes}
	for range hintReads {
		partition, ok := h.nextWanted(now)
		if !ok {
			if len(d.window) == 0 {
				h.endSweep(now)
			}
			break
		}
		if partition != d.partition {
			d.partition, d.next = partition, nil
		}
		first, last := h.view.ReadLayout().Range(partition)
		items, next := h.local.HintChunk(first, last, d.next, left, out)
		for i := range items {
			left.Keys--
			left.Bytes -= items[i].Set.Size()
			h.gate.Spend(now.Mono, &h.hintSlot, admission.ItemCost)
			h.deliver(now, &items[i], out)
		}
		if d.next = next; next == nil {
			d.partition++
		}
		if out.Failed != nil || left.Keys <= 0 || left.Bytes <= 0 {
			break
		}
	}
	for slot, one := range d.window {
		for i := range one.peers {
			h.sendHint(now, uint32(slot), one, &one.peers[i], out)
		}
	}
}

// nextWanted returns the partition that the sweep goes on with: one with hints
// that somebody can take now.
func (h *Handoff) nextWanted(now core.Now) (ring.Partition, bool) {
	for p := h.hints.partition; ; {
		hinted, pending, ok := h.local.NextHinted(p)
		if !ok || int(hinted) >= h.view.ReadLayout().Partitions() {
			return 0, false
		}
		if h.hints.everything || slices.ContainsFunc(pending, func(n core.HintsPending) bool { return h.canTake(now, hinted, n.Target) }) {
			return hinted, true
		}
		p = hinted + 1
	}
}

// takers returns to whom an owner's hints go: to it, or to the owners that
// have taken its place.
func (h *Handoff) takers(p ring.Partition, owner id.Node) (peers []id.Node, here bool) {
	var all []id.Node
	for _, l := range h.view.Layouts.Live {
		if l.Owns(owner, p) {
			return []id.Node{owner}, false
		}
		for _, n := range l.Owners(p) {
			if !slices.Contains(all, n) {
				all = append(all, n)
			}
		}
	}
	here = slices.Contains(all, h.config.Self)
	return slices.DeleteFunc(all, func(n id.Node) bool { return n == h.config.Self }), here
}

// canTake says whether all that must take an owner's hints can: they are alive
// and not paused. Where a pause is all that is in the way, its end is noted.
func (h *Handoff) canTake(now core.Now, p ring.Partition, owner id.Node) bool {
	peers, _ := h.takers(p, owner)
	if owner == h.config.Self {
		peers = nil // it was kept here before this node owned the key: the copy is at hand
	}
	for _, n := range peers {
		if peer, ok := h.view.Peer(n); !ok || peer.Status != core.Alive || h.guard.Open(n) {
			return false
		}
		i, found := slices.BinarySearchFunc(h.hints.pauses, n, func(p pause, n id.Node) int { return cmp.Compare(p.node, n) })
		if found && h.hints.pauses[i].until > now.Mono {
			h.hints.again = min(h.hints.again, h.hints.pauses[i].until)
			return false
		}
	}
	return true
}

// deliver puts a key's hint into the window, once for each owner that can take
// it now. Markers that have grown too old go first.
func (h *Handoff) deliver(now core.Now, item *core.HintItem, out *core.Out) {
	oldest := int64(now.Wall - MarkerAge)
	expired := bug.On(bug.HintsExpire)
	for _, o := range item.Owners {
		expired = expired || o.Since != 0 && o.Since <= oldest
	}
	if expired {
		h.local.ExpireMarkers(item.Key, oldest, out)
		h.hints.again = min(h.hints.again, now.Mono+retryPause)
		return
	}
	for _, o := range item.Owners {
		if !h.canTake(now, h.hints.partition, o.Node) {
			continue
		}
		one := &delivery{partition: h.hints.partition, key: item.Key, owner: o.Node, set: item.Set}
		var peers []id.Node
		peers, one.here = h.takers(h.hints.partition, o.Node)
		if o.Node == h.config.Self {
			peers, one.here = nil, true
		}
		for _, n := range peers {
			one.peers = append(one.peers, target{node: n})
		}
		if len(one.peers) == 0 || item.Set.IsEmpty() {
			h.settleHint(now, one, out)
			continue
		}
		h.hints.window = append(h.hints.window, one)
	}
}

// settleHint removes a hint for an owner when all that had to take it have it
// durably. This node's own part is written in the same batch.
func (h *Handoff) settleHint(now core.Now, one *delivery, out *core.Out) {
	if one.here && !one.set.IsEmpty() {
		switch _, why := h.local.Apply(one.key, one.set, out); why {
		case 0:
			h.Stored(one.partition) // the layouts may have changed since it was sent
		case core.RefusedStorageFull:
			h.hints.again = min(h.hints.again, now.Mono+roomPause)
			return
		default:
			return
		}
	}
	if !h.local.Settle(one.key, one.owner, one.set, out) {
		h.hints.again = min(h.hints.again, now.Mono+retryPause) // it has changed since
	}
}

func (h *Handoff) sendHint(now core.Now, slot uint32, one *delivery, t *target, out *core.Out) {
	h.guard.Try(&t.call, t.node)
	t.due = now.Mono + chunkTimeout
	h.gate.Spend(now.Mono, &h.hintSlot, admission.MessageCost+one.set.Size())
	out.Sends = append(out.Sends, h.envelope(t.node, one.partition, hintSlots+slot, h.hints.generation, t.due, &core.Apply{Key: one.key, Set: one.set}))
	if bug.On(bug.HintWithoutAck) {
		h.local.Settle(one.key, one.owner, one.set, out)
	}
}

// hinted takes an owner's acknowledgement, or its refusal.
func (h *Handoff) hinted(now core.Now, slot uint32, e *core.Envelope, out *core.Out) {
	d := &h.hints
	if int(slot) >= len(d.window) || d.window[slot] == nil {
		return
	}
	one := d.window[slot]
	i := slices.IndexFunc(one.peers, func(t target) bool { return t.node == e.From })
	if i < 0 || one.peers[i].acked {
		return
	}
	switch e.Msg.(type) {
	case *core.Applied:
		h.guard.Answered(now.Mono, &one.peers[i].call, 0, out)
		h.answeredHints(e.From)
		one.peers[i].acked = true
		if slices.ContainsFunc(one.peers, func(t target) bool { return !t.acked }) {
			return
		}
		h.settleHint(now, one, out)
		d.window[slot] = nil
	case *core.Refused:
		h.guard.Refused(&one.peers[i].call)
		h.refused(e, out)
		h.pauseHints(now, e.From)
		h.dropHint(now, slot)
	default:
		return
	}
	h.windowDone(now, out)
}

func (h *Handoff) hintFailed(now core.Now, slot uint32, peer id.Node, out *core.Out) {
	d := &h.hints
	if int(slot) >= len(d.window) || d.window[slot] == nil {
		return
	}
	i := slices.IndexFunc(d.window[slot].peers, func(t target) bool { return t.node == peer && !t.acked })
	if i < 0 {
		return
	}
	h.guard.Failed(&d.window[slot].peers[i].call, guard.Unsent, out)
	h.pauseHints(now, peer)
	h.dropHint(now, slot)
	h.windowDone(now, out)
}
