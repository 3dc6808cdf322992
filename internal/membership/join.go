package membership

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// answer is what a seed has said last.
type answer uint8

const (
	silent     answer = iota // nothing yet
	ownAddress               // it is this node's own, which is never asked
	itself                   // it led to this node; a name may lead elsewhere next time
	noCluster                // it is there, but has no cluster to give
	refusing                 // it does not take this node in
	inCluster                // it is a member of a cluster
)

// seed is an address that was given as one, and its latest answer.
type seed struct {
	addr    string
	answer  answer
	at      time.Duration // when the answer came
	cluster uint64        // inCluster: which
	why     string        // refusing: in words
}

func (s *seed) say(now core.Now, a answer, cluster uint64, why string) {
	s.at, s.answer, s.cluster, s.why = now.Mono, a, cluster, why
}

// join is one Join that waits for its end.
type join struct {
	req      core.ReqID
	seeds    []int // indexes into Machine.seeds
	began    time.Duration
	deadline time.Duration

	// refusedAt is when a seed refused this node first, core.Never before
	// that. The refusal is final when it has lasted for longer than an
	// instance that is gone could cause it.
	refusedAt time.Duration
}

// addSeed returns the index of a seed, which may be known already.
func (m *Machine) addSeed(addr string) int {
	if i := slices.IndexFunc(m.seeds, func(s seed) bool { return s.addr == addr }); i >= 0 {
		return i
	}
	s := seed{addr: addr}
	if addr == m.cfg.Addr {
		s.answer = ownAddress
	}
	m.seeds = append(m.seeds, s)
	return len(m.seeds) - 1
}

func (m *Machine) hasForeignSeeds() bool {
	return slices.ContainsFunc(m.seeds, func(s seed) bool { return s.answer != ownAddress })
}

// Join asks to become a member of the seeds' cluster. Its Reply comes once
// identity, members and layouts are durable, or says why not.
func (m *Machine) Join(now core.Now, j *core.Join, out *core.Out) {
	m.notice(now)
	if code, why := m.admitJoin(j); code != core.CodeOK {
		out.Replies = append(out.Replies, core.Reply{Req: j.Req, Result: core.Result{Code: code}, Detail: why})
		m.settle(now, out)
		return
	}
	waiting := join{req: j.Req, began: now.Mono, deadline: j.Deadline, refusedAt: core.Never}
	for _, addr := range j.Seeds {
		if i := m.addSeed(addr); !slices.Contains(waiting.seeds, i) {
			waiting.seeds = append(waiting.seeds, i)
		}
	}
	m.joins = append(m.joins, waiting)
	m.nextAsk = now.Mono
	m.settle(now, out)
}

// admitJoin refuses what cannot be a Join.
func (m *Machine) admitJoin(j *core.Join) (core.Code, string) {
	bad := slices.IndexFunc(j.Seeds, func(addr string) bool { return addr == "" || len(addr) > maxAddrBytes })
	switch {
	case len(j.Seeds) == 0:
		return core.CodeRefused, "no seed is given; name the address of at least one node of the cluster"
	case bad >= 0:
		return core.CodeRefused, fmt.Sprintf("seed %d has %d bytes; 1 to %d are allowed", bad+1, len(j.Seeds[bad]), maxAddrBytes)
	case len(m.seeds)+len(j.Seeds) > maxSeeds:
		return core.CodeRefused, fmt.Sprintf("%d seeds with those given before; at most %d are allowed", len(m.seeds)+len(j.Seeds), maxSeeds)
	case len(m.joins) >= maxJoins:
		return core.CodeOverloaded, fmt.Sprintf("%d joins wait already", len(m.joins))
	}
	return core.CodeOK, ""
}

// asking says that seeds have something to answer.
func (m *Machine) asking() bool {
	return len(m.joins) > 0 || m.cluster == 0 && m.hasForeignSeeds()
}

// ask asks the seeds that matter: with no cluster all of them, else those of
// the Joins that wait.
func (m *Machine) ask(now core.Now, out *core.Out) {
	m.leaving = len(m.joins) > 0 && m.cluster != 0 && m.bound(now, out) == ""
	cluster := m.cluster
	if m.leaving {
		cluster = 0
	}
	for i, s := range m.seeds {
		wanted := m.cluster == 0 || slices.ContainsFunc(m.joins, func(j join) bool { return slices.Contains(j.seeds, i) })
		if wanted && s.answer != ownAddress {
			m.askSeed(now, i, cluster, out)
		}
	}
}

