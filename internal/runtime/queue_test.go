package runtime

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/node"
)

// recorder is a machine that notes what it is given.
type recorder struct{ steps []kind }

func (r *recorder) Deliver(_ core.Now, e *core.Envelope, _ *core.Out) {
	if e.Reply {
		r.steps = append(r.steps, peerReply)
	} else {
		r.steps = append(r.steps, peerRequest)
	}
}
func (r *recorder) SendFailed(core.Now, *core.Envelope, *core.Out) {}
func (r *recorder) Durable(core.Now, uint64, *core.Out)            {}
func (r *recorder) Tick(core.Now, *core.Out)                       {}
func (r *recorder) Next() (time.Duration, bool)                    { return 0, false }
func (r *recorder) Flush() uint64                                  { return 0 }

// clients returns how many requests of clients it was given.
func (r *recorder) clients() (n int) {
	for _, s := range r.steps {
		if s == clientRequest {
			n++
		}
	}
	return n
}

// recorded returns a loop over a recorder, with room for so many clients.
func recorded(room int) (*loop, *recorder) {
	r := &recorder{}
	return &loop{
		runtime: &Runtime{began: time.Now()}, machine: r, queue: newQueue(),
		after: func() {}, room: func() int { return room },
		step: func(_ *loop, _ core.Now, in input, _ *core.Out) { r.steps = append(r.steps, in.kind) },
	}, r
}

func (l *loop) fill(t *testing.T, clients, requests, replies int) {
	t.Helper()
	for range clients {
		if !l.queue.put(input{kind: clientRequest, waiter: &waiter{}, value: &core.Request{}}) {
			t.Fatal("a client's request finds no room")
		}
	}
	for range requests {
		l.queue.put(input{kind: peerRequest, value: &core.Envelope{}})
	}
	for range replies {
		l.queue.put(input{kind: peerReply, value: &core.Envelope{Reply: true}})
	}
}

// TestWhatIsBegunGoesFirst: clients have what peers leave of a drain, and some of
// it always.
func TestWhatIsBegunGoesFirst(t *testing.T) {
	l, r := recorded(maxClients)
	l.fill(t, 100, 1, 1)
	if err := l.drain(l.runtime.now()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(r.steps[:2], []kind{peerRequest, peerReply}) || r.clients() != 100 {
		t.Errorf("%d requests of clients after %v", r.clients(), r.steps[:2])
	}
	r.steps = nil
	l.fill(t, 100, 1000, 0)
	for drains := 1; r.clients() < 100; drains++ {
		if err := l.drain(l.runtime.now()); err != nil {
			t.Fatal(err)
		}
		if most := drains * node.MaxDrain; len(r.steps) > most || r.clients() != min(100, drains*leastClients) {
			t.Fatalf("%d steps, %d of clients in %d drains", len(r.steps), r.clients(), drains)
		}
	}
	for len(r.steps) < 1100 {
		if err := l.drain(l.runtime.now()); err != nil {
			t.Fatal(err)
		}
	}
	if clients, peers := l.queue.waiting(); clients+peers != 0 {
		t.Errorf("%d and %d wait when all has been stepped", clients, peers)
	}
}

// TestQueuesAreBounded: as many wait as there is room for, and replies always
// enter.
func TestQueuesAreBounded(t *testing.T) {
	l, _ := recorded(10)
	client := func() bool { return l.queue.put(input{kind: clientRequest, waiter: &waiter{}, value: &core.Request{}}) }
	l.fill(t, maxClients, 0, 0)
	if client() {
		t.Error("more clients than may ever wait")
	}
	if !l.queue.full.Load() {
		t.Error("nobody hears that there is no room")
	}
	for len(l.queue.clients)+len(l.left.clients) > 0 || l.queue.counts[clientRequest] > 0 {
		if err := l.drain(l.runtime.now()); err != nil {
			t.Fatal(err)
		}
	}
	if l.queue.full.Load() {
		t.Error("everybody is turned away though there is room again")
	}
	l.fill(t, 10, maxPeers, 3*maxPeers)
	if client() {
		t.Error("more clients than the shard has room for")
	}
	if l.queue.put(input{kind: peerRequest, value: &core.Envelope{}}) {
		t.Error("more requests of peers than may wait")
	}
}

// TestRequestsOfClientsThatHaveGoneAreNotBegun: whichever comes first.
func TestRequestsOfClientsThatHaveGoneAreNotBegun(t *testing.T) {
	l, r := recorded(maxClients)
	stays, goes := &waiter{}, &waiter{}
	for _, w := range []*waiter{stays, goes} {
		l.queue.put(input{kind: clientRequest, waiter: w, value: &core.Request{}})
	}
	if !goes.leave() {
		t.Error("the request has been begun")
	}
	if err := l.drain(l.runtime.now()); err != nil {
		t.Fatal(err)
	}
	if n := r.clients(); n != 1 || stays.leave() {
		t.Errorf("%d requests were begun; want that of the client who stays", n)
	}
}

// TestWhoeverGoesIsToldWhatIsKnown: a request that its client gives up before it was
// begun never begins, and its write is known not to be written; one that was
// begun is not known.
func TestWhoeverGoesIsToldWhatIsKnown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, begun := range []bool{false, true} {
		r := &Runtime{}
		w := r.waiters.get()
		want, left := core.NotWritten, uint64(1)
		if begun {
			want, left = core.Unknown, 0
			w.Begins()
		}
		if got := r.await(ctx, w, core.OpPut); got.Code != core.CodeTimeout || got.Outcome != want {
			t.Errorf("begun %t: %v, %v; want %v", begun, got.Code, got.Outcome, want)
		}
		if w.Begins() || r.turned.left.Load() != left {
			t.Errorf("begun %t: it begins all the same, or %d are counted", begun, r.turned.left.Load())
		}
	}
}

