package guard

import (
	"math/rand/v2"
	"time"

	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// reportEach is how often one peer's good answers are told to Control: often
// enough for percentiles and failure detection, seldom enough to cost nothing
// at tens of thousands of answers a second. Failures are told at once.
const reportEach = 20 * time.Millisecond

// Reason is why a try has failed. These are all that a call is repeated for.
// Any other refusal says that the request itself will not do: by these layouts,
// at this peer, or ever.
type Reason uint8

// The reasons.
const (
	// Unsent: it provably never left, as the transport says.
	Unsent Reason = iota
	// Silent: no answer has come in the time that a peer has. Applies, hints,
	// reads and what trees are compared by may be repeated; who sends what may
	// not, which is forwards, calls Failed.
	Silent
	// Late: likewise, but this node itself was so late to look that the answer
	// may have been waiting here. It says nothing about the peer.
	Late
	// Overloaded: the peer refused it for its load. It works, so this is no
	// failure of the peer, and says nothing to its breaker.
	Overloaded
)

// ofPeer says whether a reason speaks against the peer.
func (r Reason) ofPeer() bool { return r == Unsent || r == Silent }

// Call is one thing asked of one peer. The zero value is one that has not
// begun.
type Call struct {
	peer       id.Node
	generation uint32 // of the peer's breaker, when the call began
	failures   int    // tries that have failed
	against    bool   // one of them speaks against the peer
	open       bool   // it has no outcome yet
}

// UnderWay says that the call has begun and has no outcome yet.
func (c *Call) UnderWay() bool { return c.open }

// Guard keeps the calls of one machine. See the package's documentation.
type Guard struct {
	policy backoff.Policy
	rng    *rand.Rand
	view   *core.View
	peers  map[id.Node]*tally // looked up by key only

	retries uint64 // that were granted
}

// tally is what Control has not been told of a peer yet.
type tally struct {
	ok    uint32
	calls core.Calls
	told  time.Duration
}

// New returns a guard that repeats calls by a policy, with delays by rng. The
// zero policy repeats none: rng may then be nil.
func New(policy backoff.Policy, rng *rand.Rand) *Guard {
	return &Guard{policy: policy, rng: rng, view: &core.View{}, peers: make(map[id.Node]*tally)}
}

// SetView goes on by the breakers of a newer view.
func (g *Guard) SetView(v *core.View) { g.view = v }

// Count adds what was counted since the start.
func (g *Guard) Count(to *core.Counters) { to.Calls.Retries += g.retries }

// Open says that a peer is not to be called: its breaker is open, or Control is
// still trying it. Ask before the first try and before each other.
func (g *Guard) Open(n id.Node) bool {
	p, _ := g.view.Peer(n)
	return p.Circuit.State != core.CircuitClosed && !bug.On(bug.IgnoreBreaker)
}

// Try notes a try of a call, the first of which begins it.
func (g *Guard) Try(c *Call, n id.Node) {
	if c.open {
		return
	}
	p, _ := g.view.Peer(n)
	*c = Call{peer: n, generation: p.Circuit.Generation, open: true}
}

// Answered ends a call that has worked. latency is that of the try which was
// answered, 0 where it says nothing about the peer. The answer to a call that
// had failed before still shows that the peer lives.
func (g *Guard) Answered(now time.Duration, c *Call, latency time.Duration, out *core.Out) {
	t := g.peers[c.peer]
	if t == nil {
		t = &tally{told: now - reportEach}
		g.peers[c.peer] = t
	}
	t.ok++
	if c.open {
		t.count(c.generation)
	}
	c.open = false
	if now-t.told < reportEach {
		return
	}
	out.Reports = append(out.Reports, core.PeerReport{Peer: c.peer, OK: t.ok, Latency: latency, Calls: t.calls})
	t.ok, t.calls, t.told = 0, core.Calls{}, now
}

// count adds a good outcome. Those of an earlier generation are of no use to
// anybody any more.
func (t *tally) count(generation uint32) {
	if t.calls.Generation != generation {
		t.calls = core.Calls{Generation: generation}
	}
	t.calls.OK++
}

// Refused ends a call that the peer has answered by saying no: that is no
// outcome.
func (g *Guard) Refused(c *Call) { c.open = false }

// Retry notes that a try has failed of a call that may be repeated. It returns
// when the next one is due, which is before limit, or ends the call: ok is
// false.
func (g *Guard) Retry(now time.Duration, c *Call, why Reason, limit time.Duration, out *core.Out) (at time.Duration, ok bool) {
	c.note(why)
	delay, ok := g.policy.Delay(c.failures, g.rng)
	if ok && c.open && now+delay < limit {
		g.retries++
		g.tell(c, why, false, out)
		return now + delay, true
	}
	g.end(c, why, out)
	return 0, false
}

// Failed ends a call for one failed try.
func (g *Guard) Failed(c *Call, why Reason, out *core.Out) {
	c.note(why)
	g.end(c, why, out)
}

// Dropped ends a call for which nobody waits any more. It has failed if a try
// of it had, else it has no outcome: the peer may just not have had the time.
func (g *Guard) Dropped(c *Call, out *core.Out) {
	if c.open && c.against {
		g.outcome(c, core.PeerReport{Peer: c.peer}, out)
	}
	c.open = false
}

func (c *Call) note(why Reason) {
	c.failures++
	c.against = c.against || why.ofPeer()
}

func (g *Guard) end(c *Call, why Reason, out *core.Out) {
	g.tell(c, why, c.open && why.ofPeer(), out)
	c.open = false
}

// tell tells Control of a failed try, and of the outcome of its call where it
// was the last.
func (g *Guard) tell(c *Call, why Reason, last bool, out *core.Out) {
	if !why.ofPeer() {
		return
	}
	r := core.PeerReport{Peer: c.peer, Failed: 1}
	if last {
		g.outcome(c, r, out)
		return
	}
	out.Reports = append(out.Reports, r)
}

// outcome tells Control of a failed call, and of the good ones before it, so
// that failures in a row are just that.
func (g *Guard) outcome(c *Call, r core.PeerReport, out *core.Out) {
	r.Calls = core.Calls{Generation: c.generation, Failed: 1}
	if t := g.peers[c.peer]; t != nil && t.calls.Generation == c.generation {
		r.Calls.OK, t.calls = t.calls.OK, core.Calls{}
	}
	out.Reports = append(out.Reports, r)
}

// Slow tells Control of a peer that has not answered within latency, so that
// its percentiles show it though the answer may never be waited for.
func Slow(peer id.Node, latency time.Duration, out *core.Out) {
	out.Reports = append(out.Reports, core.PeerReport{Peer: peer, Latency: latency})
}
