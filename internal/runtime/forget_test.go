package runtime_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// TestDeletedKeysAreForgotten deletes keys while a node is cut off: they stay,
// and status says why; when it is back they go, on every node, and leave
// nothing behind.
func TestDeletedKeysAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const keys, replicas = 40, 3
		c := newCluster(t, 4, nil)
		for i := range keys {
			del := &core.Request{Op: core.OpDelete, Key: fmt.Append(nil, i), Options: core.Options{Overwrite: true, W: replicas}}
			if r := c.put(i%4, fmt.Sprint(i), "v"); r.Outcome != core.Written {
				t.Fatalf("put %d: %v", i, r.Code)
			}
			if r := c.nodes[i%4].Do(t.Context(), del, 2*time.Second); r.Outcome != core.Written {
				t.Fatalf("delete %d: %v", i, r.Code)
			}
		}
		reaped := func() (n uint64) {
			for _, node := range c.nodes {
				n += node.Status().Forgetting.Reaped
			}
			return n
		}
		const enough = id.MinTombstoneTTL + 3*time.Minute
		c.network.Isolate("n4")
		<-time.After(enough)
		if n := reaped(); n > 0 {
			t.Errorf("%d removals while a member cannot be asked", n)
		}
		if f := c.nodes[0].Status().Forgetting; f.Blocker != "n4" || f.BlockedSince == 0 {
			t.Errorf("forgetting %+v; want it blocked by n4", f)
		}
		c.network.Heal()
		<-time.After(enough)
		if n := reaped(); n != keys*replicas {
			t.Errorf("%d removals of %d keys with %d replicas each", n, keys, replicas)
		}
		if f := c.nodes[0].Status().Forgetting; f.Blocker != "" || f.Waiting > 0 {
			t.Errorf("forgetting %+v; want nothing left to do", f)
		}
		for i := range keys {
			if r := c.get(i%4, fmt.Sprint(i)); r.Code != core.CodeNotFound || !r.Context.IsEmpty() {
				t.Errorf("get %d: %v with the context %v", i, r.Code, r.Context)
			}
			if r := c.put(i%4, fmt.Sprint(i), "again"); r.Outcome != core.Written {
				t.Errorf("put %d again: %v", i, r.Code)
			}
		}
	})
}
