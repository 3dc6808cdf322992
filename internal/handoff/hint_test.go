package handoff

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// fallback is the node d, which keeps hints of keys that a, b and c own.
type fallback struct {
	*bench
	layout *ring.Layout
	peers  []core.Peer
}

func newFallback(t *testing.T) *fallback {
	t.Helper()
	l, err := ring.Form(8, 3, members("a", "b", "c"))
	if err != nil {
		t.Fatal(err)
	}
	f := &fallback{bench: newBench(t, "d"), layout: l}
	f.now.Wall = 100 * time.Hour
	for _, n := range []id.Node{"a", "b", "c"} {
		f.peers = append(f.peers, core.Peer{ID: n, Addr: string(n), Start: 1, Status: core.Alive})
	}
	f.restart()
	return f
}

// restart starts the process anew on what is stored.
func (f *fallback) restart() {
	f.out.Reset()
	f.sent = nil
	f.replica = replica.New(replica.Config{Self: "d", Start: 1, Shard: 0, Shards: 1, MaxHintBytes: 1 << 20}, f.store)
	f.replica.OpenHints(8, &f.out)
	f.Handoff = New(Config{Self: "d", Shard: 0, Shards: 1, W: 2, Seed: 1}, f.replica, new(admission.Gate))
	f.show(f.layout)
}

// show gives a view of the layouts and of the peers as they are.
func (f *fallback) show(live ...*ring.Layout) {
	phase := core.PhaseDone
	if len(live) > 1 {
		phase = core.PhaseCopy
	}
	v := &core.View{Self: "d", Cluster: 1, Layouts: core.LayoutState{Live: live, Phase: phase}, Peers: slices.Clone(f.peers)}
	f.SetView(f.now, v, &f.out)
	f.collect()
}

// becomes changes what is believed of a peer.
func (f *fallback) becomes(n id.Node, status core.Status) {
	for i := range f.peers {
		if f.peers[i].ID == n {
			f.peers[i].Status = status
		}
	}
	f.show(f.layout)
}

// keep keeps a hint, without a look at whether it can be delivered.
func (f *fallback) keep(key []byte, set version.Siblings, owner id.Node) {
	f.t.Helper()
	if _, why := f.replica.Hint(f.now, &core.Hint{Key: key, Set: set, Owner: owner}, false, &f.out); why != 0 {
		f.t.Fatal(why)
	}
	f.collect()
}

// run lets time go by, timer by timer.
func (f *fallback) run(d time.Duration) {
	end := f.now.Mono + d
	for {
		at, ok := f.Next()
		if !ok || at > end {
			break
		}
		f.now.Mono = max(f.now.Mono, at)
		f.Tick(f.now, &f.out)
		f.collect()
	}
	f.now.Mono = end
}

func (f *fallback) key(i int) []byte { return fmt.Appendf(nil, "key-%d", i) }

func (f *fallback) kept() int {
	n := uint64(0)
	for _, p := range f.replica.Hints().Pending {
		n += p.Keys
	}
	return int(n)
}

func applied(core.Envelope) core.Message { return &core.Applied{} }

func TestHintsAreDeliveredInOrderAndThenForgotten(t *testing.T) {
	f := newFallback(t)
	f.becomes("b", core.Dead)
	const keys = 200
	for i := range keys {
		f.keep(f.key(i), setOf("a", "1"), "b")
	}
	f.run(time.Minute)
	if len(f.sent) != 0 {
		t.Fatalf("%d hints are sent to a dead owner", len(f.sent))
	}
	f.becomes("b", core.Alive)
	var order [][]byte
	f.answerAll(func(e core.Envelope) core.Message {
		if len(f.sent) >= hintWindow {
			t.Errorf("%d keys are under way at once", len(f.sent)+1)
		}
		m := e.Msg.(*core.Apply)
		if e.To != "b" || f.layout.Partition(m.Key) != e.Partition || !m.Set.Equal(setOf("a", "1")) {
			t.Errorf("sent %+v", e)
		}
		order = append(order, core.HintKey(m.Key))
		return applied(e)
	})
	for i := 0; i < 10 && f.kept() > 0; i++ { // each pause of no length: the next window
		f.tick(0)
		f.answerAll(func(e core.Envelope) core.Message {
			order = append(order, core.HintKey(e.Msg.(*core.Apply).Key))
			return applied(e)
		})
	}
	if len(order) != keys || !slices.IsSortedFunc(order, bytes.Compare) {
		t.Errorf("%d keys were sent, in order: %v", len(order), slices.IsSortedFunc(order, bytes.Compare))
	}
	if f.kept() != 0 || f.store.Len() != 0 {
		t.Errorf("%d hints and %d keys in the store are left", f.kept(), f.store.Len())
	}
	f.run(2 * time.Second)
	if r := f.last().Hints; r.Delivered != keys || r.Bytes != 0 || r.Stored != keys {
		t.Errorf("reported %+v", r)
	}
}

