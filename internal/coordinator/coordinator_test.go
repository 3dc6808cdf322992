package coordinator

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

const ms = time.Millisecond

// What the benches' clusters have: Q, and the room for hints at each node.
const (
	benchPartitions = 8
	benchHints      = 64 << 10
)

// bench is one coordinator among peers that the test plays.
type bench struct {
	*Coordinator
	t       *testing.T
	replica *replica.Replica
	store   *coretest.Store
	now     core.Now
	out     core.Out
	sent    []core.Envelope // taken from out, oldest first
	replies []core.Reply
	reports []core.PeerReport
	traced  []core.Span
	ids     byte
	fills   uint64 // measurements of its room
}

// newBench returns a coordinator on node self in a cluster of the nodes a to
// that many, N=3, R=W=2.
func newBench(t *testing.T, self id.Node, nodes int) *bench {
	b := &bench{t: t, store: coretest.NewStore()}
	b.replica = replica.New(replica.Config{Self: self, Start: 1, Shard: 0, Shards: 1, MaxHintBytes: benchHints}, b.store)
	b.replica.OpenHints(benchPartitions, &b.out)
	b.Coordinator = New(Config{
		Self: self, Start: 1, R: 2, W: 2, PeerTimeout: 300 * ms, Retry: backoff.Default(),
		Reads: Reads{Hedge: true}, Select: true, Seed: 1,
	}, b.replica)
	b.now = core.Now{Mono: time.Second, Wall: time.Hour}
	b.view(layout(t, nodes))
	return b
}

