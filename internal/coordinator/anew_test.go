package coordinator

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// move gives the coordinator the view of a later phase of the transition
// between two layouts.
func (b *bench) move(phase core.Phase, live ...*ring.Layout) {
	b.setView(&core.View{Self: b.config.Self, Cluster: 1, Layouts: core.LayoutState{Live: live, Phase: phase}})
}

// A node that stands in for an owner tells of its hints alone. When it becomes an
// owner itself, that is not its own copy, which may have what no hint has.
func TestHintsAreNotTakenForTheCopyOfALaterOwner(t *testing.T) {
	b := newBench(t, "a", 4)
	old := b.Coordinator.view.ReadLayout()
	next, err := old.Plan(2, slices.DeleteFunc(slices.Clone(old.Members()), func(m ring.Member) bool { return m.ID == "c" }), 3)
	if err != nil {
		t.Fatal(err)
	}
	b.view(old, next)
	var key []byte
	for i := 0; key == nil; i++ {
		k := []byte{'k', byte(i)}
		if p := old.Partition(k); old.Owns("a", p) && !old.Owns("d", p) {
			key = k
		}
	}
	b.believe(core.Dead, "b", "c")
	b.submit(core.Request{Op: core.OpGet, Key: key})
	hints := b.take("d")
	b.move(core.PhaseMoved, old, next)
	own := b.take("d")
	if !hints.Msg.(*core.Read).Hints || own.Msg.(*core.Read).Hints {
		t.Fatalf("d is asked %+v, then %+v; want for its hints, then for its own copy", hints.Msg, own.Msg)
	}
	b.answer(hints, &core.ReadReply{})
	b.silent()
	b.answer(own, &core.ReadReply{Set: versionOf("b", 1, version.Clock{}, false)})
	if got := b.result(); got.Code != core.CodeOK || got.Acknowledged != 2 {
		t.Errorf("%+v; want what d holds", got)
	}
}

