package sim

import (
	"fmt"
	"time"

	"github.com/dynamo-kv/dynamo/internal/audit"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// gotten takes what a get was answered.
func (h *history) gotten(o *operation, r *core.Result) {
	if r.Code != core.CodeOK && r.Code != core.CodeNotFound {
		if o.final {
			h.w.fail("convergence", "a get of %s from all owners fails after everything has healed: %v", o.key.key, r.Code)
		}
		return
	}
	k := o.key
	shown, covered := h.read("a get", k, &r.Set)
	h.exact("a get", k, r.Context, covered)
	if live := len(r.Set.Live()) > 0; live != (r.Code == core.CodeOK) {
		h.w.fail("reply", "a get of %s answers %v with live versions: %v", k.key, r.Code, live)
	}
	h.covers("a get that asked", o, covered)
	h.neverBack(o, covered)
	h.notForgotten("a get", k, shown)
	k.observed.Add(shown)
	if o.final {
		h.w.finals[k.index] = shown
	}
	c := &held{clock: r.Context, seen: covered}
	o.client.last[k.index] = c
	k.give(c)
}

// covers checks the strict quorum: what was acknowledged before an operation
// began has been seen by it.
func (h *history) covers(who string, o *operation, seen audit.Set) {
	if o.losses != h.w.losses {
		return // the disk of a node that was asked may have been lost meanwhile
	}
	o.must.Minus(seen).Minus(o.key.forgotten).Each(func(i int) {
		m := &o.key.mints[i]
		h.w.fail("strict quorum", "%s R=%d misses %v of write %d to %s, which W=%d had acknowledged before it began",
			who, o.r, m.dot, m.write.number, o.key.key, m.write.required)
	})
}

// written takes what a write was answered.
func (h *history) written(o *operation, r *core.Result) {
	wr, k := o.write, o.key
	switch {
	case r.Outcome == core.Written:
		wr.outcome = okay
		h.acknowledged(o, r)
	case o.unsure || r.Outcome != core.NotWritten:
		wr.outcome = unknown
	default:
		wr.outcome = failed
		if len(wr.mints) > 0 {
			h.w.fail("phantom", "write %d to %s was minted as %v, and its client is told that it is not written",
				wr.number, k.key, k.mints[wr.mints[0]].dot)
		}
	}
}

func (h *history) acknowledged(o *operation, r *core.Result) {
	wr, k := o.write, o.key
	c := &held{clock: r.Context, fromPut: true}
	own := 0
	for _, i := range wr.mints {
		if !r.Context.Covers(k.mints[i].dot) {
			continue
		}
		own++
		k.acked[wr.required].Put(i)
		if o.strict && o.losses == h.w.losses && !h.w.fallenBack() {
			k.strict[wr.required].Put(i)
		}
		c.seen.Put(i)
		c.seen.Add(k.Past(i))
	}
	if own == 0 {
		h.w.fail("reply", "write %d to %s is acknowledged with a context that covers no dot of it", wr.number, k.key)
	}
	if wr.context != nil {
		c.seen.Add(wr.context.seen)
	}
	h.exact("a write", k, r.Context, c.seen)
	h.covers("an overwriting delete that asked", o, c.seen)
	o.client.last[k.index] = c
	k.give(c)
}

// checkAvailable holds an answer in calm times to success: a member refuses
// nothing but what is past a limit, or asks for more replicas than there are.
func (w *world) checkAvailable(p *process, a *attempt, r *core.Result) {
	o := a.op
	if p.view == nil || !w.calm(a.began) || !p.joined || p.joinedAt+time.Second > a.began || w.plan.Noise.Share > 0 {
		return
	}
	w.report.Stats.Calm++
	if r.Code == core.CodeOK || r.Code == core.CodeNotFound || r.Code == core.CodeTooManySiblings {
		return
	}
	for _, l := range p.view.Layouts.Live {
		if max(o.options.R, o.options.W) > l.OwnerCount() {
			return
		}
	}
	w.fail("availability", "%v answers %v of %s with %v (%d of %d) while nothing is wrong", p.id, o.op, o.key.key, r.Code, r.Acknowledged, r.Required)
}

// checkEnd looks at all disks when everything has healed and come to rest.
func (w *world) checkEnd() {
	l := w.checkLayouts()
	if l == nil {
		return
	}
	w.checkTallies()
	stored := w.collect(l)
	for _, k := range w.history.keys {
		w.checkKey(l, k, stored[k.index])
	}
	for _, p := range w.nodes {
		if p.up {
			w.checkTrees(p)
		}
	}
}

// checkLayouts returns the one layout that everybody goes by, nil where they
// do not.
func (w *world) checkLayouts() *ring.Layout {
	if why := w.unrest(); why != "" {
		w.fail("convergence", "%v after everything has healed: %s", w.now-w.healedAt, why)
		return nil
	}
	return w.nodes[0].view.Layouts.Live[0]
}

// unrest says what has not come to rest yet, nothing where all has.
func (w *world) unrest() string {
	var first *core.View
	members := 0
	for _, p := range w.nodes {
		if !p.exists {
			continue
		}
		members++
		if !p.up || p.view == nil || !p.joined {
			return fmt.Sprintf("%v is not in the cluster", p.id)
		}
		if first == nil {
			first = p.view
		}
		switch stamp := p.view.Stamp(); {
		case stamp != first.Stamp():
			return fmt.Sprintf("%v goes by %v, %v by %v", p.id, stamp, first.Self, first.Stamp())
		case stamp.Phase != core.PhaseDone:
			return fmt.Sprintf("the transition to %v is stuck", stamp)
		}
	}
	l := first.Layouts.Live[0]
	if n := len(l.Members()); n != members {
		return fmt.Sprintf("layout %v has %d members of %d", l.Name(), n, members)
	}
	for _, p := range w.nodes {
		if !p.exists {
			continue
		}
		if key := w.leftover(l, p); key != "" {
			return fmt.Sprintf("%v still holds %s, which it does not own", p.id, key)
		}
		if key, owners := w.hinted(p); key != "" {
			return fmt.Sprintf("%v still keeps %s for %v", p.id, key, owners)
		}
		for _, peer := range p.view.Peers {
			if q := w.nodes[peerIndex(peer.ID)]; peer.Addr != q.addr || peer.Start != q.start {
				return fmt.Sprintf("%v knows %v at %s in an earlier start; it is at %s", p.id, peer.ID, peer.Addr, q.addr)
			}
			if peer.Status != core.Alive {
				return fmt.Sprintf("%v holds %v for %v", p.id, peer.ID, peer.Status)
			}
			if peer.Circuit.State != core.CircuitClosed {
				return fmt.Sprintf("the breaker of %v for %v is %v", p.id, peer.ID, peer.Circuit.State)
			}
		}
	}
	return ""
}

// peerIndex is the reverse of nodeID.
func peerIndex(n id.Node) int { return int(n[1] - '1') }

// leftover returns a key that p holds and does not own in l.
func (w *world) leftover(l *ring.Layout, p *process) string {
	for _, row := range w.rows(p) {
		if key := core.ClientKey(row.key); !l.Owns(p.id, l.Partition(key)) {
			return string(key)
		}
	}
	return ""
}

// rows returns what p's disk holds for clients' keys.
func (w *world) rows(p *process) table {
	from, to := core.AllData()
	a, _ := p.disk.data.find(from)
	b, _ := p.disk.data.find(to)
	return p.disk.data[a:b]
}

// copyOf is the set that one owner holds of a key.
type copyOf struct {
	node id.Node
	set  version.Siblings
}

// collect returns what the owners hold, by key index.
func (w *world) collect(l *ring.Layout) [][]copyOf {
	stored := make([][]copyOf, len(w.history.keys))
	for _, p := range w.nodes {
		if !p.exists {
			continue
		}
		for _, row := range w.rows(p) {
			set, err := replica.StoredSet(row.value)
			k := w.history.byKey[string(core.ClientKey(row.key))]
			if err != nil || k == nil {
				w.fail("store", "%v holds a record of %q that cannot be used: %v", p.id, core.ClientKey(row.key), err)
				continue
			}
			if l.Owns(p.id, l.Partition(k.key)) {
				stored[k.index] = append(stored[k.index], copyOf{p.id, set})
			}
		}
	}
	return stored
}

// checkKey holds the final state of a key to its history.
func (w *world) checkKey(l *ring.Layout, k *keyHistory, copies []copyOf) {
	h := w.history
	var final version.Siblings
	covered := make([]audit.Set, len(copies))
	for i, c := range copies {
		merged, err := version.Merge(final, c.set)
		if err != nil {
			w.fail("equal dots", "the owners of %s do not merge at %v: %v", k.key, c.node, err)
			return
		}
		final = merged
		_, covered[i] = h.read("the copy at "+string(c.node), k, &c.set)
	}
	shown, past := h.read("the final merge", k, &final)
	h.exact("the final merge", k, final.Clock, past)

	must := k.observed.Clone()
	for n := range k.acked {
		must.Add(k.acked[n])
	}
	h.exempt(k, must.Minus(past).Minus(k.forgotten))
	must = must.Minus(k.lost)
	must.Minus(past).Minus(k.forgotten).Each(func(i int) {
		m := &k.mints[i]
		w.fail("lost write", "%v of write %d to %s (%v) is neither in the final siblings nor replaced by them",
			m.dot, m.write.number, k.key, h.standing(k, i))
	})
	h.notForgotten("the final merge", k, shown)
	h.checkSiblings(k, shown, must)
	h.checkQuorums(l, k, covered)
	got, ok := w.finals[k.index] // what it shows may have been forgotten since
	if ok && !got.Minus(k.forgotten).Equal(shown.Minus(k.forgotten)) {
		w.fail("convergence", "a get of %s from all owners shows other versions than they hold", k.key)
	}
}

// standing says what is known of a mint.
func (h *history) standing(k *keyHistory, i int) string {
	for n := range k.acked {
		if k.acked[n].Has(i) {
			return fmt.Sprintf("acknowledged at W=%d", n)
		}
	}
	return "read by a client"
}

// checkSiblings finds versions that something else, which is certain to have
// been written, had replaced.
func (h *history) checkSiblings(k *keyHistory, shown, certain audit.Set) {
	k.FalseSiblings(shown, certain, func(i, by int) {
		checker := "false sibling"
		if k.mints[by].tombstone {
			checker = "resurrection"
		}
		h.w.fail(checker, "%v of write %d to %s is among the final siblings, though %v of write %d had seen it",
			k.mints[i].dot, k.mints[i].write.number, k.key, k.mints[by].dot, k.mints[by].write.number)
	})
}

// checkMoved holds a transition to its purpose, when reads go over to the
// owners of the newer layout: any R of them must have on their disks what was
// acknowledged by then.
func (w *world) checkMoved(l *ring.Layout) {
	for _, k := range w.history.keys {
		var covered []audit.Set
		for _, owner := range l.Owners(l.Partition(k.key)) {
			c, _ := k.CoveredBy(w.nodes[peerIndex(owner)].durable[k.index].Clock)
			covered = append(covered, c)
		}
		w.history.checkQuorums(l, k, covered)
	}
}

// checkQuorums holds every choice of R owners to what a read by them must
// find.
func (h *history) checkQuorums(l *ring.Layout, k *keyHistory, covered []audit.Set) {
	r := min(h.w.plan.R, l.OwnerCount())
	must := h.overlapping(k, h.w.plan.R)
	for len(covered) < l.OwnerCount() {
		covered = append(covered, nil) // an owner that holds nothing
	}
	audit.Unmet(covered, r, must.Minus(k.forgotten), func(lacking audit.Set) {
		lacking.Each(func(i int) {
			h.w.fail("strict quorum", "%d of the owners of %s in layout %v do not hold %v, which was acknowledged", r, k.key, l.Name(), k.mints[i].dot)
		})
	})
}
