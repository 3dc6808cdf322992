package coordinator

import (
	"fmt"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/quorum"
	"github.com/dynamo-kv/dynamo/internal/version"
)

func (b *bench) counters() (c core.Counters) {
	b.Count(&c)
	return c
}

// wantCounts fails unless exactly these requests and quorums were counted.
func (b *bench) wantCounts(requests map[core.Op]map[core.Code]uint64, quorums map[core.QuorumKind]map[core.QuorumResult]uint64) {
	b.t.Helper()
	c := b.counters()
	for op := range core.Op(core.Ops) {
		for code := range core.Code(core.Codes) {
			if got, want := c.Requests[op][code], requests[op][code]; got != want {
				b.t.Errorf("%d requests to %v ended with %v; want %d", got, op, code, want)
			}
		}
	}
	for kind := range core.QuorumKind(core.QuorumKinds) {
		for result := range core.QuorumResult(core.QuorumResults) {
			if got, want := c.Quorums[kind][result], quorums[kind][result]; got != want {
				b.t.Errorf("%d %v quorums were %v; want %d", got, kind, result, want)
			}
		}
	}
}

type (
	codes   = map[core.Code]uint64
	results = map[core.QuorumResult]uint64
)

// Each request is counted once, by its first answer, and so is each quorum,
// whatever replicas answer after it.
func TestRequestsAndQuorumsAreCountedOnce(t *testing.T) {
	b := newBench(t, "a", 3)
	put := b.put(true)
	b.submit(put)
	b.flush()
	b.answer(b.take("b"), &core.Applied{})
	b.answer(b.take("c"), &core.Applied{}) // beyond W
	b.get(put.Key, core.Options{})
	b.answer(b.read(), &core.ReadReply{})
	b.get([]byte("nothing"), core.Options{R: 1})
	b.submit(core.Request{Op: core.OpDelete, Key: put.Key, Options: core.Options{W: 4}}) // above the owners
	b.wantCounts(map[core.Op]map[core.Code]uint64{
		core.OpPut:    codes{core.CodeOK: 1},
		core.OpGet:    codes{core.CodeOK: 1, core.CodeNotFound: 1},
		core.OpDelete: codes{core.CodeQuorum: 1},
	}, map[core.QuorumKind]map[core.QuorumResult]uint64{
		core.QuorumWrite: {core.QuorumMet: 1},
		core.QuorumRead:  {core.QuorumMet: 2},
	})
}

func TestQuorumsThatAreNotMet(t *testing.T) {
	b := newBench(t, "a", 3)
	strict := core.Options{Quorum: core.QuorumStrict, R: 3}
	b.get(b.key(true), strict)
	for range 2 {
		b.answer(b.read(), &core.Refused{Why: core.RefusedInvalid})
	}
	if r := b.result(); r.Code != core.CodeQuorum {
		t.Fatalf("%+v", r)
	}
	// Nobody answers, and nobody has been given up yet.
	soon := b.now.Mono + b.config.PeerTimeout/2
	b.submit(core.Request{Op: core.OpGet, Key: b.key(true), Options: strict, Deadline: soon})
	put := b.put(true)
	put.Options.Quorum, put.Deadline = core.QuorumStrict, soon
	b.submit(put)
	b.pass(b.config.PeerTimeout)
	b.wantCounts(map[core.Op]map[core.Code]uint64{
		core.OpGet: codes{core.CodeQuorum: 1, core.CodeTimeout: 1},
		core.OpPut: codes{core.CodeTimeout: 1},
	}, map[core.QuorumKind]map[core.QuorumResult]uint64{
		core.QuorumRead:  {core.QuorumLost: 1, core.QuorumExpired: 1},
		core.QuorumWrite: results{core.QuorumExpired: 1},
	})
}

// A forwarded write is the request of the node that was asked, and the quorum
// of the one that runs it.
func TestForwardsAreCountedOnBothSides(t *testing.T) {
	b := newBench(t, "f", 6)
	b.submit(b.put(false))
	b.answer(b.take(b.sent[0].To), &core.Forwarded{Result: core.Result{Code: core.CodeOK, Outcome: core.Written}})
	b.wantCounts(map[core.Op]map[core.Code]uint64{core.OpPut: {core.CodeOK: 1}}, nil)
	if c := b.counters(); c.Forwarded != 1 || c.Executed != 0 {
		t.Errorf("%d forwarded, %d executed", c.Forwarded, c.Executed)
	}
	other := newBench(t, "a", 3)
	other.forward(other.forwardOf(), 1)
	other.forward(other.forwardOf(), 1) // a copy
	other.flush()
	other.answer(other.take("b"), &core.Applied{})
	other.wantCounts(nil, map[core.QuorumKind]map[core.QuorumResult]uint64{core.QuorumWrite: {core.QuorumMet: 1}})
	if c := other.counters(); c.Forwarded != 0 || c.Executed != 1 {
		t.Errorf("%d forwarded, %d executed", c.Forwarded, c.Executed)
	}
}