// without returns the layout that follows when a node has left.
func without(t *testing.T, l *ring.Layout, n id.Node) *ring.Layout {
	t.Helper()
	next, err := l.Plan(l.Name().Number+1, slices.DeleteFunc(slices.Clone(l.Members()), func(m ring.Member) bool { return m.ID == n }), 3)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// gained returns a key that a node owns by the later of two layouts alone, in
// place of an owner by the earlier one. Of others that were none, none has become
// one.
func (b *bench) gained(n id.Node) (key []byte, replaced id.Node, next *ring.Layout) {
	b.t.Helper()
	old := b.Coordinator.view.ReadLayout()
	for i := range 1000 {
		key := fmt.Append(nil, i)
		p := old.Partition(key)
		for _, owner := range old.Owners(p) {
			if next := without(b.t, old, owner); !old.Owns(b.config.Self, p) && !old.Owns(n, p) && next.Owns(n, p) {
				return key, owner, next
			}
		}
	}
	b.t.Fatal("no such key")
	return nil, "", nil
}

// strictPut returns a put, without fallbacks, of such a key.
func (b *bench) strictPut(n id.Node) (r core.Request, replaced id.Node, next *ring.Layout) {
	b.t.Helper()
	r = b.put(false)
	r.Options.Quorum = core.QuorumStrict
	r.Key, replaced, next = b.gained(n)
	return r, replaced, next
}

// A forward that was asked by the layout before, and that nobody has executed, is
// a write of this node where it has come to own the key.
func TestForwardBecomesAWriteOfTheNewOwner(t *testing.T) {
	b := newBench(t, "f", 6)
	r := b.put(false)
	var next *ring.Layout
	r.Key, _, next = b.gained("f")
	b.submit(r)
	forward := b.take(b.sent[0].To)
	b.move(core.PhaseDone, next)
	if len(b.sent) > 0 || len(b.out.Writes) > 0 {
		t.Fatalf("while %s may execute it, it is written here, or sent to %v", forward.To, b.targets())
	}
	b.answer(forward, &core.Refused{Why: core.RefusedStale})
	b.flush()
	for _, n := range b.peers(r.Key) {
		b.answer(b.take(n), &core.Applied{})
	}
	if got := b.result(); got.Outcome != core.Written || b.Active() != 0 {
		t.Errorf("%+v, %d slots open", got, b.Active())
	}
}

// Where the only owner by the layout before does not answer, the one by the next
// gets the write, and what became of it is not known if that fails.
func TestUnansweredForwardGoesToTheNewOwner(t *testing.T) {
	b := newBench(t, "f", 6)
	r, gone, next := b.strictPut("e")
	b.prefer(gone)
	b.submit(r)
	b.take(gone)
	b.move(core.PhaseDone, next)
	b.prefer("e")
	b.pass(b.config.PeerTimeout)
	e := b.take("e")
	if m, ok := e.Msg.(*core.Forward); !ok || m.Options.WriteID != r.Options.WriteID {
		t.Fatalf("e is sent %+v", e.Msg)
	}
	b.answer(e, &core.Forwarded{Result: core.Result{Code: core.CodeTooManySiblings, Outcome: core.NotWritten}})
	if got := b.result(); got.Code != core.CodeTooManySiblings || got.Outcome != core.Unknown {
		t.Errorf("%+v", got)
	}
}

// The layout changes while a forward is under way to an owner that restarts. Where
// that may have executed it, it is sent the same forward again, which its next start
// refuses; who provably has not is sent it as one of its next start.
func TestForwardBegunAnewIsTheSameForward(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(b *bench, e core.Envelope)
		start  uint64
	}{
		"no answer":     {func(b *bench, _ core.Envelope) { b.pass(b.config.PeerTimeout) }, 1},
		"too late":      {func(b *bench, e core.Envelope) { b.answer(e, &core.Refused{Why: core.RefusedExpired}) }, 1},
		"a later start": {func(b *bench, e core.Envelope) { b.answer(e, &core.Refused{Why: core.RefusedStart}) }, 1},
		"refused":       {func(b *bench, e core.Envelope) { b.answer(e, &core.Refused{Why: core.RefusedInvalid}) }, 2},
		"never left":    {func(b *bench, e core.Envelope) { b.SendFailed(b.now, &e, &b.out); b.collect() }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, "f", 6)
			r, gone, next := b.strictPut("e")
			l := b.Coordinator.view.ReadLayout()
			owner := l.Owners(l.Partition(r.Key))[0]
			if owner == gone {
				owner = l.Owners(l.Partition(r.Key))[1]
			}
			b.prefer(owner)
			b.submit(r)
			first := b.take(owner)
			b.now.Wall += time.Second
			b.restart(next, owner)
			b.silent()
			c.answer(b, first)
			again := b.take(owner)
			was, is := first.Msg.(*core.Forward), again.Msg.(*core.Forward)
			if is.Start != c.start || (is.Limit == was.Limit) != (c.start == was.Start) || is.Attempt == was.Attempt {
				t.Errorf("then it is sent %+v; it was %+v", is, was)
			}
			b.refuse(again) // which says nothing of the first
			for range 2 {
				b.answer(b.take(b.sent[0].To), &core.Refused{Why: core.RefusedInvalid})
			}
			want := core.NotWritten
			if c.start == was.Start {
				want = core.Unknown
			}
			if got := b.result(); got.Code != core.CodeQuorum || got.Outcome != want {
				t.Errorf("%+v; want %v", got, want)
			}
		})
	}
}

// restart gives the coordinator a view of another layout, by which all others have
// started again and one of them is the fastest.
func (b *bench) restart(next *ring.Layout, fastest id.Node) {
	v := &core.View{Self: b.config.Self, Cluster: 1, Layouts: core.LayoutState{Live: []*ring.Layout{next}, Phase: core.PhaseDone}}
	for _, m := range next.Members() {
		p := core.Peer{ID: m.ID, Addr: string(m.ID), Start: 2, Status: core.Alive, P99: 9 * ms}
		if m.ID == fastest {
			p.P99 = ms
		}
		v.Peers = append(v.Peers, p)
	}
	b.SetView(b.now, v, &b.out)
	b.collect()
}

// overwriteDelete returns a delete of a key that this node comes to own by the
// next layout, in place of another.
func (b *bench) overwriteDelete() (r core.Request, replaced id.Node, next *ring.Layout) {
	b.t.Helper()
	r = core.Request{Op: core.OpDelete, Options: core.Options{Overwrite: true, WriteID: version.WriteID{1}}}
	r.Key, replaced, next = b.gained(b.config.Self)
	return r, replaced, next
}

