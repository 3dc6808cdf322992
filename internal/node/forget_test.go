package node_test

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// hermit is a node that is alone, with its disk.
type hermit struct {
	*node.Shard
	options node.Options
	layout  *ring.Layout
	store   *coretest.Store
	now     core.Now
	out     core.Out
	last    core.ShardReport
}

func newHermit(t *testing.T) *hermit {
	t.Helper()
	l, err := ring.Form(8, 1, []ring.Member{{ID: "n1", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	h := &hermit{options: controlOptions("a:1"), layout: l, store: coretest.NewStore()}
	h.options.Shards, h.options.N, h.options.R, h.options.W = 1, 1, 1, 1
	h.Shard = node.NewShard(h.options, 0, h.store)
	h.SetView(h.now, &core.View{Self: "n1", Cluster: cluster, Layouts: core.LayoutState{Live: []*ring.Layout{l}, Phase: core.PhaseDone}}, &h.out)
	h.flush()
	return h
}

// flush makes the effects so far durable.
func (h *hermit) flush() {
	for _, r := range h.out.Shards {
		h.last = r
	}
	h.store.Commit(h.out.Writes)
	h.out.Reset()
	h.Durable(h.now, h.Flush(), &h.out)
}

// forget deletes a key, and lets time pass until it has been forgotten.
func (h *hermit) forget(t *testing.T, key []byte) {
	t.Helper()
	h.Submit(h.now, &core.Request{
		Req: 1, Op: core.OpDelete, Key: key, Deadline: time.Second,
		Options: core.Options{Overwrite: true, WriteID: version.WriteID{1}},
	}, &h.out)
	h.flush()
	if h.store.Len() != 1 {
		t.Fatalf("%d keys after a delete; want its tombstone", h.store.Len())
	}
	for h.last.Forgetting.Reaped == 0 {
		at, ok := h.Next()
		if !ok || at > 2*h.options.TombstoneTTL {
			t.Fatalf("nothing left to do (%v, %v) at %v; last report %+v", at, ok, h.now.Mono, h.last)
		}
		h.now.Mono = max(h.now.Mono, at)
		h.Tick(h.now, &h.out)
		h.flush()
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
	set, _ := version.Siblings{}.Put(version.Clock{}, version.Actor{Node: "n2", Epoch: version.Epoch{Start: 1, Seq: 1}},
		version.Write{ID: version.WriteID{2}, Data: []byte("v")})
	late := core.Envelope{
		From: "n2", To: "n1", Cluster: cluster, Partition: h.layout.Partition(key),
		Stamp: h.last.Stamp, Deadline: time.Second, Msg: &core.Apply{Key: key, Set: set},
	}
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
