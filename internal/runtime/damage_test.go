package runtime_test

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
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

// asked is an engine that counts the looks for each key.
type asked struct {
	storage.Engine
	mu   sync.Mutex // guards what follows
	keys map[string]int
}

func (a *asked) Get(key []byte) ([]byte, error) {
	a.mu.Lock()
	a.keys[string(key)]++
	a.mu.Unlock()
	return a.Engine.Get(key)
}

func (a *asked) looks(key string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.keys[string(core.DataKey([]byte(key)))]
}

// TestDamageReachesItsShard: what an engine finds before the node has a layout is
// told when it has one, what it finds later at once, and each to the shard whose
// key it is. Of too many it tells some, and that there are more.
func TestDamageReachesItsShard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, _, err := engines.Open(storage.Options{Engine: "memory", Node: "n1"})
		if err != nil {
			t.Fatal(err)
		}
		engine := &asked{Engine: store, keys: make(map[string]int)}
		damage := runtime.NewDamage(4)
		damage.Found(core.DataKey([]byte("before")))
		r, err := runtime.New(runtime.Options{
			Engine: engine, Damage: damage, Logger: slog.New(slog.DiscardHandler),
			Connect: func(h runtime.Handler, mono func() time.Duration) (runtime.Transport, error) {
				return memnet.New(1).Transport("n1", h, mono)
			},
			Node: node.Options{
				Self: "n1", Start: 1, Instance: 1, Addr: "n1", Weight: 1,
				Shards: 4, Partitions: 32, N: 1, R: 1, W: 1, MaxHintBytes: 1 << 20, PeerTimeout: time.Second,
				GossipInterval: time.Second, LayoutDelay: time.Second, LayoutAuto: true,
				TombstoneTTL: id.MinTombstoneTTL, TombstoneInterval: time.Minute,
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(5 * time.Second)
		synctest.Wait()
		if n := engine.looks("before"); n != 1 {
			t.Errorf("%d shards have looked for what was found before the layout, want one", n)
		}
		damage.Found(core.DataKey([]byte("after")))
		synctest.Wait()
		if n := engine.looks("after"); n != 1 {
			t.Errorf("%d shards have looked for what was found after it, want one", n)
		}
		built := r.Status().Trees.Built
		for i := range 100_000 {
			damage.Found(core.DataKey(fmt.Append(nil, i)))
		}
		<-time.After(5 * time.Second)
		if n := r.Status().Trees.Built - built; n < 32 {
			t.Errorf("%d trees are built of 32, when more is lost than can be named", n)
		}
		if err := errors.Join(r.Stop(), store.Close()); err != nil {
			t.Error(err)
		}
	})
}
