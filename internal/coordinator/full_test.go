package coordinator

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// fill leaves this node without room, or gives it some again.
func (b *bench) fill(full bool) {
	b.fills++
	r := core.Room{State: core.RoomPlenty, Allowance: 1 << 20, Measurement: b.fills}
	if full {
		r.State, r.Allowance = core.RoomFull, 0
	}
	b.replica.SetRoom(&r)
}

// noRoom answers as a node that has no room for what it is asked to store.
func (b *bench) noRoom(e core.Envelope) {
	b.answer(e, &core.Refused{Why: core.RefusedStorageFull})
}

func TestFullOwnerHandsAWriteToAnother(t *testing.T) {
	b := newBench(t, "a", 3)
	b.fill(true)
	r := b.put(true)
	b.submit(r)
	if len(b.sent) != 1 {
		t.Fatalf("sent to %v, want one other owner", b.targets())
	}
	first := b.take(b.sent[0].To)
	if m := first.Msg.(*core.Forward); m.Options.WriteID != r.Options.WriteID || m.Fallback {
		t.Fatalf("forwarded %+v", m)
	}
	b.noRoom(first)
	second := b.take(b.sent[0].To)
	if second.To == first.To {
		t.Fatalf("%s is asked twice", first.To)
	}
	b.answer(second, &core.Forwarded{Result: core.Result{Code: core.CodeOK, Outcome: core.Written}})
	if got := b.result(); got.Outcome != core.Written || b.Active() != 0 {
		t.Errorf("%+v, %d slots open", got, b.Active())
	}
	b.submit(b.put(true))
	if to := b.sent[0].To; to != second.To {
		t.Errorf("%s is asked again right after it had no room", to)
	}
	if len(b.out.Writes) > 0 {
		t.Errorf("a full node has written %d records", len(b.out.Writes))
	}
}

func TestNobodyHasRoom(t *testing.T) {
	for _, owned := range []bool{true, false} {
		self := id.Node("a")
		if !owned {
			self = "f" // and the others but for the owners stand in for nobody
		}
		b := newBench(t, self, map[bool]int{true: 3, false: 6}[owned])
		b.fill(true)
		r := b.put(owned)
		if !owned {
			r.Options.Quorum = core.QuorumStrict
		}
		b.submit(r)
		for len(b.sent) > 0 {
			b.noRoom(b.take(b.sent[0].To))
		}
		if got := b.result(); got.Code != core.CodeStorageFull || got.Outcome != core.NotWritten || b.Active() != 0 {
			t.Errorf("owned %v: %+v, %d slots open", owned, got, b.Active())
		}
	}
}

// A fallback with room takes a write that no owner has room for.
func TestFallbackTakesWhatNoOwnerHasRoomFor(t *testing.T) {
	b := newBench(t, "a", 6)
	b.fill(true)
	r := b.put(true)
	owners, fallbacks := b.places(r.Key)
	b.submit(r)
	for range owners {
		b.noRoom(b.take(b.sent[0].To))
	}
	e := b.take(fallbacks[0])
	if m := e.Msg.(*core.Forward); !m.Fallback {
		t.Fatalf("%s is asked as an owner: %+v", e.To, m)
	}
	b.noRoom(e)
	e = b.take(fallbacks[1])
	b.answer(e, &core.Forwarded{Result: core.Result{Code: core.CodeOK, Outcome: core.Written, Fallbacks: 2}})
	if got := b.result(); got.Outcome != core.Written {
		t.Errorf("%+v", got)
	}
}

func TestFullReplicaIsReplacedByAFallback(t *testing.T) {
	b := newBench(t, "a", 6)
	r := b.put(true)
	owners, fallbacks := b.places(r.Key)
	b.submit(r)
	b.flush()
	b.noRoom(b.take(owners[0]))
	hint := b.take(fallbacks[0])
	if m := hint.Msg.(*core.Hint); m.Owner != owners[0] {
		t.Fatalf("a hint for %s", m.Owner)
	}
	b.noRoom(hint)
	b.answer(b.take(fallbacks[1]), &core.Hinted{})
	if got := b.result(); got.Outcome != core.Written || got.Fallbacks != 1 {
		t.Errorf("%+v", got)
	}
	b.answer(b.take(owners[1]), &core.Applied{})

	b.submit(core.Request{Op: core.OpPut, Key: r.Key, Value: []byte("w")})
	if hint := b.take(fallbacks[1]); hint.Msg.(*core.Hint).Owner != owners[0] {
		t.Errorf("the next write hands %+v to the fallback with room", hint.Msg)
	}
	if to := b.targets(); len(to) != 1 || to[0] != owners[1] {
		t.Errorf("the next write is sent to %v, and not only to the owner with room", to)
	}
	b.pass(fullFor)
	b.sent = nil
	b.submit(core.Request{Op: core.OpPut, Key: r.Key, Value: []byte("x")})
	b.take(owners[0]) // it may have room again
}