func layout(t *testing.T, nodes int) *ring.Layout {
	t.Helper()
	var members []ring.Member
	for i := range nodes {
		members = append(members, ring.Member{ID: id.Node(rune('a' + i)), Weight: 1})
	}
	l, err := ring.Form(benchPartitions, 3, members)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (b *bench) view(live ...*ring.Layout) {
	v := &core.View{Self: b.config.Self, Cluster: 1, Layouts: core.LayoutState{Live: live, Phase: core.PhaseDone}}
	if len(live) > 1 {
		v.Layouts.Phase = core.PhaseCopy
	}
	b.setView(v)
}

func (b *bench) setView(v *core.View) {
	for _, m := range v.Layouts.Live[len(v.Layouts.Live)-1].Members() {
		if m.ID != b.config.Self {
			v.Peers = append(v.Peers, core.Peer{ID: m.ID, Addr: string(m.ID), Start: 1, Status: core.Alive})
		}
	}
	b.SetView(b.now, v, &b.out)
	b.collect()
}

// owned returns a key that self owns, or does not.
func (b *bench) key(owned bool) []byte {
	l := b.Coordinator.view.ReadLayout()
	for i := range 1000 {
		key := fmt.Appendf(nil, "key-%d", i)
		if l.Owns(b.config.Self, l.Partition(key)) == owned {
			return key
		}
	}
	b.t.Fatal("no such key")
	return nil
}

func (b *bench) collect() {
	b.sent = append(b.sent, b.out.Sends...)
	b.replies = append(b.replies, b.out.Replies...)
	b.reports = append(b.reports, b.out.Reports...)
	b.traced = append(b.traced, b.out.Spans...)
	writes := slices.Clone(b.out.Writes)
	b.out.Reset()
	b.out.Writes = append(b.out.Writes, writes...)
}

func (b *bench) submit(r core.Request) {
	b.t.Helper()
	if r.Deadline == 0 {
		r.Deadline = b.now.Mono + 2*time.Second
	}
	b.Submit(b.now, &r, &b.out)
	b.collect()
}

// flush makes this node's own writes durable.
func (b *bench) flush() {
	n := b.replica.Flush()
	b.store.Commit(b.out.Writes)
	b.out.Reset()
	b.replica.Durable(n)
	b.Durable(b.now, n, &b.out)
	b.collect()
}

// take removes the oldest message sent to a peer and returns it.
func (b *bench) take(to id.Node) core.Envelope {
	b.t.Helper()
	for i, e := range b.sent {
		if e.To == to {
			b.sent = slices.Delete(b.sent, i, i+1)
			return e
		}
	}
	b.t.Fatalf("nothing was sent to %s; there is %v", to, b.targets())
	return core.Envelope{}
}

// targets returns whom the messages that were not taken are for.
func (b *bench) targets() []id.Node {
	var to []id.Node
	for _, e := range b.sent {
		to = append(to, e.To)
	}
	return to
}

func (b *bench) answer(e core.Envelope, m core.Message) {
	b.Deliver(b.now, &core.Envelope{From: e.To, To: e.From, Req: e.Req, Reply: true, Stamp: e.Stamp, Msg: m}, &b.out)
	b.collect()
}

func (b *bench) refuse(e core.Envelope) {
	b.SendFailed(b.now, &e, &b.out)
	b.collect()
}

// pass lets time go by, timer by timer.
func (b *bench) pass(d time.Duration) {
	end := b.now.Mono + d
	for {
		at, ok := b.Next()
		if !ok || at > end {
			break
		}
		b.now.Mono = max(b.now.Mono, at)
		b.Tick(b.now, &b.out)
		b.collect()
	}
	b.now.Mono = end
}

// result returns the one reply that there must be.
func (b *bench) result() core.Result {
	b.t.Helper()
	if len(b.replies) != 1 {
		b.t.Fatalf("%d replies, want 1", len(b.replies))
	}
	r := b.replies[0].Result
	b.replies = nil
	return r
}

func (b *bench) silent() {
	b.t.Helper()
	if len(b.replies) != 0 {
		b.t.Fatalf("answered %v before its quorum", b.replies[0].Result.Code)
	}
}

func (b *bench) put(owned bool) core.Request {
	b.ids++
	return core.Request{Op: core.OpPut, Key: b.key(owned), Value: []byte("v"), Options: core.Options{WriteID: version.WriteID{b.ids}}}
}

func TestPutAnswersWhenWNodesAreDurable(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(b.put(true))
	first := b.take("b")
	b.answer(first, &core.Applied{})
	b.answer(first, &core.Applied{}) // a duplicate counts once
	b.silent()
	b.flush()
	r := b.result()
	if r.Code != core.CodeOK || r.Outcome != core.Written || r.Acknowledged != 2 || r.Required != 2 {
		t.Errorf("%+v", r)
	}
	if b.Active() != 1 {
		t.Error("the third owner is not awaited")
	}
	b.answer(b.take("c"), &core.Applied{})
	if b.Active() != 0 {
		t.Error("the slot is still open")
	}
}

func TestPutDoesNotNeedItsOwnDisk(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(b.put(true))
	b.answer(b.take("b"), &core.Applied{})
	b.answer(b.take("c"), &core.Applied{})
	if r := b.result(); r.Outcome != core.Written {
		t.Errorf("%+v", r)
	}
}

func TestPutSendsTheWholeSet(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(b.put(true))
	b.submit(b.put(true)) // blind: a sibling
	b.take("b")
	if m := b.take("b").Msg.(*core.Apply); len(m.Set.Versions) != 2 {
		t.Errorf("sent %d versions, want both", len(m.Set.Versions))
	}
}

func TestPutWithoutPeersIsNeverASuccess(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(b.put(true))
	b.flush()
	for range 4 { // the first try and three retries
		b.refuse(b.take("b"))
		b.refuse(b.take("c"))
		b.pass(600 * ms)
	}
	r := b.result()
	if r.Code != core.CodeQuorum || r.Outcome != core.Unknown || r.Acknowledged != 1 || r.Required != 2 {
		t.Errorf("%+v", r)
	}
}

func TestSilentPeersAreTriedAgainUntilTheDeadline(t *testing.T) {
	b := newBench(t, "a", 3)
	r := b.put(true)
	r.Deadline = b.now.Mono + 700*ms
	b.submit(r)
	b.flush()
	b.pass(650 * ms)
	b.silent()
	b.take("b")
	if second := b.take("b"); second.Deadline != r.Deadline {
		t.Errorf("retried with the deadline %v, want the request's %v", second.Deadline, r.Deadline)
	}
	b.pass(50 * ms)
	if got := b.result(); got.Code != core.CodeTimeout || got.Outcome != core.Unknown || got.Acknowledged != 1 {
		t.Errorf("%+v", got)
	}
	if b.Active() != 0 {
		t.Error("a slot outlives its deadline")
	}
}

func TestExplicitQuorumAboveTheOwnersIsNotWritten(t *testing.T) {
	b := newBench(t, "a", 2)
	r := b.put(true)
	r.Options.W = 3
	b.submit(r)
	if got := b.result(); got.Code != core.CodeQuorum || got.Outcome != core.NotWritten || got.Required != 3 {
		t.Errorf("%+v", got)
	}
	if len(b.out.Writes) != 0 || len(b.sent) != 0 {
		t.Error("something was written or sent all the same")
	}
}

func TestGetMergesRAnswersAndNotFoundCounts(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(core.Request{Op: core.OpGet, Key: b.key(true)})
	if len(b.sent) != 1 {
		t.Fatalf("asked %v, want one peer beside the own copy", b.targets())
	}
	b.answer(b.take(b.sent[0].To), &core.ReadReply{})
	if r := b.result(); r.Code != core.CodeNotFound || r.Acknowledged != 2 {
		t.Errorf("%+v", r)
	}
}

func TestGetOfUnflushedKeyWaits(t *testing.T) {
	b := newBench(t, "a", 3)
	put := b.put(true)
	b.submit(put)
	b.sent = nil
	b.submit(core.Request{Op: core.OpGet, Key: put.Key, Options: core.Options{R: 1}})
	b.silent()
	b.flush()
	if r := b.result(); r.Code != core.CodeOK || len(r.Set.Versions) != 1 {
		t.Errorf("%+v", r)
	}
}

// A read waits for the flush of its own key, and for no later one.
func TestGetWaitsForTheFlushOfItsKeyAlone(t *testing.T) {
	b := newBench(t, "a", 3)
	first := b.put(true)
	b.submit(first)
	flush := b.replica.Flush() // is on its way
	next := b.put(true)
	next.Key = append(slices.Clone(first.Key), '+')
	b.submit(next)
	b.submit(core.Request{Op: core.OpGet, Key: first.Key, Options: core.Options{R: 1}})
	b.silent()
	b.replica.Durable(flush)
	b.Durable(b.now, flush, &b.out)
	b.collect()
	if r := b.result(); r.Code != core.CodeOK || len(r.Set.Versions) != 1 {
		t.Errorf("%+v", r)
	}
}

func TestGetHedgesToTheNextOwner(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(core.Request{Op: core.OpGet, Key: b.key(true)})
	silent := b.sent[0].To
	b.take(silent)
	b.pass(unknownP95)
	if len(b.sent) != 1 || b.sent[0].To == silent {
		t.Fatalf("after its p95 asked %v", b.targets())
	}
	b.answer(b.take(b.sent[0].To), &core.ReadReply{})
	if r := b.result(); r.Code != core.CodeNotFound {
		t.Errorf("%+v", r)
	}
}

func TestGetAsksTheKnownFastFirst(t *testing.T) {
	b := newBench(t, "a", 3)
	key := b.key(true)
	v := *b.Coordinator.view
	v.Peers = []core.Peer{
		{ID: "b", Start: 1, Status: core.Alive, P95: 9 * ms, P99: 9 * ms},
		{ID: "c", Start: 1, Status: core.Alive, P95: 2 * ms, P99: 2 * ms},
	}
	b.SetView(b.now, &v, &b.out)
	b.submit(core.Request{Op: core.OpGet, Key: key})
	b.take("c")
	b.pass(2 * ms)
	b.take("b")
}

func TestGetGoesOnAtOnceWhenAPeerRefusesConnections(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(core.Request{Op: core.OpGet, Key: b.key(true)})
	first := b.take(b.sent[0].To)
	b.refuse(first)
	second := b.take(b.sent[0].To)
	if second.To == first.To {
		t.Fatalf("asked %s twice", first.To)
	}
	b.answer(second, &core.ReadReply{})
	if r := b.result(); r.Code != core.CodeNotFound {
		t.Errorf("%+v", r)
	}
}

func TestConflictingAnswerDoesNotCount(t *testing.T) {
	b := newBench(t, "a", 3)
	put := b.put(true)
	b.submit(put)
	b.flush()
	b.sent = nil
	set, _ := b.replica.Read(put.Key, &b.out)
	forged := version.Siblings{Clock: set.Clock, Versions: slices.Clone(set.Versions)}
	forged.Versions[0].Data = []byte("forged")
	b.submit(core.Request{Op: core.OpGet, Key: put.Key})
	liar := b.take(b.sent[0].To)
	b.answer(liar, &core.ReadReply{Set: forged})
	b.silent()
	honest := b.take(b.sent[0].To)
	b.answer(honest, &core.ReadReply{Set: set})
	if r := b.result(); r.Code != core.CodeOK || !bytes.Equal(r.Set.Versions[0].Data, []byte("v")) {
		t.Errorf("%+v", r)
	}
	if got := b.replica.Alarms().Conflicts; got != 1 {
		t.Errorf("%d conflicts counted", got)
	}
}

func TestOverwriteDeleteReadsAQuorumFirst(t *testing.T) {
	b := newBench(t, "a", 3)
	key := b.key(true)
	elsewhere, _ := version.Siblings{}.Put(version.Clock{}, version.Actor{Node: "b", Epoch: version.Epoch{Start: 9, Seq: 1}}, version.Write{ID: version.WriteID{9}, Data: []byte("missed here")})
	b.submit(core.Request{Op: core.OpDelete, Key: key, Options: core.Options{Overwrite: true, WriteID: version.WriteID{8}}})
	read := b.take(b.sent[0].To)
	if _, ok := read.Msg.(*core.Read); !ok {
		t.Fatalf("sent %T first", read.Msg)
	}
	b.answer(read, &core.ReadReply{Set: elsewhere})
	apply := b.take(read.To).Msg.(*core.Apply)
	if len(apply.Set.Versions) != 1 || !apply.Set.Versions[0].Tombstone {
		t.Errorf("the delete left %v", apply.Set.Versions)
	}
}

func TestWritesMeetWInEachLiveLayout(t *testing.T) {
	b := newBench(t, "a", 3)
	old := b.Coordinator.view.ReadLayout()
	six := layout(t, 6)
	next, err := old.Plan(2, six.Members(), 3)
	if err != nil {
		t.Fatal(err)
	}
	// A partition that has wholly moved away from this node but for the reads.
	var key []byte
	for i := range 1000 {
		k := fmt.Appendf(nil, "key-%d", i)
		p := old.Partition(k)
		gained := 0
		for _, o := range next.Owners(p) {
			if !old.Owns(o, p) {
				gained++
			}
		}
		if gained >= 2 {
			key = k
		}
	}
	if key == nil {
		t.Fatal("no partition gains two owners")
	}
	b.view(old, next)
	r := b.put(true)
	r.Key = key
	b.submit(r)
	b.flush()
	p := old.Partition(key)
	for _, owner := range old.Owners(p) {
		if owner != "a" {
			b.answer(b.take(owner), &core.Applied{})
		}
	}
	acked := 0
	for _, owner := range next.Owners(p) {
		if old.Owns(owner, p) {
			acked++
		}
	}
	for _, owner := range next.Owners(p) {
		if old.Owns(owner, p) {
			continue
		}
		if acked < 2 {
			b.silent()
		}
		b.answer(b.take(owner), &core.Applied{})
		acked++
	}
	if got := b.result(); got.Outcome != core.Written {
		t.Errorf("%+v", got)
	}
}

func TestStaleRefusalWaitsForTheNextView(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(b.put(true))
	b.flush()
	e := b.take("b")
	b.Deliver(b.now, &core.Envelope{
		From: "b", Req: e.Req, Reply: true, Msg: &core.Refused{Why: core.RefusedStale},
		Stamp: core.Stamp{Layout: ring.Name{Number: 2}, Phase: core.PhaseCopy},
	}, &b.out)
	if len(b.out.Reports) == 0 || b.out.Reports[len(b.out.Reports)-1].Ahead.Layout.Number != 2 {
		t.Errorf("Control is not told: %+v", b.out.Reports)
	}
	b.collect()
	next, err := b.Coordinator.view.ReadLayout().Plan(2, layout(t, 3).Members(), 3)
	if err != nil {
		t.Fatal(err)
	}
	b.view(b.Coordinator.view.ReadLayout(), next)
	again := b.take("b")
	if again.Stamp.Layout.Number != 2 {
		t.Errorf("asked again under %v", again.Stamp)
	}
	b.answer(again, &core.Applied{})
	if got := b.result(); got.Outcome != core.Written {
		t.Errorf("%+v", got)
	}
}

func TestNotReadyWithoutALayout(t *testing.T) {
	b := newBench(t, "a", 3)
	key := b.key(true)
	c := New(b.config, b.replica)
	c.Submit(b.now, &core.Request{Op: core.OpGet, Key: key}, &b.out)
	b.collect()
	if r := b.result(); r.Code != core.CodeNotReady {
		t.Errorf("%+v", r)
	}
}

func TestFullSlotsAreOverloaded(t *testing.T) {
	b := newBench(t, "a", 3)
	key := b.key(true)
	for range maxSlots {
		b.Submit(b.now, &core.Request{Op: core.OpGet, Key: key, Deadline: b.now.Mono + time.Second}, &b.out)
	}
	b.collect()
	b.silent()
	b.submit(core.Request{Op: core.OpGet, Key: key})
	if r := b.result(); r.Code != core.CodeOverloaded || r.Outcome != core.NotWritten {
		t.Errorf("%+v", r)
	}
	b.pass(time.Second)
	if len(b.replies) != maxSlots || b.Active() != 0 {
		t.Errorf("%d replies, %d slots open", len(b.replies), b.Active())
	}
}
