package membership

import (
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

const (
	// ownShard is Control's number in a ReqID.
	ownShard = core.MaxShards - 1

	// noSeed is the slot of messages that go to members.
	noSeed = core.MaxSlots - 1
)

// speak sends what is due: questions to seeds, rounds of gossip, news.
func (m *Machine) speak(now core.Now, out *core.Out) {
	if !m.speaks() {
		return
	}
	if m.asking() && now.Mono >= m.nextAsk {
		m.nextAsk = now.Mono + m.jittered(m.cfg.GossipInterval)
		m.ask(now, out)
	}
	if m.cluster == 0 {
		m.nextRound, m.news = core.Never, false
		return
	}
	regular := now.Mono >= m.nextRound
	if regular || m.news && len(m.peers) > 0 && now.Mono-m.lastBurst >= burstGap {
		m.round(now, regular, out)
	}
	if regular {
		m.nextRound = now.Mono + m.jittered(m.cfg.GossipInterval)
		m.rounds++
		m.afterRound(now, out)
	}
}

// round tells a few random members all that this node knows, and in a regular
// one a member that is not believed to be alive.
func (m *Machine) round(now core.Now, regular bool, out *core.Out) {
	m.self.Heartbeat++
	m.news, m.lastBurst = false, now.Mono
	picked := m.pick()
	if p := unwell(m.peers, m.rng); p != nil && regular && !slices.Contains(picked, p) {
		picked = append(picked, p)
	}
	for _, p := range picked {
		m.tell(now, p, !regular, out)
	}
}

// afterRound does what goes with each regular round.
func (m *Machine) afterRound(now core.Now, out *core.Out) {
	if len(m.seeds) > 0 && m.rounds%seedRounds == 1 {
		if i := m.rng.IntN(len(m.seeds)); m.seeds[i].answer != ownAddress {
			m.askSeed(now, i, m.cluster, out)
		}
	}
	m.outliveRival(now)
	for _, p := range m.peers {
		if p.health.latencies.refresh(now.Mono, m.latency) {
			m.viewDirty, m.membersStale = true, true
		}
	}
	m.persist(out)
}

// pick returns a few random members that have not left.
func (m *Machine) pick() []*peer {
	picked := make([]*peer, 0, len(m.peers))
	for _, p := range m.peers {
		if p.rec.State != core.Left {
			picked = append(picked, p)
		}
	}
	for i := range min(fanout, len(picked)) {
		j := i + m.rng.IntN(len(picked)-i)
		picked[i], picked[j] = picked[j], picked[i]
	}
	return picked[:min(fanout, len(picked))]
}

// pokeGap is the least time between two extra messages to one peer that is
// ahead: longer than its answer takes, so that a peer whose layouts this node
// cannot take is not asked without end.
func (m *Machine) pokeGap() time.Duration { return max(burstGap, m.cfg.GossipInterval/4) }

// poke gossips at once with a peer that is ahead.
func (m *Machine) poke(now core.Now, p *peer, out *core.Out) {
	if !m.speaks() || now.Mono-p.poked < m.pokeGap() {
		return
	}
	p.poked = now.Mono
	m.tell(now, p, true, out)
}

// tell gossips with one member. An extra message beside the rounds brings a
// digest only in clusters that are small enough for it to be whole.
func (m *Machine) tell(now core.Now, p *peer, extra bool, out *core.Out) {
	state := m.knowledge(m.digest(extra))
	if stamp := m.published.Stamp(); p.stamp.Older(stamp) && p.told != stamp {
		p.told = stamp // if it is lost, the peer asks for it
		state.Layouts = m.published
	}
	p.asked = now.Mono
	m.request(now, core.Envelope{To: p.rec.ID, Addr: p.rec.Addr}, noSeed, state, out)
}

// askSeed asks a seed. With cluster 0 it asks for a cluster, and shows nothing
// but the own record.
func (m *Machine) askSeed(now core.Now, seed int, cluster uint64, out *core.Out) {
	state := core.GossipState{Members: []core.Member{m.askingRecord()}}
	if cluster != 0 {
		state = m.knowledge(m.digest(false))
	}
	m.request(now, core.Envelope{Addr: m.seeds[seed].addr}, uint32(seed), state, out)
}

// request completes a request of gossip and sends it.
func (m *Machine) request(now core.Now, e core.Envelope, slot uint32, state core.GossipState, out *core.Out) {
	if state.Cluster != 0 {
		e.Stamp = m.published.Stamp()
	}
	e.Req = m.reqID(slot)
	e.Msg = &core.Gossip{State: state}
	m.post(now, e, state.Cluster, out)
}

// reqID marks a request of this start; a seed's index is its slot.
func (m *Machine) reqID(slot uint32) core.ReqID {
	return core.NewReqID(ownShard, core.MachineMembership, slot, uint32(m.cfg.Start))
}

// reply answers a Gossip, at the address that its sender has given.
func (m *Machine) reply(now core.Now, e *core.Envelope, addr string, state core.GossipState, out *core.Out) {
	r := core.Envelope{To: e.From, Addr: addr, Req: e.Req, Reply: true, Msg: &core.GossipReply{State: state}}
	if r.To == m.self.ID {
		r.To = "" // another instance: what is addressed to oneself goes nowhere
	}
	if state.Cluster != 0 {
		r.Stamp = m.published.Stamp()
	}
	m.post(now, r, state.Cluster, out)
}

func (m *Machine) post(now core.Now, e core.Envelope, cluster uint64, out *core.Out) {
	switch msg := e.Msg.(type) {
	case *core.Gossip:
		msg.State.DiskStamp, msg.State.Remembers = m.disk.stamp, m.remembered(e.To)
	case *core.GossipReply:
		msg.State.DiskStamp, msg.State.Remembers = m.disk.stamp, m.remembered(e.To)
	}
	e.From = m.self.ID
	e.Cluster = cluster
	e.Deadline = now.Mono + m.messageLife()
	out.Sends = append(out.Sends, e)
}

// messageLife is how long a message of gossip lives.
func (m *Machine) messageLife() time.Duration {
	return min(max(2*m.cfg.GossipInterval, minMessageLife), id.MaxMessageAge)
}

// knowledge is what this node tells a member without being asked: its own
// record, what is new to it, and a digest of the rest.
func (m *Machine) knowledge(d core.Digest) core.GossipState {
	state := m.bare(m.cluster)
	state.Members = m.withRumours(state.Members)
	state.Digest = d
	return state
}

// answer is what this node answers to a member: also the layouts if the member
// has older ones, and the records that it asks for. An earlier start of the
// member's process, if it is not older, is for the member to deny.
func (m *Machine) answer(now core.Now, e *core.Envelope, asked *core.GossipState, sender core.Member) core.GossipState {
	state := m.knowledge(m.compare(now, &asked.Digest))
	if i, ok := m.find(e.From); ok && m.peers[i].rec.Start != sender.Start {
		state.Members = append(state.Members, m.peers[i].rec)
	}
	state.Members = m.withRecords(state.Members, m.askedFor(asked.Wants))
	if e.Stamp.Older(m.published.Stamp()) {
		state.Layouts = m.published
	}
	return state
}

// bare is an answer that gives nothing away but who answers, and for whom.
func (m *Machine) bare(cluster uint64) core.GossipState {
	return core.GossipState{Cluster: cluster, Members: []core.Member{m.self}}
}

// askingRecord is the own record as a joiner shows it.
func (m *Machine) askingRecord() core.Member {
	rec := lasting(m.self)
	rec.State = core.Joining
	return rec
}

// Deliver takes a Gossip or GossipReply; no other message is for this machine.
func (m *Machine) Deliver(now core.Now, e *core.Envelope, out *core.Out) {
	m.notice(now)
	switch {
	case !m.speaks():
		// The sender tries again: rather a lost round than an answer of a
		// node that does not know durably who it is.
	case now.Mono >= e.Deadline:
		m.counters.Expired++
	case e.To != "" && e.To != m.self.ID:
		m.counters.Invalid++ // it was for the node that had this address before
	default:
		m.receive(now, e, out)
	}
	m.settle(now, out)
}

func (m *Machine) receive(now core.Now, e *core.Envelope, out *core.Out) {
	switch msg := e.Msg.(type) {
	case *core.Gossip:
		m.onGossip(now, e, &msg.State, out)
	case *core.GossipReply:
		m.onReply(now, e, &msg.State, out)
	default:
		m.counters.Invalid++
	}
}

// onGossip answers a request.
func (m *Machine) onGossip(now core.Now, e *core.Envelope, state *core.GossipState, out *core.Out) {
	sender, ok := senderRecord(e, state)
	switch {
	case !ok:
		m.counters.Invalid++
	case sender.ID == m.self.ID && sender.Start == m.self.Start:
		if s := m.askedSeed(e); s != nil {
			s.say(now, itself, 0, "")
		}
	case state.Cluster == 0:
		m.answerJoiner(now, e, sender, out)
	case state.Cluster != m.cluster:
		m.counters.Foreign++
		m.reply(now, e, sender.Addr, m.bare(m.hosted()), out)
	default:
		m.take(now, e, state, sender, out)
		if m.speaks() { // else the incarnation has just grown
			m.reply(now, e, sender.Addr, m.answer(now, e, state, sender), out)
		}
	}
}

// onReply takes the answer to a request of this node.
func (m *Machine) onReply(now core.Now, e *core.Envelope, state *core.GossipState, out *core.Out) {
	sender, ok := senderRecord(e, state)
	if !ok {
		m.counters.Invalid++
		return
	}
	s := m.askedSeed(e)
	if s != nil {
		s.say(now, inCluster, state.Cluster, "")
	}
	switch {
	case state.Cluster == 0:
		if s != nil {
			s.say(now, noCluster, 0, "")
		}
	case state.Cluster == m.cluster:
		if m.take(now, e, state, sender, out) {
			m.answered(now, e)
			m.probed(now, e, true)
			m.reconcile(now, e, &state.Digest, out)
		}
	case s != nil && (m.cluster == 0 || m.leaving):
		m.considerJoining(now, s, e, state, out)
	default:
		m.counters.Foreign++
	}
}

// take merges what another member of this cluster knows. It reports whether the
// sender is that member: what another instance of its ID says, one that was not
// taken in, is not its word.
func (m *Machine) take(now core.Now, e *core.Envelope, state *core.GossipState, sender core.Member, out *core.Out) bool {
	m.seeStamp(e.Stamp)
	m.merge(now, state.Members)
	m.adoptLayouts(state.Layouts)
	i, found := m.find(e.From)
	if !found || m.peers[i].rec.Instance != sender.Instance {
		return false
	}
	p := m.peers[i]
	m.hearOfDisk(p, e, state, out)
	p.stamp = e.Stamp
	if m.layouts.Stamp().Older(e.Stamp) {
		m.poke(now, p, out)
	}
	return true
}

// answered notes that a member has answered this node: the way there and back
// is open.
func (m *Machine) answered(now core.Now, e *core.Envelope) {
	if i, ok := m.find(e.From); ok {
		p := m.peers[i]
		if p.asked > 0 {
			m.gossiped.Observe(now.Mono - p.asked)
			p.asked = 0
		}
		m.observe(now, p, core.PeerReport{Peer: e.From, OK: 1})
	}
}

// SendFailed takes back a message that was certainly not sent. The next round
// tries again.
func (m *Machine) SendFailed(now core.Now, e *core.Envelope, out *core.Out) {
	m.notice(now)
	if i, ok := m.find(e.To); ok {
		m.observe(now, m.peers[i], core.PeerReport{Peer: e.To, Failed: 1})
	}
	m.probed(now, e, false)
	m.settle(now, out)
}

// senderRecord returns the record of a message's sender, which is among the
// members that it sends. It is checked.
func senderRecord(e *core.Envelope, state *core.GossipState) (core.Member, bool) {
	if len(state.Members) > id.MaxMembers {
		return core.Member{}, false
	}
	i := slices.IndexFunc(state.Members, func(rec core.Member) bool { return rec.ID == e.From })
	if i < 0 {
		return core.Member{}, false
	}
	rec := state.Members[i]
	return rec, checkMember(rec) == nil && rec.Incarnation > 0
}
