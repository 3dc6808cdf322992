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

// TestForgettingIsReported lets a node that is alone delete a key, and time
// pass until it has forgotten it: the rounds are driven by Next and Tick, and
// Control is told though nothing else happens.
func TestForgettingIsReported(t *testing.T) {
	l, err := ring.Form(8, 1, []ring.Member{{ID: "n1", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	o := controlOptions("a:1")
	o.Shards, o.N, o.R, o.W = 1, 1, 1, 1
	store := coretest.NewStore()
	s := node.NewShard(o, 0, store)
	var now core.Now
	var out core.Out
	var last core.ShardReport
	flush := func() {
		for _, r := range out.Shards {
			last = r
		}
		store.Commit(out.Writes)
		out.Reset()
		s.Durable(now, s.Flush(), &out)
	}
	s.SetView(now, &core.View{Self: "n1", Cluster: cluster, Layouts: core.LayoutState{Live: []*ring.Layout{l}, Phase: core.PhaseDone}}, &out)
	flush()
	s.Submit(now, &core.Request{
		Req: 1, Op: core.OpDelete, Key: []byte("k"), Deadline: time.Second,
		Options: core.Options{Overwrite: true, WriteID: version.WriteID{1}},
	}, &out)
	flush()
	if store.Len() != 1 {
		t.Fatalf("%d keys after a delete; want its tombstone", store.Len())
	}
	for last.Forgetting.Reaped == 0 {
		at, ok := s.Next()
		if !ok || at > 2*o.TombstoneTTL {
			t.Fatalf("nothing left to do (%v, %v) at %v; last report %+v", at, ok, now.Mono, last)
		}
		now.Mono = max(now.Mono, at)
		s.Tick(now, &out)
		flush()
	}
	if store.Len() > 0 || now.Mono < o.TombstoneTTL || last.Stamp != (core.Stamp{Layout: l.Name(), Phase: core.PhaseDone}) {
		t.Errorf("%d keys are left at %v; report %+v", store.Len(), now.Mono, last)
	}
}