func TestHintStaysUntilItsOwnerHasAcknowledged(t *testing.T) {
	f := newFallback(t)
	f.keep(f.key(1), setOf("a", "1"), "b")
	f.run(0)
	if len(f.sent) != 1 || f.kept() != 1 {
		t.Fatalf("%d sent, %d kept", len(f.sent), f.kept())
	}
	e := f.sent[0]
	f.run(chunkTimeout)
	if f.kept() != 1 {
		t.Error("a hint is gone that nobody has acknowledged")
	}
	f.sent = nil
	f.Deliver(f.now, &core.Envelope{From: "b", To: "d", Req: e.Req, Reply: true, Msg: &core.Applied{}}, &f.out)
	f.collect() // too late: it is sent again, which is harmless
	f.run(maxHintPause)
	f.answerAll(applied)
	if f.kept() != 0 {
		t.Errorf("%d kept", f.kept())
	}
}

// Scenario stale-hint-ack: an acknowledgement for an older set must not remove
// a newer hint.
func staleAcknowledgement(t *testing.T) string {
	f := newFallback(t)
	f.keep(f.key(1), setOf("a", "1"), "b")
	f.run(0)
	f.keep(f.key(1), setOf("c", "2"), "b")
	e := f.sent[0]
	f.sent = nil
	f.Deliver(f.now, &core.Envelope{From: "b", To: "d", Req: e.Req, Reply: true, Msg: &core.Applied{}}, &f.out)
	f.collect()
	f.run(2 * settlePause)
	seen := 0
	f.answerAll(func(e core.Envelope) core.Message {
		seen = len(e.Msg.(*core.Apply).Set.Versions)
		return applied(e)
	})
	if seen != 2 || f.kept() != 0 {
		return fmt.Sprintf("the owner was sent %d versions of 2; %d hints are left", seen, f.kept())
	}
	return ""
}

// A hint that is removed when it is sent is lost with the message.
func lostDelivery(t *testing.T) string {
	f := newFallback(t)
	f.keep(f.key(1), setOf("a", "1"), "b")
	f.run(0)
	f.sent = nil
	f.run(time.Minute)
	if len(f.sent) == 0 {
		return "a hint whose message was lost is never sent again"
	}
	return ""
}

func hintScenarios() []coretest.Scenario {
	return []coretest.Scenario{
		{Name: "stale-hint-ack", Bug: bug.StaleHintAck, Run: staleAcknowledgement},
		{Name: "lost-delivery", Bug: bug.HintWithoutAck, Run: lostDelivery},
	}
}

func TestHintScenarios(t *testing.T) { coretest.Hold(t, hintScenarios()) }

// Of two owners of a hint one is dead: the other gets it, and what is kept is for
// the dead one alone.
func TestOneOwnerOfAHintCanTakeIt(t *testing.T) {
	f := newFallback(t)
	f.becomes("b", core.Dead)
	f.keep(f.key(1), setOf("a", "1"), "b")
	f.keep(f.key(1), setOf("a", "1"), "c")
	f.run(time.Second)
	f.answerAll(func(e core.Envelope) core.Message {
		if e.To != "c" {
			t.Errorf("sent to %s", e.To)
		}
		return applied(e)
	})
	if p := f.replica.Hints().Pending; len(p) != 1 || p[0].Target != "b" {
		t.Errorf("left is %v", p)
	}
	if set, _ := f.replica.ReadHint(f.key(1), &f.out); !set.Equal(setOf("a", "1")) {
		t.Errorf("kept is %v", set.Versions)
	}
}

