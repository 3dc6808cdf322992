package runtime_test

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/breaker"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/runtime"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
	"github.com/dynamo-kv/dynamo/internal/transport/memnet"
)

// engineWork starts a node by itself whose engine has background work.
func engineWork(t *testing.T, w *runtime.EngineWork, admit bool) *runtime.Runtime {
	t.Helper()
	store, _, err := engines.Open(storage.Options{Engine: "memory", Node: "n1", Background: w})
	if err != nil {
		t.Fatal(err)
	}
	network := memnet.New(1)
	r, err := runtime.New(runtime.Options{
		Engine: store, EngineWork: w, Logger: slog.New(slog.DiscardHandler),
		Connect: func(h runtime.Handler, mono func() time.Duration) (runtime.Transport, error) {
			return network.Transport("n1", h, mono)
		},
		Node: node.Options{
			Self: "n1", Start: 1, Instance: 1, Addr: "n1", Weight: 1,
			Shards: 4, Partitions: 32, N: 1, R: 1, W: 1, MaxHintBytes: 1 << 20, PeerTimeout: time.Second,
			GossipInterval: time.Second, LayoutDelay: time.Second, LayoutAuto: true,
			TombstoneTTL: id.MinTombstoneTTL, TombstoneInterval: time.Minute,
			Admit: admit, Admission: admission.Limits{
				Target: 100 * time.Millisecond, MinSlots: 1, MaxSlots: 8, Window: 100, BytesPerSecond: 8 << 20,
			},
			Breaker: breaker.Default(), Retry: backoff.Default(),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.Stop(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

func engineHolds(n int) func(core.ClusterStatus) bool {
	return func(s core.ClusterStatus) bool { return s.Background.Held == n }
}

// TestEngineWorkHoldsSlots: an engine's work waits for the node, holds all slots
// that nobody else wants, goes at their rate, and gives them back.
func TestEngineWorkHoldsSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtime.NewEngineWork(8)
		quit := make(chan struct{})
		var steps atomic.Int64
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for w.Step(1<<20, quit) {
				steps.Add(1)
			}
			w.Done()
		}()
		<-time.After(time.Minute)
		if n := steps.Load(); n != 0 {
			t.Errorf("%d steps are taken before the node runs", n)
		}
		n := engineWork(t, w, true)
		await(t, n, engineHolds(8))
		if s := n.Status().Background; s.Wanted != 8 {
			t.Errorf("%d slots are wanted, want 8", s.Wanted)
		}
		before := steps.Load()
		<-time.After(time.Minute)
		if n := steps.Load() - before; n < 8*60*3/4 || n > 8*60+1 {
			t.Errorf("%d MiB are moved in a minute, want 480 less what shards have taken", n)
		}
		close(quit)
		<-ended
		await(t, n, engineHolds(0))
	})
}

// TestEngineWorkWithoutAdmission: where there is no limit, there is none for an
// engine.
func TestEngineWorkWithoutAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := runtime.NewEngineWork(8)
		engineWork(t, w, false)
		began := time.Now()
		for range 1000 {
			if !w.Step(1<<30, nil) {
				t.Fatal("a step is refused")
			}
		}
		w.Done()
		quit := make(chan struct{})
		close(quit)
		if w.Step(0, quit) {
			t.Error("a step is taken after the end")
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("a thousand steps take %v", took)
		}
	})
}
