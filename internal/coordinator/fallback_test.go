package coordinator

import (
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// believe changes what is thought of peers.
func (b *bench) believe(status core.Status, nodes ...id.Node) {
	v := *b.Coordinator.view
	v.Peers = slices.Clone(v.Peers)
	for i := range v.Peers {
		if slices.Contains(nodes, v.Peers[i].ID) {
			v.Peers[i].Status = status
		}
	}
	b.SetView(b.now, &v, &b.out)
	b.collect()
}

// places returns the owners of a key, this node aside, and its fallbacks.
func (b *bench) places(key []byte) (owners, fallbacks []id.Node) {
	l := b.Coordinator.view.ReadLayout()
	p := l.Partition(key)
	for _, n := range l.AppendPreference(nil, p, -1) {
		switch {
		case n == b.config.Self:
		case l.Owns(n, p):
			owners = append(owners, n)
		default:
			fallbacks = append(fallbacks, n)
		}
	}
	return owners, fallbacks
}

// owed returns for whom this node keeps something of a key, and as what.
func (b *bench) owed(key []byte) []core.HintOwner {
	b.t.Helper()
	l := b.Coordinator.view.ReadLayout()
	first, last := l.Range(l.Partition(key))
	items, _ := b.replica.HintChunk(first, last, nil, core.Limit{Keys: 100, Bytes: 1 << 20}, &b.out)
	for _, item := range items {
		if string(item.Key) == string(key) {
			return item.Owners
		}
	}
	return nil
}

func TestDeadOwnerIsReplacedAtOnce(t *testing.T) {
	b := newBench(t, "a", 6)
	r := b.put(true)
	owners, fallbacks := b.places(r.Key)
	b.believe(core.Dead, owners[0])
	b.submit(r)
	hint := b.take(fallbacks[0])
	if m, ok := hint.Msg.(*core.Hint); !ok || m.Owner != owners[0] || len(m.Set.Versions) != 1 {
		t.Fatalf("the fallback is sent %+v", hint.Msg)
	}
	if slices.Contains(b.targets(), owners[0]) {
		t.Error("the dead owner is asked as well")
	}
	b.answer(hint, &core.Hinted{})
	b.silent()
	b.flush()
	if got := b.result(); got.Outcome != core.Written || got.Acknowledged != 2 || got.Fallbacks != 1 {
		t.Errorf("%+v", got)
	}
	b.answer(b.take(owners[1]), &core.Applied{})
	if b.Active() != 0 || b.owed(r.Key) != nil {
		t.Errorf("%d slots open; marked are %v, for which a fallback has a hint", b.Active(), b.owed(r.Key))
	}
}

func TestSuspectedOwnerIsAskedAndNotWaitedFor(t *testing.T) {
	b := newBench(t, "a", 6)
	r := b.put(true)
	owners, fallbacks := b.places(r.Key)
	b.believe(core.Suspected, owners[0])
	b.submit(r)
	b.take(owners[0])
	b.answer(b.take(fallbacks[0]), &core.Hinted{})
	b.flush()
	if got := b.result(); got.Outcome != core.Written || got.Fallbacks != 1 {
		t.Errorf("%+v", got)
	}
}

func TestFailingOwnersAreReplacedOneByOne(t *testing.T) {
	b := newBench(t, "a", 6)
	r := b.put(true)
	owners, fallbacks := b.places(r.Key)
	b.submit(r)
	b.flush()
	b.refuse(b.take(owners[0]))
	first := b.take(fallbacks[0])
	b.answer(first, &core.Refused{Why: core.RefusedHintsFull})
	second := b.take(fallbacks[1])
	b.refuse(second)
	b.answer(b.take(fallbacks[2]), &core.Hinted{})
	if got := b.result(); got.Outcome != core.Written || got.Fallbacks != 1 || got.Acknowledged != 2 {
		t.Errorf("%+v", got)
	}
}

// A fallback's hint is for one owner: when that owner acknowledges after all,
// the two are one place, and the fallback fills none of another owner's.
func TestFallbackFillsThePlaceOfItsOwnerOnly(t *testing.T) {
	b := newBench(t, "a", 6)
	r := b.put(true)
	r.Options.W = 3
	owners, fallbacks := b.places(r.Key)
	b.submit(r)
	b.flush()
	late, other := b.take(owners[0]), b.take(owners[1])
	b.refuse(late)
	b.answer(b.take(fallbacks[0]), &core.Hinted{})
	b.answer(late, &core.Applied{}) // it had been sent all the same
	b.refuse(other)
	b.silent()
	b.answer(b.take(fallbacks[1]), &core.Hinted{})
	if got := b.result(); got.Outcome != core.Written || got.Acknowledged != 3 || got.Fallbacks != 1 {
		t.Errorf("%+v", got)
	}
}

func TestSilentOwnerIsReplacedAfterItsTimeout(t *testing.T) {
	b := newBench(t, "a", 6)
	r := b.put(true)
	owners, fallbacks := b.places(r.Key)
	b.submit(r)
	b.flush()
	b.pass(300 * ms)
	if m := b.take(fallbacks[0]).Msg.(*core.Hint); m.Owner != owners[0] {
		t.Errorf("the first fallback is to stand in for %s", m.Owner)
	}
	if m := b.take(fallbacks[1]).Msg.(*core.Hint); m.Owner != owners[1] {
		t.Errorf("the second fallback is to stand in for %s", m.Owner)
	}
}

func TestSlowOwnerIsNotReplacedByWhoIsFast(t *testing.T) {
	b := newBench(t, "a", 6)
	r := b.put(true)
	r.Options.W = 3
	owners, fallbacks := b.places(r.Key)
	b.submit(r)
	b.flush()
	b.pass(299 * ms)
	for _, n := range fallbacks {
		if slices.Contains(b.targets(), n) {
			t.Fatalf("asked %v before any owner has failed", b.targets())
		}
	}
	b.answer(b.take(owners[0]), &core.Applied{})
	b.silent()
}

func TestStrictCountsOwnersOnlyAndMarksWhoMissed(t *testing.T) {
	b := newBench(t, "a", 6)
	r := b.put(true)
	r.Options.Quorum, r.Options.W = core.QuorumStrict, 3
	owners, fallbacks := b.places(r.Key)
	b.believe(core.Dead, owners[0])
	b.submit(r)
	b.flush()
	b.answer(b.take(owners[1]), &core.Applied{})
	b.pass(2 * time.Second)
	if got := b.result(); got.Code != core.CodeQuorum || got.Acknowledged != 2 || got.Fallbacks != 0 {
		t.Errorf("%+v", got)
	}
	for _, n := range fallbacks {
		if slices.Contains(b.targets(), n) {
			t.Errorf("%s is asked", n)
		}
	}
	if owed := b.owed(r.Key); len(owed) != 1 || owed[0].Node != owners[0] || owed[0].Data || owed[0].Since == 0 {
		t.Errorf("marked: %+v", owed)
	}
}

func TestConfiguredStrictIsTheDefault(t *testing.T) {
	b := newBench(t, "a", 6)
	b.config.Strict = true
	for quorum, want := range map[core.Quorum]int{core.QuorumDefault: 0, core.QuorumSloppy: 1} {
		r := b.put(true)
		r.Options.Quorum = quorum
		owners, fallbacks := b.places(r.Key)
		b.submit(r)
		b.refuse(b.take(owners[0]))
		asked := 0
		for _, n := range b.targets() {
			if slices.Contains(fallbacks, n) {
				asked++
			}
		}
		if asked != want {
			t.Errorf("quorum %v asks %d fallbacks", quorum, asked)
		}
		b.sent = nil
	}
}

func TestOwnerThatMissedAWriteAfterWIsMarked(t *testing.T) {
	b := newBench(t, "a", 6)
	r := b.put(true)
	owners, _ := b.places(r.Key)
	b.submit(r)
	b.flush()
	b.answer(b.take(owners[0]), &core.Applied{})
	if got := b.result(); got.Outcome != core.Written || got.Fallbacks != 0 {
		t.Errorf("%+v", got)
	}
	b.take(owners[1])
	b.pass(2 * time.Second)
	if owed := b.owed(r.Key); len(owed) != 1 || owed[0].Node != owners[1] || owed[0].Since == 0 {
		t.Errorf("marked: %+v", owed)
	}
	// A later write brings all of it.
	again := r
	again.Options.WriteID = version.WriteID{99}
	b.sent = nil
	b.submit(again)
	b.flush()
	b.answer(b.take(owners[0]), &core.Applied{})
	b.answer(b.take(owners[1]), &core.Applied{})
	if owed := b.owed(r.Key); owed != nil {
		t.Errorf("still marked: %+v", owed)
	}
}

func TestReadsAskFallbacksForOwnersThatAreNotAlive(t *testing.T) {
	b := newBench(t, "a", 6)
	key := b.key(true)
	owners, fallbacks := b.places(key)
	b.believe(core.Dead, owners...)
	b.submit(core.Request{Op: core.OpGet, Key: key})
	e := b.take(fallbacks[0])
	if m := e.Msg.(*core.Read); !m.Hints {
		t.Errorf("a fallback is asked for its own copy: %+v", m)
	}
	a := version.Actor{Node: "e", Epoch: version.Epoch{Start: 3, Seq: 1}}
	set, _ := version.Siblings{}.Put(version.Clock{}, a, version.Write{Data: []byte("hinted")})
	b.answer(e, &core.ReadReply{Set: set})
	if got := b.result(); got.Code != core.CodeOK || got.Fallbacks != 1 || got.Acknowledged != 2 || len(got.Set.Versions) != 1 {
		t.Errorf("%+v", got)
	}
	if len(b.sent) != 0 {
		t.Errorf("asked %v as well", b.targets())
	}

	b.submit(core.Request{Op: core.OpGet, Key: key, Options: core.Options{Quorum: core.QuorumStrict}})
	if to := b.targets(); len(to) != 1 || !slices.Contains(owners, to[0]) {
		t.Errorf("a strict read asks %v", to)
	}
}

func TestReadsHedgeToOwnersOnly(t *testing.T) {
	b := newBench(t, "a", 6)
	key := b.key(true)
	owners, fallbacks := b.places(key)
	b.submit(core.Request{Op: core.OpGet, Key: key})
	b.pass(200 * ms)
	if len(b.sent) != len(owners) {
		t.Errorf("asked %v of the owners %v", b.targets(), owners)
	}
	b.pass(300 * ms) // now they count as failed
	if !slices.Contains(b.targets(), fallbacks[0]) {
		t.Errorf("asked %v when no owner answers", b.targets())
	}
}

func TestWithoutOwnersTheNodeMintsIntoItsHints(t *testing.T) {
	b := newBench(t, "f", 6)
	r := b.put(false)
	owners, fallbacks := b.places(r.Key)
	b.submit(r)
	for range owners {
		b.refuse(b.take(b.sent[0].To))
	}
	for _, owner := range owners { // it knows no better than to try again
		if _, ok := b.take(owner).Msg.(*core.Apply); !ok {
			t.Fatalf("%s is not sent the set", owner)
		}
	}
	owed := b.owed(r.Key)
	if len(owed) != len(owners) || !owed[0].Data {
		t.Errorf("kept for %+v", owed)
	}
	b.silent()
	b.flush()
	b.pass(300 * ms)
	b.answer(b.take(fallbacks[0]), &core.Hinted{})
	if got := b.result(); got.Outcome != core.Written || got.Acknowledged != 2 || got.Fallbacks != 2 {
		t.Errorf("%+v", got)
	}
}

func TestFallbackSettlesWhatOwnersHaveTaken(t *testing.T) {
	b := newBench(t, "f", 6)
	r := b.put(false)
	owners, _ := b.places(r.Key)
	b.believe(core.Dead, owners[0])
	b.submit(r)
	b.refuse(b.take(b.sent[0].To))
	b.refuse(b.take(b.sent[0].To))
	b.flush()
	b.answer(b.take(owners[1]), &core.Applied{})
	b.answer(b.take(owners[2]), &core.Applied{})
	b.pass(3 * time.Second)
	if owed := b.owed(r.Key); len(owed) != 1 || owed[0].Node != owners[0] {
		t.Errorf("kept for %+v", owed)
	}
}

// An owner may have executed a forward before it came to the hints.
func TestUnansweredForwardLeavesTheOutcomeUnknown(t *testing.T) {
	b := newBench(t, "f", 6)
	b.replica.OpenHints(8, &b.out)
	r := b.put(false)
	owners, fallbacks := b.places(r.Key)
	b.believe(core.Dead, owners[1:]...)
	b.believe(core.Dead, fallbacks...)
	b.submit(r)
	b.take(owners[0])
	b.pass(300 * ms)
	b.flush()
	b.pass(2 * time.Second)
	if got := b.result(); got.Outcome != core.Unknown {
		t.Errorf("%+v", got)
	}
}

func TestOverwriteIsForwardedToTheFirstFallback(t *testing.T) {
	b := newBench(t, "f", 6)
	r := b.put(false)
	r.Options.Overwrite = true
	l := b.Coordinator.view.ReadLayout()
	p := l.Partition(r.Key)
	list := l.AppendPreference(nil, p, -1)
	owners, fallbacks := list[:3], list[3:]
	b.believe(core.Dead, owners...)
	b.submit(r)
	if fallbacks[0] == "f" {
		if len(b.owed(r.Key)) == 0 {
			t.Error("nothing is minted at the first fallback, which is this node")
		}
		return
	}
	e := b.take(fallbacks[0])
	if m := e.Msg.(*core.Forward); !m.Fallback {
		t.Errorf("%+v", m)
	}
	b.answer(e, &core.Forwarded{Result: core.Result{Code: core.CodeOK, Outcome: core.Written, Acknowledged: 2, Fallbacks: 2, Required: 2}})
	if got := b.result(); got.Outcome != core.Written || got.Fallbacks != 2 {
		t.Errorf("%+v", got)
	}
}

// A node that has no room for the hint itself hands the write to any other that
// may, wherever it stands in the preference list and though it is suspected.
func TestWriteGoesToTheFallbackThatHasRoom(t *testing.T) {
	b := newBench(t, "f", 6)
	l := b.Coordinator.view.ReadLayout()
	r := b.put(false)
	r.Value = make([]byte, benchHints)
	var list []id.Node
	for i := 0; len(list) == 0 || list[3] != "f"; i++ {
		r.Key = []byte{'k', byte(i)}
		list = l.AppendPreference(nil, l.Partition(r.Key), -1)
	}
	b.believe(core.Dead, list[:3]...)
	b.believe(core.Suspected, list[5])
	b.submit(r)
	for _, n := range list[4:] {
		e := b.take(n)
		if m, ok := e.Msg.(*core.Forward); !ok || !m.Fallback {
			t.Fatalf("%s is sent %+v", n, e.Msg)
		}
		b.answer(e, &core.Refused{Why: core.RefusedHintsFull})
	}
	b.silent() // the owners may not be dead after all
	for _, n := range list[:3] {
		b.refuse(b.take(n))
	}
	if got := b.result(); got.Code != core.CodeQuorum || got.Outcome != core.NotWritten {
		t.Errorf("%+v", got)
	}
}

func TestForwardToAFallback(t *testing.T) {
	b := newBench(t, "f", 6)
	m := b.forwardOf()
	m.Key = b.key(false)
	m.Options.Quorum = core.QuorumSloppy
	refused := func() core.Refusal {
		t.Helper()
		if r, ok := b.take("e").Msg.(*core.Refused); ok {
			return r.Why
		}
		return 0
	}
	b.forward(m, 1)
	if why := refused(); why != core.RefusedNotOwner {
		t.Errorf("a forward that takes this node for an owner: %v", why)
	}
	m.Fallback = true
	m.Options.Quorum = core.QuorumStrict
	b.forward(m, 2)
	if why := refused(); why != core.RefusedNotOwner {
		t.Errorf("a strict forward to a fallback: %v", why)
	}
	m.Options.Quorum = core.QuorumSloppy
	m.Value = make([]byte, benchHints)
	b.forward(m, 3)
	if why := refused(); why != core.RefusedHintsFull {
		t.Errorf("a forward that finds no room: %v", why)
	}
	m.Value = []byte("v")
	b.forward(m, 4)
	if owed := b.owed(m.Key); len(owed) != 3 || !owed[0].Data {
		t.Errorf("kept for %+v", owed)
	}
}

// In a transition a new owner may also be the fallback that an old one needs.
func TestOneNodeIsAskedAsOwnerAndAsFallback(t *testing.T) {
	b := newBench(t, "a", 3)
	old := b.Coordinator.view.ReadLayout()
	four := layout(t, 4)
	next, err := old.Plan(2, four.Members(), 3)
	if err != nil {
		t.Fatal(err)
	}
	b.view(old, next)
	var key []byte
	for i := 0; key == nil; i++ {
		k := []byte{'k', byte(i)}
		if p := old.Partition(k); next.Owns("d", p) && next.Owns("a", p) {
			key = k
		}
	}
	b.believe(core.Dead, "b", "c")
	b.submit(core.Request{Op: core.OpPut, Key: key, Value: []byte("v"), Options: core.Options{WriteID: version.WriteID{1}}})
	b.flush()
	apply, hint := b.take("d"), b.take("d")
	if _, ok := apply.Msg.(*core.Apply); !ok {
		t.Fatalf("sent %T first", apply.Msg)
	}
	b.answer(apply, &core.Applied{})
	b.silent() // W=2 is met in the new layout alone
	b.answer(hint, &core.Hinted{})
	if got := b.result(); got.Outcome != core.Written {
		t.Errorf("%+v", got)
	}
}

// Scenario double-counted-fallback: F stands in for B and for C, and must not
// count twice toward W.
func doubleCountedFallback(t *testing.T) string {
	b := newBench(t, "a", 4)
	r := b.put(true)
	r.Options.W = 3
	owners, fallbacks := b.places(r.Key)
	b.believe(core.Dead, owners...)
	b.submit(r)
	b.flush()
	for slices.Contains(b.targets(), fallbacks[0]) {
		b.answer(b.take(fallbacks[0]), &core.Hinted{})
	}
	if len(b.replies) > 0 && b.replies[0].Result.Outcome == core.Written {
		return "two nodes have a write that is acknowledged at W=3"
	}
	return ""
}

func TestScenarioDoubleCountedFallback(t *testing.T) {
	if bad := doubleCountedFallback(t); bad != "" {
		t.Error(bad)
	}
}
