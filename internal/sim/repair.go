package sim

import (
	"math/rand/v2"

	"github.com/dynamo-kv/dynamo/internal/audit"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// RepairStats counts what reads repaired.
type RepairStats struct {
	Sent, Own, Dropped, Waited uint64
	Blocking                   uint64 // blocking reads that were answered
	Checked                    uint64 // reads that had to find what a blocking read before them had
}

func (s *RepairStats) add(o *RepairStats) {
	s.Sent += o.Sent
	s.Own += o.Own
	s.Dropped += o.Dropped
	s.Waited += o.Waited
	s.Blocking += o.Blocking
	s.Checked += o.Checked
}

// drawRepair gives reads ample room for their repairs in most runs, hardly any
// in some, and none where others are to repair alone.
func (p *Plan) drawRepair(rng *rand.Rand) {
	p.RepairBytes = pick[uint64](rng, core.DefaultRepairBytes, core.DefaultRepairBytes, 1<<10, 0)
	p.Blocking = pick(rng, 0, 0.1, 0.5)
	if p.Still {
		p.RepairBytes, p.Blocking = 0, 0
	}
}

// tallyRepairs adds what the shards of a process have counted, which ends with
// it.
func (w *world) tallyRepairs(p *process) {
	for _, l := range p.shards {
		r := l.shard.Repairs()
		w.report.Stats.Repairs.add(&RepairStats{Sent: r.Sent, Own: r.Own, Dropped: r.Dropped, Waited: r.Waited})
	}
}

// oneLayout returns the one layout that every loop of every member goes by, nil
// while one may go by another. It is never the same again once it has changed,
// since nobody goes back.
func (w *world) oneLayout() *ring.Layout {
	var l *ring.Layout
	for _, p := range w.nodes {
		if !p.exists || !p.joined {
			continue
		}
		if p.stamp != w.newest || w.newest.Phase != core.PhaseDone {
			return nil
		}
		for _, loop := range p.shards {
			if loop.view == nil || loop.view.Stamp() != w.newest {
				return nil
			}
			l = loop.view.Layouts.Live[0]
		}
	}
	return l
}

// heldReads is what blocking reads of a key have returned under one layout, by the
// R that they counted.
type heldReads struct {
	layout ring.Name
	by     [maxReplicas + 1]audit.Set
}

// mustNotGoBack notes what a get has to find because blocking reads that have
// ended found it: R owners hold what each of those returned, and a read of
// enough owners meets one of them.
func (h *history) mustNotGoBack(o *operation) {
	l := h.w.oneLayout()
	if l == nil {
		return
	}
	o.layout = l.Name()
	if o.layout != o.key.held.layout {
		return
	}
	owners := l.OwnerCount()
	for r := range o.key.held.by {
		if r+min(o.r, owners) > owners {
			o.found.Add(o.key.held.by[r])
		}
	}
	if !o.found.IsEmpty() {
		h.w.report.Stats.Repairs.Checked++
	}
}

// neverBack holds a get to what blocking reads had found before it began, and
// notes what a blocking one has found itself.
func (h *history) neverBack(o *operation, seen audit.Set) {
	blocking := o.options.Repair == core.RepairBlocking
	if blocking {
		h.w.report.Stats.Repairs.Blocking++
	}
	l, k := h.w.oneLayout(), o.key
	if l == nil || l.Name() != o.layout || o.losses != h.w.losses {
		return // owners have changed meanwhile, or lost their disks
	}
	o.found.Minus(seen).Minus(k.forgotten).Each(func(i int) {
		m := &k.mints[i]
		h.w.fail("monotonic reads", "a get of %s with R=%d misses %v of write %d, which a blocking get had returned before it began",
			k.key, o.r, m.dot, m.write.number)
	})
	if !blocking {
		return
	}
	if k.held.layout != o.layout {
		k.held = heldReads{layout: o.layout}
	}
	k.held.by[min(o.r, l.OwnerCount())].Add(seen)
}

// checkHeld holds the answer of a blocking read, as it leaves the node, to what
// it promises: R owners have all of it on their disks for good.
func (w *world) checkHeld(p *process, o *operation, r *core.Result) {
	l := w.oneLayout()
	if o.losses != w.losses {
		return // what an owner has held for it may be on a disk that is lost since
	}
	if l == nil || o.options.Repair != core.RepairBlocking || r.Code != core.CodeOK && r.Code != core.CodeNotFound {
		return
	}
	k, holders := o.key, 0
	found, _ := k.CoveredBy(r.Set.Clock)
	for _, owner := range l.Owners(l.Partition(k.key)) {
		q := w.nodes[peerIndex(owner)]
		if !q.exists {
			continue
		}
		held, _ := k.CoveredBy(q.durable[k.index].Clock)
		if found.Minus(held).Minus(k.forgotten).IsEmpty() {
			holders++
		}
	}
	if need := min(o.r, l.OwnerCount()); holders < need {
		w.fail("blocking reads", "%v answers a blocking get of %s with %v, which %d owners hold durably; R is %d", p.id, o.key.key, r.Set.Clock, holders, need)
	}
}
