package coordinator

import (
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// open opens the breakers of the nodes, and closes those of all others.
func (b *bench) open(nodes ...id.Node) {
	v := *b.Coordinator.view
	v.Peers = slices.Clone(v.Peers)
	for i := range v.Peers {
		v.Peers[i].Circuit = core.Circuit{Generation: v.Peers[i].Circuit.Generation + 1}
		if slices.Contains(nodes, v.Peers[i].ID) {
			v.Peers[i].Circuit.State = core.CircuitOpen
		}
	}
	b.SetView(b.now, &v, &b.out)
	b.collect()
}

// peers returns the owners of a key but this node.
func (b *bench) peers(key []byte) []id.Node {
	l := b.Coordinator.view.ReadLayout()
	return slices.DeleteFunc(slices.Clone(l.Owners(l.Partition(key))), func(n id.Node) bool { return n == b.config.Self })
}

func TestOpenBreakerBringsAFallbackAtOnce(t *testing.T) {
	b := newBench(t, "a", 5)
	put := b.put(true)
	owners := b.peers(put.Key)
	b.open(owners[0])
	b.submit(put)
	var hinted id.Node
	for _, e := range b.sent {
		if m, ok := e.Msg.(*core.Hint); ok && m.Owner == owners[0] {
			hinted = e.To
		}
	}
	if slices.Contains(b.targets(), owners[0]) || hinted == "" {
		t.Errorf("asked %v; want a fallback for %s, and not that", b.targets(), owners[0])
	}
	b.answer(b.take(hinted), &core.Hinted{})
	b.flush()
	if r := b.result(); r.Code != core.CodeOK || r.Fallbacks != 1 {
		t.Errorf("%+v", r)
	}
}

// Where only owners count, one whose breaker is open is passed over as well,
// for as long as W can be met without it, and learns of the write later.
func TestOpenBreakerInAStrictQuorum(t *testing.T) {
	b := newBench(t, "a", 3)
	b.open("b")
	put := b.put(true)
	put.Options.Quorum = core.QuorumStrict
	b.submit(put)
	b.answer(b.take("c"), &core.Applied{})
	b.flush()
	if r := b.result(); r.Code != core.CodeOK || len(b.sent) != 0 {
		t.Errorf("%+v; sent to %v", r, b.targets())
	}
	if p := b.replica.Hints().Pending; len(p) != 1 || p[0].Target != "b" {
		t.Errorf("kept for later: %+v", p)
	}
	put = b.put(true)
	put.Options.Quorum, put.Options.W = core.QuorumStrict, 3
	b.submit(put)
	b.answer(b.take("c"), &core.Applied{})
	b.answer(b.take("b"), &core.Applied{}) // nobody else is left
	b.flush()
	if r := b.result(); r.Code != core.CodeOK {
		t.Errorf("%+v", r)
	}
}

// A cluster of N nodes has no fallbacks. One whose breaker is open, or that is
// believed dead, is passed over there as well, for as long as the others do.
func TestPassedOverWithoutFallbacks(t *testing.T) {
	for name, pass := range map[string]func(*bench){
		"open": func(b *bench) { b.open("b") },
		"dead": func(b *bench) { b.believe(core.Dead, "b") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "a", 3)
			pass(b)
			b.submit(b.put(true))
			if got := b.targets(); !slices.Equal(got, []id.Node{"c"}) {
				t.Errorf("asked %v; want c", got)
			}
			b.answer(b.take("c"), &core.Applied{})
			b.flush()
			if r := b.result(); r.Code != core.CodeOK || len(b.sent) != 0 || b.Active() != 0 {
				t.Errorf("%+v; sent to %v, %d requests under way", r, b.targets(), b.Active())
			}
			if p := b.replica.Hints().Pending; len(p) != 1 || p[0].Target != "b" {
				t.Errorf("kept for later: %+v", p)
			}
			b.submit(b.put(true))
			b.flush()
			b.refuse(b.take("c"))
			b.answer(b.take("b"), &core.Applied{}) // at once: c has failed, and nobody else is left
			if r := b.result(); r.Code != core.CodeOK {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestOpenBreakersAreTheLastResort(t *testing.T) {
	for _, quorum := range []core.Quorum{core.QuorumSloppy, core.QuorumStrict} {
		b := newBench(t, "a", 3)
		b.open("b", "c")
		put := b.put(true)
		put.Options.Quorum = quorum
		b.submit(put)
		b.answer(b.take("b"), &core.Applied{})
		b.flush()
		if r := b.result(); r.Code != core.CodeOK {
			t.Errorf("%v: a put: %+v", quorum, r)
		}
		b.sent = nil
		b.submit(core.Request{Op: core.OpGet, Key: put.Key, Options: core.Options{Quorum: quorum}})
		b.answer(b.take(b.sent[0].To), &core.ReadReply{})
		if r := b.result(); r.Code != core.CodeOK {
			t.Errorf("%v: a get: %+v", quorum, r)
		}
	}
}

func TestForwardPassesOverOpenBreakers(t *testing.T) {
	for _, quorum := range []core.Quorum{core.QuorumSloppy, core.QuorumStrict} {
		b := newBench(t, "f", 6)
		put := b.put(false)
		put.Options.Quorum = quorum
		owners := b.peers(put.Key)
		b.open(owners[0], owners[1])
		b.submit(put)
		if got := b.targets(); !slices.Equal(got, owners[2:]) {
			t.Errorf("%v: forwarded to %v; want %v", quorum, got, owners[2:])
		}
		b.refuse(b.take(owners[2]))
		if got := b.targets(); quorum == core.QuorumStrict && !slices.Equal(got, owners[:1]) {
			t.Errorf("then to %v; nobody else is left than %v", got, owners[:1])
		}
	}
}

func TestReadPassesOverOpenBreakers(t *testing.T) {
	b := newBench(t, "a", 3)
	key := b.key(true)
	b.open("b")
	b.submit(core.Request{Op: core.OpGet, Key: key})
	if got := b.targets(); !slices.Equal(got, []id.Node{"c"}) {
		t.Fatalf("asked %v", got)
	}
	b.pass(unknownP95)
	if got := b.targets(); !slices.Equal(got, []id.Node{"c"}) {
		t.Errorf("hedged to %v", got)
	}
}

// Where there is nobody to hedge to, nothing is looked for again and again.
func TestHedgeWithNobodyLeftIsDoneOnce(t *testing.T) {
	b := newBench(t, "a", 3)
	b.believe(core.Dead, "b")
	b.submit(core.Request{Op: core.OpGet, Key: b.key(true)})
	b.take("c")
	b.pass(b.config.PeerTimeout - ms)
	if len(b.reports) != 1 || b.reports[0].Peer != "c" || b.reports[0].Latency != unknownP95 || len(b.sent) > 0 {
		t.Errorf("%d reports, the first %+v; asked %v", len(b.reports), b.reports[:1], b.targets())
	}
}

// A call is repeated only while its peer's breaker is closed.
func TestRetryAsksTheBreakerAgain(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(b.put(true))
	b.flush()
	b.answer(b.take("b"), &core.Applied{})
	b.result()
	b.refuse(b.take("c"))
	b.open("c")
	b.pass(b.config.PeerTimeout)
	if len(b.sent) != 0 || b.Active() != 0 {
		t.Errorf("sent to %v, %d requests under way", b.targets(), b.Active())
	}
	if p := b.replica.Hints().Pending; len(p) != 1 || p[0].Target != "c" {
		t.Errorf("kept for later: %+v", p)
	}
}

// A read, too, comes back to an owner whose breaker has opened meanwhile, when
// nobody else is left.
func TestReadComesBackToOpenBreakers(t *testing.T) {
	for _, quorum := range []core.Quorum{core.QuorumSloppy, core.QuorumStrict} {
		b := newBench(t, "a", 3)
		b.configure(func(c *Config) { c.Reads.All = true })
		b.submit(core.Request{Op: core.OpGet, Key: b.key(true), Options: core.Options{Quorum: quorum}})
		b.refuse(b.take("b"))
		b.refuse(b.take("c"))
		b.open("b", "c")
		b.pass(200 * ms)
		b.silent()
		if len(b.sent) == 0 {
			t.Fatalf("%v: nobody is asked again", quorum)
		}
		b.answer(b.sent[0], &core.ReadReply{})
		if r := b.result(); r.Code != core.CodeNotFound {
			t.Errorf("%v: %+v", quorum, r)
		}
	}
}

// It is asked once more then, and no request goes round in circles.
func TestLastResortEnds(t *testing.T) {
	for _, op := range []core.Op{core.OpGet, core.OpPut} {
		b := newBench(t, "a", 3)
		r := core.Request{Op: op, Key: b.key(true), Deadline: b.now.Mono + 10*time.Second, Options: core.Options{R: 3, W: 3, WriteID: version.WriteID{1}}}
		b.submit(r)
		b.flush()
		b.refuse(b.take("b"))
		b.open("b")
		asked := 1
		for range 100 {
			b.pass(50 * ms)
			for slices.Contains(b.targets(), "b") {
				b.refuse(b.take("b"))
				asked++
			}
			for slices.Contains(b.targets(), "c") {
				b.answer(b.take("c"), map[core.Op]core.Message{core.OpGet: &core.ReadReply{}, core.OpPut: &core.Applied{}}[op])
			}
		}
		if res := b.result(); res.Code != core.CodeQuorum || asked != 2 {
			t.Errorf("%v: %v after b was asked %d times; want quorum after 2", op, res.Code, asked)
		}
	}
}

// A loop that has stood still itself blames nobody.
func TestLateTimeoutsAreNobodysFault(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(b.put(true))
	b.now.Mono += b.config.PeerTimeout * 5 / 4
	b.Tick(b.now, &b.out) // just in time
	b.collect()
	if _, tries := b.failures("c"); tries != 1 {
		t.Errorf("%d failed tries; want one", tries)
	}
	b = newBench(t, "a", 3)
	b.submit(b.put(true))
	b.now.Mono += b.config.PeerTimeout*5/4 + 1
	b.Tick(b.now, &b.out)
	b.collect()
	if _, tries := b.failures("c"); tries != 0 {
		t.Errorf("%d failed tries, of which this node was too late to know", tries)
	}
	b.pass(150 * ms)
	if got := b.targets(); len(got) != 4 {
		t.Errorf("sent to %v; want both asked again", got)
	}
}

// failures adds up what breakers and failure detection are told of a peer.
func (b *bench) failures(n id.Node) (calls, tries uint32) {
	for _, r := range b.reports {
		if r.Peer == n {
			calls += r.Calls.Failed
			tries += r.Failed
		}
	}
	return calls, tries
}

func TestOneOutcomeACall(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(b.put(true))
	b.flush()
	b.answer(b.take("b"), &core.Applied{})
	b.pass(b.config.PeerTimeout * 10)
	if calls, tries := b.failures("c"); calls != 1 || tries != 4 {
		t.Errorf("a peer that has not answered four tries of one call is told of as %d failed calls and %d tries", calls, tries)
	}
	b.reports = nil
	put := b.put(true)
	put.Deadline = b.now.Mono + 500*ms // in the second try
	b.submit(put)
	b.pass(600 * ms)
	if calls, tries := b.failures("c"); calls != 1 || tries != 1 {
		t.Errorf("a deadline within the second try: %d failed calls, %d tries", calls, tries)
	}
	b.reports = nil
	put = b.put(true)
	put.Deadline = b.now.Mono + 100*ms // in the first
	b.submit(put)
	b.pass(200 * ms)
	if calls, tries := b.failures("c"); calls != 0 || tries != 0 {
		t.Errorf("a deadline within the first try: %d failed calls, %d tries", calls, tries)
	}
}

// Refusals are the work of a peer that answers.
func TestRefusalsAreNoOutcome(t *testing.T) {
	for _, why := range []core.Refusal{core.RefusedInvalid, core.RefusedOverloaded, core.RefusedHintsFull, core.RefusedStale} {
		b := newBench(t, "a", 3)
		b.submit(b.put(true))
		b.answer(b.take("b"), &core.Refused{Why: why})
		for range 4 {
			b.pass(b.config.PeerTimeout)
			for _, e := range slices.Clone(b.sent) {
				if e.To == "b" {
					b.answer(b.take("b"), &core.Refused{Why: why})
				}
			}
		}
		if calls, tries := b.failures("b"); calls != 0 || tries != 0 {
			t.Errorf("%v: %d failed calls, %d tries", why, calls, tries)
		}
	}
}

// A peer that fails is replaced at once: retries go on beside its fallback.
func TestRetryDelaysNoFallback(t *testing.T) {
	b := newBench(t, "a", 5)
	put := b.put(true)
	owners := b.peers(put.Key)
	b.submit(put)
	b.refuse(b.take(owners[0]))
	if got := b.targets(); len(got) != 2 || slices.Contains(got, owners[0]) {
		t.Fatalf("after a failed send asked %v; want the other owner and a fallback", got)
	}
	b.pass(150 * ms)
	if !slices.Contains(b.targets(), owners[0]) {
		t.Errorf("it is not asked again: %v", b.targets())
	}
}

func TestRetryOff(t *testing.T) {
	b := newBench(t, "a", 3)
	b.configure(func(c *Config) { c.Retry.Retries = 0 })
	b.submit(b.put(true))
	b.refuse(b.take("b"))
	b.pass(b.config.PeerTimeout * 3)
	if slices.Contains(b.targets(), "b") {
		t.Errorf("asked %v", b.targets())
	}
}

// configure makes the coordinator anew, with another configuration.
func (b *bench) configure(change func(*Config)) {
	view, config := b.Coordinator.view, b.config
	change(&config)
	b.Coordinator = New(config, b.replica)
	b.SetView(b.now, view, &b.out)
	b.collect()
}

func TestReadFromAllOwners(t *testing.T) {
	b := newBench(t, "a", 3)
	b.configure(func(c *Config) { c.Reads.All = true })
	key := b.key(true)
	b.submit(core.Request{Op: core.OpGet, Key: key})
	if got := b.targets(); len(got) != 2 {
		t.Fatalf("asked %v at once", got)
	}
	b.answer(b.take("c"), &core.ReadReply{})
	if r := b.result(); r.Code != core.CodeNotFound || r.Acknowledged != 2 {
		t.Errorf("%+v; want the answer of R owners, whoever they are", r)
	}
	b.sent = nil
	b.open("c")
	b.submit(core.Request{Op: core.OpGet, Key: key})
	if got := b.targets(); !slices.Equal(got, []id.Node{"b"}) {
		t.Errorf("asked %v; the breaker of c is open", got)
	}
}

func TestHedgingOff(t *testing.T) {
	b := newBench(t, "a", 3)
	b.configure(func(c *Config) { c.Reads.Hedge = false })
	b.submit(core.Request{Op: core.OpGet, Key: b.key(true)})
	b.pass(b.config.PeerTimeout - ms)
	if got := b.targets(); len(got) != 1 {
		t.Errorf("asked %v", got)
	}
	b.pass(ms)
	if got := b.targets(); len(got) != 2 {
		t.Errorf("after the timeout asked %v", got)
	}
}

func TestSelectionOff(t *testing.T) {
	b := newBench(t, "f", 6)
	b.configure(func(c *Config) { c.Select = false })
	put := b.put(false)
	owners := b.peers(put.Key)
	b.prefer(owners[2], owners[1], owners[0])
	b.submit(put)
	b.submit(core.Request{Op: core.OpGet, Key: put.Key})
	if got, want := b.targets(), []id.Node{owners[0], owners[0], owners[1]}; !slices.Equal(got, want) {
		t.Errorf("asked %v; want %v, in the order of the preference list", got, want)
	}
}

// A probe is a read beside a request. Its answer counts for nothing but its
// peer's latency.
func TestProbesKeepLatenciesFresh(t *testing.T) {
	b := newBench(t, "f", 6)
	b.configure(func(c *Config) { c.ProbeShare = 1 })
	put := b.put(false)
	owners := b.peers(put.Key)
	b.prefer(owners...)
	b.submit(put)
	b.take(owners[0])
	if len(b.sent) != 1 {
		t.Fatalf("beside the forward asked %v; want one other owner", b.targets())
	}
	probe := b.take(b.sent[0].To)
	if m, ok := probe.Msg.(*core.Read); !ok || m.Hints || probe.To == owners[0] || b.Active() != 2 {
		t.Fatalf("the probe is %+v; %d requests are under way", probe, b.Active())
	}
	b.now.Mono += 7 * ms
	b.answer(probe, &core.ReadReply{})
	if i := slices.IndexFunc(b.reports, func(r core.PeerReport) bool { return r.Peer == probe.To && r.Latency == 7*ms && r.Calls.OK == 1 }); i < 0 {
		t.Errorf("reports %+v", b.reports)
	}
	b.silent()
	if b.Active() != 1 {
		t.Errorf("%d requests are under way; want the forward", b.Active())
	}
	b.submit(put)
	silent := b.sent[1]
	b.pass(b.config.PeerTimeout)
	if calls, _ := b.failures(silent.To); calls != 1 {
		t.Errorf("a probe that was not answered is told of as %d failed calls", calls)
	}
}

// A node that only forwards knows of nobody's latency, and asks sooner.
func TestProbesFindTheUnknown(t *testing.T) {
	b := newBench(t, "f", 6)
	b.configure(func(c *Config) { c.ProbeShare = 1e-9 })
	put := b.put(false)
	owners := b.peers(put.Key)
	probed := func(requests int) (nodes []id.Node) {
		for range requests {
			b.submit(b.put(false))
		}
		for _, e := range b.sent {
			if _, ok := e.Msg.(*core.Read); ok && !slices.Contains(nodes, e.To) {
				nodes = append(nodes, e.To)
			}
		}
		b.sent = nil
		return nodes
	}
	if got := probed(300); len(got) != len(owners) {
		t.Errorf("probed %v of %v, of which nothing is known", got, owners)
	}
	b.pass(b.config.PeerTimeout * 10)
	b.sent = nil
	b.prefer(owners[1], owners[2])
	if got := probed(300); !slices.Equal(got, owners[:1]) {
		t.Errorf("probed %v; nothing is known of %v alone", got, owners[:1])
	}
}

func TestProbesNeedSomebodyToProbe(t *testing.T) {
	b := newBench(t, "a", 3)
	b.configure(func(c *Config) { c.ProbeShare, c.Reads.All = 1, true })
	b.submit(core.Request{Op: core.OpGet, Key: b.key(true)})
	if len(b.sent) != 2 {
		t.Errorf("asked %v; all owners were asked without a probe", b.targets())
	}
	b.sent = nil
	b.configure(func(c *Config) { c.Select, c.Reads.All = false, false })
	b.submit(core.Request{Op: core.OpGet, Key: b.key(true)})
	if len(b.sent) != 1 {
		t.Errorf("asked %v; where nobody is chosen, nobody is probed", b.targets())
	}
}
