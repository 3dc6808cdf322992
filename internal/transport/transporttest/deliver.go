package transporttest

import (
	"sync"
	"testing"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// siblings returns a set of versions of so many bytes each.
func siblings(versions, bytes int) version.Siblings {
	var s version.Siblings
	actor := version.Actor{Node: "n1", Epoch: version.Epoch{Start: 1, Seq: 1}}
	for i := range versions {
		data := make([]byte, bytes)
		data[0] = byte(i)
		s, _ = s.Put(version.Clock{}, actor, version.Write{Data: data})
	}
	return s
}

// What a request and its reply say arrives unchanged, and the reply's sender
// needs no answer.
func testRequestAndReply(t *testing.T, network Network) {
	a, b := start(t, network, "", 0), start(t, network, "", 0)
	sent := a.request(7, &core.Apply{Key: []byte("key"), Set: siblings(2, 100)})
	sent.Partition = 3
	sent.Stamp = core.Stamp{Layout: ring.Name{Number: 4, Digest: 5}, Phase: core.PhaseCopy}
	a.send(t, b.addr, sent)

	got := b.awaitDelivered(t)
	apply, ok := got.Msg.(*core.Apply)
	if !ok || string(apply.Key) != "key" || !apply.Set.Equal(sent.Msg.(*core.Apply).Set) {
		t.Errorf("the message %#v is not the one that was sent", got.Msg)
	}
	want := *sent
	want.Msg, want.Deadline = got.Msg, got.Deadline
	if *got != want {
		t.Errorf("the envelope is %+v, want %+v", *got, want)
	}

	b.send(t, a.addr, b.reply(7, &core.Applied{}))
	if e := a.awaitDelivered(t); e.Req != 7 || !e.Reply {
		t.Errorf("the reply is %+v", e)
	}
	requireNone(t, "given back", a.failed)
	requireNone(t, "given back", b.failed)
	a.close(t) // so that nothing is being counted any more
	b.close(t)
	if s := a.Stats().Sent; s.Envelopes != 1 || s.Messages != 1 || s.Bytes == 0 || s != b.Stats().Received {
		t.Errorf("sent %+v, and the peer has received %+v", s, b.Stats().Received)
	}
}

// What one goroutine sends to one node arrives in that order.
func testOrderIsKept(t *testing.T, network Network) {
	const senders, each = 4, 2000
	a, b := start(t, network, "", 0), start(t, network, "", 0)
	var wg sync.WaitGroup
	for s := range uint64(senders) {
		wg.Go(func() {
			for n := range uint64(each) {
				if !a.Send(b.addr, a.request(s<<32|n, &core.Read{Key: []byte("k")})) {
					t.Errorf("envelope %d of sender %d is not accepted", n, s)
				}
			}
		})
	}
	var next [senders]uint64
	for range senders * each {
		e := b.awaitDelivered(t)
		s, n := uint64(e.Req)>>32, uint64(e.Req)&(1<<32-1)
		if n != next[s] {
			t.Fatalf("envelope %d of sender %d stands where %d belongs", n, s, next[s])
		}
		next[s]++
	}
	wg.Wait()
	if s := a.Stats().Sent; s.Envelopes != senders*each || s.Messages > s.Envelopes {
		t.Errorf("sent %+v, want %d envelopes", s, senders*each)
	}
}

// Several nodes that all send to all others at once; everything arrives once.
func testEveryoneToEveryone(t *testing.T, network Network) {
	const nodes, goroutines, each = 4, 3, 100
	var all [nodes]*node
	for i := range all {
		all[i] = start(t, network, "", time.Duration(i)*time.Hour)
	}
	var wg sync.WaitGroup
	for i, from := range all {
		for g := range goroutines {
			wg.Go(func() {
				for n := range each {
					for j, to := range all {
						req := uint64(((i*nodes+j)*goroutines+g)*each + n)
						if i != j && !from.Send(to.addr, from.request(req, &core.Apply{Key: []byte("k"), Set: siblings(1, 100)})) {
							t.Errorf("envelope %d is not accepted", req)
						}
					}
				}
			})
		}
	}
	wg.Wait()
	for j, to := range all {
		seen := map[core.ReqID]bool{}
		for range (nodes - 1) * goroutines * each {
			e := to.awaitDelivered(t)
			if receiver := int(e.Req) / each / goroutines % nodes; receiver != j || seen[e.Req] {
				t.Fatalf("node %d gets envelope %d, seen before: %v", j, e.Req, seen[e.Req])
			}
			seen[e.Req] = true
		}
	}
}

// A deadline is Mono at both ends, however far their clocks are apart, and no
// message is given more than M.
func testDeadlinesAreCarried(t *testing.T, network Network) {
	a, b := start(t, network, "", time.Hour), start(t, network, "", 10*time.Minute)
	for _, c := range []struct{ given, most time.Duration }{
		{20 * time.Second, 20 * time.Second},
		{id.MaxMessageAge, id.MaxMessageAge},
		{time.Hour, id.MaxMessageAge},
		{core.Never - time.Hour, id.MaxMessageAge},
	} {
		e := a.request(1, &core.Read{Key: []byte("k")})
		before := a.mono()
		e.Deadline = before + c.given
		if c.given > time.Hour {
			e.Deadline = core.Never
		}
		a.send(t, b.addr, e)
		got := b.awaitDelivered(t)
		left, took := got.Deadline-b.mono(), a.mono()-before
		if left > c.most || left < c.most-2*took {
			t.Errorf("%s were left, and %s are after %s", c.given, left, took)
		}
	}
}

// A set of 32 MiB arrives whole, and what goes to other nodes does not wait.
func testLargeEnvelopes(t *testing.T, network Network) {
	a, b, c := start(t, network, "", 0), start(t, network, "", 0), start(t, network, "", 0)
	large := siblings(2, largeValue)
	a.send(t, b.addr, a.request(1, &core.Apply{Key: []byte("k"), Set: large}))
	a.send(t, b.addr, a.request(2, &core.Read{Key: []byte("k")}))
	a.send(t, c.addr, a.request(3, &core.Read{Key: []byte("k")}))
	if e := c.awaitDelivered(t); e.Req != 3 {
		t.Errorf("envelope %d arrives, want 3", e.Req)
	}
	if e := b.awaitDelivered(t); e.Req != 1 || !e.Msg.(*core.Apply).Set.Equal(large) {
		t.Errorf("envelope %d arrives, want 1 with the large set", e.Req)
	}
	if e := b.awaitDelivered(t); e.Req != 2 {
		t.Errorf("envelope %d arrives, want 2", e.Req)
	}
}

func testTooLargeIsRefused(t *testing.T, network Network) {
	a, b := start(t, network, "", 0), start(t, network, "", 0)
	set := siblings(5, id.MaxValueBytes)
	e := a.request(1, &core.Apply{Key: []byte("k"), Set: set})
	if wire.Size(e) <= wire.MaxEnvelopeBytes {
		t.Fatal("the envelope is not too large")
	}
	if a.Send(b.addr, e) {
		t.Errorf("an envelope above %d bytes is accepted", wire.MaxEnvelopeBytes)
	}
	if s := a.Stats(); s.Refused != 1 {
		t.Errorf("the stats do not count it as refused: %+v", s)
	}
	a.send(t, b.addr, a.request(2, &core.Read{Key: []byte("k")}))
	if e := b.awaitDelivered(t); e.Req != 2 {
		t.Errorf("envelope %d arrives", e.Req)
	}
}

// A hostile message costs its sender an error, and this node nothing.
func testHostileMessages(t *testing.T, network Network) {
	a, b := start(t, network, "", 0), start(t, network, "", 0)
	valid := encode(a.request(1, &core.Apply{Key: []byte("k"), Set: siblings(1, 10)}))
	for name, m := range map[string][]byte{
		"text":      []byte("GET / HTTP/1.1\r\n\r\n"),
		"zeros":     make([]byte, 1000),
		"truncated": valid[:len(valid)-3],
		"nameless":  {},
		"no key":    encode(a.request(1, &core.Read{})),
		"expired":   encode(&core.Envelope{From: "n1", Deadline: -1, Msg: &core.Applied{}}),
	} {
		t.Run(name, func(t *testing.T) {
			before := b.Stats().Invalid
			if err := network.Inject(t, b.addr, m); err == nil {
				t.Errorf("its sender sees no error")
			}
			if n := b.Stats().Invalid - before; n != 1 {
				t.Errorf("%d messages are counted as invalid", n)
			}
		})
	}
	requireNone(t, "delivered", b.delivered)
	a.send(t, b.addr, a.request(2, &core.Read{Key: []byte("k")}))
	if e := b.awaitDelivered(t); e.Req != 2 {
		t.Errorf("envelope %d arrives", e.Req)
	}
}

// A newer node may send what this one does not know; the rest arrives.
func testUnknownMessages(t *testing.T, network Network) {
	b := start(t, network, "", 0)
	applied := &dynamov1.Envelope_Applied{Applied: &dynamov1.Applied{}}
	newer, err := (&dynamov1.Batch{From: "n1", Envelopes: []*dynamov1.Envelope{
		{Remaining: 1}, {Req: 5, Remaining: 1, Message: applied},
	}}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	if err := network.Inject(t, b.addr, newer); err != nil {
		t.Errorf("its sender sees the error %v", err)
	}
	if e := b.awaitDelivered(t); e.Req != 5 {
		t.Errorf("envelope %d arrives, want 5", e.Req)
	}
	if s := b.Stats(); s.Unknown != 1 || s.Invalid != 0 {
		t.Errorf("the stats count it as %+v", s)
	}
}

// encode returns a message with one envelope that leaves at Mono 0.
func encode(e *core.Envelope) []byte {
	var enc wire.Encoder
	return enc.Encode(0, []core.Envelope{*e}, func(size int) []byte { return make([]byte, size) })
}
