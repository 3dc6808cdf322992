package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/dynamo-kv/dynamo/internal/audit"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Disks are lost in two ways: a node comes back with an empty one, or with a
// copy that was made earlier. Either way what it holds for good goes backwards,
// which nothing else may bring about, and some promises lapse:
//
//   - An acknowledged write may be gone if every node that had it on its disk
//     has lost that disk; a node that has handed it to another one does not
//     count, the other one does instead. Such a write is marked lost at that
//     very moment, and no longer when it is on any disk again.
//   - A strict quorum need not overlap in a write that a disk has lost until all
//     owners have it again. Such a write is shaken until then.
//
// Nothing else is exempt. At most a minority of N nodes is without its disk at
// a time, counted until all that they had lost is restored.

// lossBooks is what is known of a process's lost disks.
type lossBooks struct {
	seeds []string        // that the process begins anew with; none as long as it has not
	had   []version.Clock // by key index: what its lost disks and hints had covered
	fell  core.Stamp      // that it had gone by
	weak  bool            // what it has lost is not restored
	// old says that the process runs on a copy which others are certain to
	// know for an old one.
	old bool
	// begun has what the disk covered when the latest process began, by key.
	begun []version.Clock
}

// diskCopy is a copy of a disk, as somebody makes it of a running node's.
type diskCopy struct {
	data     table
	instance uint64
}

// LossStats counts what happened to disks that were lost.
type LossStats struct {
	Wiped    uint64 // disks that were replaced by empty ones
	Young    uint64 // copies put back that are younger than L
	Old      uint64 // … and older
	Replaced uint64 // copies of both ages that are of an earlier instance
	Doubted  uint64 // starts that waited for word of the disk's age
	SetAside uint64 // disks that were found to be old copies
	Mints    uint64 // versions that were on a lost disk and not on the one that replaced it
	Exempt   uint64 // acknowledged versions that were on no other disk, and are gone
}

func (s *LossStats) add(o *LossStats) {
	s.Wiped += o.Wiped
	s.Young += o.Young
	s.Old += o.Old
	s.Replaced += o.Replaced
	s.Doubted += o.Doubted
	s.SetAside += o.SetAside
	s.Mints += o.Mints
	s.Exempt += o.Exempt
}

// drawLostDisks lets nodes lose their disks, in two of five runs in which
// anti-entropy restores what they held and somebody else holds it. It has a
// stream of its own, so that the other runs are what they would be without.
func (p *Plan) drawLostDisks(rng *rand.Rand) {
	count := int(time.Duration(pick(rng, 0, 0, 0, 8, 16)) * p.Length / time.Hour)
	if p.Still || p.AntiEntropy == 0 || p.N == 1 || count == 0 {
		return
	}
	p.TTL = max(p.TTL, id.MaxDiskAge+leastTTL)
	for range count {
		f := Fault{At: drawTime(rng, p.Length), For: drawLength(rng), Kind: Wipe, Nodes: 1 << rng.IntN(p.Nodes)}
		if rng.IntN(2) == 0 {
			f.Kind = Restore
			f.By = drawAge(rng)
			f.At = max(f.At, f.By)
		}
		if f.At > p.Length {
			continue
		}
		f.For = min(f.For, p.Length-f.At)
		p.Faults = append(p.Faults, f)
		for _, at := range []time.Duration{f.At - f.By, f.At - drawTime(rng, 2*time.Second), f.At + f.For} {
			p.Bursts = append(p.Bursts, p.drawBurst(rng, max(0, at), time.Second+drawTime(rng, 4*time.Second)))
		}
	}
	p.inOrder()
	slices.SortStableFunc(p.Bursts, func(a, b Burst) int { return cmp.Compare(a.At, b.At) })
}

