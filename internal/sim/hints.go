package sim

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/handoff"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// hintBound is how long after healing hints may need: the longest pause of an
// owner that has not answered, an attempt that was lost with a process, and
// the sweeps over keys that changed under a delivery.
const hintBound = 20 * time.Second

// hintBooks is what the simulator knows of a process's hints, by key index.
type hintBooks struct {
	now     []storedHint       // as the process has written them
	durable []version.Siblings // what the disk holds for good
	ever    []version.Clock    // of the own copies that its disk has held for good at any time
}

// storedHint is one hint record.
type storedHint struct {
	owners []core.HintOwner
	set    version.Siblings
}

func (s *storedHint) find(n id.Node) core.HintOwner {
	for _, o := range s.owners {
		if o.Node == n {
			return o
		}
	}
	return core.HintOwner{Node: n}
}

// HintStats counts what happened to hints.
type HintStats struct {
	Taken   uint64 // siblings kept for an owner, or more of them
	Marked  uint64 // owners marked
	Settled uint64 // owners that nothing is kept for any more
	Expired uint64 // markers that grew too old
	Refused uint64
	Minted  uint64 // versions
	Writes  uint64 // that counted fallbacks
	Reads   uint64
	Equal   uint64 // keys that hints alone had to make equal at all owners
}

func (s *HintStats) add(o *HintStats) {
	s.Taken += o.Taken
	s.Marked += o.Marked
	s.Settled += o.Settled
	s.Expired += o.Expired
	s.Refused += o.Refused
	s.Minted += o.Minted
	s.Writes += o.Writes
	s.Reads += o.Reads
	s.Equal += o.Equal
}

// recoverHints reads what the disk still holds of hints after a crash.
func (w *world) recoverHints(p *process) {
	n := len(w.history.keys)
	ever := p.hints.ever
	if ever == nil {
		ever = make([]version.Clock, n)
	}
	p.hints = hintBooks{now: make([]storedHint, n), durable: make([]version.Siblings, n), ever: ever}
	for i := range p.durable {
		p.hints.ever[i] = p.hints.ever[i].Join(p.durable[i].Clock)
	}
	for _, row := range w.hintRows(p) {
		k := w.history.byKey[string(core.ClientKey(row.key))]
		owners, set, err := replica.StoredHint(row.value)
		if err != nil || k == nil {
			w.fail("store", "%v holds a hint of %q that cannot be used: %v", p.id, core.ClientKey(row.key), err)
			continue
		}
		p.hints.now[k.index] = storedHint{owners, set}
		p.hints.durable[k.index] = set
	}
}

// hintRows returns what p's disk holds of hints.
func (w *world) hintRows(p *process) table {
	from, to := core.AllHints()
	a, _ := p.disk.data.find(from)
	b, _ := p.disk.data.find(to)
	return p.disk.data[a:b]
}

// hinted returns a key that p keeps a hint of, and for whom.
func (w *world) hinted(p *process) (key string, owners []id.Node) {
	rows := w.hintRows(p)
	if len(rows) == 0 {
		return "", nil
	}
	stored, _, err := replica.StoredHint(rows[0].value)
	if err != nil {
		w.fail("store", "%v holds a hint that cannot be read: %v", p.id, err)
	}
	for _, o := range stored {
		owners = append(owners, o.Node)
	}
	return string(core.ClientKey(rows[0].key)), owners
}

