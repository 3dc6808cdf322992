package sim

import (
	"slices"

	"github.com/dynamo-kv/dynamo/internal/audit"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// forgot says that a dot was let go of.
func (k *keyHistory) forgot(d version.Dot) bool {
	i, ok := k.At(d)
	return ok && k.forgotten.Has(i)
}

// forget takes what a set stands for out of what must be found from now on.
func (h *history) forget(k *keyHistory, set version.Siblings) {
	_, covered := h.read("what is forgotten", k, &set)
	k.forgotten.Add(covered)
	replaced, _ := k.CoveredBy(set.Clock)
	k.forgotten.Add(replaced)
}

// changed looks at what becomes of a node's own copy.
func (h *history) changed(p *process, k *keyHistory, set version.Siblings) {
	old := p.held[k.index]
	if !set.Clock.Dominates(old.Clock) {
		h.pruned(p, k, old, set)
	}
	news := slices.ContainsFunc(set.Versions, func(v version.Version) bool { return !k.forgot(v.Dot) })
	if k.reaped && old.IsEmpty() && !news {
		h.w.report.Stats.Returned++
		h.w.trace.printf(h.w.now, "  the tombstone of %s is back at %v", k.key, p.id)
	}
}

// reaped holds the removal of a key by one of its owners to the rule: it has
// tombstones only, every owner has them for good or has let go of them, and
// what they replaced is nowhere.
func (h *history) reaped(p *process, v *core.View, k *keyHistory) {
	w, set := h.w, p.held[k.index]
	w.report.Stats.Reaped++
	if !w.healing {
		w.report.Stats.ReapedAmid++
	}
	w.trace.printf(w.now, "  %v reaps %s: %v", p.id, k.key, set.Clock)
	if !set.OnlyTombstones() {
		w.fail("forgetting", "%v removes %s, which it owns and which has values: %v", p.id, k.key, set.Clock)
	}
	for _, l := range v.Layouts.Live {
		for _, owner := range l.Owners(l.Partition(k.key)) {
			q := w.nodes[peerIndex(owner)]
			for i := range set.Versions {
				if d := set.Versions[i].Dot; !k.forgot(d) && !q.durable[k.index].Clock.Covers(d) {
					w.fail("forgetting", "%v reaps %s, and %v has not got the tombstone %v for good", p.id, k.key, q.id, d)
				}
			}
		}
	}
	w.nowhere(p, k, set)
	h.forget(k, set)
	k.reaped = true
}

// pruned holds the removal of clock entries to the rule: the versions stay as
// they are, and so do their actors' entries; what the others stood for is
// nowhere.
func (h *history) pruned(p *process, k *keyHistory, old, set version.Siblings) {
	w := h.w
	w.report.Stats.Pruned += uint64(old.Unused() - set.Unused())
	w.trace.printf(w.now, "  %v prunes %s: %v to %v", p.id, k.key, old.Clock, set.Clock)
	if !set.Equal(old.WithoutUnused()) || old.Clock.Len() <= id.PruneClockEntries {
		w.fail("forgetting", "%v prunes %s from %v to %v", p.id, k.key, old.Clock, set.Clock)
	}
	w.nowhere(p, k, old)
	before, _ := k.CoveredBy(old.Clock)
	after, _ := k.CoveredBy(set.Clock)
	k.forgotten.Add(before.Minus(after))
}

// nowhere checks that no node holds, in memory or for good, a version that a
// set has replaced: nothing would tell it from a new one once the set is gone.
// A disk in doubt does not count: it serves nothing before that is settled.
func (w *world) nowhere(p *process, k *keyHistory, set version.Siblings) {
	check := func(q *process, held version.Siblings) {
		for i := range held.Versions {
			d := held.Versions[i].Dot
			if set.Clock.Covers(d) && !shows(set, d) {
				w.fail("forgetting", "%v forgets %s, and %v still holds %v, which was replaced", p.id, k.key, q.id, d)
			}
		}
	}
	for _, q := range w.nodes {
		if !q.exists || q.inDoubt() {
			continue
		}
		check(q, q.durable[k.index])
		check(q, q.hints.durable[k.index])
		if q.up {
			check(q, q.held[k.index])
			check(q, q.hints.now[k.index].set)
		}
	}
}

// shows says whether a version of that dot is in a set.
func shows(set version.Siblings, d version.Dot) bool {
	for i := range set.Versions {
		if set.Versions[i].Dot == d {
			return true
		}
	}
	return false
}

// notForgotten checks that nothing is shown that everybody had let go of.
func (h *history) notForgotten(who string, k *keyHistory, shown audit.Set) {
	shown.Each(func(i int) {
		if m := &k.mints[i]; k.forgotten.Has(i) && !m.tombstone {
			h.w.fail("resurrection", "%s of %s shows %v of write %d, which was replaced and forgotten", who, k.key, m.dot, m.write.number)
		}
	})
}

// The last part of a run: what can be forgotten is, and written anew.

// ending is what a key goes through at the end of a run.
type ending uint8

const (
	endAsItIs   ending = iota // owners may differ: nothing can be forgotten
	endDeleted                // every owner gets the same tombstone
	endWritten                // every owner gets the same value
	endRecreate               // as endDeleted, and then a value
	endings
)

// endingOf spreads the endings over the keys.
func (w *world) endingOf(k *keyHistory) ending {
	return ending(mix(w.plan.Seed+uint64(k.index)) % uint64(endings))
}

// forgetAll brings the owners of most keys level, by what the last gets have
// shown, waits until everything is forgotten that can be, and writes some of
// those keys anew.
func (w *world) forgetAll() {
	level := w.writeAll(false, func(e ending) (write, remove bool) { return e != endAsItIs, e != endWritten })
	w.until(w.now + w.plan.restTime())
	for _, o := range level {
		if o.write.outcome == okay {
			w.checkForgotten(o.key, o.write.tombstone)
		}
	}
	w.writeAll(true, func(e ending) (write, remove bool) { return e == endRecreate, false })
}

// writeAll writes to the keys that f chooses by their endings: blindly, or in a
// way that leaves every owner with the same set, by what all of them have shown.
func (w *world) writeAll(blind bool, f func(e ending) (write, remove bool)) []*operation {
	c := w.clients[0]
	var all []*operation
	for _, k := range w.history.keys {
		write, remove := f(w.endingOf(k))
		if !write || c.last[k.index] == nil {
			continue
		}
		context := c.last[k.index]
		if blind {
			context = nil
		}
		o := c.put(w, k, context, remove)
		o.final, o.timeout = true, w.plan.Request
		o.options.W = min(w.plan.N, w.started)
		o.write.required = o.options.W
		w.begin(o)
		all = append(all, o)
	}
	w.until(w.now + w.plan.Request + answerGrace)
	return all
}

// checkForgotten holds a key whose owners have long been level to what must
// have become of it: nothing if it was deleted, no surplus clock entry else.
func (w *world) checkForgotten(k *keyHistory, deleted bool) {
	for _, p := range w.nodes {
		if !p.exists {
			continue
		}
		switch set := p.held[k.index]; {
		case deleted && !set.IsEmpty():
			w.fail("forgetting", "%v still holds %s, of which every owner has had the same tombstone for long: %v", p.id, k.key, set.Clock)
		case !deleted && set.Unused() > 0 && set.Clock.Len() > id.PruneClockEntries:
			w.fail("forgetting", "%v still has all of the clock of %s, of which every owner has had the same value for long: %v", p.id, k.key, set.Clock)
		}
	}
}