// drawAge draws the age of a copy that is put back: a moment, younger than L,
// or older.
func drawAge(rng *rand.Rand) time.Duration {
	switch rng.IntN(4) {
	case 0:
		return time.Second + drawTime(rng, 20*time.Second)
	case 1:
		return drawTime(rng, id.MaxDiskAge)
	}
	return id.MaxDiskAge + drawTime(rng, id.MaxDiskAge)
}

// copyDisk makes the copy that fault i will put back.
func (w *world) copyDisk(i int) {
	for _, p := range w.nodes {
		if w.plan.Faults[i].Nodes&(1<<p.index) != 0 && p.up && p.joined {
			w.trace.printf(w.now, "somebody copies the disk of %v", p.id)
			w.copies[i] = &diskCopy{data: p.disk.durable(), instance: p.instance}
		}
	}
}

// loseDisk is what the faults Wipe and Restore do to a node: it ends, and its
// disk is another one from now on. It says whether that may be.
func (w *world) loseDisk(i int, f *Fault, p *process) bool {
	old := w.copies[i]
	if !p.up || !p.joined || !w.mayLose(p) || f.Kind == Restore && old == nil {
		return false
	}
	seeds, provable := knownAddrs(p), w.provable(p)
	if w.rng.IntN(2) == 0 {
		w.crash(p)
	} else {
		w.stop(p)
	}
	s := &w.report.Stats.Losses
	switch {
	case f.Kind == Wipe:
		s.Wiped++
		w.beginAnew(p, seeds)
	case f.By > id.MaxDiskAge:
		s.Old++
		w.replaceDisk(p, old.data)
		p.losses.old = provable
	default:
		s.Young++
		w.replaceDisk(p, old.data)
	}
	if f.Kind == Restore && p.instance != old.instance { // from before the disk was wiped
		s.Replaced++
		p.instance = old.instance
	}
	return true
}

// provable says that enough others are certain to remember a newer stamp than
// that of a copy of p's disk which is older than L: nothing has kept them from
// hearing p for so long that p has stamped its disk, and wall clocks tell ages.
func (w *world) provable(p *process) bool {
	return !w.skewed && w.skews == 0 && w.now-p.born > 3*time.Minute && w.calm(w.now-time.Minute)
}

// checkOld fails where a copy that is provably old is served.
func (w *world) checkOld(p *process) {
	if p.losses.old {
		w.fail("old disk", "%v serves a copy of its disk that is older than %v", p.id, id.MaxDiskAge)
		p.losses.old = false
	}
}

// checkSetAside holds what a node sets aside to what its disk held when it
// began: nothing that it has taken since may be among it.
func (w *world) checkSetAside(p *process) {
	for _, k := range w.history.keys {
		if now := p.covers(k.index); !p.losses.begun[k.index].Dominates(now) {
			w.fail("set aside", "%v sets aside what it has taken since it began: %s with %v, which was %v", p.id, k.key, now, p.losses.begun[k.index])
		}
	}
}

// begun notes what a process begins with.
func (p *process) begun() {
	p.losses.begun = make([]version.Clock, len(p.durable))
	for i := range p.durable {
		p.losses.begun[i] = p.covers(i)
	}
}

// mayLose says whether p's disk may be lost: no more than a minority of a
// key's owners may be without what they held. Where there is no such minority
// one node may, and what it alone held is gone.
func (w *world) mayLose(p *process) bool {
	w.regain()
	weak := 0
	for _, q := range w.nodes {
		if q.losses.weak && q != p {
			weak++
		}
	}
	return w.settled() && weak < w.minority()
}

// knownAddrs returns where the members are that a running process knows.
func knownAddrs(p *process) []string {
	var addrs []string
	for _, m := range p.ctl.control.Status().Members {
		if m.ID != p.id && m.State != core.Left {
			addrs = append(addrs, m.Addr)
		}
	}
	return addrs
}

