package membership

import (
	"fmt"
	"slices"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// View returns a new view where it differs from the one returned last, else
// nil. What it shows is durable; it shares nothing that changes.
func (m *Machine) View() *core.View {
	if !m.begun || !m.viewDirty || m.disk.unsure && !bug.On(bug.ServeBeforeWord) || len(m.published.Live) == 0 || m.publishedCluster != m.cluster {
		return nil
	}
	m.viewDirty = false
	v := &core.View{Self: m.self.ID, Cluster: m.cluster, Layouts: m.published}
	v.Peers = make([]core.Peer, 0, len(m.peers))
	for _, p := range m.peers {
		if p.rec.State == core.Left {
			continue
		}
		v.Peers = append(v.Peers, core.Peer{
			ID:     p.rec.ID,
			Addr:   p.rec.Addr,
			Start:  p.rec.Start,
			Status: p.health.status,
			P95:    p.health.latencies.p95,
			P99:    p.health.latencies.p99,

			Circuit: p.circuit(),
		})
	}
	return v
}

// Status returns what this node knows, for people and health checks. The caller
// may keep it but not change it: what has not changed is shared with the next
// one. Heartbeats are those at the latest change of anything else.
func (m *Machine) Status() core.ClusterStatus {
	s := core.ClusterStatus{
		Self:     m.self.ID,
		Cluster:  m.publishedCluster,
		Layouts:  m.published,
		Replicas: m.cfg.N,
	}
	s.Members = m.memberStatuses()
	s.Blocking = m.blocking()
	if newest := m.newest(); newest != nil {
		s.Replicas = newest.Replicas()
		s.UnderReplicated = newest.OwnerCount() < newest.Replicas()
	}
	for _, r := range m.reports {
		s.Pulls += r.Pulls
		s.PullsLeft += r.PullsLeft
		s.Leftovers += r.Leftovers
		s.Alarms = s.Alarms.Plus(r.Alarms)
		s.Trees = s.Trees.Plus(r.Trees)
		s.Hints = s.Hints.Plus(r.Hints)
		s.Repairs = s.Repairs.Plus(r.Repairs)
		s.Forgetting = s.Forgetting.Plus(r.Forgetting)
	}
	s.WaitsFor = m.missing()
	s.Serving = s.WaitsFor == ""
	return s
}

// memberStatuses returns all members, and what this node thinks of them. It
// never changes what it has returned.
func (m *Machine) memberStatuses() []core.MemberStatus {
	if !m.membersStale && m.members != nil {
		return m.members
	}
	m.membersStale = false
	all := make([]core.MemberStatus, 0, len(m.peers)+1)
	for _, p := range m.peers {
		all = append(all, core.MemberStatus{
			Member: p.rec, Status: p.health.status, Circuit: p.circuit(), Changes: core.CircuitChanges(p.breaker.Changes()),
			P95: p.health.latencies.p95, P99: p.health.latencies.p99,
		})
	}
	i, _ := m.find(m.self.ID)
	m.members = slices.Insert(all, i, core.MemberStatus{Member: m.self, Status: core.Alive})
	return m.members
}

// blocking returns the members for which the transition waits, though they are
// believed to be suspected or dead: it goes on when they are back.
func (m *Machine) blocking() []id.Node {
	var waits func(core.Member) bool
	var members []ring.Member
	live, stamp := m.published.Live, m.published.Stamp()
	switch m.published.Phase {
	case core.PhaseCopy:
		members, waits = live[1].Members(), func(rec core.Member) bool { return rec.Synced != live[1].Name() }
	case core.PhaseMoved:
		members, waits = live[0].Members(), func(rec core.Member) bool { return rec.Stamp.Older(stamp) }
	case core.PhaseNone, core.PhaseDone:
		return nil
	}
	var blocking []id.Node
	for _, member := range members {
		i, ok := m.find(member.ID)
		if !ok || m.peers[i].health.status == core.Alive {
			continue
		}
		if waits(m.peers[i].rec) {
			blocking = append(blocking, member.ID)
		}
	}
	return blocking
}

// missing says in words why this node does not serve, "" if it does.
func (m *Machine) missing() string {
	switch {
	case !m.begun:
		return "its start"
	case m.rival != nil:
		return fmt.Sprintf("node ID %s to be its own: another live node at %s uses it; stop one of them", m.self.ID, m.rival.Addr)
	case m.disk.unsure:
		return m.doubt()
	case m.publishedCluster != 0 && len(m.published.Live) > 0:
		return ""
	case m.cluster != 0:
		return "its cluster to be on disk"
	}
	all := make([]int, len(m.seeds))
	for i := range all {
		all[i] = i
	}
	return m.waitsFor(all)
}
