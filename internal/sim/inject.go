package sim

import (
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// beginFault lets a fault happen, or arms it.
func (w *world) beginFault(i int) {
	f := &w.plan.Faults[i]
	if f.On == nothing {
		w.strike(i)
		return
	}
	w.armed = append(w.armed, i)
	w.queue.push(event{at: w.now + f.On.patience(), kind: evStrike, n: int64(i)})
}

// pull lets the armed faults that wait for t strike soon. A commit counts only
// at one of the fault's own nodes.
func (w *world) pull(t trigger, p *process, within time.Duration) {
	w.armed = slices.DeleteFunc(w.armed, func(i int) bool {
		f := &w.plan.Faults[i]
		if f.On != t || t == onCommit && f.Nodes&(1<<p.index) == 0 {
			return false
		}
		if f.Kind == Away { // before the node can hand over what it loses
			within = min(within, w.plan.Latency)
		}
		w.queue.push(event{at: w.now + drawTime(w.rng, within), kind: evStrike, n: int64(i)})
		return true
	})
}

// strike makes a fault happen, once. It counts only if it met somebody.
func (w *world) strike(i int) {
	f := &w.plan.Faults[i]
	if w.healing || w.struck[i] {
		return
	}
	w.struck[i] = true
	w.armed = slices.DeleteFunc(w.armed, func(n int) bool { return n == i })
	moved := w.inTransition()
	met := w.inflict(i, f)
	w.trace.printf(w.now, "fault %v, met %v", f, met)
	if !met {
		return
	}
	w.trouble(f)
	s := &w.report.Stats
	s.Faults[f.Kind]++
	if moved {
		s.FaultsInTransition++
	}
	if f.Kind == Grow {
		if len(w.active) > 0 {
			s.GrowthUnderFault++
		}
		return
	}
	w.active = append(w.active, i)
	w.setNetwork()
	w.measureAll(f)
	w.queue.push(event{at: w.now + f.For, kind: evHeal, n: int64(i)})
}

// inflict does what a fault does to nodes, and says whether it met any.
func (w *world) inflict(i int, f *Fault) bool {
	switch f.Kind {
	case Loss, Duplicate, Reorder:
		return true
	case Grow:
		met := false
		for range f.Count {
			met = w.grow() || met
		}
		return met
	case Crash, Restart, Reweigh, Blackout, Halves, Isolate, OneWay, SlowDisk, Skew, Stall, Misjudge, Away, Wipe, Restore, Full, faultKinds:
	}
	met := false
	for _, p := range w.nodes {
		if f.Nodes&(1<<p.index) == 0 || !p.exists {
			continue
		}
		switch f.Kind {
		case Crash, Blackout, Away:
			if !p.up {
				continue
			}
			w.crash(p)
			p.downBy = i
		case Restart, Reweigh:
			if !p.up {
				continue
			}
			w.stop(p)
			if f.Kind == Reweigh {
				p.weight = p.weight%maxWeight + 1
			}
			p.downBy = i
		case SlowDisk:
			p.slowDisk += f.By
		case Skew:
			p.skew += f.By
			w.skews++
			w.skewed = w.skewed || f.By > maxHarmlessSkew
		case Stall:
			p.stalledUntil = max(p.stalledUntil, w.now+f.For)
			p.stalled = p.stalledUntil
		case Misjudge:
			w.misjudge(p, f)
		case Wipe, Restore:
			if !w.loseDisk(i, f, p) {
				continue
			}
			p.downBy = i
		case Full: // once it is active
		case Halves, Isolate, OneWay, Loss, Duplicate, Reorder, Grow, faultKinds:
		}
		met = true
	}
	return met
}

// The clients' requests must succeed in calm times: when nothing is wrong and
// nothing has been for a while. The while is that of the longest delays and
// timeouts, of two rounds of gossip, and of a restarted node finding the rest.
func (w *world) calmAfter() time.Duration { return maxTransit + 2*w.plan.Gossip + joinTimeout }

// maxHarmlessSkew is how far a wall clock may jump ahead and be set back, and
// its node still execute what others forward to it: beyond it the limits of
// forwards are in its past until the time has really come.
const maxHarmlessSkew = 5 * time.Second

// trouble notes that something goes wrong or has just healed. Growth is no
// trouble: it must disturb nobody.
func (w *world) trouble(f *Fault) {
	if f.Kind != Grow {
		w.troubled = w.now
	}
}

// calm says that the times are calm, and have been since a time.
func (w *world) calm(since time.Duration) bool {
	return !w.skewed && len(w.active) == 0 && (w.troubled == 0 || w.troubled+w.calmAfter() < since)
}

// healFault ends a fault.
func (w *world) healFault(i int) {
	f := &w.plan.Faults[i]
	at := -1
	for n, a := range w.active {
		if a == i {
			at = n
		}
	}
	if at < 0 {
		return // everything has healed meanwhile
	}
	w.active = append(w.active[:at], w.active[at+1:]...)
	for _, p := range w.nodes {
		if !p.up && p.exists && p.downBy == i {
			w.checkSilence(p)
		}
	}
	w.trouble(f)
	w.trace.printf(w.now, "fault heals: %v", f)
	w.setNetwork()
	for _, p := range w.nodes {
		if f.Nodes&(1<<p.index) == 0 || !p.exists {
			continue
		}
		switch f.Kind {
		case Crash, Blackout, Away, Restart, Reweigh, Wipe, Restore:
			if !p.up && p.downBy == i {
				w.restart(p)
			}
		case SlowDisk:
			p.slowDisk = max(0, p.slowDisk-f.By)
		case Skew:
			p.skew -= f.By
		case Misjudge:
			p.beliefs = [maxNodes]core.Status{}
			w.showView(p)
		case Full:
			w.measure(p)
		case Stall, Halves, Isolate, OneWay, Loss, Duplicate, Reorder, Grow, faultKinds:
		}
	}
}

// misjudge lets a node believe things of others that need not be so.
func (w *world) misjudge(p *process, f *Fault) {
	for i := range p.beliefs {
		if w.rng.Float64() < f.Share {
			p.beliefs[i] = pick(w.rng, core.Suspected, core.Dead, core.Dead, core.Alive)
		}
	}
	w.showView(p)
}

// showView gives the shards of a process its view, with what it has been made
// to believe.
func (w *world) showView(p *process) {
	if p.view == nil || !p.up {
		return
	}
	v := *p.view
	v.Peers = slices.Clone(v.Peers)
	for i := range v.Peers {
		if belief := p.beliefs[peerIndex(v.Peers[i].ID)]; belief != 0 {
			v.Peers[i].Status = belief
			v.Revision = 0 // it is another one than Control's
		}
	}
	for i := range p.shards {
		w.input(p, i, input{kind: inView, view: &v})
	}
}

// restart starts a node again; one node of the cluster changes its address at
// times, as containers do. It is always the same one, so that nodes that were
// apart still know where to find each other.
func (w *world) restart(p *process) {
	if p.index == w.mover && w.settled() && w.rng.IntN(2) == 0 {
		delete(w.net.addrs, p.addr)
		p.port++
		p.addr = address(p)
		w.report.Stats.Moves++
	}
	w.report.Stats.Restarts++
	w.start(p)
}

// settled says that no node is on its way into the cluster, which would look
// for its seeds where they were when it was started.
func (w *world) settled() bool {
	for _, p := range w.nodes {
		if p.exists && !p.joined {
			return false
		}
	}
	return true
}

// grow starts the next node, if there is one.
func (w *world) grow() bool {
	if w.started == len(w.nodes) {
		return false
	}
	p := w.nodes[w.started]
	w.started++
	w.start(p)
	if p.index > 0 && w.plan.Seeds[p.index] == joinCall {
		w.queue.push(event{at: w.now + drawTime(w.rng, time.Second), kind: evJoin, node: int32(p.index)})
	}
	return true
}

// inTransition says whether any node goes by two layouts.
func (w *world) inTransition() bool {
	for _, p := range w.nodes {
		if p.view != nil && len(p.view.Layouts.Live) > 1 {
			return true
		}
	}
	return false
}

// setNetwork makes the network what the active faults leave of it.
func (w *world) setNetwork() {
	n := &w.net
	n.cut = [maxNodes][maxNodes]bool{}
	n.loss, n.duplicate, n.lateBy = w.plan.Noise.Share/2, w.plan.Noise.Share, w.plan.Noise.By
	n.reorder, n.slowBy = 0, 0
	if w.healing {
		n.loss, n.duplicate = 0, 0
	}
	for _, i := range w.active {
		f := &w.plan.Faults[i]
		switch f.Kind {
		case Halves, Isolate:
			n.sever(f.Nodes, true)
		case OneWay:
			n.sever(f.Nodes, false)
		case Loss:
			n.loss = max(n.loss, f.Share)
		case Duplicate:
			n.duplicate, n.lateBy = max(n.duplicate, f.Share), max(n.lateBy, f.By)
		case Reorder:
			n.reorder, n.slowBy = max(n.reorder, f.Share), max(n.slowBy, f.By)
		case Crash, Restart, Reweigh, Blackout, SlowDisk, Skew, Stall, Misjudge, Grow, Away, Wipe, Restore, Full, faultKinds:
		}
	}
}

// sever cuts the ways from the nodes of a side to all others, and back.
func (n *network) sever(side uint32, back bool) {
	for a := range maxNodes {
		for b := range maxNodes {
			from, to := side&(1<<a) != 0, side&(1<<b) != 0
			if from && !to || back && to && !from {
				n.cut[a][b] = true
			}
		}
	}
}

// heal ends everything that is wrong, for good.
func (w *world) heal() {
	w.healing, w.healedAt = true, w.now
	w.trace.printf(w.now, "everything heals")
	if len(w.active) > 0 {
		w.troubled = w.now // a fault that was armed for long goes on until now
	}
	w.active = nil
	w.setNetwork()
	for _, p := range w.nodes {
		if !p.exists {
			continue
		}
		p.slowDisk, p.skew, p.stalledUntil = 0, 0, 0
		p.beliefs = [maxNodes]core.Status{}
		w.showView(p)
		if !p.up {
			w.restart(p)
		} else {
			w.measure(p)
		}
	}
}
