package membership

import (
	"github.com/dynamo-kv/dynamo/internal/breaker"
	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
)

// Circuit breakers: one a peer, which the outcomes of the shards' calls open.
// When one is half-open, this machine tries the peer with a few messages of
// gossip, since the shards could not share out so few calls among themselves.
const (
	// probeSlots are the slots of the probes, by the breaker's generation, so
	// that a late answer to one of before is not taken for one of now.
	probeSlots    = maxSeeds
	probeSlotsEnd = noSeed
)

func (m *Machine) breaks() bool { return m.cfg.Breaker.Failures > 0 }

// circuit is what the shards are told of a peer's breaker.
func (p *peer) circuit() core.Circuit {
	return core.Circuit{State: core.CircuitState(p.breaker.State()), Generation: p.breaker.Generation()}
}

// countCalls takes how calls of a shard have ended. What fails while this node
// itself has just stood still says nothing.
func (m *Machine) countCalls(now core.Now, p *peer, c core.Calls) {
	if !m.breaks() || c == (core.Calls{}) || p.rec.State == core.Left {
		return
	}
	if now.Mono < m.excusedUntil {
		c.Failed = 0
	}
	before := p.breaker.Generation()
	p.breaker.Record(now.Mono, c.Generation, int(c.OK), int(c.Failed))
	m.noteCircuit(now, p, before)
}

// forgetCalls begins anew with a peer that is another process: what the one
// before has not answered is nothing to this one.
func (m *Machine) forgetCalls(p *peer) {
	if !m.breaks() {
		return
	}
	p.breaker.Forget()
	p.probing = 0
	m.viewDirty, m.membersStale = true, true
}

// returned takes that a peer is heard of again that was silent: what there is
// for it need not wait until its breaker, and the transport, would have tried
// it next.
func (m *Machine) returned(now core.Now, p *peer) {
	m.reached = append(m.reached, p.rec.Addr)
	if !m.breaks() {
		return
	}
	before := p.breaker.Generation()
	p.breaker.Expect(now.Mono)
	m.noteCircuit(now, p, before)
}

// noteCircuit makes a change of a breaker known.
func (m *Machine) noteCircuit(now core.Now, p *peer, before uint32) {
	if p.breaker.Generation() == before {
		return
	}
	p.probing = 0
	m.viewDirty, m.membersStale = true, true
	switch at, open := p.breaker.Due(); {
	case open:
		m.probeAt = min(m.probeAt, at)
	case p.breaker.State() == breaker.HalfOpen:
		m.probeAt = now.Mono
	}
}

// tryBreakers does what is due about breakers: those that have been open for
// long enough become half-open and get their probes, and a probe that was not
// answered in time opens its breaker again.
func (m *Machine) tryBreakers(now core.Now, out *core.Out) {
	if now.Mono < m.probeAt || !m.speaks() {
		return
	}
	for _, p := range m.peers {
		m.tryBreaker(now, p, out)
	}
	m.probeAt = core.Never
	for _, p := range m.peers {
		if at, open := p.breaker.Due(); open {
			m.probeAt = min(m.probeAt, at)
		} else if p.probing > 0 {
			m.probeAt = min(m.probeAt, p.probing)
		}
	}
}

func (m *Machine) tryBreaker(now core.Now, p *peer, out *core.Out) {
	if p.rec.State == core.Left {
		if p.breaker.State() != breaker.Closed {
			m.forgetCalls(p)
		}
		return
	}
	before := p.breaker.Generation()
	p.breaker.Advance(now.Mono)
	m.noteCircuit(now, p, before)
	switch {
	case p.breaker.State() != breaker.HalfOpen:
	case p.probing == 0:
		m.probe(now, p, out)
	case p.probing <= now.Mono:
		m.recordProbe(now, p, false)
	}
}

// probe tries a peer: with as many messages at once as may be, so that a lost
// one does not decide.
func (m *Machine) probe(now core.Now, p *peer, out *core.Out) {
	p.probing = now.Mono + m.messageLife()
	for {
		if _, ok := p.breaker.Allow(now.Mono); !ok {
			return
		}
		m.request(now, core.Envelope{To: p.rec.ID, Addr: p.rec.Addr}, p.probeSlot(), m.bare(m.cluster), out)
	}
}

func (p *peer) probeSlot() uint32 {
	return probeSlots + p.breaker.Generation()%(probeSlotsEnd-probeSlots)
}

// probed takes the answer to a probe, or that it was not sent. Other messages
// of gossip are none, though they show that a peer lives.
func (m *Machine) probed(now core.Now, e *core.Envelope, ok bool) {
	n := e.From
	if !ok {
		n = e.To
	}
	i, found := m.find(n)
	if !found {
		return
	}
	p := m.peers[i]
	if p.probing > 0 && e.Req == m.reqID(p.probeSlot()) {
		m.recordProbe(now, p, ok)
	}
}

func (m *Machine) recordProbe(now core.Now, p *peer, ok bool) {
	before := p.breaker.Generation()
	good, bad := 0, 1
	if ok {
		good, bad = 1, 0
	}
	if ok && bug.On(bug.NeverClose) {
		good = 0
	}
	p.breaker.Record(now.Mono, before, good, bad)
	m.noteCircuit(now, p, before)
}
