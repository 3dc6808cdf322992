package handoff

import (
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/guard"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/quorum"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// pull is one partition on its way to its new owner.
type pull struct {
	partition ring.Partition
	sources   []id.Node // old owners that have not been pulled from to the end, the current one first
	need      int       // how many of them still must be
	after     []byte    // the last key that the current source has sent
	state     pullState
	call      guard.Call      // of the chunk that was asked for
	last      bool            // the chunk that waits for its flush is the source's last
	flush     uint64          // that the latest chunk waits for
	due       time.Duration   // of waiting and asked: when to act
	slot      *admission.Slot // nil: it has not asked for one
}

type pullState uint8

const (
	waiting  pullState = iota // to be asked at due
	asked                     // the source has not answered; given up at due
	flushing                  // the chunk is being made durable
)

// planPulls lists what this shard gains in a transition. In a phase that is
// past copying nothing is left to pull: every member has reported synced.
func (h *Handoff) planPulls(now core.Now, before core.Stamp) {
	live := h.view.Layouts.Live
	newest := live[len(live)-1]
	if before.Layout == newest.Name() && h.view.Layouts.Phase == core.PhaseCopy {
		return // under way, or done
	}
	for _, p := range h.pulls {
		h.release(now, p)
	}
	h.pulls, h.planned = nil, 0
	if h.view.Layouts.Phase == core.PhaseCopy && !bug.On(bug.GrowWithoutCopy) {
		old := live[0]
		count := old.OwnerCount()
		need := count - quorum.Effective(h.config.W, count) + 1
		if bug.On(bug.PullFromOne) {
			need = 1
		}
		h.owned(newest, func(p ring.Partition) {
			if !newest.Owns(h.config.Self, p) || old.Owns(h.config.Self, p) {
				return
			}
			sources := slices.Clone(old.Owners(p))
			h.rng.Shuffle(len(sources), func(i, j int) { sources[i], sources[j] = sources[j], sources[i] })
			h.pulls = append(h.pulls, &pull{partition: p, sources: sources, need: need})
		})
		h.planned = len(h.pulls)
	}
	h.settlePulls()
}

// settlePulls notes the layout as synced when nothing is left to pull.
func (h *Handoff) settlePulls() {
	if len(h.pulls) == 0 {
		live := h.view.Layouts.Live
		h.synced = live[len(live)-1].Name()
	}
}

// nextPull returns when a pull is due: those beyond maxPulls wait for others.
func (h *Handoff) nextPull() time.Duration {
	at := core.Never
	for _, p := range h.pulls[:min(len(h.pulls), maxPulls)] {
		switch p.state {
		case waiting:
			at = min(at, max(p.due, h.slotDue(p)))
		case asked:
			at = min(at, p.due)
		case flushing:
		}
	}
	return at
}

func (h *Handoff) tickPulls(now core.Now, out *core.Out) {
	for _, p := range h.pulls[:min(len(h.pulls), maxPulls)] {
		if p.due > now.Mono {
			continue
		}
		switch p.state {
		case waiting:
			h.ask(now, p, out)
		case asked:
			h.guard.Failed(&p.call, guard.Silent, out)
			h.rotate(now, p)
		case flushing:
		}
	}
}

// ask asks for the next chunk, when there is room and a slot for it. The slot
// is held until the chunk is durable here.
func (h *Handoff) ask(now core.Now, p *pull, out *core.Out) {
	if !h.local.HasRoom() {
		h.release(now, p)
		p.state, p.due = waiting, now.Mono+roomPause
		return
	}
	if h.guard.Open(p.sources[0]) {
		h.rotate(now, p)
		return
	}
	p.state, p.due = waiting, now.Mono
	if p.slot == nil {
		p.slot = h.freeSlot()
	}
	if !h.gate.Go(now.Mono, p.slot) {
		return
	}
	h.guard.Try(&p.call, p.sources[0])
	p.state, p.due = asked, now.Mono+chunkTimeout
	m := &core.Pull{Layout: h.view.Stamp().Layout, After: p.after}
	out.Sends = append(out.Sends, h.envelope(p.sources[0], p.partition, uint32(p.partition), h.generation, p.due, m))
}

// freeSlot returns a slot that no pull has: there are as many as may be under
// way. What earlier ones have spent of it is still owed.
func (h *Handoff) freeSlot() *admission.Slot {
	for i := range h.pullSlots {
		slot := &h.pullSlots[i]
		if !slices.ContainsFunc(h.pulls, func(p *pull) bool { return p.slot == slot }) {
			return slot
		}
	}
	panic("handoff: more pulls under way than there may be")
}

// slotDue returns when a pull that waits can go on, as far as slots go.
func (h *Handoff) slotDue(p *pull) time.Duration {
	if p.slot == nil {
		return 0
	}
	return h.gate.At(p.slot)
}

func (h *Handoff) release(now core.Now, p *pull) {
	if p.slot != nil {
		h.gate.Done(now.Mono, p.slot)
		p.slot = nil
	}
}

// rotate gives up on the current source for now: the next one is asked from
// the start, since what counts is to have one source's whole partition.
func (h *Handoff) rotate(now core.Now, p *pull) {
	h.release(now, p)
	p.sources = append(p.sources[1:], p.sources[0])
	p.after = nil
	p.state, p.due = waiting, now.Mono+retryPause
}

func (h *Handoff) find(p ring.Partition) *pull {
	for _, pull := range h.pulls[:min(len(h.pulls), maxPulls)] {
		if pull.partition == p {
			return pull
		}
	}
	return nil
}

// pulled takes a chunk, or a refusal to send one.
func (h *Handoff) pulled(now core.Now, partition ring.Partition, e *core.Envelope, out *core.Out) {
	p := h.find(partition)
	if p == nil || p.state != asked || e.From != p.sources[0] {
		return
	}
	switch m := e.Msg.(type) {
	case *core.PullReply:
		h.guard.Answered(now.Mono, &p.call, 0, out)
		h.store(now, p, m, out)
	case *core.Refused:
		h.guard.Refused(&p.call)
		h.refused(e, out)
		h.rotate(now, p)
	}
}

// store merges a chunk. A repeated or late chunk of the same source is as good
// as the one asked for: each was only asked for when all before it was durable
// here, so its end is a point up to which this source has been pulled.
func (h *Handoff) store(now core.Now, p *pull, m *core.PullReply, out *core.Out) {
	flush := uint64(0)
	cost := admission.MessageCost
	for _, item := range m.Items {
		cost += admission.ItemCost + len(item.Key) + item.Set.Size()
		if h.view.ReadLayout().Partition(item.Key) != p.partition {
			h.rotate(now, p) // another shard's key, which is not ours to write
			return
		}
		f, why := h.local.Apply(item.Key, item.Set, out)
		if why != 0 {
			h.rotate(now, p)
			return
		}
		flush = max(flush, f)
	}
	h.gate.Spend(now.Mono, p.slot, cost)
	p.last = m.Done
	if len(m.Items) > 0 {
		p.after = m.Items[len(m.Items)-1].Key
	}
	p.state, p.flush = flushing, flush
	if flush == 0 {
		h.flushed(now, p, out)
	}
}

// pullsDurable goes on with the pulls whose chunks are durable now.
func (h *Handoff) pullsDurable(now core.Now, n uint64, out *core.Out) {
	for i := 0; i < min(len(h.pulls), maxPulls); {
		p := h.pulls[i]
		if p.state == flushing && p.flush <= n {
			h.flushed(now, p, out)
		}
		if i < len(h.pulls) && h.pulls[i] == p {
			i++
		}
	}
	h.sendReport(now, out)
}

// flushed asks for the next chunk, the next source, or is done.
func (h *Handoff) flushed(now core.Now, p *pull, out *core.Out) {
	if !p.last {
		h.ask(now, p, out)
		return
	}
	p.need--
	p.sources, p.after, p.last = p.sources[1:], nil, false
	if p.need > 0 {
		h.ask(now, p, out)
		return
	}
	h.release(now, p)
	h.pulls = slices.DeleteFunc(h.pulls, func(q *pull) bool { return q == p })
	h.report = true
	h.settlePulls()
	h.tickPulls(now, out) // another one may begin
}

func (h *Handoff) pullFailed(now core.Now, partition ring.Partition, peer id.Node, out *core.Out) {
	if p := h.find(partition); p != nil && p.state == asked && p.sources[0] == peer {
		h.guard.Failed(&p.call, guard.Unsent, out)
		h.rotate(now, p)
	}
}

// Serve answers a new owner's Pull. The caller has checked its cluster,
// deadline and stamp.
func (h *Handoff) Serve(now core.Now, e *core.Envelope, out *core.Out) {
	m := e.Msg.(*core.Pull)
	reply := h.view.Answer(e, now.Mono+chunkTimeout, nil)
	if h.view.Stamp().Layout != m.Layout || int(e.Partition) >= h.view.ReadLayout().Partitions() {
		reply.Msg = &core.Refused{Why: core.RefusedBehind}
		out.Sends = append(out.Sends, reply)
		return
	}
	first, last := h.view.ReadLayout().Range(e.Partition)
	items, done, flush := h.local.Chunk(first, last, m.After, core.Limit{Keys: chunkKeys, Bytes: chunkBytes}, out)
	if out.Failed != nil {
		return
	}
	reply.Msg = &core.PullReply{Items: items, Done: done}
	if flush != 0 {
		out.SendsHeld = append(out.SendsHeld, reply)
	} else {
		out.Sends = append(out.Sends, reply)
	}
}
