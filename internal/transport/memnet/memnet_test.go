package memnet_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/transport"
	"github.com/dynamo-kv/dynamo/internal/transport/memnet"
	"github.com/dynamo-kv/dynamo/internal/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// network adapts a Network to the conformance suite.
type network struct {
	*memnet.Network
	drawn int
}

func (n *network) Unused(testing.TB) string {
	n.drawn++
	return fmt.Sprintf("node-%d", n.drawn)
}

func (n *network) Start(tb testing.TB, addr string, h transport.Handler, mono func() time.Duration) (transport.Transport, string) {
	tb.Helper()
	if addr == "" {
		addr = n.Unused(tb)
	}
	t, err := n.Transport(addr, h, mono)
	if err != nil {
		tb.Fatal(err)
	}
	return t, addr
}

func (n *network) Inject(_ testing.TB, addr string, b []byte) error { return n.Network.Inject(addr, b) }

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(testing.TB) transporttest.Network { return &network{Network: memnet.New(1)} })
}

// counter counts what a node is given, by the number of the request.
type counter struct {
	delivered, failed chan core.ReqID
}

func newCounter() *counter {
	return &counter{delivered: make(chan core.ReqID, 10_000), failed: make(chan core.ReqID, 10_000)}
}

func (c *counter) Deliver(e *core.Envelope)    { c.delivered <- e.Req }
func (c *counter) SendFailed(e *core.Envelope) { c.failed <- e.Req }

// bubble has three nodes a, b, c in a bubble of their own, so that a test can
// wait until nothing moves.
type bubble struct {
	*memnet.Network
	nodes map[string]*memnet.Transport
	got   map[string]*counter
}

func inBubble(t *testing.T, f func(*testing.T, *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{Network: memnet.New(1), nodes: map[string]*memnet.Transport{}, got: map[string]*counter{}}
		began := time.Now()
		for _, addr := range []string{"a", "b", "c"} {
			b.got[addr] = newCounter()
			n, err := b.Transport(addr, b.got[addr], func() time.Duration { return time.Since(began) })
			if err != nil {
				t.Fatal(err)
			}
			b.nodes[addr] = n
		}
		f(t, b)
		for _, n := range b.nodes {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// send sends n requests and waits until nothing moves. It returns how many
// have arrived and how many have come back.
func (b *bubble) send(t *testing.T, from, to string, n int) (arrived, back int) {
	t.Helper()
	for req := range n {
		e := &core.Envelope{From: "n", Req: core.ReqID(req), Deadline: core.Never, Msg: &core.Read{Key: []byte("k")}}
		if !b.nodes[from].Send(to, e) {
			t.Fatalf("envelope %d from %s to %s is not accepted", req, from, to)
		}
	}
	synctest.Wait()
	if c := b.got[to]; c != nil {
		arrived = drain(c.delivered)
	}
	return arrived, drain(b.got[from].failed)
}

func drain(c chan core.ReqID) (n int) {
	for len(c) > 0 {
		<-c
		n++
	}
	return n
}

func TestFaults(t *testing.T) {
	type path struct{ from, to string }
	all := []path{{"a", "b"}, {"b", "a"}, {"a", "c"}, {"c", "a"}, {"b", "c"}, {"c", "b"}}
	for _, c := range []struct {
		name  string
		fault func(*bubble)
		dead  map[path]bool
	}{
		{"none", func(*bubble) {}, nil},
		{"cut", func(b *bubble) { b.Cut("a", "b") }, map[path]bool{{"a", "b"}: true, {"b", "a"}: true}},
		{"one-way cut", func(b *bubble) { b.CutOneWay("a", "b") }, map[path]bool{{"a", "b"}: true}},
		{
			"isolated", func(b *bubble) { b.Isolate("c") },
			map[path]bool{{"a", "c"}: true, {"c", "a"}: true, {"b", "c"}: true, {"c", "b"}: true},
		},
		{"healed", func(b *bubble) { b.Cut("a", "b"); b.Isolate("c"); b.Lose(1); b.Heal() }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				c.fault(b)
				for _, p := range all {
					want := 3
					if c.dead[p] {
						want = 0
					}
					if arrived, back := b.send(t, p.from, p.to, 3); arrived != want || back != 0 {
						t.Errorf("%s to %s: %d of 3 arrive and %d come back; want %d and none", p.from, p.to, arrived, back, want)
					}
				}
			})
		})
	}
}

// A loss takes single envelopes, about as many as it says, and none of them
// comes back.
func TestLoss(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.Lose(0.3)
		const n = 5000
		if arrived, back := b.send(t, "a", "b", n); arrived < n*6/10 || arrived > n*8/10 || back != 0 {
			t.Errorf("%d of %d arrive and %d come back; want about %d and none", arrived, n, back, n*7/10)
		}
		b.Lose(1)
		if arrived, _ := b.send(t, "a", "b", 10); arrived != 0 {
			t.Errorf("%d envelopes arrive where all are lost", arrived)
		}
	})
}

func TestAddresses(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		mono := func() time.Duration { return 0 }
		if _, err := b.Transport("a", newCounter(), mono); err == nil {
			t.Error("two transports listen on one address")
		}
		if _, err := b.Transport("", newCounter(), mono); err == nil {
			t.Error("a transport listens on no address")
		}
		if err := b.Inject("nobody", nil); err == nil {
			t.Error("a message is injected where nobody listens")
		}
		if _, back := b.send(t, "a", "nobody", 3); back != 3 {
			t.Errorf("%d of 3 requests come back from where nobody listens", back)
		}
	})
}
