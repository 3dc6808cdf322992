package membership

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/phi"
)

// Failure detection: see the package's documentation. Times are multiples of
// the gossip interval, the rhythm in which heartbeats are made.
const (
	// DefaultSuspectPhi and DefaultDeadPhi are the thresholds of DESIGN
	// section 5: wrong once in a hundred thousand and in a hundred million.
	DefaultSuspectPhi = 5
	DefaultDeadPhi    = 8

	// MaxPhi bounds the thresholds: at 100 a peer must be silent for some
	// twenty deviations, and nobody waits for more.
	MaxPhi = 100

	// floor is the least deviation, as a share of the interval and of the mean:
	// the jitter of the rounds and a lost message are no news. It alone decides
	// where heartbeats come evenly, as they do in small clusters; in large ones
	// they take random ways, and some come later than a normal distribution has
	// it. leastFloor is what it never falls below, since schedulers, garbage
	// collectors and disks do not pause for less when gossip is faster.
	floor      = 0.75
	leastFloor = 100 * time.Millisecond

	// strangerMean and strangerDeviation are the rhythm of a peer of which
	// fewer than strangerGaps gaps are known: one that has not spoken since
	// this node started, or has just joined, is given time.
	strangerMean      = 3
	strangerDeviation = 2
	strangerGaps      = 10

	// leastGap is how far apart heartbeats must be for the time between them
	// to count: a burst of news brings several within milliseconds, which say
	// nothing about the rhythm. longestGap is what a longer one counts as: an
	// outage is no rhythm either, but a slower one must be learnt.
	leastGap   = 0.5
	longestGap = 5

	// failuresToSuspect is how many requests in a row must fail for a peer to
	// be suspected at once, however recent its heartbeats are.
	failuresToSuspect = 5

	// failureMemory is how long failures count. A suspected peer is asked less
	// and may have no chance to answer: after this it gets one.
	failureMemory = 10

	// stall is how late a round must be for this node to know that it was
	// itself that stood still. excuse is how long after that failures of
	// requests do not count: they waited in this node.
	stall  = 1
	excuse = 1
)

// health is what this node has observed of a peer, and its opinion.
type health struct {
	status core.Status

	beats   phi.Window    // gaps between heartbeats
	beat    time.Duration // where the next gap begins
	sign    time.Duration // the latest sign of life: a heartbeat or an answer
	rhythms bool          // beat is a heartbeat's, not when the peer was learnt

	failures uint32 // requests that have failed since the latest answer
	failedAt time.Duration

	latencies latencies
}

// newHealth is that of a peer that is learnt, or has started again: it is
// believed to be alive, and given time to speak.
func newHealth(now time.Duration) health {
	return health{status: core.Alive, beat: now, sign: now}
}

// detector has what judges all peers alike.
type detector struct {
	interval time.Duration
	prior    phi.Prior
	// suspect and dead have how many deviations past the mean a silence must
	// be, by the number of failures: each adds its share of the first
	// threshold to phi, and failuresToSuspect of them the whole of it.
	suspect, dead [failuresToSuspect + 1]float64
}

func newDetector(c *Config) detector {
	d := detector{interval: c.GossipInterval}
	d.prior = phi.Prior{
		Mean: d.intervals(strangerMean), Deviation: d.intervals(strangerDeviation), Gaps: strangerGaps,
		Floor: max(leastFloor, d.intervals(floor)), Share: floor,
	}
	for failures := range d.suspect {
		share := c.suspectPhi() * float64(failures) / failuresToSuspect
		d.suspect[failures] = phi.Deviations(c.suspectPhi() - share)
		d.dead[failures] = phi.Deviations(c.deadPhi() - share)
	}
	return d
}

func (d *detector) intervals(n float64) time.Duration { return time.Duration(n * float64(d.interval)) }

// heartbeat takes one that is newer than all before.
func (d *detector) heartbeat(now time.Duration, h *health) {
	h.sign = now
	if gap := now - h.beat; h.rhythms && gap < d.intervals(leastGap) {
		return
	} else if h.rhythms {
		h.beats.Add(min(gap, d.intervals(longestGap)))
	}
	h.beat, h.rhythms = now, true
}

// answered takes an answer to a request of this node. It restarts the silence
// but is no gap: answers come as often as clients ask.
func (h *health) answered(now time.Duration) {
	h.sign, h.failures = now, 0
}

func (d *detector) failed(now time.Duration, h *health, failures uint32) {
	if now-h.failedAt > d.intervals(failureMemory) {
		h.failures = 0
	}
	h.failures = min(h.failures+failures, failuresToSuspect)
	h.failedAt = now
}

