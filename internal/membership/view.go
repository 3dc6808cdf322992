package membership

import (
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// View returns a new view where it differs from the one returned last, else
// nil. What it shows is durable; it shares nothing that changes.
func (m *Machine) View() *core.View {
	if !m.viewDirty || len(m.published.Live) == 0 || m.publishedCluster != m.cluster {
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
			Status: p.health.status(),
			P95:    p.health.p95,
			P99:    p.health.p99,
		})
	}
	return v
}

// Status returns what this node knows, for people and health checks. The
// caller owns it.
func (m *Machine) Status() core.ClusterStatus {
	s := core.ClusterStatus{
		Self:     m.self.ID,
		Cluster:  m.publishedCluster,
		Layouts:  m.published,
		Replicas: m.cfg.N,
	}
	for _, rec := range m.allMembers() {
		status := core.MemberStatus{Member: rec, Status: core.Alive}
		if i, ok := m.find(rec.ID); ok {
			status.Status = m.peers[i].health.status()
		}
		s.Members = append(s.Members, status)
	}
	if newest := m.newest(); newest != nil {
		s.Replicas = newest.Replicas()
		s.UnderReplicated = newest.OwnerCount() < newest.Replicas()
	}
	for _, r := range m.reports {
		s.Pulls += r.Pulls
		s.PullsLeft += r.PullsLeft
		s.Leftovers += r.Leftovers
		s.Alarms = s.Alarms.Plus(r.Alarms)
		s.Forgetting = s.Forgetting.Plus(r.Forgetting)
	}
	s.WaitsFor = m.missing()
	s.Serving = s.WaitsFor == ""
	return s
}

// missing says in words why this node does not serve, "" if it does.
func (m *Machine) missing() string {
	switch {
	case m.rival != nil:
		return fmt.Sprintf("node ID %s to be its own: another live node at %s uses it; stop one of them", m.self.ID, m.rival.Addr)
	case m.publishedCluster != 0 && len(m.published.Live) > 0:
		return ""
	case m.cluster != 0:
		return "its cluster to be on disk"
	case !m.begun:
		return "its start"
	}
	all := make([]int, len(m.seeds))
	for i := range all {
		all[i] = i
	}
	return m.waitsFor(all)
}