// bound returns why this node may not leave its cluster, "" if it may.
func (m *Machine) bound(now core.Now, out *core.Out) string {
	if m.cluster == 0 {
		return ""
	}
	layouts := m.layouts.Live
	alone := len(m.peers) == 0 && len(layouts) == 1 && len(layouts[0].Members()) == 1 && layouts[0].Has(m.self.ID)
	if !alone {
		return fmt.Sprintf("this node belongs to cluster %016x with %d members", m.cluster, len(m.peers)+1)
	}
	if now.Mono < m.offeredUntil {
		return fmt.Sprintf("node %s is joining this node's cluster %016x", m.offeredTo, m.cluster)
	}
	held, err := m.holdsData()
	if err != nil {
		out.Failed = err
		return err.Error()
	}
	if held {
		return fmt.Sprintf("this node holds keys of its own cluster %016x", m.cluster)
	}
	return ""
}

// hosted returns the cluster that others may join here; 0: none.
func (m *Machine) hosted() uint64 {
	if m.leaving {
		return 0
	}
	return m.cluster
}

// askedSeed returns the seed that a reply comes from, nil where it is a
// member's or answers an earlier start of this node.
func (m *Machine) askedSeed(e *core.Envelope) *seed {
	slot := e.Req.Slot()
	if e.Req != m.reqID(slot) || int(slot) >= len(m.seeds) {
		return nil
	}
	return &m.seeds[slot]
}

// answerJoiner answers a node that has no cluster.
func (m *Machine) answerJoiner(now core.Now, e *core.Envelope, joiner core.Member, out *core.Out) {
	state := m.bare(m.hosted())
	holder, taken := m.holderOf(now, joiner)
	switch {
	case state.Cluster == 0:
		// Its own seeds have not answered, or it is about to leave: the joiner
		// hears that this node is there, and waits.
	case taken:
		m.counters.Taken++
		if holder.ID != m.self.ID {
			state.Members = append(state.Members, holder)
		}
	case !m.knows(joiner.ID) && len(m.peers)+1 >= id.MaxMembers:
		m.counters.Full++
	case len(m.published.Live) > 0:
		m.offeredTo, m.offeredUntil = joiner.ID, now.Mono+id.MaxMessageAge
		state = m.welcome(joiner.ID)
	}
	m.reply(now, e, joiner.Addr, state, out)
}

// welcome is what a joiner needs to be a member: the layouts, and enough of the
// others to hear of the rest from.
func (m *Machine) welcome(joiner id.Node) core.GossipState {
	state := m.bare(m.cluster)
	state.Layouts = m.published
	if i, ok := m.find(joiner); ok { // an instance before this one
		state.Members = append(state.Members, m.peers[i].rec)
	}
	others := slices.DeleteFunc(slices.Clone(m.places), func(p place) bool {
		return p.peer != nil && p.peer.rec.ID == joiner
	})
	state.Members = m.withRecords(state.Members, others)
	return state
}

func (m *Machine) knows(n id.Node) bool {
	_, ok := m.record(n)
	return ok
}

// holderOf returns the record of a live instance that holds a joiner's ID.
func (m *Machine) holderOf(now core.Now, joiner core.Member) (core.Member, bool) {
	if joiner.ID == m.self.ID {
		return m.self, true
	}
	i, found := m.find(joiner.ID)
	if !found || m.peers[i].yields(now.Mono, m.quiet(), joiner) {
		return core.Member{}, false
	}
	return m.peers[i].rec, true
}

// considerJoining takes a seed's answer while this node looks for a cluster.
func (m *Machine) considerJoining(now core.Now, s *seed, e *core.Envelope, state *core.GossipState, out *core.Out) {
	if len(state.Layouts.Live) == 0 {
		s.say(now, refusing, 0, m.refusalOf(e, state))
		return
	}
	if checkLayouts(state.Layouts) != nil {
		m.counters.Invalid++
		s.say(now, refusing, 0, fmt.Sprintf("seed %s sent layouts that make no sense", s.addr))
		return
	}
	if m.bound(now, out) != "" {
		m.leaving = false // judgeJoins says why
		return
	}
	m.adoptCluster(now, state)
}

// refusalOf says why a seed did not give its cluster.
func (m *Machine) refusalOf(e *core.Envelope, state *core.GossipState) string {
	for _, rec := range state.Members {
		if rec.ID == m.self.ID {
			return fmt.Sprintf("node ID %s is already taken by a live node at %s; give this node another ID, or stop that one", rec.ID, rec.Addr)
		}
	}
	return fmt.Sprintf("node %s takes no more members; a cluster has at most %d", e.From, id.MaxMembers)
}