// judge returns what to think of a peer at now, and when to think again, if
// nothing is heard until then.
func (d *detector) judge(now time.Duration, h *health) (s core.Status, again time.Duration) {
	if bug.On(bug.NeverSuspect) {
		return core.Alive, core.Never
	}
	again = core.Never
	failures := h.failures
	if forgotten := h.failedAt + d.intervals(failureMemory); now > forgotten {
		failures = 0
	} else if failures > 0 {
		again = forgotten + 1
	}
	mean, deviation := h.beats.Rhythm(d.prior)
	suspectAt := h.after(mean, deviation, d.suspect[failures])
	deadAt := h.after(mean, deviation, d.dead[failures])
	switch {
	case now >= deadAt:
		return core.Dead, again
	case now >= suspectAt:
		return core.Suspected, min(again, deadAt)
	}
	return core.Alive, min(again, suspectAt)
}

// after returns when the silence is so many deviations longer than the mean.
func (h *health) after(mean, deviation time.Duration, deviations float64) time.Duration {
	if math.IsInf(deviations, -1) {
		return h.sign
	}
	return h.sign + max(0, mean+time.Duration(deviations*float64(deviation)))
}

// assess draws the conclusion of what is known of one peer.
func (m *Machine) assess(now core.Now, p *peer) {
	if p.rec.State == core.Left {
		m.setStatus(p, core.NoStatus)
		return
	}
	status, again := m.detector.judge(now.Mono, &p.health)
	if status == core.Alive && p.health.status != core.Alive {
		m.returned(now, p)
	}
	m.setStatus(p, status)
	m.assessAt = min(m.assessAt, again)
}

// assessAll judges every peer when that of one may change. Signs of life only
// ever put that off, so it may come too early for all.
func (m *Machine) assessAll(now core.Now) {
	if now.Mono < m.assessAt {
		return
	}
	m.assessAt = core.Never
	for _, p := range m.peers {
		m.assess(now, p)
	}
}

func (m *Machine) setStatus(p *peer, s core.Status) {
	if p.health.status == s {
		return
	}
	m.noteStatus(p.rec.ID, p.health.status, s)
	p.health.status = s
}

// noteStatus makes a new opinion known.
func (m *Machine) noteStatus(n id.Node, from, to core.Status) {
	m.changes = append(m.changes, core.StatusChange{Peer: n, From: from, To: to})
	m.viewDirty, m.membersStale = true, true
}

// notice finds that this node itself has stood still: its round is overdue.
// The time in which it could hear nobody is nobody's silence, and what failed
// meanwhile may have failed here.
func (m *Machine) notice(now core.Now) {
	late := now.Mono - m.nextRound
	if !m.begun || m.cluster == 0 || m.nextRound == core.Never || late <= m.detector.intervals(stall) {
		return
	}
	m.nextRound = now.Mono
	m.excusedUntil = now.Mono + m.detector.intervals(excuse)
	m.rivalHeard += late
	for _, p := range m.peers {
		h := &p.health
		h.sign += late
		h.beat += late
		h.failures = 0
	}
	m.counters.Stalls++
	m.assessAt = now.Mono
}

// observe takes what a shard tells of a peer.
func (m *Machine) observe(now core.Now, p *peer, r core.PeerReport) {
	if r.Latency > 0 {
		p.health.latencies.add(now.Mono, r.Latency, m.latency)
	}
	if r.OK > 0 {
		p.heard, p.spoke = now.Mono, true
		p.health.answered(now.Mono)
	}
	if r.Failed > 0 && now.Mono >= m.excusedUntil {
		m.detector.failed(now.Mono, &p.health, r.Failed)
	}
	m.countCalls(now, p, r.Calls)
	if r.OK > 0 || r.Failed > 0 {
		m.assess(now, p)
	}
}

// hear takes a heartbeat that is newer than all before.
func (m *Machine) hear(now core.Now, p *peer) {
	p.heard, p.spoke = now.Mono, true
	m.detector.heartbeat(now.Mono, &p.health)
	m.assess(now, p)
}

// unwell returns a random member that is not believed to be alive, nil where
// there is none. It is told the news of each round, so that one that is back
// is found again, and one that is suspected for failed requests may answer.
func unwell(peers []*peer, rng *rand.Rand) *peer {
	var found *peer
	n := 0
	for _, p := range peers {
		if s := p.health.status; s == core.Suspected || s == core.Dead {
			if n++; rng.IntN(n) == 0 {
				found = p
			}
		}
	}
	return found
}