func TestDivergenceAndHedgesAreCounted(t *testing.T) {
	b := newBench(t, "d", 6)
	one, other := versionOf("x", 1, version.Clock{}, false), versionOf("y", 2, version.Clock{}, false)
	gone := versionOf("z", 3, version.Clock{}, true)
	for _, answers := range [][2]version.Siblings{{one, one}, {one, gone}, {one, other}} {
		b.get(b.key(false), core.Options{})
		b.answer(b.read(), &core.ReadReply{Set: answers[0]})
		b.answer(b.read(), &core.ReadReply{Set: answers[1]})
	}
	if c := b.counters(); c.Divergent != 1 || c.Hedges != 0 {
		t.Errorf("%d reads diverged, %d hedges; want 1 and 0", c.Divergent, c.Hedges)
	}
	b.get(b.key(false), core.Options{})
	b.pass(unknownP95)
	if c := b.counters(); c.Hedges != 1 {
		t.Errorf("%d hedges; want 1", c.Hedges)
	}
}

func TestFallbacksInAQuorumAreCounted(t *testing.T) {
	b := newBench(t, "a", 6)
	put := b.put(true)
	owners, fallbacks := b.places(put.Key)
	dead := owners[0]
	if dead == "a" {
		dead = owners[1]
	}
	b.believe(core.Dead, dead)
	b.submit(put)
	b.answer(b.take(fallbacks[0]), &core.Hinted{})
	b.flush()
	b.result()
	if c := b.counters(); c.Fallbacks[core.QuorumWrite] != 1 || c.Quorums[core.QuorumWrite][core.QuorumMet] != 1 {
		t.Errorf("fallbacks %v, quorums %v", c.Fallbacks, c.Quorums)
	}
}

// A repair has failed when its owner refuses it, could not be sent it, or says
// nothing. One that a blocking read did not need any more has not.
func TestFailedRepairsAreCounted(t *testing.T) {
	set := versionOf("x", 1, version.Clock{}, false)
	for name, end := range map[string]func(*bench, core.Envelope){
		"refused":  func(b *bench, e core.Envelope) { b.answer(e, &core.Refused{Why: core.RefusedInvalid}) },
		"not sent": func(b *bench, e core.Envelope) { b.refuse(e) },
		"silence":  func(b *bench, _ core.Envelope) { b.pass(b.config.PeerTimeout) },
	} {
		b := newBench(t, "d", 6).repairing(1 << 20)
		b.get(b.key(false), core.Options{})
		b.answer(b.read(), &core.ReadReply{Set: set})
		behind := b.read()
		b.answer(behind, &core.ReadReply{})
		e, _ := b.repair(behind.To)
		end(b, e)
		t.Log(name)
		b.counted(core.RepairReport{Sent: 1, Failed: 1})
	}
}

// What is refused for a limit is counted by the limit's name.
func TestLimitsAreCounted(t *testing.T) {
	b := newBench(t, "a", 3)
	want := func(l core.LimitName, n uint64) {
		t.Helper()
		if got := b.counters().Limits[l]; got != n {
			t.Errorf("limit %v was hit %d times; want %d", l, got, n)
		}
	}
	put := b.put(true)
	for i := range id.MaxSiblings + 1 {
		put.Options.WriteID = version.WriteID{1, byte(i)}
		b.submit(put)
		b.flush()
	}
	want(core.LimitSiblings, 1)
	b = newBench(t, "a", 3)
	for range maxSlots + 2 {
		b.Submit(b.now, &core.Request{Op: core.OpGet, Key: b.key(true), Deadline: b.now.Mono + time.Second}, &b.out)
	}
	want(core.LimitRequests, 2)
	b = newBench(t, "d", 6).repairing(1)
	for range 2 {
		b.get(b.key(false), core.Options{})
		b.answer(b.read(), &core.ReadReply{Set: versionOf("x", 1, version.Clock{}, false)})
		b.answer(b.read(), &core.ReadReply{})
		b.sent = nil // a repair is under way
	}
	want(core.LimitRepairs, 1) // one is let in, however large
	b = newBench(t, "a", 3)
	large := b.put(true)
	large.Value = make([]byte, id.MaxSetBytes*2/3)
	for i := range 2 { // by themselves they are small enough
		large.Options.WriteID = version.WriteID{1, byte(i)}
		b.submit(large)
	}
	want(core.LimitSetBytes, 1)
	b = newBench(t, "a", 3)
	many := b.put(true)
	for i := range maxBackground + 1 { // acknowledged by two, and the third says later
		many.Key = fmt.Append(nil, i)
		many.Options.WriteID = version.WriteID{2, byte(i >> 8), byte(i)}
		b.submit(many)
		b.answer(b.take("b"), &core.Applied{})
		b.answer(b.take("c"), &core.Refused{Why: core.RefusedStale})
		b.flush()
	}
	want(core.LimitStragglers, 1)
	b = newBench(t, "a", 3)
	f := b.forwardOf()
	for i := range maxForwards {
		b.forwards.entry(forwardKey{"e", version.WriteID{3, byte(i >> 16), byte(i >> 8), byte(i)}}, f.Limit)
	}
	f.Options.WriteID = version.WriteID{4}
	b.forward(f, 1)
	want(core.LimitForwards, 1)
}

// What every request counts.
func countOne(c *Coordinator, s *slot) {
	c.countQuorum(core.QuorumWrite, quorum.Won, 0)
	c.countAnswer(s, core.CodeOK)
}

func TestCountingAllocatesNothing(t *testing.T) {
	b := newBench(t, "a", 3)
	s := &slot{op: core.OpPut}
	if n := testing.AllocsPerRun(100, func() { countOne(b.Coordinator, s) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCounting(b *testing.B) {
	c := &Coordinator{}
	s := &slot{op: core.OpPut}
	b.ReportAllocs()
	for b.Loop() {
		countOne(c, s)
	}
}