// No owner answers, and this node begins to stand in for them. Then it owns the key
// itself, has no room, and hands the write to an owner that may have executed it: it
// is the same forward to that one.
func TestForwardAfterAFallbackIsTheSameForward(t *testing.T) {
	b := newBench(t, "f", 6)
	r, _, next := b.overwriteDelete()
	owners, fallbacks := b.places(r.Key)
	b.believe(core.Dead, fallbacks...)
	b.submit(r)
	asked := map[id.Node]core.Envelope{}
	for _, n := range owners {
		asked[n] = b.take(n)
		b.pass(b.config.PeerTimeout)
	}
	b.read()
	b.sent = nil
	b.fill(true)
	b.restart(next, "f")
	b.answer(b.read(), &core.ReadReply{})
	is := b.sent[len(b.sent)-1]
	was, known := asked[is.To]
	if m, ok := is.Msg.(*core.Forward); !ok || !known || m.Start != 1 || m.Limit != was.Msg.(*core.Forward).Limit {
		t.Errorf("then %s is sent %+v; it was %+v", is.To, is.Msg, was.Msg)
	}
}

// An owner that may have executed a delete refuses the read that this node begins
// with, as an owner by the next layout. That says nothing of the delete.
func TestRefusalOfAReadIsNoneOfTheForwardBefore(t *testing.T) {
	b := newBench(t, "f", 6)
	r, gone, next := b.overwriteDelete()
	r.Options.Quorum = core.QuorumStrict
	b.believe(core.Suspected, gone) // so that it is another that gets it
	b.submit(r)
	b.take(b.sent[0].To)
	b.move(core.PhaseDone, next)
	b.pass(b.config.PeerTimeout)
	for range 2 {
		b.answer(b.read(), &core.Refused{Why: core.RefusedInvalid})
	}
	if got := b.result(); got.Code != core.CodeQuorum || got.Outcome != core.Unknown {
		t.Errorf("%+v", got)
	}
}

// A write that was forwarded here takes no second hop: where this node has ceased
// to own the key before it has written anything, its sender hears so.
func TestForwardedDeleteEndsWhereTheKeyHasMoved(t *testing.T) {
	b := newBench(t, "a", 6)
	old := b.Coordinator.view.ReadLayout()
	m := b.forwardOf()
	m.Op, m.Value, m.Options.Overwrite = core.OpDelete, nil, true
	b.forward(m, 1)
	b.take(b.sent[0].To) // its read
	b.move(core.PhaseDone, without(t, old, "a"))
	got := b.take("e").Msg.(*core.Forwarded).Result
	if got.Code != core.CodeQuorum || got.Outcome != core.NotWritten || b.Active() != 0 || len(b.out.Writes) > 0 {
		t.Errorf("%+v, %d slots open, %d records written", got, b.Active(), len(b.out.Writes))
	}
}

// What a fallback has minted for the owners that could not be reached it keeps for
// those as well that have come with another layout since.
func TestHintIsKeptForNewOwners(t *testing.T) {
	b := newBench(t, "f", 6)
	r := b.put(false)
	var next *ring.Layout
	r.Key, _, next = b.gained("e")
	owners := b.peers(r.Key)
	b.believe(core.Dead, "a", "b", "c", "d", "e")
	b.submit(r)
	if owed := b.owed(r.Key); len(owed) != len(owners) {
		t.Fatalf("kept for %+v; want %v", owed, owners)
	}
	b.flush()
	b.view(b.Coordinator.view.ReadLayout(), next)
	b.pass(3 * time.Second)
	owed := b.owed(r.Key)
	for _, n := range append(owners, "e") {
		if !slices.ContainsFunc(owed, func(o core.HintOwner) bool { return o.Node == n && o.Data }) {
			t.Errorf("nothing is kept for %s; for %+v", n, owed)
		}
	}
}

// Repairs of a read that is answered end with its layout, since the owners may be
// others; they go on where only the phase of a transition has changed.
func TestRepairsEndWithTheLayout(t *testing.T) {
	b := newBench(t, "d", 6).repairing(1 << 20)
	old := b.Coordinator.view.ReadLayout()
	next := without(t, old, "a")
	for want, live := range []*ring.Layout{next, old} {
		b.get(b.key(false), core.Options{})
		b.answer(b.read(), &core.ReadReply{Set: versionOf("x", 1, version.Clock{}, false)})
		b.answer(b.read(), &core.ReadReply{})
		b.result()
		if live == old {
			b.view(old, next)
		} else {
			b.move(core.PhaseDone, next)
		}
		if b.Active() != want {
			t.Errorf("%d slots open; want %d", b.Active(), want)
		}
		b.pass(time.Second)
		b.sent = nil
		b.move(core.PhaseDone, old)
	}
}