// sink is a transport that keeps what it is to send, unless it is full.
type sink struct {
	sent []core.Envelope
	full bool
}

func (s *sink) Send(_ string, e *core.Envelope) bool {
	if !s.full {
		s.sent = append(s.sent, *e)
	}
	return !s.full
}
func (s *sink) Reach(string) {}
func (s *sink) Close() error { return nil }

// TestPeersHearThatThereIsNoRoom: a peer's request for which a queue has no room is
// refused as overloaded; but for a forward, of which only a coordinator can say that
// it will not be carried out.
func TestPeersHearThatThereIsNoRoom(t *testing.T) {
	l, _ := recorded(maxClients)
	l.fill(t, 0, maxPeers, 0)
	to := &sink{}
	r := &Runtime{self: "n1", began: time.Now(), shards: []*loop{l}, transport: to}
	r.view.Store(&core.View{Self: "n1", Peers: []core.Peer{{ID: "n2", Addr: "n2:1"}}})
	requests := []core.Message{&core.Apply{}, &core.Hint{}, &core.Read{}, &core.Pull{}, &core.TreeCompare{}, &core.BucketAsk{}}
	for _, m := range requests {
		to.sent = nil
		r.Deliver(&core.Envelope{From: "n2", To: "n1", Req: 7, Msg: m})
		if len(to.sent) != 1 {
			t.Errorf("%T: %d answers", m, len(to.sent))
			continue
		}
		e := to.sent[0]
		if refused, ok := e.Msg.(*core.Refused); !ok || refused.Why != core.RefusedOverloaded || e.To != "n2" || e.Req != 7 || !e.Reply {
			t.Errorf("%T is answered %+v", m, e)
		}
	}
	to.sent = nil
	r.Deliver(&core.Envelope{From: "n2", To: "n1", Req: 7, Msg: &core.Forward{}})
	if len(to.sent) > 0 {
		t.Errorf("a forward is answered %+v", to.sent[0])
	}
	if n := r.turned.peers.Load(); n != uint64(len(requests)+1) {
		t.Errorf("%d are counted; want %d", n, len(requests)+1)
	}
}

// TestWhatIsNotSentComesBack: a request that the transport has no room for, or to a
// node without a known address, comes back to its loop at once; a reply does not.
func TestWhatIsNotSentComesBack(t *testing.T) {
	l, _ := recorded(maxClients)
	l.runtime.transport = &sink{full: true}
	l.runtime.view.Store(&core.View{Self: "n1", Peers: []core.Peer{{ID: "n2", Addr: "n2:1"}}})
	for i, to := range []id.Node{"n2", "nobody"} {
		l.send(&core.Envelope{From: "n1", To: to, Req: 7, Msg: &core.Read{}})
		l.send(&core.Envelope{From: "n1", To: to, Req: 8, Reply: true, Msg: &core.ReadReply{}})
		if len(l.queue.inputs) != i+1 {
			t.Fatalf("%d inputs wait after what was not sent to %s; want one for each request", len(l.queue.inputs), to)
		}
		in := l.queue.inputs[i]
		if e, ok := in.value.(*core.Envelope); in.kind != sendFailed || !ok || e.Req != 7 || e.To != to {
			t.Errorf("%+v comes back", in)
		}
	}
}
