package runtime_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// TestBegin: results come to their functions, once each, also those of requests
// that the node's stop has caught, and of one that comes after it.
func TestBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		results := make(chan core.Result, 100)
		begin := func(op core.Op, i int) {
			c.nodes[0].Begin(&core.Request{
				Op: op, Key: fmt.Append(nil, i), Value: fmt.Append(nil, i), Options: core.Options{Overwrite: op == core.OpPut},
			}, 2*time.Second, func(r core.Result) { results <- r })
		}
		await := func(n int) (all []core.Result) {
			t.Helper()
			for range n {
				select {
				case r := <-results:
					all = append(all, r)
				case <-time.After(time.Minute):
					t.Fatalf("%d of %d results", len(all), n)
				}
			}
			return all
		}
		for i := range 10 {
			begin(core.OpPut, i)
		}
		for _, r := range await(10) {
			if r.Outcome != core.Written {
				t.Errorf("a put: %v", r.Code)
			}
		}
		for i := range 10 {
			begin(core.OpGet, i)
		}
		for _, r := range await(10) {
			if r.Code != core.CodeOK || len(r.Set.Live()) != 1 {
				t.Errorf("a get: %v", r.Code)
			}
		}
		for i := range 10 {
			begin(core.OpPut, i)
		}
		if err := c.nodes[0].Stop(); err != nil {
			t.Fatal(err)
		}
		await(10)
		begin(core.OpPut, 0)
		if r := await(1)[0]; r.Code != core.CodeStopped || r.Outcome != core.NotWritten {
			t.Errorf("after the stop: %v, %v", r.Code, r.Outcome)
		}
		synctest.Wait()
		if n := len(results); n > 0 {
			t.Errorf("%d results too many", n)
		}
	})
}
