package coordinator

import (
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// forward hands the coordinator a forwarded write of node e.
func (b *bench) forward(m core.Forward, attempt uint32) {
	b.forwardStale(m, attempt, false)
}

func (b *bench) forwardStale(m core.Forward, attempt uint32, stale bool) {
	m.Attempt = attempt
	l := b.Coordinator.view.ReadLayout()
	b.Forward(b.now, &core.Envelope{
		From: "e", To: b.config.Self, Req: 42, Partition: l.Partition(m.Key),
		Stamp: b.Coordinator.view.Stamp(), Deadline: b.now.Mono + 300*ms, Msg: &m,
	}, stale, &b.out)
	b.collect()
}

func (b *bench) forwardOf() core.Forward {
	return core.Forward{
		Start: 1, Limit: b.now.Wall + forwardLimit, Timeout: time.Second,
		Op: core.OpPut, Key: b.key(true), Value: []byte("v"), Options: core.Options{WriteID: version.WriteID{7}},
	}
}

func TestNonOwnerForwardsToAnOwner(t *testing.T) {
	b := newBench(t, "f", 6)
	r := b.put(false)
	b.submit(r)
	if len(b.sent) != 1 {
		t.Fatalf("sent to %v, want one owner", b.targets())
	}
	e := b.take(b.sent[0].To)
	m := e.Msg.(*core.Forward)
	if m.Options.WriteID != r.Options.WriteID || m.Start != 1 || e.Deadline != b.now.Mono+300*ms {
		t.Errorf("forwarded %+v, deadline %v", m, e.Deadline)
	}
	b.answer(e, &core.Forwarded{Result: core.Result{Code: core.CodeOK, Outcome: core.Written, Acknowledged: 2, Required: 2}})
	if got := b.result(); got.Outcome != core.Written {
		t.Errorf("%+v", got)
	}
}

func TestForwardMovesOnAtOnceWhenItWasNotSent(t *testing.T) {
	b := newBench(t, "f", 6)
	r := b.put(false)
	r.Options.Quorum = core.QuorumStrict // or this node would stand in for them
	b.submit(r)
	asked := map[id.Node]bool{}
	for range 3 {
		e := b.take(b.sent[0].To)
		if asked[e.To] {
			t.Fatalf("asked %s twice", e.To)
		}
		asked[e.To] = true
		b.refuse(e)
	}
	if got := b.result(); got.Code != core.CodeQuorum || got.Outcome != core.NotWritten || got.Required != 2 {
		t.Errorf("%+v", got)
	}
}

func TestForwardUnansweredIsUnknown(t *testing.T) {
	b := newBench(t, "f", 6)
	b.submit(b.put(false))
	first := b.take(b.sent[0].To)
	b.pass(300 * ms)
	second := b.take(b.sent[0].To)
	if second.To == first.To || second.Msg.(*core.Forward).Options != first.Msg.(*core.Forward).Options {
		t.Errorf("second try: %s with %+v", second.To, second.Msg)
	}
	b.answer(second, &core.Forwarded{Result: core.Result{Code: core.CodeQuorum, Outcome: core.NotWritten, Required: 2}})
	if got := b.result(); got.Outcome != core.Unknown {
		t.Errorf("the first owner may have executed it, yet: %+v", got)
	}
	r := b.put(false)
	r.Options.W = 4
	b.submit(r) // in the same slot
	if got := b.result(); got.Outcome != core.NotWritten {
		t.Errorf("nobody has got the next one, yet: %+v", got)
	}
}

// A copy of a forward that comes late, to another start or past its limit, is
// refused by a receiver that has forgotten whether it has executed the first.
func TestForwardRefusedByOneThatForgetsIsUnknown(t *testing.T) {
	for _, c := range []struct {
		why  core.Refusal
		want core.Outcome
	}{
		{core.RefusedStart, core.Unknown},
		{core.RefusedExpired, core.Unknown},
		{core.RefusedInvalid, core.NotWritten},
	} {
		b := newBench(t, "f", 6)
		r := b.put(false)
		r.Options.Quorum = core.QuorumStrict
		b.submit(r)
		for range 3 {
			b.answer(b.take(b.sent[0].To), &core.Refused{Why: c.why})
		}
		if got := b.result(); got.Code != core.CodeQuorum || got.Outcome != c.want {
			t.Errorf("refused as %v: %+v; want %v", c.why, got, c.want)
		}
	}
}

// Overloaded says that nothing was done. Where that is not known it is not said,
// whoever says so last.
func TestOverloadedIsNotWritten(t *testing.T) {
	overloaded := []core.Message{
		&core.Refused{Why: core.RefusedOverloaded},
		&core.Forwarded{Result: core.Result{Code: core.CodeOverloaded, Outcome: core.NotWritten}},
	}
	for _, last := range overloaded {
		for _, first := range []core.Refusal{core.RefusedInvalid, core.RefusedStart} {
			b := newBench(t, "f", 6)
			r := b.put(false)
			r.Options.Quorum = core.QuorumStrict
			b.submit(r)
			b.answer(b.take(b.sent[0].To), &core.Refused{Why: first})
			b.answer(b.take(b.sent[0].To), &core.Refused{Why: core.RefusedOverloaded})
			b.answer(b.take(b.sent[0].To), last)
			want := core.Result{Code: core.CodeOverloaded, Outcome: core.NotWritten}
			if first == core.RefusedStart {
				want = core.Result{Code: core.CodeQuorum, Outcome: core.Unknown}
			}
			if got := b.result(); got.Code != want.Code || got.Outcome != want.Outcome || want.Outcome == core.Unknown && got.Required != 2 {
				t.Errorf("%v, then %+v: %+v; want %v, %v", first, last, got, want.Code, want.Outcome)
			}
			if n := b.counters().Requests[core.OpPut][want.Code]; n != 1 {
				t.Errorf("%d requests are counted as %v", n, want.Code)
			}
		}
	}
}

// A forward's copy reaches its receiver after a restart, when the first one has
// been executed: the receiver's next start must not get the write as well.
func TestForwardRefusedByALaterStartGoesToAnotherOwner(t *testing.T) {
	b := newBench(t, "f", 6)
	r := b.put(false)
	r.Options.Quorum = core.QuorumStrict
	b.submit(r)
	first := b.take(b.sent[0].To)
	b.answer(first, &core.Refused{Why: core.RefusedStart})
	second := b.take(b.sent[0].To)
	if second.To == first.To || second.Msg.(*core.Forward).Options.WriteID != r.Options.WriteID {
		t.Errorf("then sent %+v to %s", second.Msg, second.To)
	}
	b.pass(250 * ms)
	if len(b.sent) != 0 {
		t.Errorf("sent to %v while an owner has time to answer", b.targets())
	}
	b.answer(second, &core.Refused{Why: core.RefusedStart})
	b.answer(b.take(b.sent[0].To), &core.Refused{Why: core.RefusedStart})
	if got := b.result(); got.Code != core.CodeQuorum || got.Outcome != core.Unknown {
		t.Errorf("refused by the next start of every owner: %+v", got)
	}
}

func TestForwardAnsweredLateIsTaken(t *testing.T) {
	b := newBench(t, "f", 6)
	b.submit(b.put(false))
	first := b.take(b.sent[0].To)
	b.pass(400 * ms)
	b.answer(first, &core.Forwarded{Result: core.Result{Code: core.CodeOK, Outcome: core.Written}})
	if got := b.result(); got.Outcome != core.Written {
		t.Errorf("%+v", got)
	}
}

func TestOverwriteIsForwardedToTheFirstOwner(t *testing.T) {
	b := newBench(t, "f", 6)
	r := b.put(false)
	r.Options.Overwrite = true
	l := b.Coordinator.view.ReadLayout()
	owners := l.Owners(l.Partition(r.Key))
	v := *b.Coordinator.view
	v.Peers = nil
	for _, m := range l.Members() {
		if m.ID != "f" {
			v.Peers = append(v.Peers, core.Peer{ID: m.ID, Start: 1, Status: core.Alive})
		}
	}
	for i := range v.Peers { // the last owner is known to be fast
		if v.Peers[i].ID == owners[2] {
			v.Peers[i].P99 = ms
		}
	}
	b.SetView(b.now, &v, &b.out)
	b.submit(r)
	b.take(owners[0])
	r = b.put(false)
	b.submit(r)
	b.take(owners[2])
}

func TestForwardIsExecutedOnce(t *testing.T) {
	b := newBench(t, "a", 3)
	m := b.forwardOf()
	b.forward(m, 1)
	b.forward(m, 1) // a duplicate while it is under way
	b.forward(m, 2)
	b.flush()
	apply := b.take("b")
	if n := len(apply.Msg.(*core.Apply).Set.Versions); n != 1 {
		t.Fatalf("minted %d times", n)
	}
	b.answer(apply, &core.Applied{})
	if r := b.take("e").Msg.(*core.Forwarded).Result; r.Outcome != core.Written {
		t.Errorf("%+v", r)
	}
	b.forward(m, 2) // afterwards it gets the same answer
	if r := b.take("e").Msg.(*core.Forwarded).Result; r.Outcome != core.Written {
		t.Errorf("%+v", r)
	}
	if set, _ := b.replica.Read(m.Key, &b.out); len(set.Versions) != 1 {
		t.Errorf("%d versions stored", len(set.Versions))
	}
}

// Scenario forward-twice: the value is deleted between a forward and its copy.
func TestForwardCopyAfterADeleteBringsNothingBack(t *testing.T) {
	if bad := forwardTwice(t); bad != "" {
		t.Error(bad)
	}
}

// forwardTwice says how the scenario ends badly, and nothing where it does not.
func forwardTwice(t *testing.T) string {
	t.Helper()
	b := newBench(t, "a", 3)
	m := b.forwardOf()
	b.forward(m, 1)
	b.flush()
	b.answer(b.take("b"), &core.Applied{})
	seen := b.take("e").Msg.(*core.Forwarded).Result.Context
	b.submit(core.Request{Op: core.OpDelete, Key: m.Key, Context: seen, HasContext: true, Options: core.Options{WriteID: version.WriteID{99}}})
	b.flush()
	b.forward(m, 1)
	if set, _ := b.replica.Read(m.Key, &b.out); len(set.Live()) != 0 {
		return "the copy of the forward brought the value back"
	}
	return ""
}

func TestForwardIsRefusedAndThenNeverExecuted(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(b *bench, m *core.Forward)
		stale  bool
		want   core.Refusal
	}{
		{"to an earlier start", func(_ *bench, m *core.Forward) { m.Start = 2 }, false, core.RefusedStart},
		{"past its limit", func(b *bench, m *core.Forward) { m.Limit = b.now.Wall - 1 }, false, core.RefusedExpired},
		{"far in the future", func(b *bench, m *core.Forward) { m.Limit = b.now.Wall + time.Hour }, false, core.RefusedExpired},
		{"stale", func(*bench, *core.Forward) {}, true, core.RefusedStale},
		{"not owned", func(b *bench, m *core.Forward) { m.Key = b.key(false) }, false, core.RefusedNotOwner},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, "a", 6)
			m := b.forwardOf()
			c.change(b, &m)
			b.forwardStale(m, 3, c.stale)
			if got := b.take("e").Msg.(*core.Refused).Why; got != c.want {
				t.Fatalf("refused as %v, want %v", got, c.want)
			}
			b.forward(m, 3)
			b.forward(m, 1)
			if len(b.out.Writes) != 0 {
				t.Error("a copy of a refused try was executed")
			}
		})
	}
}