// renew does what a node does whose disk is an old copy: it sets its data aside
// and begins anew among the members that it knew.
func (w *world) renew(p *process) {
	w.report.Stats.Losses.SetAside++
	w.checkSetAside(p)
	w.trace.printf(w.now, "%v sets its data aside", p.id)
	seeds := knownAddrs(p)
	w.end(p)
	p.disk.down = true
	w.beginAnew(p, seeds)
	w.troubled = w.now
	w.start(p)
}

// beginAnew gives a process that has ended an empty disk.
func (w *world) beginAnew(p *process, seeds []string) {
	p.losses.seeds = seeds
	p.instance = w.rng.Uint64()
	p.joined = false
	w.replaceDisk(p, nil)
}

// replaceDisk gives a process that has ended another disk, and notes what was
// on the one before.
func (w *world) replaceDisk(p *process, data table) {
	own, kept := p.durable, p.hints.durable
	p.disk.replace(data)
	w.noteRecovered(p)
	if p.losses.had == nil {
		p.losses.had = make([]version.Clock, len(w.history.keys))
	}
	for _, k := range w.history.keys {
		i := k.index
		k.held = heldReads{}
		before := own[i].Clock.Join(kept[i].Clock)
		p.losses.had[i] = p.losses.had[i].Join(before)
		w.history.found(k, p.covers(i))
		w.history.forfeited(k, own[i].Clock, before, p.durable[i].Clock)
	}
	if p.losses.fell.Older(p.stamp) {
		p.losses.fell = p.stamp
	}
	p.stamp = core.Stamp{}
	p.losses.weak, p.losses.old = true, false
	w.losses++
}

// forfeited takes from a disk what it covered before, itself and in hints, and
// does not any more.
func (h *history) forfeited(k *keyHistory, own, before, after version.Clock) {
	still, _ := k.CoveredBy(after)
	owned, _ := k.CoveredBy(own)
	k.shaken.Add(owned.Minus(still))
	all, _ := k.CoveredBy(before)
	k.bereft.Add(all.Minus(still))
	h.w.report.Stats.Losses.Mints += uint64(owned.Minus(still).Count())
	h.leave(k, before)
}

// leave marks what is lost now: what a clock covers and no disk does.
func (h *history) leave(k *keyHistory, before version.Clock) {
	gone, _ := k.CoveredBy(before)
	gone.Each(func(i int) {
		if h.w.heldAt(k, k.mints[i].dot) == 0 {
			k.lost.Put(i)
		}
	})
}

// handedOver looks at a record that its node has removed for good: if those
// who had taken over what it covers have lost their disks since, it is lost.
func (h *history) handedOver(k *keyHistory, was version.Clock) {
	if h.w.losses == 0 {
		return
	}
	gone, _ := k.CoveredBy(was)
	gone.Each(func(i int) {
		d := k.mints[i].dot
		if h.w.heldAt(k, d) == 0 && h.w.durableAt(k, d) > 0 {
			k.lost.Put(i)
		}
	})
}

// exempt looks at what is missing in the end and may be, since it was lost with
// its disks. No write may be among it that more nodes had acknowledged than may
// be without their disks.
func (h *history) exempt(k *keyHistory, missing audit.Set) {
	lost := missing.Minus(missing.Minus(k.lost))
	lost.Each(func(i int) {
		for n := range k.acked {
			if !k.acked[n].Has(i) {
				continue
			}
			h.w.report.Stats.Losses.Exempt++
			if n > h.w.minority() {
				h.w.fail("lost write", "%v of write %d to %s, acknowledged at W=%d, is lost with the disks of a minority",
					k.mints[i].dot, k.mints[i].write.number, k.key, n)
			}
		}
	})
}

// minority is how many nodes may be without what their disks held.
func (w *world) minority() int { return max(1, (w.plan.N-1)/2) }

// found notes that a disk covers something, which is so not lost, though not
// all owners need have it.
func (h *history) found(k *keyHistory, clock version.Clock) {
	if k.lost.IsEmpty() {
		return
	}
	covered, _ := k.CoveredBy(clock)
	left := k.lost.Minus(covered)
	k.shaken.Add(k.lost.Minus(left))
	k.bereft.Add(k.lost.Minus(left))
	k.lost = left
}

