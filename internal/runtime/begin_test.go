package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/runtime"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
	"github.com/dynamo-kv/dynamo/internal/transport/memnet"
)

// taker takes results into a channel that has room for them.
type taker chan core.Result

func (t taker) Take(r core.Result) { t <- r }

// TestBegin: results come to their takers, once each, also those of requests that
// the node's stop has caught, and of one that comes after it.
func TestBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		results := make(chan core.Result, 100)
		begin := func(op core.Op, i int) {
			c.nodes[0].Begin(&core.Request{
				Op: op, Key: fmt.Append(nil, i), Value: fmt.Append(nil, i), Options: core.Options{Overwrite: op == core.OpPut},
			}, 2*time.Second, taker(results))
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

// BenchmarkRequest: a read of one node's own copy, whose asker waits for it or has
// it brought.
func BenchmarkRequest(b *testing.B) {
	r := alone(b)
	key := []byte("k")
	b.Run("do", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Do(context.Background(), &core.Request{Op: core.OpInspect, Key: key}, time.Second)
		}
	})
	b.Run("begin", func(b *testing.B) {
		results := make(taker, 1)
		b.ReportAllocs()
		for b.Loop() {
			r.Begin(&core.Request{Op: core.OpInspect, Key: key}, time.Second, results)
			<-results
		}
	})
}

// alone returns a node that is a cluster of one.
func alone(b *testing.B) *runtime.Runtime {
	b.Helper()
	store, _, err := engines.Open(storage.Options{Engine: "memory", Node: name(0)})
	if err != nil {
		b.Fatal(err)
	}
	r, err := runtime.New(runtime.Options{
		Engine: store, Logger: slog.New(slog.DiscardHandler),
		Connect: func(h runtime.Handler, mono func() time.Duration) (runtime.Transport, error) {
			return memnet.New(1).Transport(string(name(0)), h, mono)
		},
		Node: node.Options{
			Self: name(0), Start: 1, Instance: 1, Addr: string(name(0)), Weight: 1, Shards: 1, Partitions: 1, N: 1, R: 1, W: 1,
			MaxHintBytes: 1 << 20, PeerTimeout: time.Second, GossipInterval: time.Minute, LayoutAuto: true,
			TombstoneTTL: id.MinTombstoneTTL, TombstoneInterval: time.Minute,
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := errors.Join(r.Stop(), store.Close()); err != nil {
			b.Error(err)
		}
	})
	for changed := r.Changed(); !r.Status().Serving; changed = r.Changed() {
		<-changed
	}
	return r
}