func TestRefusedForwardMayBeTriedAnew(t *testing.T) {
	b := newBench(t, "a", 3)
	m := b.forwardOf()
	b.forwardStale(m, 1, true)
	b.forward(m, 2)
	if len(b.out.Writes) != 1 {
		t.Error("the next try was not executed")
	}
}

// A try is remembered until its own limit, and not until that of the first one.
func TestForwardIsRememberedUntilItsLatestLimit(t *testing.T) {
	b := newBench(t, "a", 3)
	m := b.forwardOf()
	b.forwardStale(m, 1, true)
	b.take("e")
	b.now.Wall += forwardLimit - ms
	m.Limit = b.now.Wall + forwardLimit
	b.forward(m, 2)
	b.flush()
	b.answer(b.take("b"), &core.Applied{})
	b.take("e")
	b.now.Wall += 2 * ms // past the limit of the first
	b.forward(m, 2)
	if _, ok := b.take("e").Msg.(*core.Forwarded); !ok || len(b.out.Writes) > 0 {
		t.Error("a copy is executed as well")
	}
	b.now.Wall += forwardLimit
	m.Limit = b.now.Wall + forwardLimit
	m.Options.WriteID = version.WriteID{8}
	b.forward(m, 3)
	if len(b.forwards.entries) != 1 || len(b.forwards.order) != 1 {
		t.Errorf("%d forwards remembered", len(b.forwards.entries))
	}
}

