package runtime_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/runtime"
	"github.com/dynamo-kv/dynamo/internal/storage/memory"
)

// TestDrain: what is under way is waited for, and nothing else is begun.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowEngine{}
		wrap := func(e runtime.Engine) runtime.Engine {
			slow.Engine = e.(*memory.Engine)
			return slow
		}
		c := tunedCluster(t, 1, wrap, func(o *node.Options) { o.N, o.R, o.W = 1, 1, 1 })
		n := c.nodes[0]
		put := &core.Request{Op: core.OpPut, Key: []byte("k"), Value: []byte("v"), Options: core.Options{Overwrite: true}}
		slow.hold()
		result := make(taker, 1)
		n.Begin(put, time.Minute, result)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		n.Drain(ctx)
		if took := time.Since(began); took != time.Second {
			t.Errorf("with a request under way it returns after %v", took)
		}
		if r := c.get(0, "other"); r.Code != core.CodeStopped || r.Outcome != core.NotWritten {
			t.Errorf("a request that comes later ends with %v, %v", r.Code, r.Outcome)
		}
		drained := make(chan struct{})
		go func() {
			defer close(drained)
			n.Drain(t.Context())
		}()
		synctest.Wait()
		select {
		case <-drained:
			t.Error("it does not wait")
		default:
		}
		slow.release()
		<-drained
		if r := <-result; r.Outcome != core.Written {
			t.Errorf("the request under way ends with %v", r.Code)
		}
	})
}