// What is no answer to a delivery under way settles nothing.
func TestStrangeAnswersSettleNoHint(t *testing.T) {
	f := newFallback(t)
	f.keep(f.key(1), setOf("a", "1"), "b")
	f.run(0)
	e := f.sent[0]
	good := core.Envelope{From: "b", To: "d", Req: e.Req, Reply: true, Msg: &core.Applied{}}
	for name, spoil := range map[string]func(e *core.Envelope){
		"from another node":  func(e *core.Envelope) { e.From = "c" },
		"a hint's answer":    func(e *core.Envelope) { e.Msg = &core.Hinted{} },
		"of another slot":    func(e *core.Envelope) { e.Req = f.reqID(hintSlots+1, f.hints.generation) },
		"of another window":  func(e *core.Envelope) { e.Req = f.reqID(hintSlots, f.hints.generation+1) },
		"for another's pull": func(e *core.Envelope) { e.Req = f.reqID(0, f.generation) },
	} {
		bad := good
		spoil(&bad)
		f.Deliver(f.now, &bad, &f.out)
		f.collect()
		if f.kept() != 1 {
			t.Fatalf("an answer %s settles the hint", name)
		}
	}
	f.SendFailed(f.now, &core.Envelope{To: "c", Req: e.Req}, &f.out)
	f.Deliver(f.now, &good, &f.out)
	f.collect()
	if f.kept() != 0 {
		t.Error("the right answer does not settle it")
	}
}

func TestOwnerThatDoesNotAnswerIsLeftAloneForLongerAndLonger(t *testing.T) {
	f := newFallback(t)
	f.keep(f.key(1), setOf("a", "1"), "b")
	f.keep(f.key(1), setOf("a", "1"), "c")
	var tried []time.Duration
	for range 9 {
		f.run(0)
		for len(f.sent) == 0 {
			f.run(100 * ms)
		}
		for _, e := range f.sent {
			if e.To == "b" {
				tried = append(tried, f.now.Mono)
				f.SendFailed(f.now, &e, &f.out)
			} else {
				f.Deliver(f.now, &core.Envelope{From: e.To, To: "d", Req: e.Req, Reply: true, Msg: &core.Applied{}}, &f.out)
			}
		}
		f.sent = nil
		f.collect()
	}
	if p := f.replica.Hints().Pending; len(p) != 1 || p[0].Target != "b" {
		t.Errorf("left is %v", p)
	}
	for i := 2; i < len(tried); i++ {
		if last, pause := tried[i-1]-tried[i-2], tried[i]-tried[i-1]; pause < last || pause > maxHintPause+settlePause {
			t.Errorf("pauses of %v and %v", last, pause)
		}
	}
	// Its return ends all pauses, whatever shows it.
	for name, change := range map[string]func(p *core.Peer){
		"start":   func(p *core.Peer) { p.Start++ },
		"address": func(p *core.Peer) { p.Addr += "'" },
	} {
		change(&f.peers[1])
		f.show(f.layout)
		f.run(0)
		if len(f.sent) != 1 {
			t.Errorf("with another %s %d hints are sent at once", name, len(f.sent))
		}
		f.SendFailed(f.now, &f.sent[0], &f.out)
		f.sent = nil
		f.collect()
	}
}

const ms = time.Millisecond

func TestDeliveryGoesOnAfterARestart(t *testing.T) {
	f := newFallback(t)
	for i := range 100 {
		f.keep(f.key(i), setOf("a", "1"), "b")
	}
	f.run(0)
	acknowledged := 0
	f.answerAll(func(e core.Envelope) core.Message {
		if acknowledged++; acknowledged > 30 {
			return nil
		}
		return applied(e)
	})
	if f.kept() != 70 {
		t.Fatalf("%d kept", f.kept())
	}
	f.restart()
	for range 5 {
		f.run(0)
		f.answerAll(applied)
	}
	if f.kept() != 0 || f.store.Len() != 0 {
		t.Errorf("%d hints and %d keys in the store are left", f.kept(), f.store.Len())
	}
}

// What was kept for an owner that has lost its partition is for those who have
// it now, this node perhaps among them.
func TestHintsFollowTheirPartition(t *testing.T) {
	f := newFallback(t)
	next, err := f.layout.Plan(2, members("b", "c", "d", "e"), 3)
	if err != nil {
		t.Fatal(err)
	}
	f.peers = append(f.peers, core.Peer{ID: "e", Addr: "e", Start: 1, Status: core.Alive})
	f.becomes("a", core.Dead)
	var here []byte
	for i := range 40 {
		f.keep(f.key(i), setOf("c", "1"), "a")
		if next.Owns("d", next.Partition(f.key(i))) {
			here = f.key(i)
		}
	}
	f.run(time.Second)
	if len(f.sent) != 0 {
		t.Fatalf("sent to %v", f.sent[0].To)
	}
	f.show(next)
	got := map[string][]id.Node{}
	for range 20 {
		f.run(time.Second)
		f.answerAll(func(e core.Envelope) core.Message {
			if m, ok := e.Msg.(*core.Apply); ok {
				got[string(m.Key)] = append(got[string(m.Key)], e.To)
				return applied(e)
			}
			return nil
		})
	}
	for i := range 40 {
		p := next.Partition(f.key(i))
		for _, owner := range next.Owners(p) {
			if owner != "d" && !slices.Contains(got[string(f.key(i))], owner) {
				t.Errorf("%s is not sent to %s", f.key(i), owner)
			}
		}
	}
	if f.kept() != 0 {
		t.Errorf("%d kept", f.kept())
	}
	if set, _ := f.replica.Read(here, &f.out); !set.Equal(setOf("c", "1")) {
		t.Errorf("this node owns %s now and has %v of it", here, set)
	}
}