// A write that has failed may have been minted, and is not executed again by a later
// try: what it minted may have been replaced, and would come back.
func TestFailedForwardIsNotExecutedAgain(t *testing.T) {
	b := newBench(t, "a", 3)
	m := b.forwardOf()
	m.Options.Quorum = core.QuorumStrict
	b.forward(m, 1)
	b.flush()
	b.pass(m.Timeout)
	b.sent = slices.DeleteFunc(b.sent, func(e core.Envelope) bool { return e.To != "e" })
	for attempt := range uint32(3) {
		if r := b.take("e").Msg.(*core.Forwarded).Result; r.Outcome != core.Unknown || len(b.sent) > 0 {
			t.Fatalf("answered %+v, and sent to %v", r, b.targets())
		}
		b.forward(m, attempt)
	}
	if n := b.counters().Executed; n != 1 {
		t.Errorf("it is executed %d times", n)
	}
}

func TestForwardsAreForgottenAfterTheirLimit(t *testing.T) {
	b := newBench(t, "a", 3)
	b.forward(b.forwardOf(), 1)
	if len(b.forwards.entries) != 1 {
		t.Fatal("not remembered")
	}
	b.now.Wall += forwardLimit + 1
	m := b.forwardOf()
	m.Options.WriteID = version.WriteID{8}
	b.forward(m, 1)
	if len(b.forwards.entries) != 1 || len(b.forwards.order) != 1 {
		t.Errorf("%d forwards remembered", len(b.forwards.entries))
	}
	// A wall clock that goes back does not reopen the window.
	b.now.Wall -= time.Minute
	m = b.forwardOf()
	m.Options.WriteID = version.WriteID{10}
	b.forward(m, 1)
	b.take("b")
	if got := b.take("e"); got.Msg.(*core.Refused).Why != core.RefusedExpired {
		t.Errorf("%+v", got.Msg)
	}
}

