package handoff

import (
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/guard"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// pushes moves what this node holds and does not own: partition by partition,
// a window of keys at a time.
type pushes struct {
	partitions []ring.Partition // with keys, the current one first
	after      []byte           // the last key of the current one that was read
	done       bool             // the current one has been read to its end
	kept       bool             // a key of the current one has changed or come back: read it again
	window     []*push          // under way; a slot is nil when its key is dealt with
	generation uint32           // of the window: an answer to an earlier one misses
	due        time.Duration    // when the next window is read
}

// push is one key on its way to all of its owners.
type push struct {
	key   []byte
	set   version.Siblings
	peers []target
}

// target is one owner that must acknowledge.
type target struct {
	node  id.Node
	acked bool
	call  guard.Call
	due   time.Duration // when it is asked again
}

// left counts the partitions with keys that are not this node's.
func (p *pushes) left() int { return len(p.partitions) }

// planPushes lists the partitions of this shard that hold keys and that this
// node owns in no live layout.
func (h *Handoff) planPushes(now core.Now, out *core.Out) {
	h.gate.Done(now.Mono, &h.pushSlot)
	h.pushes = pushes{generation: h.pushes.generation + 1}
	l := h.view.ReadLayout()
	h.owned(l, func(p ring.Partition) {
		if h.Owns(p) {
			return
		}
		first, last := l.Range(p)
		if held, _ := h.local.Holds(first, last, out); held {
			h.pushes.partitions = append(h.pushes.partitions, p)
		}
	})
}

// Owns says whether this node owns p in any live layout.
func (h *Handoff) Owns(p ring.Partition) bool {
	for _, l := range h.view.Layouts.Live {
		if l.Owns(h.config.Self, p) {
			return true
		}
	}
	return false
}

// Stored is told of a key that was stored in p: where this node does not own
// the partition, it will be pushed on.
func (h *Handoff) Stored(p ring.Partition) {
	if h.Owns(p) {
		return
	}
	switch slices.Index(h.pushes.partitions, p) {
	case -1:
		h.pushes.partitions = append(h.pushes.partitions, p)
		h.report = true
	case 0:
		h.pushes.kept = true // what has been read of it may be without this key
	}
}

func (h *Handoff) nextPush() time.Duration {
	if len(h.pushes.partitions) == 0 {
		return core.Never
	}
	slot := h.gate.At(&h.pushSlot)
	if len(h.pushes.window) == 0 {
		return max(h.pushes.due, slot)
	}
	at := core.Never
	for _, p := range h.pushes.window {
		if p == nil {
			continue
		}
		for i := range p.peers {
			if !p.peers[i].acked {
				at = min(at, p.peers[i].due)
			}
		}
	}
	return max(at, slot)
}

// tickPushes reads the next window, or repeats what has not been answered: then
// others have their turn first, since an owner that is dead may take long.
func (h *Handoff) tickPushes(now core.Now, out *core.Out) {
	if len(h.pushes.partitions) == 0 {
		return
	}
	if len(h.pushes.window) == 0 {
		if h.pushes.due <= now.Mono {
			h.fillWindow(now, out)
		}
		return
	}
	if h.nextPush() > now.Mono || !h.gate.Go(now.Mono, &h.pushSlot) {
		return
	}
	for slot, p := range h.pushes.window {
		if p == nil {
			continue
		}
		for i := range p.peers {
			if t := &p.peers[i]; !t.acked && t.due <= now.Mono {
				if t.call.UnderWay() {
					h.guard.Failed(&t.call, guard.Silent, out)
				}
				h.send(now, uint32(slot), p, t, out)
			}
		}
	}
}

func (h *Handoff) send(now core.Now, slot uint32, p *push, t *target, out *core.Out) {
	if h.guard.Open(t.node) {
		t.due = now.Mono + retryPause
		return
	}
	h.guard.Try(&t.call, t.node)
	t.due = now.Mono + chunkTimeout
	h.gate.Spend(now.Mono, &h.pushSlot, admission.MessageCost+p.set.Size())
	partition := h.pushes.partitions[0]
	out.Sends = append(out.Sends, h.envelope(t.node, partition, pushSlots+slot, h.pushes.generation, t.due, &core.Apply{Key: p.key, Set: p.set}))
}

// fillWindow reads the next keys of the current partition, or ends it.
func (h *Handoff) fillWindow(now core.Now, out *core.Out) {
	q := &h.pushes
	if q.done {
		h.endPartition(now)
		return
	}
	if !h.gate.Go(now.Mono, &h.pushSlot) {
		return
	}
	partition := q.partitions[0]
	first, last := h.view.ReadLayout().Range(partition)
	items, done, flush := h.local.Chunk(first, last, q.after, core.Limit{Keys: pushWindow, Bytes: chunkBytes}, out)
	if flush != 0 {
		q.due = now.Mono + retryPause // what is pushed is durable here first
		h.gate.Done(now.Mono, &h.pushSlot)
		return
	}
	q.done = done
	q.due = now.Mono
	for _, item := range items {
		q.after = item.Key
		p := &push{key: item.Key, set: item.Set}
		for _, l := range h.view.Layouts.Live {
			for _, owner := range l.Owners(partition) {
				if !slices.ContainsFunc(p.peers, func(t target) bool { return t.node == owner }) {
					p.peers = append(p.peers, target{node: owner})
				}
			}
		}
		q.window = append(q.window, p)
	}
	for slot, p := range q.window {
		for i := range p.peers {
			h.send(now, uint32(slot), p, &p.peers[i], out)
		}
	}
}

// endPartition goes on to the next partition; one of which a key has changed
// meanwhile is read again, after the others.
func (h *Handoff) endPartition(now core.Now) {
	q := &h.pushes
	partition, kept := q.partitions[0], q.kept
	*q = pushes{partitions: q.partitions[1:], generation: q.generation, due: now.Mono}
	if kept {
		q.partitions = append(q.partitions, partition)
		q.due = now.Mono + retryPause
	}
	if len(q.partitions) == 0 || kept {
		h.gate.Done(now.Mono, &h.pushSlot)
	}
	h.report = true
}

// pushed takes an owner's acknowledgement, or its refusal.
func (h *Handoff) pushed(now core.Now, slot uint32, e *core.Envelope, out *core.Out) {
	q := &h.pushes
	if int(slot) >= len(q.window) || q.window[slot] == nil {
		return
	}
	p := q.window[slot]
	t := p.target(e.From)
	if t == nil || t.acked {
		return
	}
	switch e.Msg.(type) {
	case *core.Applied:
		h.guard.Answered(now.Mono, &t.call, 0, out)
		t.acked = true
	case *core.Refused:
		h.guard.Refused(&t.call)
		h.refused(e, out)
		t.due = now.Mono + retryPause
		return
	default:
		return
	}
	if slices.ContainsFunc(p.peers, func(t target) bool { return !t.acked }) {
		return
	}
	if !h.local.Remove(p.key, p.set, out) {
		q.kept = true
	}
	q.window[slot] = nil
	if !slices.ContainsFunc(q.window, func(p *push) bool { return p != nil }) {
		q.window = q.window[:0]
		q.generation++
		h.tickPushes(now, out)
	}
}

func (h *Handoff) pushFailed(now core.Now, slot uint32, peer id.Node, out *core.Out) {
	if int(slot) >= len(h.pushes.window) || h.pushes.window[slot] == nil {
		return
	}
	if t := h.pushes.window[slot].target(peer); t != nil && !t.acked {
		h.guard.Failed(&t.call, guard.Unsent, out)
		t.due = now.Mono + retryPause
	}
}

func (p *push) target(n id.Node) *target {
	for i := range p.peers {
		if p.peers[i].node == n {
			return &p.peers[i]
		}
	}
	return nil
}
