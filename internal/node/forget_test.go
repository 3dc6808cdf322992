package node_test

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// newHermit returns a node that is alone.
func newHermit(t *testing.T) *bench {
	t.Helper()
	o := controlOptions("a:1")
	o.N, o.R, o.W = 1, 1, 1
	return newBench(o, owning(t, "n1"))
}

// forget deletes a key, and lets time pass until it has been forgotten.
func (b *bench) forget(t *testing.T, key []byte) {
	t.Helper()
	b.Submit(b.now, &core.Request{
		Req: 1, Op: core.OpDelete, Key: key, Deadline: b.now.Mono + time.Second,
		Options: core.Options{Overwrite: true, WriteID: version.WriteID{1}},
	}, &b.out)
	b.flush()
	if b.store.Len() != 1 {
		t.Fatalf("%d keys after a delete; want its tombstone", b.store.Len())
	}
	for b.last.Forgetting.Reaped == 0 {
		at, ok := b.Next()
		if !ok || at > 2*b.options.TombstoneTTL {
			t.Fatalf("nothing left to do (%v, %v) at %v; last report %+v", at, ok, b.now.Mono, b.last)
		}
		b.now.Mono = max(b.now.Mono, at)
		b.Tick(b.now, &b.out)
		b.flush()
	}
}

// TestForgettingIsReported: the rounds are driven by Next and Tick, and Control
// is told though nothing else happens.
func TestForgettingIsReported(t *testing.T) {
	h := newHermit(t)
	h.forget(t, []byte("k"))
	want := core.Stamp{Layout: h.layout.Name(), Phase: core.PhaseDone}
	if h.store.Len() > 0 || h.now.Mono < h.options.TombstoneTTL || h.last.Stamp != want {
		t.Errorf("%d keys are left at %v; report %+v", h.store.Len(), h.now.Mono, h.last)
	}
}

// Scenario reap-old-message: a message from before the rounds arrives long after
// them.
func TestReapOldMessage(t *testing.T) {
	if bad := reapOldMessage(t); bad != "" {
		t.Error(bad)
	}
}

// reapOldMessage says how the scenario ends badly, and nothing where it does not.
func reapOldMessage(t *testing.T) string {
	t.Helper()
	h := newHermit(t)
	key := []byte("k")
	late := *h.request("n2", key, &core.Apply{Key: key, Set: versionOf("n2", []byte("v"))})
	first := late
	h.Deliver(h.now, &first, &h.out)
	h.flush()
	if h.store.Len() != 1 {
		t.Fatal("the message is not taken in time")
	}
	h.forget(t, key)
	h.Deliver(h.now, &late, &h.out)
	h.flush()
	if h.store.Len() > 0 {
		return "a copy of the message brought the value back"
	}
	return ""
}