// What this node takes for itself after the partition has gone on to others is
// pushed to those, and not left here.
func TestHintTakenTooLateIsPushedOn(t *testing.T) {
	f := newFallback(t)
	next, err := f.layout.Plan(2, members("b", "c", "d"), 3)
	if err != nil {
		t.Fatal(err)
	}
	f.becomes("a", core.Dead)
	f.keep(f.key(1), setOf("c", "1"), "a")
	f.show(next)
	f.run(0)
	acknowledged := f.sent
	if len(acknowledged) != 2 {
		t.Fatalf("%d messages; want one for each of the other owners", len(acknowledged))
	}
	f.sent = nil
	last, err := next.Plan(3, members("b", "c", "e"), 3)
	if err != nil {
		t.Fatal(err)
	}
	f.peers = append(f.peers, core.Peer{ID: "e", Addr: "e", Start: 1, Status: core.Alive})
	f.show(last)
	f.sent = append(f.sent, acknowledged...)
	var pushed []id.Node
	for range 5 {
		f.answerAll(func(e core.Envelope) core.Message {
			pushed = append(pushed, e.To)
			return applied(e)
		})
		f.run(time.Second)
	}
	if f.kept() != 0 || f.store.Len() != 0 || !slices.Contains(pushed, "e") {
		t.Errorf("%d hints and %d keys stay; sent to %v", f.kept(), f.store.Len(), pushed)
	}
}

// A hint for the node that keeps it, which no correct peer asks for, goes where
// its key belongs.
func TestHintForTheNodeThatKeepsIt(t *testing.T) {
	f := newFallback(t)
	f.keep(f.key(1), setOf("c", "1"), "d")
	var pushed []id.Node
	for range 5 {
		f.run(time.Second)
		f.answerAll(func(e core.Envelope) core.Message {
			pushed = append(pushed, e.To)
			return applied(e)
		})
	}
	slices.Sort(pushed)
	if f.kept() != 0 || f.store.Len() != 0 || !slices.Equal(pushed, []id.Node{"a", "b", "c"}) {
		t.Errorf("%d hints and %d keys stay; sent to %v", f.kept(), f.store.Len(), pushed)
	}
}

func TestMarkersAreDeliveredAsTheCurrentCopyAndExpire(t *testing.T) {
	f := newFallback(t)
	key := f.key(1)
	f.becomes("b", core.Dead)
	f.replica.Apply(key, setOf("a", "1"), &f.out)
	f.replica.Mark(f.now, key, []id.Node{"b"}, &f.out)
	f.replica.Apply(key, setOf("c", "2"), &f.out)
	f.collect()
	f.becomes("b", core.Alive)
	f.run(0)
	f.answerAll(func(e core.Envelope) core.Message {
		if n := len(e.Msg.(*core.Apply).Set.Versions); n != 2 {
			t.Errorf("sent %d versions of 2", n)
		}
		return applied(e)
	})
	if f.kept() != 0 {
		t.Fatalf("%d kept", f.kept())
	}

	f.becomes("b", core.Dead)
	f.replica.Mark(f.now, key, []id.Node{"b"}, &f.out)
	f.collect()
	f.now.Wall += MarkerAge
	f.run(2 * sweepEach)
	if f.kept() != 0 || f.replica.Hints().Expired != 1 {
		t.Errorf("%d kept, %+v", f.kept(), f.replica.Hints())
	}
	if p, ok := f.replica.TakeDirty(); !ok || p != f.layout.Partition(key) {
		t.Errorf("partition %d is dirty: %v", p, ok)
	}
}

// One that refuses is tried again later, and holds up nobody else.
func TestRefusedHintIsTriedAgain(t *testing.T) {
	f := newFallback(t)
	f.keep(f.key(1), setOf("a", "1"), "b")
	f.run(0)
	f.answerAll(func(core.Envelope) core.Message { return &core.Refused{Why: core.RefusedOverloaded} })
	if f.kept() != 1 {
		t.Fatal("a refusal settles a hint")
	}
	f.run(time.Second)
	f.answerAll(applied)
	if f.kept() != 0 {
		t.Errorf("%d kept", f.kept())
	}
}