// adoptCluster goes over to a cluster as a seed has told it.
func (m *Machine) adoptCluster(now core.Now, state *core.GossipState) {
	m.cluster = state.Cluster
	m.peers, m.rival, m.leaving = nil, nil, false
	m.membersStale, m.rumoured = true, nil
	m.arrange()
	m.self.State, m.self.Stamp, m.self.Synced = core.Joining, core.Stamp{}, ring.Name{}
	clear(m.reports)
	m.maxNumber = 0
	m.disk.floor = max(m.disk.floor, state.Remembers)
	m.setLayouts(state.Layouts)
	for _, rec := range state.Members {
		if rec.ID == m.self.ID && rec.Start != m.self.Start && rec.Incarnation >= m.self.Incarnation {
			m.refute(rec.Incarnation) // the seed holds that instance for gone
			continue
		}
		m.merge(now, []core.Member{rec})
	}
	m.dirty.identity, m.dirty.members = true, true
	m.wantedStale, m.viewDirty, m.news = true, true, true
	m.nextRound = now.Mono + m.jittered(m.cfg.GossipInterval)
}

// judgeJoins ends the Joins whose end is known.
func (m *Machine) judgeJoins(now core.Now, out *core.Out) {
	waiting := m.joins[:0]
	for _, j := range m.joins {
		code, why := m.judge(now, &j, out)
		if code == 0 {
			waiting = append(waiting, j)
			continue
		}
		out.Replies = append(out.Replies, core.Reply{Req: j.req, Result: core.Result{Code: code}, Detail: why})
	}
	m.joins = waiting
	if len(m.joins) == 0 {
		m.leaving = false
	}
}

// judge returns how a Join ends, or 0. It ends well when this node durably has
// the cluster of one of the seeds.
func (m *Machine) judge(now core.Now, j *join, out *core.Out) (core.Code, string) {
	settled := m.settledLayouts() && m.cluster != 0
	if settled && (m.has(j, inCluster, m.cluster) != nil || m.onlyOwn(j)) {
		return core.CodeOK, ""
	}
	if s := m.has(j, inCluster, 0); s != nil && settled && !m.leaving {
		if why := m.bound(now, out); why != "" {
			return core.CodeRefused, fmt.Sprintf("%s, and seed %s is in cluster %016x; start this node with an empty data directory to join another cluster",
				why, s.addr, s.cluster)
		}
	}
	refusal := m.has(j, refusing, 0)
	if refusal == nil {
		j.refusedAt = core.Never
	} else {
		j.refusedAt = min(j.refusedAt, now.Mono)
		if now.Mono-j.refusedAt > m.quiet()+m.cfg.GossipInterval || now.Mono >= j.deadline {
			return core.CodeRefused, refusal.why
		}
	}
	if now.Mono >= j.deadline {
		return core.CodeTimeout, "still waiting for " + m.waitsFor(j.seeds)
	}
	return 0, ""
}

// has returns a seed of the Join that has answered so since the Join began; with
// a cluster other than 0 only one of that cluster.
func (m *Machine) has(j *join, a answer, cluster uint64) *seed {
	for _, i := range j.seeds {
		s := &m.seeds[i]
		if s.answer == a && s.at >= j.began && (cluster == 0 || s.cluster == cluster) {
			return s
		}
	}
	return nil
}

func (m *Machine) onlyOwn(j *join) bool {
	return !slices.ContainsFunc(j.seeds, func(i int) bool { return m.seeds[i].answer != ownAddress })
}

// waitsFor says in words what seeds have not done.
func (m *Machine) waitsFor(seeds []int) string {
	var quiet, without, own []string
	for _, i := range seeds {
		s := &m.seeds[i]
		switch s.answer {
		case silent:
			quiet = append(quiet, s.addr)
		case noCluster:
			without = append(without, s.addr)
		case itself:
			own = append(own, s.addr)
		case refusing:
			return "its seeds to take it in: " + s.why
		case ownAddress, inCluster:
		}
	}
	var parts []string
	if len(quiet) > 0 {
		parts = append(parts, "seeds "+strings.Join(quiet, ", ")+" to answer")
	}
	if len(without) > 0 {
		parts = append(parts, "seeds "+strings.Join(without, ", ")+" to have a cluster: one node must start without seeds, and none may join a node that is joining")
	}
	if len(own) > 0 {
		parts = append(parts, "seeds "+strings.Join(own, ", ")+" to lead to another node than this one")
	}
	if len(parts) == 0 {
		return "what the seeds told to be on disk"
	}
	return strings.Join(parts, "; ")
}
