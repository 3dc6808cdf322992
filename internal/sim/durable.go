package sim

import (
	"slices"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// unsynced is a record that a process has written and its disk may still
// lose: the key's set once the batch is durable.
type unsynced struct {
	batch uint64
	key   int
	hint  bool // it is a hint record
	set   version.Siblings
}

// noteSynced moves what the disk has synced to what is durable.
func (w *world) noteSynced(p *process) {
	n := 0
	for n < len(p.unsynced) && p.unsynced[n].batch <= p.disk.Synced() {
		u := &p.unsynced[n]
		k, was := w.history.keys[u.key], p.covers(u.key)
		if u.hint {
			p.hints.durable[u.key] = u.set
		} else {
			p.durable[u.key] = u.set
			p.hints.ever[u.key] = p.hints.ever[u.key].Join(u.set.Clock)
		}
		w.history.found(k, u.set.Clock)
		if u.set.Clock.IsEmpty() {
			w.history.handedOver(k, was)
		}
		n++
	}
	p.unsynced = p.unsynced[n:]
}

// noteRecovered reads what the disk still holds after a crash.
func (w *world) noteRecovered(p *process) {
	p.unsynced = nil
	p.durable = make([]version.Siblings, len(w.history.keys))
	for _, row := range w.rows(p) {
		k := w.history.byKey[string(core.ClientKey(row.key))]
		if set, err := replica.StoredSet(row.value); err == nil && k != nil {
			p.durable[k.index] = set
		}
	}
	p.held = slices.Clone(p.durable)
	w.recoverHints(p)
}

// heldAt counts the nodes whose disks hold a dot for good, or what has
// replaced it.
func (w *world) heldAt(k *keyHistory, d version.Dot) (nodes int) {
	for _, p := range w.nodes {
		if p.exists && p.holds(k, d) {
			nodes++
		}
	}
	return nodes
}

func (p *process) holds(k *keyHistory, d version.Dot) bool {
	return p.durable[k.index].Clock.Covers(d) || p.hints.durable[k.index].Clock.Covers(d)
}

// covers returns what a process's disk covers for good of a key, in its own copy
// and in hints.
func (p *process) covers(key int) version.Clock {
	return p.durable[key].Clock.Join(p.hints.durable[key].Clock)
}

// durableAt counts the nodes that hold a dot for good, or would if no disk had
// been lost: what they had acknowledged may be on its way.
func (w *world) durableAt(k *keyHistory, d version.Dot) (nodes int) {
	for _, p := range w.nodes {
		if p.exists && (p.holds(k, d) || p.losses.had != nil && p.losses.had[k.index].Covers(d)) {
			nodes++
		}
	}
	return nodes
}

// checkRemoved holds the removal of a record that its node does not own to
// what it waits for: every owner has it on its disk for good, or had.
func (w *world) checkRemoved(p *process, l *ring.Layout, k *keyHistory) {
	gone := p.durable[k.index].Clock
	for _, owner := range l.Owners(l.Partition(k.key)) {
		q := w.nodes[peerIndex(owner)]
		has := q.durable[k.index].Clock
		if q.losses.had != nil {
			has = has.Join(q.losses.had[k.index])
		}
		if !has.Dominates(gone) {
			w.fail("leftovers", "%v removes %s with %v, and %v has only %v durably", p.id, k.key, gone, q.id, q.durable[k.index].Clock)
		}
	}
}

// checkDurable holds an answer, as it leaves the node, to what the disks hold
// for good: a get shows only what no crash takes back, and a write is
// acknowledged when W distinct nodes have it.
func (w *world) checkDurable(p *process, o *operation, r *core.Result) {
	k := o.key
	if o.write == nil {
		for i := range r.Set.Versions {
			if d := r.Set.Versions[i].Dot; w.durableAt(k, d) == 0 && !k.forgot(d) {
				w.fail("durable", "%v answers a get of %s with %v, which a crash may still take back", p.id, k.key, d)
			}
		}
		return
	}
	if r.Outcome != core.Written {
		return
	}
	need := o.write.required
	for _, l := range p.view.Layouts.Live {
		need = min(need, l.OwnerCount())
	}
	for _, i := range o.write.mints {
		if d := k.mints[i].dot; r.Context.Covers(d) && w.durableAt(k, d) < need {
			w.fail("durable", "%v acknowledges write %d to %s when %v is durable at %d nodes; W is %d",
				p.id, o.write.number, k.key, d, w.durableAt(k, d), need)
		}
	}
}