// Where too few nodes have room for the quorum, a write is refused before it is
// stored anywhere, once that is known.
func TestWriteThatFitsNowhereIsNotBegun(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(b.put(true))
	b.flush()
	b.noRoom(b.take("b"))
	b.silent()
	b.noRoom(b.take("c"))
	if got := b.result(); got.Code != core.CodeStorageFull || got.Outcome != core.Unknown {
		t.Errorf("the first write, which this node has stored: %+v", got)
	}
	b.flush()
	b.submit(b.put(true))
	if got := b.result(); got.Code != core.CodeStorageFull || got.Outcome != core.NotWritten || len(b.sent)+len(b.out.Writes) > 0 {
		t.Errorf("the second: %+v, sent to %v, %d records", got, b.targets(), len(b.out.Writes))
	}
	one := b.put(true)
	one.Options.W = 1
	b.submit(one)
	b.flush()
	if got := b.result(); got.Outcome != core.Written {
		t.Errorf("with W=1 there is room enough: %+v", got)
	}
	b.pass(fullFor)
	b.submit(b.put(true))
	b.flush()
	b.answer(b.take("b"), &core.Applied{})
	if got := b.result(); got.Outcome != core.Written {
		t.Errorf("when they have room again: %+v", got)
	}
}

// A delete may free room wherever it comes to.
func TestDeleteGoesToFullNodes(t *testing.T) {
	b := newBench(t, "a", 3)
	r := b.put(true)
	b.submit(r)
	b.flush()
	b.noRoom(b.take("b"))
	b.noRoom(b.take("c"))
	context := b.result().Context
	b.fill(true)
	b.submit(core.Request{Op: core.OpDelete, Key: r.Key, Context: context, HasContext: true})
	b.flush()
	b.answer(b.take("b"), &core.Applied{})
	if got := b.result(); got.Outcome != core.Written {
		t.Errorf("%+v", got)
	}
}

// A refusal of the read before a delete says nothing of the delete itself, which is
// handed to the same owner.
func TestLateRefusalOfAReadIsNoneOfTheForward(t *testing.T) {
	b := newBench(t, "a", 3)
	b.fill(true)
	b.submit(core.Request{Op: core.OpDelete, Key: b.key(true), Options: core.Options{Overwrite: true, WriteID: version.WriteID{1}}})
	b.pass(unknownP95)
	slow, quick := b.read(), b.read()
	b.answer(quick, &core.ReadReply{})
	if _, ok := b.take(slow.To).Msg.(*core.Forward); !ok {
		t.Fatal("the delete is not handed on")
	}
	b.answer(slow, &core.Refused{Why: core.RefusedOverloaded})
	if len(b.sent) > 0 {
		t.Errorf("the delete is handed to %v as well", b.targets())
	}
}

// An owner that knows of too little room for what one write asks for may have
// plenty for another.
func TestOwnerThatFindsNoRoomIsNotFull(t *testing.T) {
	b := newBench(t, "a", 3)
	b.fill(true)
	b.submit(b.put(true))
	for range 2 {
		e := b.take(b.sent[0].To)
		b.answer(e, &core.Forwarded{Result: core.Result{Code: core.CodeStorageFull, Outcome: core.NotWritten, Required: 3}})
	}
	if got := b.result(); got.Code != core.CodeStorageFull || got.Outcome != core.NotWritten || len(b.full) > 0 {
		t.Errorf("%+v, and %v are held for full", got, b.full)
	}
}

// A full node gives a forward back to who sent it, and never executes a copy.
func TestFullOwnerGivesAForwardBack(t *testing.T) {
	b := newBench(t, "a", 3)
	b.fill(true)
	b.forward(b.forwardOf(), 1)
	e := b.take("e")
	if m, ok := e.Msg.(*core.Refused); !ok || m.Why != core.RefusedStorageFull {
		t.Fatalf("%+v", e.Msg)
	}
	b.fill(false)
	b.forward(b.forwardOf(), 1)
	e = b.take("e")
	if m := e.Msg.(*core.Forwarded); m.Result.Code != core.CodeStorageFull || len(b.out.Writes)+len(b.sent) > 0 {
		t.Errorf("a copy of what was given back is executed: %+v", m.Result)
	}
}

func TestFullFallbackRefusesAForward(t *testing.T) {
	b := newBench(t, "f", 6)
	b.fill(true)
	m := b.forwardOf()
	m.Key, m.Fallback = b.key(false), true
	b.forward(m, 1)
	if got := b.take("e").Msg.(*core.Refused).Why; got != core.RefusedStorageFull {
		t.Errorf("refused for %v", got)
	}
}

// What a read has found is not repaired here while there is no room for it.
func TestFullOwnerReads(t *testing.T) {
	b := newBench(t, "a", 3)
	b.fill(true)
	b.submit(core.Request{Op: core.OpGet, Key: b.key(true), Deadline: b.now.Mono + time.Second})
	b.answer(b.take(b.sent[0].To), &core.ReadReply{Set: versionOf("b", 1, version.Clock{}, false)})
	if got := b.result(); got.Code != core.CodeOK || len(b.out.Writes) > 0 {
		t.Errorf("%+v, %d records written", got, len(b.out.Writes))
	}
}