// refusedByAll forwards a strict write that the first owner refuses as stale, and the
// others for a reason, until the first is asked again. It returns that owner, and what
// has a copy of its refusal come.
func (b *bench) refusedByAll(r core.Request, why core.Refusal) (owner id.Node, copied func()) {
	r.Options.Quorum = core.QuorumStrict
	owners, _ := b.places(r.Key)
	b.submit(r)
	first := b.take(owners[0])
	refuse := func() { b.answer(first, &core.Refused{Why: core.RefusedStale}) }
	refuse()
	for _, n := range owners[1:] {
		b.answer(b.take(n), &core.Refused{Why: why})
	}
	b.pass(staleRetry)
	return owners[0], refuse
}

// A refusal may come twice. The copy must not be taken for the refusal of the try
// that followed, which may be executed.
func TestCopyOfARefusalLeavesTheOutcomeUnknown(t *testing.T) {
	b := newBench(t, "f", 6)
	r := b.put(false)
	r.Deadline = b.now.Mono + 2*staleRetry
	owner, copied := b.refusedByAll(r, core.RefusedStorageFull)
	b.take(owner) // is executed, and the answer is lost
	copied()
	b.pass(staleRetry)
	if got := b.result(); got.Outcome != core.Unknown {
		t.Errorf("%+v", got)
	}
}

