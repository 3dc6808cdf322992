package transporttest

import (
	"runtime"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// What has expired in the outbox is not sent: a request comes back, a reply
// does not.
func testExpiredIsNotSent(t *testing.T, network Network) {
	a, b := start(t, network, "", time.Hour), start(t, network, "", 0)
	late := a.request(1, &core.Read{Key: []byte("k")})
	late.Deadline = a.mono()
	lateReply := a.reply(2, &core.Applied{})
	lateReply.Deadline = a.mono()
	a.send(t, b.addr, lateReply)
	a.send(t, b.addr, late)
	a.send(t, b.addr, a.request(3, &core.Read{Key: []byte("k")}))
	if e := b.awaitDelivered(t); e.Req != 3 {
		t.Errorf("envelope %d is delivered after its deadline", e.Req)
	}
	if e := a.awaitFailed(t); e.Req != 1 {
		t.Errorf("envelope %d comes back, want 1", e.Req)
	}
	requireNone(t, "given back", a.failed)
	if s := a.Stats(); s.Expired != 2 || s.Failed != 0 {
		t.Errorf("the stats count %+v, want two expired", s)
	}
}

// A node that does not listen gets nothing, and its requests come back, the
// first as well as the next, and whole.
func testRefusedComesBack(t *testing.T, network Network) {
	a := start(t, network, "", 0)
	addr := network.Unused(t)
	for req := range uint64(3) {
		a.send(t, addr, a.reply(100, &core.Applied{}))
		sent := a.request(req, &core.Read{Key: []byte("k")})
		a.send(t, addr, sent)
		if e := a.awaitFailed(t); *e != *sent {
			t.Errorf("what comes back is %+v; sent was %+v", e, sent)
		}
	}
	requireNone(t, "given back", a.failed)
	if s := a.Stats(); s.Failed != 6 || s.Sent.Envelopes != 0 {
		t.Errorf("the stats count %+v, want six failed", s)
	}
}

// A node that has gone is missed, and is reached again once it is back.
func testRestartIsReached(t *testing.T, network Network) {
	a, b := start(t, network, "", 0), start(t, network, "", 0)
	a.send(t, b.addr, a.request(1, &core.Read{Key: []byte("k")}))
	b.awaitDelivered(t)
	b.close(t)
	// What is on its way when a node goes is lost; soon after, everything
	// comes back.
	deadline := time.Now().Add(patience)
	for failed := false; !failed; {
		a.send(t, b.addr, a.request(2, &core.Read{Key: []byte("k")}))
		failed = arrivesSoon(a.failed)
		if time.Now().After(deadline) {
			t.Fatalf("%s after a node has gone, nothing comes back", patience)
		}
	}

	again := start(t, network, b.addr, 0)
	for arrived := false; !arrived; {
		a.send(t, b.addr, a.request(3, &core.Read{Key: []byte("k")}))
		arrived = arrivesSoon(again.delivered)
		if time.Now().After(deadline) {
			t.Fatalf("%s after a node was back, nothing arrives", patience)
		}
	}
}

// A node of which the caller has heard that it is back is tried at once,
// however often it was not there.
func testReachEndsAPause(t *testing.T, network Network) {
	a := start(t, network, "", 0)
	addr := network.Unused(t)
	a.Reach(addr) // nothing was sent to it: that says nothing
	a.send(t, addr, a.request(1, &core.Read{Key: []byte("k")}))
	a.awaitFailed(t)
	b := start(t, network, addr, 0)
	a.Reach(addr)
	a.send(t, addr, a.request(2, &core.Read{Key: []byte("k")}))
	if e := b.awaitDelivered(t); e.Req != 2 {
		t.Errorf("envelope %d arrives, want 2", e.Req)
	}
	requireNone(t, "given back", a.failed)
}

// arrivesSoon waits a little for an envelope.
func arrivesSoon(c <-chan *core.Envelope) bool {
	soon := time.NewTimer(20 * time.Millisecond)
	defer soon.Stop()
	select {
	case <-c:
		return true
	case <-soon.C:
		return false
	}
}

// fill sends to a node that takes nothing, until its outbox is full, and
// returns how many envelopes were accepted. They are small: as JSON and with the
// race detector each byte takes its time, and what is not sent within M has
// expired. It is more of them than outbox.MaxEnvelopes, since connections and
// windows take some megabytes first.
func fill(t *testing.T, a, b *node) uint64 {
	t.Helper()
	const atMost, size = recorderSize / 2, 512
	set := siblings(1, size)
	for req := range uint64(atMost) {
		if !a.Send(b.addr, a.request(req, &core.Apply{Key: []byte("k"), Set: set})) {
			return req
		}
	}
	t.Fatalf("%d envelopes of %d bytes are accepted for a node that takes none", atMost, size)
	return 0
}

// held returns a node whose handler takes nothing until release.
func held(t *testing.T, network Network) (n *node, release func()) {
	t.Helper()
	r := newRecorder()
	r.hold = make(chan struct{})
	released := false
	release = func() {
		if !released {
			close(r.hold)
		}
		released = true
	}
	n = startWith(t, network, "", 0, r)
	t.Cleanup(release) // before the node is closed, which waits for its handler
	return n, release
}

// A node that takes nothing costs a bounded outbox, and nobody else anything.
func testOutboxIsBounded(t *testing.T, network Network) {
	a, c := start(t, network, "", 0), start(t, network, "", 0)
	b, release := held(t, network)
	accepted := fill(t, a, b)
	if s := a.Stats(); s.Refused != 1 {
		t.Errorf("the stats count %+v, want one refused", s)
	}
	a.send(t, c.addr, a.request(1, &core.Read{Key: []byte("k")}))
	c.awaitDelivered(t)

	release()
	for req := range accepted {
		if e := b.awaitDelivered(t); uint64(e.Req) != req {
			t.Fatalf("envelope %d stands where %d belongs", e.Req, req)
		}
	}
	a.send(t, b.addr, a.request(accepted, &core.Read{Key: []byte("k")}))
	b.awaitDelivered(t)
}

// Closing gives back what was not sent, and nothing that arrives.
func testCloseGivesBack(t *testing.T, network Network) {
	a := start(t, network, "", 0)
	b, release := held(t, network)
	accepted := fill(t, a, b)

	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = a.Close()
	}()
	for unused := network.Unused(t); a.Send(unused, a.reply(0, &core.Applied{})); {
		runtime.Gosched() // until Close has begun
	}
	release()
	<-closed
	b.close(t)

	failed := len(a.failed)
	back := map[core.ReqID]bool{}
	for range failed {
		back[(<-a.failed).Req] = true
	}
	if failed == 0 || len(back) != failed {
		t.Errorf("%d requests come back, %d of them different; most of %d were waiting", failed, len(back), accepted)
	}
	for range len(b.delivered) {
		if e := <-b.delivered; back[e.Req] {
			t.Errorf("envelope %d came back and was delivered", e.Req)
		}
	}
}

func testCloseIsFinal(t *testing.T, network Network) {
	a, b := start(t, network, "", 0), start(t, network, "", 0)
	a.send(t, b.addr, a.request(1, &core.Read{Key: []byte("k")}))
	b.awaitDelivered(t)
	a.close(t)
	a.close(t)
	if a.Send(b.addr, a.request(2, &core.Read{Key: []byte("k")})) {
		t.Error("a closed transport accepts an envelope")
	}
	b.close(t)
	requireNone(t, "delivered", b.delivered)
	requireNone(t, "given back", a.failed)
}
