package membership

import (
	"cmp"
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/breaker"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// peer is another member as this node sees it: its record, and what this node
// has observed of it.
type peer struct {
	rec   core.Member
	stamp core.Stamp // the newest layouts that it is known to have
	// diskStamp is the newest that it has told of its disk, in whatever
	// instance.
	diskStamp uint64
	poked     time.Duration
	asked     time.Duration // when it was gossiped with last and has not answered yet; 0: it has
	told      core.Stamp    // the layouts that it was sent last

	tell     int  // how often its record is yet to be told
	isRumour bool // it is in Machine.rumoured

	// heard is when its heartbeat moved, or it answered, last; a start of this
	// node counts as if it had. spoke says that it has, since that start. Unlike
	// health.sign it does not make up for time in which this node stood still.
	heard time.Duration
	spoke bool

	health health

	breaker breaker.Breaker
	probing time.Duration // when the probes of a half-open breaker are given up; 0: there are none
}

// yields says that a record may take the peer's place although it may come
// from another instance: see the package's documentation.
func (p *peer) yields(now, quiet time.Duration, rec core.Member) bool {
	return rec.Instance == p.rec.Instance || rec.Addr == p.rec.Addr || now-p.health.sign > quiet
}

// find returns where the peer of that ID is, or belongs.
func (m *Machine) find(n id.Node) (int, bool) {
	return slices.BinarySearchFunc(m.peers, n, func(p *peer, n id.Node) int { return cmp.Compare(p.rec.ID, n) })
}

// merge takes the records of a message.
func (m *Machine) merge(now core.Now, records []core.Member) {
	for _, rec := range records {
		switch {
		case checkMember(rec) != nil || rec.Incarnation == 0:
			m.counters.Invalid++
		case rec.ID == m.self.ID:
			m.meetSelf(now, rec)
		default:
			m.learn(now, rec)
		}
	}
}

// learn takes another member's record if it is newer.
func (m *Machine) learn(now core.Now, rec core.Member) {
	m.seeStamp(rec.Stamp)
	i, found := m.find(rec.ID)
	if !found {
		if len(m.peers)+1 >= id.MaxMembers {
			m.counters.Full++
			return
		}
		p := &peer{
			rec: rec, stamp: rec.Stamp, poked: now.Mono - m.pokeGap(), heard: now.Mono,
			health: newHealth(now.Mono), breaker: breaker.New(m.cfg.Breaker),
		}
		m.peers = slices.Insert(m.peers, i, p)
		m.settleIn(p)
		m.rumour(p)
		m.noteStatus(rec.ID, core.NoStatus, core.Alive)
		m.assess(now, p)
		m.dirty.members, m.viewDirty, m.wantedStale, m.review, m.news = true, true, true, true, true
		return
	}
	p := m.peers[i]
	if !rec.Newer(p.rec) {
		if rec.Start == p.rec.Start && rec.Incarnation == p.rec.Incarnation && rec.Heartbeat > p.rec.Heartbeat {
			m.advanceBeat(now, p, rec.Heartbeat)
		}
		return
	}
	if !p.yields(now.Mono, m.quiet(), rec) {
		m.counters.Taken++
		return
	}
	m.replace(now, p, rec)
	m.hear(now, p)
}

// replace puts a newer record in a peer's place and notes what that changes.
func (m *Machine) replace(now core.Now, p *peer, rec core.Member) {
	old := p.rec
	p.rec = rec
	if rec.Start == old.Start && rec.Incarnation == old.Incarnation {
		p.rec.Heartbeat = max(rec.Heartbeat, old.Heartbeat)
	}
	m.rumour(p)
	if rec.Instance != old.Instance || p.stamp.Older(rec.Stamp) {
		p.stamp = rec.Stamp
	}
	m.membersStale = true
	if rec.Start != old.Start {
		status := p.health.status
		p.health = newHealth(now.Mono)
		p.health.status = status // until it is judged, which tells of the change
		m.forgetCalls(p)
	}
	if rec.Addr != old.Addr || rec.Start != old.Start {
		m.reached = append(m.reached, rec.Addr)
	}
	if rec.Addr != old.Addr || rec.Start != old.Start || rec.State != old.State {
		m.viewDirty = true
	}
	if rec.Stamp != old.Stamp || rec.Synced != old.Synced {
		m.review = true
	}
	if rec.State != old.State || asRing(rec) != asRing(old) {
		m.wantedStale = true
	}
	if lasting(rec) != lasting(old) {
		m.dirty.members = true
	}
}

// lasting returns the part of a record that is persisted.
func lasting(m core.Member) core.Member {
	m.Heartbeat, m.Changed, m.Stamp, m.Synced = 0, 0, core.Stamp{}, ring.Name{}
	return m
}

// meetSelf takes a record of this node's own ID out of somebody's message.
func (m *Machine) meetSelf(now core.Now, rec core.Member) {
	if rec.Start == m.self.Start || rec.Incarnation < m.self.Incarnation {
		return
	}
	if rec.Instance == m.self.Instance || rec.Addr == m.self.Addr {
		// An earlier start of this node, or a process that this one has
		// replaced at its address: it is gone.
		m.refute(rec.Incarnation)
		return
	}
	if m.rival == nil || rec.Newer(*m.rival) {
		m.rival, m.rivalHeard = &rec, now.Mono
	}
}

// outliveRival takes the own ID back from an instance that is silent.
func (m *Machine) outliveRival(now core.Now) {
	if m.rival == nil {
		return
	}
	if m.rival.Incarnation < m.self.Incarnation {
		m.rival = nil
		return
	}
	if now.Mono-m.rivalHeard > m.quiet() {
		m.refute(m.rival.Incarnation)
		m.rival = nil
	}
}

// allMembers returns every record, the own one included, sorted by ID. The
// slice is new.
func (m *Machine) allMembers() []core.Member {
	all := make([]core.Member, 0, len(m.peers)+1)
	for _, p := range m.peers {
		all = append(all, p.rec)
	}
	i, _ := m.find(m.self.ID)
	return slices.Insert(all, i, m.self)
}

// asRing returns a member as layouts know it.
func asRing(m core.Member) ring.Member {
	return ring.Member{ID: m.ID, Zone: m.Zone, Weight: m.Weight}
}