// hintWritten looks at a hint that a step has changed or, without a value,
// removed: what it does not keep for an owner any more, the owner must have.
func (w *world) hintWritten(p *process, l *loop, k *keyHistory, value []byte) {
	var after storedHint
	if value != nil {
		after.owners, after.set, _ = replica.StoredHint(value) // it has been read before
	}
	before := p.hints.now[k.index]
	p.hints.now[k.index] = after
	s := &w.report.Stats.Hints
	for _, o := range after.owners {
		was := before.find(o.Node)
		if o.Data && (!was.Data || !before.set.Equal(after.set)) {
			s.Taken++
		}
		if o.Since != 0 && was.Since == 0 {
			s.Marked++
		}
	}
	for _, o := range before.owners {
		is := after.find(o.Node)
		if o.Data && !is.Data {
			w.checkSettled(p, l, k, o.Node, before.set.Clock)
		}
		switch {
		case o.Since == 0 || is.Since != 0:
		case w.wall(p)-time.Duration(o.Since) >= handoff.MarkerAge:
			s.Expired++
			continue
		default:
			w.checkSettled(p, l, k, o.Node, p.held[k.index].Clock)
		}
		if !is.Data && is.Since == 0 {
			s.Settled++
		}
	}
}

// checkSettled holds the end of a hint to what it waits for: its owner has all
// of it on its disk for good, or those have that own the key instead.
func (w *world) checkSettled(p *process, l *loop, k *keyHistory, owner id.Node, kept version.Clock) {
	has := func(n id.Node) bool {
		q := w.nodes[peerIndex(n)]
		return q.hints.ever != nil && q.hints.ever[k.index].Dominates(kept) || q == p && p.held[k.index].Clock.Dominates(kept)
	}
	if has(owner) {
		return
	}
	for _, layout := range l.view.Layouts.Live {
		all := true
		for _, n := range layout.Owners(layout.Partition(k.key)) {
			all = all && has(n)
		}
		if all {
			return
		}
	}
	w.fail("hints", "%v lets go of %s with %v for %v, which has only %v durably", p.id, k.key, kept, owner, w.nodes[peerIndex(owner)].durable[k.index].Clock)
}

// checkTallies holds what each node counts of its hints to what it has.
func (w *world) checkTallies() {
	for _, p := range w.nodes {
		if !p.exists {
			continue
		}
		counted, records := w.tallied(p)
		var bytes uint64
		for _, row := range w.hintRows(p) {
			bytes += uint64(len(row.key) + len(row.value))
		}
		if n := uint64(len(w.hintRows(p))); counted != bytes || records != n {
			w.fail("hints", "%v counts %d hints of %d bytes; it has %d of %d bytes", p.id, records, counted, n, bytes)
		}
	}
}

func (w *world) tallied(p *process) (bytes, records uint64) {
	from, to := core.AllHintTallies()
	a, _ := p.disk.data.find(from)
	b, _ := p.disk.data.find(to)
	for _, row := range p.disk.data[a:b] {
		n, size, err := replica.StoredTally(row.value)
		if err != nil {
			w.fail("store", "%v holds a tally of hints that cannot be read: %v", p.id, err)
		}
		records, bytes = records+n, bytes+size
	}
	return bytes, records
}

// checkHinted looks at all keys when everything is at rest.
func (w *world) checkHinted() {
	l := w.checkLayouts()
	if l == nil {
		return
	}
	for i, copies := range w.collect(l) {
		w.checkEqual(l, w.history.keys[i], copies)
	}
}

// checkEqual holds hints to what they are for: where nothing else can have
// kept a write from an owner, all owners have the same in the end.
func (w *world) checkEqual(l *ring.Layout, k *keyHistory, copies []copyOf) {
	if !w.plan.Still || w.report.Stats.Hints.Expired > 0 || len(copies) == 0 {
		return
	}
	w.report.Stats.Hints.Equal++
	if len(copies) != l.OwnerCount() {
		w.fail("convergence", "%d of %d owners hold %s", len(copies), l.OwnerCount(), k.key)
		return
	}
	for _, c := range copies[1:] {
		if !c.set.Equal(copies[0].set) {
			w.fail("convergence", "the owners of %s differ after all hints are delivered: %v has %v, %v has %v",
				k.key, copies[0].node, copies[0].set.Clock, c.node, c.set.Clock)
			return
		}
	}
}
