package membership

import (
	"math"
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/quorum"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// setLayouts goes over to a newer state. It is published when it is durable.
func (m *Machine) setLayouts(l core.LayoutState) {
	m.layouts = l
	m.dirty.layouts = true
	m.seeStamp(l.Stamp())
}

// adoptLayouts takes a state out of a message of this cluster, if it is newer.
func (m *Machine) adoptLayouts(l core.LayoutState) {
	if !m.layouts.Stamp().Older(l.Stamp()) {
		return
	}
	if checkLayouts(l) != nil || l.Live[0].Partitions() != m.layouts.Live[0].Partitions() {
		m.counters.Invalid++
		return
	}
	m.setLayouts(l)
}

// seeStamp remembers the highest number in use, so that a plan of this node
// never takes it again.
func (m *Machine) seeStamp(s core.Stamp) { m.maxNumber = max(m.maxNumber, s.Layout.Number) }

// newest returns the newest published layout, nil where there is none.
func (m *Machine) newest() *ring.Layout {
	if n := len(m.published.Live); n > 0 {
		return m.published.Live[n-1]
	}
	return nil
}

// refreshSelf brings the own record up to what the shards have reported.
func (m *Machine) refreshSelf() {
	newest := m.newest()
	if newest == nil || m.publishedCluster != m.cluster {
		return
	}
	stamp, before := m.published.Stamp(), m.self
	all := func(has func(core.ShardReport) bool) bool {
		return !slices.ContainsFunc(m.reports, func(r core.ShardReport) bool { return !has(r) })
	}
	if all(func(r core.ShardReport) bool { return r.Stamp == stamp }) {
		m.self.Stamp = stamp
	}
	if all(func(r core.ShardReport) bool { return r.Synced == newest.Name() }) {
		m.self.Synced = newest.Name()
	}
	m.self.State = core.Joining
	if slices.ContainsFunc(m.published.Live, func(l *ring.Layout) bool { return l.Has(m.self.ID) }) {
		m.self.State = core.Active
	}
	if m.self != before {
		m.touch()
		m.review = true
	}
}

// settledLayouts says that the layouts are durable, so that the next step may
// build on them.
func (m *Machine) settledLayouts() bool {
	return m.layoutsAt == 0 && !m.dirty.layouts && len(m.layouts.Live) > 0 && m.speaks()
}

// advance ends a phase of the transition when the members' records allow it.
func (m *Machine) advance() {
	if !m.review || !m.settledLayouts() {
		return
	}
	m.review = false
	switch m.layouts.Phase {
	case core.PhaseCopy:
		if m.allSynced(m.layouts.Live[1]) {
			m.setLayouts(core.LayoutState{Live: m.layouts.Live, Phase: core.PhaseMoved})
		}
	case core.PhaseMoved:
		if m.retired(m.layouts.Live[0]) {
			m.setLayouts(core.LayoutState{Live: m.layouts.Live[1:], Phase: core.PhaseDone})
		}
	case core.PhaseNone, core.PhaseDone:
	}
}

// allSynced says that every member of the layout has shown that it holds all
// that it gained, in that very layout.
func (m *Machine) allSynced(l *ring.Layout) bool {
	for _, member := range l.Members() {
		rec, ok := m.record(member.ID)
		if bug.On(bug.SyncedByNumber) && ok && rec.Synced.Number == l.Name().Number {
			continue
		}
		if !ok || rec.Synced != l.Name() {
			return false
		}
	}
	return true
}

// retired says that reads under the old layout cannot succeed any more: of
// each partition's owners, fewer than R would still answer them.
func (m *Machine) retired(old *ring.Layout) bool {
	if bug.On(bug.RetireAtOnce) {
		return true
	}
	n := old.OwnerCount()
	need := n - quorum.Effective(m.cfg.R, n) + 1
	stamp := m.layouts.Stamp()
	var refusing []id.Node // sorted, as members are
	for _, member := range old.Members() {
		if rec, ok := m.record(member.ID); ok && !rec.Stamp.Older(stamp) {
			refusing = append(refusing, member.ID)
		}
	}
	for p := range old.Partitions() {
		confirmed := 0
		for _, owner := range old.Owners(ring.Partition(p)) {
			if _, ok := slices.BinarySearch(refusing, owner); ok {
				confirmed++
			}
		}
		if confirmed < need {
			return false
		}
	}
	return true
}

// record returns the newest record of a member, this node included.
func (m *Machine) record(n id.Node) (core.Member, bool) {
	if n == m.self.ID {
		return m.self, true
	}
	if i, ok := m.find(n); ok {
		return m.peers[i].rec, true
	}
	return core.Member{}, false
}

// plan makes the next layout when its time has come.
func (m *Machine) plan(now core.Now) {
	if m.wantedStale {
		m.wantedStale = false
		if wanted := m.wantedMembers(); !slices.Equal(wanted, m.wanted) {
			m.wanted, m.wantedSince, m.fitsTo = wanted, now.Mono, nil
		}
	}
	m.planAt = m.planTime(now)
	if now.Mono < m.planAt {
		return
	}
	m.planAt = core.Never
	current := m.layouts.Live[0]
	next, err := current.Plan(m.maxNumber+1, m.wanted, current.Replicas())
	if err != nil {
		m.counters.Failed++
		m.wantedSince = now.Mono // the next try is a delay away
		return
	}
	m.counters.Plans++
	m.setLayouts(core.LayoutState{Live: []*ring.Layout{current, next}, Phase: core.PhaseCopy})
}

// wantedMembers returns who the next layout should have.
func (m *Machine) wantedMembers() []ring.Member {
	var wanted []ring.Member
	for _, rec := range m.allMembers() {
		if rec.State == core.Joining || rec.State == core.Active {
			wanted = append(wanted, asRing(rec))
		}
	}
	return wanted
}

// planTime returns when this node plans the next layout, core.Never where it
// has no reason or no right to.
func (m *Machine) planTime(now core.Now) time.Duration {
	if !m.cfg.LayoutAuto || m.disk.unsure || !m.settledLayouts() || m.layouts.Phase != core.PhaseDone || m.maxNumber == math.MaxUint64 {
		return core.Never
	}
	current := m.layouts.Live[0]
	if m.fits(current) {
		return core.Never
	}
	rank := slices.IndexFunc(current.Members(), func(r ring.Member) bool { return r.ID == m.self.ID })
	if rank < 0 || !m.mayPlan(now, current) {
		return core.Never
	}
	return m.wantedSince + m.cfg.LayoutDelay*time.Duration(1+rank)
}

// fits says that a layout has the members that are wanted. It compares them
// once, since every step asks.
func (m *Machine) fits(l *ring.Layout) bool {
	if m.fitsTo != l {
		m.fitsTo, m.fitting = l, slices.Equal(m.wanted, l.Members())
	}
	return m.fitting
}

// mayPlan says that this node is in touch: it knows every member of the layout
// and hears more than half of them, and none of them has newer layouts. One that
// has just joined a large cluster has the layout before all records; its plan
// would leave out whom it does not know. A node that was cut off, or that comes
// back with old layouts, must not plan from those: its plan would have the higher
// number and take everybody back to owners that may have missed writes.
func (m *Machine) mayPlan(now core.Now, current *ring.Layout) bool {
	inTouch := 0
	for _, member := range current.Members() {
		if member.ID == m.self.ID {
			inTouch++
			continue
		}
		i, ok := m.find(member.ID)
		if !ok {
			return false
		}
		if !m.peers[i].spoke || now.Mono-m.peers[i].heard > m.quiet() {
			continue
		}
		if m.layouts.Stamp().Older(m.peers[i].stamp) {
			return false
		}
		inTouch++
	}
	return 2*inTouch > len(current.Members())
}