// A try that provably never left is as if it had not been, and says nothing of the
// one before it.
func TestForwardThatNeverLeftWasNotExecuted(t *testing.T) {
	for _, c := range []struct {
		copied bool // the refusal is, so that the second try may be executed
		want   core.Outcome
	}{{false, core.NotWritten}, {true, core.Unknown}} {
		b := newBench(t, "f", 6)
		owner, copied := b.refusedByAll(b.put(false), core.RefusedInvalid)
		if c.copied {
			b.take(owner)
			copied()
			b.pass(staleRetry)
		}
		b.refuse(b.take(owner))
		if got := b.result(); got.Code != core.CodeQuorum || got.Outcome != c.want {
			t.Errorf("the refusal is copied, %t: %+v; want %v", c.copied, got, c.want)
		}
	}
}

// An owner that goes by newer layouts is not asked again while another one has
// time to answer: both would mint the write.
func TestStaleForwardWaitsForTheOwnerThatIsAsked(t *testing.T) {
	b := newBench(t, "f", 6)
	r := b.put(false)
	owners, _ := b.places(r.Key)
	b.submit(r)
	b.answer(b.take(owners[0]), &core.Refused{Why: core.RefusedStale})
	b.take(owners[1])
	b.pass(2 * staleRetry)
	old := b.Coordinator.view.ReadLayout()
	next, err := old.Plan(2, old.Members(), 3)
	if err != nil {
		t.Fatal(err)
	}
	b.view(old, next)
	if len(b.sent) != 0 {
		t.Fatalf("%v is asked beside %s", b.targets(), owners[1])
	}
	b.pass(300 * ms)
	if again := b.take(owners[0]); again.Stamp.Layout.Number != 2 {
		t.Errorf("asked again under %v", again.Stamp)
	}
}

// A client that repeats a write which was refused is executed: to its receiver it
// is no copy of what was refused.
func TestForwardOfARepeatedWriteIsNoCopy(t *testing.T) {
	b := newBench(t, "f", 6)
	r := b.put(false)
	r.Options.Quorum = core.QuorumStrict
	var refused uint32
	for range 2 {
		b.submit(r)
		for range 3 {
			e := b.take(b.sent[0].To)
			m := e.Msg.(*core.Forward)
			if m.Attempt <= refused {
				t.Errorf("a try has the number %d, after the one of %d was refused", m.Attempt, refused)
			}
			refused = m.Attempt
			b.answer(e, &core.Refused{Why: core.RefusedOverloaded})
		}
		if got := b.result(); got.Code != core.CodeOverloaded || got.Outcome != core.NotWritten {
			t.Errorf("%+v", got)
		}
	}
}

// A forward of a node whose clock is far ahead is not remembered for as long as
// that: neither it nor what came after it would be forgotten before.
func TestForwardsOfAClockThatIsAheadAreForgotten(t *testing.T) {
	b := newBench(t, "a", 3)
	m := b.forwardOf()
	m.Limit = b.now.Wall + 24*time.Hour
	b.forward(m, 1)
	if got := b.take("e").Msg.(*core.Refused).Why; got != core.RefusedExpired {
		t.Fatalf("refused as %v", got)
	}
	for i := range byte(3) {
		m := b.forwardOf()
		m.Options.WriteID = version.WriteID{100 + i}
		b.forward(m, 1)
		b.now.Wall += 3 * forwardLimit
	}
	if len(b.forwards.entries) != 1 || len(b.forwards.order) != 1 {
		t.Errorf("%d forwards remembered, want the latest", len(b.forwards.entries))
	}
}
