package handoff

import (
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// circuit sets the state of the breaker for a peer.
func (f *fallback) circuit(n id.Node, s core.CircuitState) {
	for i := range f.peers {
		if f.peers[i].ID == n {
			f.peers[i].Circuit = core.Circuit{State: s, Generation: f.peers[i].Circuit.Generation + 1}
		}
	}
	f.show(f.layout)
}

// Hints wait while the breaker of their owner is not closed, and go to it as
// soon as it is.
func TestHintsWaitForTheBreaker(t *testing.T) {
	f := newFallback(t)
	f.circuit("b", core.CircuitOpen)
	f.keep(f.key(1), setOf("a", "1"), "b")
	f.keep(f.key(2), setOf("a", "2"), "c")
	for range 20 {
		f.run(time.Second)
		f.answerAll(func(e core.Envelope) core.Message {
			if e.To == "b" {
				t.Error("b is called")
			}
			return &core.Applied{}
		})
	}
	if f.kept() != 1 {
		t.Fatalf("%d kept; want the hint for b", f.kept())
	}
	f.circuit("b", core.CircuitHalfOpen)
	f.run(time.Second)
	if len(f.sent) != 0 {
		t.Error("b is called while Control tries it")
	}
	f.circuit("b", core.CircuitClosed)
	f.run(0)
	f.answerAll(applied)
	if f.kept() != 0 {
		t.Errorf("%d kept after the breaker has closed", f.kept())
	}
}

// What is pushed waits likewise; other owners get it meanwhile.
func TestPushesWaitForTheBreaker(t *testing.T) {
	f := newFallback(t)
	p := ring.Partition(3)
	key := keysIn(f.layout, p, 1)[0]
	f.replica.Apply(key, setOf("d", "left over"), &f.out)
	f.circuit("c", core.CircuitOpen)
	f.Stored(p)
	f.run(time.Second)
	var asked []id.Node
	f.answerAll(func(e core.Envelope) core.Message {
		asked = append(asked, e.To)
		return &core.Applied{}
	})
	if slices.Contains(asked, "c") || len(asked) != 2 {
		t.Fatalf("asked %v; want a and b", asked)
	}
	f.circuit("c", core.CircuitClosed)
	f.run(retryPause)
	f.answerAll(applied)
	if f.store.Len() != 0 {
		t.Error("the key is still here")
	}
}

// A new owner pulls from those whose breakers are closed.
func TestPullsPassOverOpenBreakers(t *testing.T) {
	old, next := layouts(t)
	b := newBench(t, "d")
	v := &core.View{Self: "d", Cluster: 1, Layouts: core.LayoutState{Live: []*ring.Layout{old, next}, Phase: core.PhaseCopy}}
	for _, n := range []id.Node{"a", "b", "c"} {
		v.Peers = append(v.Peers, core.Peer{ID: n, Status: core.Alive})
	}
	v.Peers[0].Circuit.State = core.CircuitOpen
	b.SetView(b.now, v, &b.out)
	b.collect()
	for range 10 {
		b.answerAll(func(e core.Envelope) core.Message {
			if e.To == "a" {
				t.Error("a is called")
			}
			return &core.PullReply{Done: true}
		})
		b.tick(retryPause)
	}
	if r := b.last(); r.Synced != next.Name() {
		t.Errorf("%+v; two old owners are enough", r)
	}
}

// Every delivery has an outcome, which the breaker goes by.
func TestDeliveriesHaveOutcomes(t *testing.T) {
	f := newFallback(t)
	var failed, ok uint32
	tally := func(r []core.PeerReport) {
		for _, one := range r {
			failed += one.Calls.Failed
			ok += one.Calls.OK
		}
	}
	f.keep(f.key(1), setOf("a", "1"), "b")
	f.run(0)
	f.Tick(core.Now{Mono: f.now.Mono + chunkTimeout}, &f.out) // nobody has answered
	tally(f.out.Reports)
	if failed != 1 || ok != 0 {
		t.Errorf("%d failed, %d good", failed, ok)
	}
	f.collect()
	f.now.Mono += chunkTimeout
	f.sent = nil
	f.run(time.Second)
	f.Deliver(f.now, &core.Envelope{From: "b", To: "d", Req: f.sent[0].Req, Reply: true, Msg: &core.Applied{}}, &f.out)
	tally(f.out.Reports)
	if failed != 1 || ok != 1 {
		t.Errorf("%d failed, %d good", failed, ok)
	}
}
