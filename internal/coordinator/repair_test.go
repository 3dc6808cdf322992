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

// repairing lets a bench's reads repair in the background.
func (b *bench) repairing(bytes uint64) *bench {
	b.config.RepairBytes = bytes
	return b
}

// versionOf returns a set with one version that a node minted.
func versionOf(n id.Node, counter byte, ctx version.Clock, tombstone bool) version.Siblings {
	a := version.Actor{Node: n, Epoch: version.Epoch{Start: 9, Seq: uint64(counter)}}
	set, _ := version.Siblings{Clock: ctx}.Put(ctx, a, version.Write{ID: version.WriteID{counter}, Tombstone: tombstone, Data: []byte{counter}})
	return set
}

func merged(t *testing.T, a, b version.Siblings) version.Siblings {
	t.Helper()
	set, err := version.Merge(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func (b *bench) get(key []byte, o core.Options) {
	b.t.Helper()
	b.submit(core.Request{Op: core.OpGet, Key: key, Options: o})
}

// read returns the read that one of the owners was asked, and which owner.
func (b *bench) read() core.Envelope {
	b.t.Helper()
	for _, e := range b.sent {
		if _, ok := e.Msg.(*core.Read); ok {
			return b.take(e.To)
		}
	}
	b.t.Fatalf("no read was sent; there is %v", b.targets())
	return core.Envelope{}
}

// repair returns the set that an owner was sent.
func (b *bench) repair(to id.Node) (core.Envelope, version.Siblings) {
	b.t.Helper()
	e := b.take(to)
	m, ok := e.Msg.(*core.Apply)
	if !ok {
		b.t.Fatalf("%s was sent %T", to, e.Msg)
	}
	return e, m.Set
}

func (b *bench) counted(want core.RepairReport) {
	b.t.Helper()
	if got := b.RepairCounts(); got != want {
		b.t.Errorf("counted %+v, want %+v", got, want)
	}
}

// Each owner that answered with less than all together know is sent the merged
// set after the answer, tombstones and own copy included.
func TestReadRepairsOwnersThatAreBehind(t *testing.T) {
	b := newBench(t, "d", 6).repairing(1 << 20)
	key := b.key(false) // this node owns none of it
	first := versionOf("x", 1, version.Clock{}, false)
	newer := versionOf("y", 2, first.Clock, true) // a delete that had seen it
	beside := versionOf("z", 3, version.Clock{}, false)
	b.get(key, core.Options{R: 3})
	one, two, three := b.read(), b.read(), b.read()
	b.answer(one, &core.ReadReply{Set: first})
	b.answer(two, &core.ReadReply{Set: newer})
	b.silent()
	b.answer(three, &core.ReadReply{Set: merged(t, newer, beside)})
	if r := b.result(); r.Code != core.CodeOK || len(r.Set.Versions) != 2 {
		t.Fatalf("%+v", r)
	}
	want := merged(t, newer, beside)
	for _, to := range []id.Node{one.To, two.To} {
		e, set := b.repair(to)
		if !set.Equal(want) {
			t.Errorf("%s was sent %v, want %v", to, set, want)
		}
		if e.Deadline > b.now.Mono+b.config.PeerTimeout {
			t.Errorf("a repair has %v", e.Deadline-b.now.Mono)
		}
		b.answer(e, &core.Applied{})
	}
	if len(b.sent) != 0 || b.Active() != 0 {
		t.Errorf("%v were sent something; %d slots open", b.targets(), b.Active())
	}
	b.counted(core.RepairReport{Sent: 2})
}

func TestReadOfEqualOwnersRepairsNothing(t *testing.T) {
	b := newBench(t, "d", 6).repairing(1 << 20)
	set := versionOf("x", 1, version.Clock{}, false)
	b.get(b.key(false), core.Options{})
	b.answer(b.read(), &core.ReadReply{Set: set})
	b.answer(b.read(), &core.ReadReply{Set: set})
	if b.result(); len(b.sent) != 0 || b.Active() != 0 {
		t.Errorf("%v were sent something; %d slots open", b.targets(), b.Active())
	}
	b.counted(core.RepairReport{})
}

func TestReadRepairsTheOwnCopy(t *testing.T) {
	b := newBench(t, "a", 3).repairing(1 << 20)
	key := b.key(true)
	set := versionOf("x", 1, version.Clock{}, false)
	b.get(key, core.Options{})
	b.answer(b.read(), &core.ReadReply{Set: set})
	b.result()
	if own, flush := b.replica.Read(key, &b.out); !own.Equal(set) || flush == 0 {
		t.Errorf("the own copy is %v, waiting for flush %d", own, flush)
	}
	if b.flush(); b.Active() != 0 {
		t.Error("the slot is open when the repair is durable")
	}
	b.counted(core.RepairReport{Own: 1})
}

// What comes after the answer counts as well, and the repairs wait for it.
func TestLateAnswersTakePartInRepair(t *testing.T) {
	b := newBench(t, "d", 6).repairing(1 << 20)
	set := versionOf("x", 1, version.Clock{}, false)
	more := versionOf("y", 2, version.Clock{}, false)
	b.get(b.key(false), core.Options{})
	b.pass(20 * ms) // the hedge asks the third
	one, two, three := b.read(), b.read(), b.read()
	b.answer(one, &core.ReadReply{Set: set})
	b.answer(two, &core.ReadReply{})
	if r := b.result(); len(r.Set.Versions) != 1 {
		t.Fatalf("%+v", r)
	}
	if len(b.sent) != 0 {
		t.Fatalf("%v were repaired while an owner may still answer", b.targets())
	}
	b.answer(three, &core.ReadReply{Set: more})
	all := merged(t, set, more)
	for _, to := range []id.Node{one.To, two.To, three.To} {
		e, sent := b.repair(to)
		if !sent.Equal(all) {
			t.Errorf("%s was sent %v", to, sent)
		}
		b.answer(e, &core.Applied{})
	}
	if b.Active() != 0 {
		t.Error("the slot is still open")
	}
}

// An owner that does not answer at all holds nothing up for longer than its
// timeout, and is not asked again.
func TestRepairDoesNotWaitForTheSilent(t *testing.T) {
	b := newBench(t, "d", 6).repairing(1 << 20)
	b.get(b.key(false), core.Options{})
	b.pass(20 * ms)
	one, two, _ := b.read(), b.read(), b.read()
	b.answer(one, &core.ReadReply{Set: versionOf("x", 1, version.Clock{}, false)})
	b.answer(two, &core.ReadReply{})
	b.result()
	b.pass(b.config.PeerTimeout)
	if e, _ := b.repair(two.To); len(b.sent) != 0 {
		t.Errorf("%v were sent something beside %s", b.targets(), e.To)
	}
	b.pass(b.config.PeerTimeout)
	if len(b.sent) != 0 || b.Active() != 0 || b.repairs.held != 0 {
		t.Errorf("%d messages, %d slots open, %d bytes held after a repair that nobody acknowledged", len(b.sent), b.Active(), b.repairs.held)
	}
}

func TestStaleRefusalEndsARepair(t *testing.T) {
	b := newBench(t, "d", 6).repairing(1 << 20)
	b.get(b.key(false), core.Options{})
	one, two := b.read(), b.read()
	b.answer(one, &core.ReadReply{Set: versionOf("x", 1, version.Clock{}, false)})
	b.answer(two, &core.ReadReply{})
	e, _ := b.repair(two.To)
	b.answer(e, &core.Refused{Why: core.RefusedStale})
	if b.Active() != 0 {
		t.Error("the slot is still open")
	}
	if b.pass(time.Second); len(b.sent) != 0 {
		t.Errorf("%v are asked again", b.targets())
	}
}

// Past its bound a shard drops repairs and counts them; a read's answer does
// not depend on it.
func TestRepairsAreBounded(t *testing.T) {
	b := newBench(t, "d", 6).repairing(300)
	key := b.key(false)
	set := versionOf("x", 1, version.Clock{}, false)
	for range 2 {
		b.get(key, core.Options{})
		b.answer(b.read(), &core.ReadReply{Set: set})
		b.answer(b.read(), &core.ReadReply{})
		b.result()
		b.sent = nil // a repair is under way, and nobody acknowledges it
	}
	b.counted(core.RepairReport{Sent: 1, Dropped: 1})
	b.pass(time.Second)
	if b.repairs.held != 0 || b.Active() != 0 {
		t.Errorf("%d bytes are held, %d slots open", b.repairs.held, b.Active())
	}
	many := newBench(t, "d", 6).repairing(1 << 30)
	for range maxRepairs + 1 {
		many.get(key, core.Options{})
		many.answer(many.read(), &core.ReadReply{Set: set})
		many.answer(many.read(), &core.ReadReply{})
		many.sent = nil
	}
	many.counted(core.RepairReport{Sent: maxRepairs, Dropped: 1})
	if many.pass(time.Second); many.Active() != 0 || many.repairs.open != 0 {
		t.Errorf("%d slots, %d repairs open", many.Active(), many.repairs.open)
	}
	off := newBench(t, "d", 6)
	off.get(key, core.Options{})
	off.answer(off.read(), &core.ReadReply{Set: set})
	off.answer(off.read(), &core.ReadReply{})
	off.result()
	off.counted(core.RepairReport{Dropped: 1})
}

// What fallbacks have is repaired at the owners, and never the fallbacks.
func TestFallbacksAreRepairedFromAndNotRepaired(t *testing.T) {
	b := newBench(t, "a", 6).repairing(1 << 20)
	key := b.key(false)
	owners, _ := b.places(key)
	b.believe(core.Dead, owners[0], owners[1])
	hinted := versionOf("x", 1, version.Clock{}, false)
	b.get(key, core.Options{R: 3, Quorum: core.QuorumSloppy})
	var fallback id.Node
	for len(b.sent) > 0 {
		e := b.read()
		if e.Msg.(*core.Read).Hints {
			fallback = e.To
			b.answer(e, &core.ReadReply{Set: hinted})
		} else {
			b.answer(e, &core.ReadReply{})
		}
		if len(b.replies) > 0 {
			break
		}
	}
	if r := b.result(); r.Fallbacks == 0 || len(r.Set.Versions) != 1 {
		t.Fatalf("%+v", r)
	}
	if _, set := b.repair(owners[2]); !set.Equal(hinted) {
		t.Errorf("the owner was sent %v", set)
	}
	for _, to := range b.targets() {
		if to == fallback || to == owners[0] || to == owners[1] {
			t.Errorf("%s was sent something", to)
		}
	}
}

// A blocking read answers when R owners hold what it returns, each counted
// once, and not before.
func TestBlockingReadWaitsForROwners(t *testing.T) {
	b := newBench(t, "d", 6)
	set := versionOf("x", 1, version.Clock{}, false)
	b.get(b.key(false), core.Options{Repair: core.RepairBlocking})
	one, two := b.read(), b.read()
	b.answer(one, &core.ReadReply{Set: set})
	b.answer(two, &core.ReadReply{})
	b.silent()
	e, sent := b.repair(two.To)
	if !sent.Equal(set) {
		t.Errorf("sent %v", sent)
	}
	b.answer(one, &core.Applied{}) // it was sent nothing
	b.silent()
	b.answer(e, &core.Applied{})
	if r := b.result(); r.Code != core.CodeOK || r.Acknowledged != 2 || r.Required != 2 || !r.Set.Equal(set) {
		t.Errorf("%+v", r)
	}
	b.counted(core.RepairReport{Sent: 1, Waited: 1})
	if b.Active() != 0 {
		t.Error("the slot is still open")
	}
}

func TestBlockingReadOfEqualOwnersAnswersAtOnce(t *testing.T) {
	b := newBench(t, "d", 6)
	set := versionOf("x", 1, version.Clock{}, true)
	b.get(b.key(false), core.Options{Repair: core.RepairBlocking})
	b.answer(b.read(), &core.ReadReply{Set: set})
	b.answer(b.read(), &core.ReadReply{Set: set})
	if r := b.result(); r.Code != core.CodeNotFound || r.Acknowledged != 2 {
		t.Errorf("%+v", r)
	}
	b.counted(core.RepairReport{})
}

// Where an owner that was sent it fails, the next one gets it; where there is
// none left, the read fails as others do.
func TestBlockingReadGoesToTheNextOwner(t *testing.T) {
	b := newBench(t, "d", 6)
	key := b.key(false)
	set := versionOf("x", 1, version.Clock{}, false)
	b.get(key, core.Options{Repair: core.RepairBlocking})
	one, two := b.read(), b.read()
	b.answer(one, &core.ReadReply{Set: set})
	b.answer(two, &core.ReadReply{})
	failing, _ := b.repair(two.To)
	b.refuse(failing)
	third := b.sent[0].To
	e, _ := b.repair(third)
	if third == one.To || third == two.To {
		t.Fatalf("%s is asked again", third)
	}
	b.answer(e, &core.Applied{})
	if r := b.result(); r.Code != core.CodeOK || r.Acknowledged != 2 {
		t.Errorf("%+v", r)
	}
	b.sent = nil
	b.get(key, core.Options{Repair: core.RepairBlocking})
	one, two = b.read(), b.read()
	b.answer(one, &core.ReadReply{Set: set})
	b.answer(two, &core.ReadReply{})
	b.pass(3 * time.Second)
	if r := b.result(); r.Code != core.CodeTimeout && r.Code != core.CodeQuorum || r.Acknowledged != 1 || r.Required != 2 {
		t.Errorf("%+v", r)
	}
}

// A blocking read counts this node's own copy when it is durable, also where
// others made up the quorum before it was.
func TestBlockingReadWaitsForItsOwnDisk(t *testing.T) {
	b := newBench(t, "a", 3)
	key := b.key(true)
	set := versionOf("x", 1, version.Clock{}, false)
	b.get(key, core.Options{Repair: core.RepairBlocking})
	b.answer(b.read(), &core.ReadReply{Set: set})
	b.silent()
	b.flush()
	if r := b.result(); r.Code != core.CodeOK || r.Acknowledged != 2 {
		t.Errorf("%+v", r)
	}
	b.counted(core.RepairReport{Own: 1, Waited: 1})
}

// Where this node has no room for what a blocking read has found, another owner
// gets it, and where none is left the read fails.
func TestBlockingReadWithoutRoomHere(t *testing.T) {
	b := newBench(t, "a", 3)
	b.fill(true)
	set := versionOf("x", 1, version.Clock{}, false)
	for _, room := range []bool{true, false} {
		b.get(b.key(true), core.Options{Repair: core.RepairBlocking})
		b.answer(b.read(), &core.ReadReply{Set: set})
		third, sent := b.repair(b.sent[0].To)
		if b.silent(); !sent.Equal(set) {
			t.Fatalf("sent %v", sent)
		}
		if room {
			b.answer(third, &core.Applied{})
			if r := b.result(); r.Code != core.CodeOK || r.Acknowledged != 2 {
				t.Errorf("%+v", r)
			}
			continue
		}
		b.noRoom(third)
		if r := b.result(); r.Code != core.CodeQuorum || r.Acknowledged != 1 || r.Required != 2 {
			t.Errorf("%+v", r)
		}
	}
	if b.RepairCounts().Failed != 3 || b.Active() != 0 {
		t.Errorf("counted %+v, %d slots open", b.RepairCounts(), b.Active())
	}
}

// An owner that answers a blocking read when that is decided holds it, or is sent
// it.
func TestBlockingReadTakesLateAnswers(t *testing.T) {
	set := versionOf("x", 1, version.Clock{}, false)
	for _, late := range []version.Siblings{set, versionOf("y", 2, version.Clock{}, false)} {
		b := newBench(t, "d", 6)
		b.get(b.key(false), core.Options{Repair: core.RepairBlocking})
		b.pass(unknownP95) // the hedge asks the third
		one, two, three := b.read(), b.read(), b.read()
		b.answer(one, &core.ReadReply{Set: set})
		b.answer(two, &core.ReadReply{})
		b.repair(two.To) // which does not answer
		b.silent()
		b.answer(three, &core.ReadReply{Set: late})
		if !late.Equal(set) {
			e, sent := b.repair(three.To)
			if b.silent(); !sent.Equal(set) {
				t.Errorf("sent %v", sent)
			}
			b.answer(three, &core.ReadReply{Set: late}) // a copy
			b.silent()
			b.answer(e, &core.Applied{})
		}
		if r := b.result(); r.Code != core.CodeOK || r.Acknowledged != 2 || !r.Set.Equal(set) {
			t.Errorf("%+v", r)
		}
	}
}

// With a blocking read fallbacks neither count nor are asked, whatever is
// configured.
func TestBlockingReadCountsOwnersOnly(t *testing.T) {
	b := newBench(t, "a", 6)
	key := b.key(false)
	owners, _ := b.places(key)
	b.believe(core.Dead, owners[0], owners[1])
	b.get(key, core.Options{Repair: core.RepairBlocking})
	for len(b.sent) > 0 {
		e := b.read()
		if e.Msg.(*core.Read).Hints {
			t.Errorf("%s is asked for its hints", e.To)
		}
		b.refuse(e)
	}
	b.pass(3 * time.Second)
	if r := b.result(); r.Code != core.CodeQuorum && r.Code != core.CodeTimeout || r.Fallbacks != 0 {
		t.Errorf("%+v", r)
	}
}

// When the layout changes under it, a blocking read starts over by the new
// owners, and acknowledgements of before count no more.
func TestBlockingReadStartsOverWithTheLayout(t *testing.T) {
	b := newBench(t, "d", 6)
	key := b.key(false)
	set := versionOf("x", 1, version.Clock{}, false)
	b.get(key, core.Options{Repair: core.RepairBlocking})
	one, two := b.read(), b.read()
	b.answer(one, &core.ReadReply{Set: set})
	b.answer(two, &core.ReadReply{})
	before, _ := b.repair(two.To)
	next, err := b.Coordinator.view.ReadLayout().Plan(2, layout(t, 6).Members(), 3)
	if err != nil {
		t.Fatal(err)
	}
	b.setView(&core.View{Self: "d", Cluster: 1, Layouts: core.LayoutState{Live: []*ring.Layout{next}, Phase: core.PhaseDone}})
	one, two = b.read(), b.read()
	b.answer(one, &core.ReadReply{})
	b.answer(two, &core.ReadReply{})
	b.answer(before, &core.Applied{})
	b.silent()
	for _, to := range []id.Node{one.To, two.To} { // what was seen before must be held by the new owners
		e, sent := b.repair(to)
		if !sent.Equal(set) {
			t.Errorf("%s was sent %v", to, sent)
		}
		b.answer(e, &core.Applied{})
	}
	if r := b.result(); r.Code != core.CodeOK || r.Acknowledged != 2 {
		t.Errorf("%+v", r)
	}
}

// owners plays the owners of a key, each with what it holds durably.
type owners map[id.Node]version.Siblings

// serve answers what a coordinator has sent, until it has sent nothing more.
// Where applies is false, what it sends for repair is lost.
func (o owners) serve(b *bench, applies bool) {
	for len(b.sent) > 0 {
		e := b.take(b.sent[0].To)
		switch m := e.Msg.(type) {
		case *core.Read:
			b.answer(e, &core.ReadReply{Set: o[e.To]})
		case *core.Apply:
			if applies {
				o[e.To] = merged(b.t, o[e.To], m.Set)
				b.answer(e, &core.Applied{})
			}
		}
	}
}

// prefer has a coordinator ask the nodes in this order.
func (b *bench) prefer(order ...id.Node) {
	v := *b.Coordinator.view
	v.Peers = slices.Clone(v.Peers)
	for i := range v.Peers {
		if at := slices.Index(order, v.Peers[i].ID); at >= 0 {
			v.Peers[i].P99 = time.Duration(at+1) * ms
		}
	}
	b.SetView(b.now, &v, &b.out)
	b.collect()
}

// readTwice reads a key through one coordinator and then, when that has
// answered, through another, and says whether the second read went back. One
// owner has a write that was never acknowledged. The coordinators ask the
// owners in orders of their own, and repairs in the background are lost.
func readTwice(t *testing.T, first, second []id.Node, writer id.Node, how core.Repair) (wentBack bool) {
	t.Helper()
	one, two := newBench(t, "e", 6).repairing(1<<20), newBench(t, "f", 6).repairing(1<<20)
	one.prefer(first...)
	two.prefer(second...)
	key := sharedKey(t, one, first)
	held := owners{writer: versionOf(writer, 1, version.Clock{}, false)}
	one.get(key, core.Options{Repair: how})
	held.serve(one, how == core.RepairBlocking)
	before := one.result()
	two.get(key, core.Options{Repair: how})
	held.serve(two, how == core.RepairBlocking)
	return !two.result().Context.Dominates(before.Context)
}

// sharedKey returns a key with just those owners.
func sharedKey(t *testing.T, b *bench, nodes []id.Node) []byte {
	t.Helper()
	l := b.Coordinator.view.ReadLayout()
	for i := range 1000 {
		key := fmt.Appendf(nil, "key-%d", i)
		if !slices.ContainsFunc(nodes, func(n id.Node) bool { return !l.Owns(n, l.Partition(key)) }) {
			return key
		}
	}
	t.Fatal("no such key")
	return nil
}

// Two blocking reads in sequence never go back, whichever owners answer them
// and whichever of them alone has a write. Other reads may.
func TestBlockingReadsNeverGoBack(t *testing.T) {
	b := newBench(t, "e", 6)
	nodes, _ := b.places(b.key(false))
	if slices.Contains(nodes, "f") {
		t.Fatalf("the owners are %v; the second coordinator must be none", nodes)
	}
	x, y, z := nodes[0], nodes[1], nodes[2]
	orders := [][]id.Node{{x, y, z}, {x, z, y}, {y, x, z}, {y, z, x}, {z, x, y}, {z, y, x}}
	back := 0
	for _, first := range orders {
		for _, second := range orders {
			for _, writer := range nodes {
				if readTwice(t, first, second, writer, core.RepairBlocking) {
					t.Errorf("owners answer in the orders %v and %v, %s has the write: the second blocking read goes back", first, second, writer)
				}
				if readTwice(t, first, second, writer, core.RepairBackground) {
					back++
				}
			}
		}
	}
	if back == 0 {
		t.Error("reads that do not wait never go back either: nothing is shown")
	}
}