// regain finds the keys that all owners hold again as before a disk was lost,
// and the processes that are whole if all keys are.
func (w *world) regain() {
	whole := true
	for _, k := range w.history.keys {
		w.history.restored(k)
		whole = whole && k.bereft.IsEmpty()
	}
	for _, p := range w.nodes {
		p.losses.weak = p.losses.weak && (!whole || !p.joined || !p.up)
	}
}

// restored takes from what is shaken the versions that every owner has on its
// disk by any layout that any node goes by, and those that are lost or
// forgotten.
func (h *history) restored(k *keyHistory) {
	if k.bereft.IsEmpty() {
		return
	}
	left := k.bereft.Minus(k.lost).Minus(k.forgotten)
	everywhere := left.Clone()
	for _, l := range h.w.layouts() {
		for _, owner := range l.Owners(l.Partition(k.key)) {
			has, _ := k.CoveredBy(h.w.nodes[peerIndex(owner)].durable[k.index].Clock)
			everywhere = everywhere.Minus(everywhere.Minus(has))
		}
	}
	k.bereft = left.Minus(everywhere)
	k.shaken = k.shaken.Minus(k.shaken.Minus(k.bereft))
}

// layouts returns those that any node goes by, and the newest ones even while
// nobody is there.
func (w *world) layouts() []*ring.Layout {
	all := slices.Clone(w.live)
	for _, p := range w.nodes {
		if p.up && p.view != nil {
			all = append(all, p.view.Layouts.Live...)
		}
	}
	return all
}

// fallenBack says that a node whose disk was lost serves by an older layout
// than it has gone by: what it had refused for good, it may accept again.
func (w *world) fallenBack() bool {
	for _, p := range w.nodes {
		if p.up && p.view != nil && p.stamp.Older(p.losses.fell) {
			return true
		}
	}
	return false
}

// caughtUp notes that a process goes by at least the layout that it had gone by
// before its disk was lost. What began before that is no sooner exempt than
// what met the loss itself.
func (w *world) caughtUp(p *process, before core.Stamp) {
	if before.Older(p.losses.fell) && !p.stamp.Older(p.losses.fell) {
		w.losses++
	}
}

// doubts counts a start that waits for word of its disk's age.
func (w *world) doubts(p *process) {
	if p.inDoubt() {
		w.report.Stats.Losses.Doubted++
		w.trace.printf(w.now, "%v waits for %s", p.id, p.ctl.control.Status().WaitsFor)
	}
}

// inDoubt says that a process waits for word of its disk's age: it serves
// nothing of it, and sets it aside if it is too old.
func (p *process) inDoubt() bool {
	return p.up && p.view == nil && p.ctl != nil && strings.HasPrefix(p.ctl.control.Status().WaitsFor, "word that its disk")
}

// durable returns a copy of what the disk holds for good.
func (d *Disk) durable() table {
	data := slices.Clone(d.data)
	for i := range slices.Backward(d.log) {
		for _, undo := range slices.Backward(d.log[i].undo) {
			data.apply(undo)
		}
	}
	return data
}

// replace puts other data on the disk of a machine that is down. Batches go on
// being counted.
func (d *Disk) replace(data table) {
	d.data = slices.Clone(data)
	d.log = d.log[:0]
	d.synced = d.number
}

// String describes the counts for people.
func (s *LossStats) String() string {
	return fmt.Sprintf("%d wiped, %d young copies put back, %d old ones, %d of earlier instances; %d starts waited for word, %d disks set aside; %d versions were on lost disks, %d acknowledged ones are gone with them",
		s.Wiped, s.Young, s.Old, s.Replaced, s.Doubted, s.SetAside, s.Mints, s.Exempt)
}
