package antientropy

import (
	"cmp"
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// peer is another owner of partitions of this shard.
type peer struct {
	node   id.Node
	shared []ring.Partition // of which this node takes the first step
	// left are those of the round under way that have not been compared, none
	// when no round is under way.
	left     []ring.Partition
	began    core.Now      // of that round
	due      time.Duration // of the next exchange; Never during one
	dirtyDue time.Duration // of the next one about dirty partitions
	since    time.Duration // Wall when the last whole round began, 0: none yet
}

// compared returns how many of the shared partitions have been compared.
func (p *peer) compared() int {
	switch {
	case p.since != 0:
		return len(p.shared)
	case p.began != core.Now{}:
		return len(p.shared) - len(p.left)
	}
	return 0
}

// dirty is a partition to be compared before others.
type dirty struct {
	partition ring.Partition
	left      []id.Node // owners that it has not been compared with
}

// plan lists the peers of the layout that reads go by. Their turns are spread
// over the interval; one that was to come earlier still does.
func (a *AntiEntropy) plan(now core.Now) {
	l := a.view.ReadLayout()
	before := a.peers
	a.peers = nil
	for p := a.config.Shard; p < l.Partitions(); p += a.config.Shards {
		partition := ring.Partition(p)
		for _, n := range a.others(partition) {
			q := a.peer(n)
			if a.leads(n, partition) {
				q.shared = append(q.shared, partition)
			}
		}
	}
	for _, q := range a.peers {
		q.due = now.Mono + time.Duration(a.rng.Float64()*float64(a.config.Interval))
		if old, ok := find(before, q.node); ok {
			q.due = min(q.due, before[old].due)
		}
	}
	for _, d := range a.dirty {
		d.left = a.others(d.partition)
	}
	a.dirty = slices.DeleteFunc(a.dirty, func(d *dirty) bool { return len(d.left) == 0 })
}

// others returns the other owners of a partition that this node owns.
func (a *AntiEntropy) others(p ring.Partition) []id.Node {
	l := a.view.ReadLayout()
	if !l.Owns(a.config.Self, p) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(l.Owners(p)), func(n id.Node) bool { return n == a.config.Self })
}

// leads says that this node takes the first step with n about p: the one with
// the lower ID does for every other partition, by a hash, since the
// partitions of one shard are often all even or all odd.
func (a *AntiEntropy) leads(n id.Node, p ring.Partition) bool {
	const golden = 0x9e3779b1 // 2^32 over the golden ratio: neighbours differ in the top bit
	return (a.config.Self < n) == (uint32(p)*golden>>31 == 0)
}

func find(peers []*peer, n id.Node) (int, bool) {
	return slices.BinarySearchFunc(peers, n, func(p *peer, n id.Node) int { return cmp.Compare(p.node, n) })
}

// peer returns the entry of a peer, a new one if need be.
func (a *AntiEntropy) peer(n id.Node) *peer {
	i, ok := find(a.peers, n)
	if !ok {
		a.peers = slices.Insert(a.peers, i, &peer{node: n})
	}
	return a.peers[i]
}

// turnOf is whose turn it is: which peer, about what.
type turnOf struct {
	peer  *peer
	dirty bool
}

// reckon finds out whose turn comes next and when, Never if nobody's does.
// Dirty partitions go first. It is called whenever that may have changed.
func (a *AntiEntropy) reckon() {
	a.next, a.due = turnOf{}, core.Never
	if a.config.Interval == 0 {
		return
	}
	for _, d := range a.dirty {
		for _, n := range d.left {
			if q := a.peer(n); q.dirtyDue < a.due && a.alive(n) {
				a.next, a.due = turnOf{q, true}, q.dirtyDue
			}
		}
	}
	for _, q := range a.peers {
		if len(q.shared) > 0 && q.due < a.due && a.alive(q.node) {
			a.next, a.due = turnOf{q, false}, q.due
		}
	}
}

// start begins the exchange that is due; false if none is.
func (a *AntiEntropy) start(now core.Now) bool {
	if a.due > now.Mono || !a.gate.Go(now.Mono, &a.slot) {
		return false
	}
	q := a.next.peer
	s := &session{peer: q, dirty: a.next.dirty, began: now.Mono}
	about := q.left
	switch {
	case s.dirty:
		about = nil
		for _, d := range a.dirty {
			if slices.Contains(d.left, q.node) {
				about = append(about, d.partition)
			}
		}
		slices.Sort(about)
		q.dirtyDue = core.Never
	case len(about) == 0:
		about, q.began = q.shared, now
		fallthrough
	default:
		q.due = core.Never
	}
	s.about = slices.Clone(about)
	for _, p := range s.about {
		if a.local.Tree(p) != nil {
			s.todo = append(s.todo, p)
		} else {
			s.skipped = append(s.skipped, p)
		}
	}
	a.session = s
	a.reckon()
	if len(s.todo) > 0 {
		a.counts.Exchanges++
		s.exchanges = true
	}
	return true
}

// end ends the exchange under way. What it has not come to is left for the
// next one with the same peer, after a pause; a round that is complete is
// followed by the next one within the interval.
func (a *AntiEntropy) end(now core.Now, pause time.Duration) {
	s := a.session
	if s == nil {
		return
	}
	a.session, a.news, a.paused = nil, true, false
	a.gate.Done(now.Mono, &a.slot)
	if s.exchanges {
		a.counters.Durations.Observe(now.Mono - s.began)
	}
	defer a.reckon()
	q := s.peer
	left := s.unresolved()
	if s.dirty {
		for _, d := range a.dirty {
			if slices.Contains(s.about, d.partition) && !slices.Contains(left, d.partition) {
				d.left = slices.DeleteFunc(d.left, func(n id.Node) bool { return n == q.node })
			}
		}
		a.dirty = slices.DeleteFunc(a.dirty, func(d *dirty) bool { return len(d.left) == 0 })
		q.dirtyDue = now.Mono + pause
		return
	}
	q.left = left
	if len(left) > 0 {
		q.due = now.Mono + pause
		return
	}
	q.since = max(1, q.began.Wall)
	part := earliest + (1-earliest)*a.rng.Float64()
	q.due = max(now.Mono, q.began.Mono+time.Duration(part*float64(a.config.Interval)))
}
