package runtime_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/runtime"
	"github.com/dynamo-kv/dynamo/internal/version"
)

func setOf(data string) version.Siblings {
	a := version.Actor{Node: "elsewhere", Epoch: version.Epoch{Start: 1, Seq: 1}}
	set, _ := version.Siblings{}.Put(version.Clock{}, a, version.Write{Data: []byte(data)})
	return set
}

// ask asks the first node by itself.
func (c *cluster) ask(key string, m core.Message) (core.Message, core.Code) {
	return c.nodes[0].Ask(c.t.Context(), name(0), []byte(key), m, 2*time.Second)
}

func TestAskIsAnsweredByThisNodeAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		c.network.Isolate("n1")
		if m, code := c.ask("k", &core.Apply{Key: []byte("k"), Set: setOf("v")}); code != core.CodeOK {
			t.Fatalf("an apply: %#v, %v", m, code)
		} else if _, ok := m.(*core.Applied); !ok {
			t.Errorf("an apply is answered with %#v", m)
		}
		if m, _ := c.ask("k", &core.Read{Key: []byte("k")}); !m.(*core.ReadReply).Set.Equal(setOf("v")) {
			t.Errorf("a read is answered with %+v", m)
		}
		if m, _ := c.ask("l", &core.Hint{Key: []byte("l"), Set: setOf("w"), Owner: "n4"}); m == nil {
			t.Errorf("a hint has no answer")
		}
		if m, _ := c.ask("k", &core.Apply{Key: []byte("k"), Set: setOf("other bytes")}); m.(*core.Refused).Why != core.RefusedInvalid {
			t.Errorf("equal dots with different bytes are answered with %#v", m)
		}
		if r := c.nodes[1].Do(t.Context(), &core.Request{Op: core.OpInspect, Key: []byte("k")}, time.Second); r.Code != core.CodeNotFound {
			t.Errorf("another node has heard of it: %+v", r)
		}
	})
}

// slow is an engine whose commits are durable once they are let go.
type slow struct {
	runtime.Engine
	mu   sync.Mutex
	hold bool
	done []func()
}

func (s *slow) Commit(batch []core.Write, d core.Durability, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.hold {
		s.Engine.Commit(batch, d, done)
		return
	}
	s.Engine.Commit(batch, d, func(err error) { s.done = append(s.done, func() { done(err) }) })
}

func (s *slow) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, done := range s.done {
		done()
	}
	s.done, s.hold = nil, false
}

// Nothing is said to be done, or shown, before it is durable.
func TestAskWaitsUntilItIsDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var disk *slow
		c := newCluster(t, 3, func(e runtime.Engine) runtime.Engine {
			if disk != nil {
				return e
			}
			disk = &slow{Engine: e}
			return disk
		})
		disk.mu.Lock()
		disk.hold = true
		disk.mu.Unlock()
		if m, code := c.ask("k", &core.Apply{Key: []byte("k"), Set: setOf("v")}); m != nil || code != core.CodeTimeout {
			t.Errorf("an apply that is not durable is answered with %#v, %v", m, code)
		}
		if sum, code := c.nodes[0].Sum(t.Context(), 0, ^ring.Position(0), 0, time.Second); code != core.CodeTimeout {
			t.Errorf("what is not durable is summed up as %+v, %v", sum, code)
		}
		disk.release()
		if m, code := c.ask("k", &core.Apply{Key: []byte("k"), Set: setOf("v")}); code != core.CodeOK {
			t.Errorf("the same again: %#v, %v", m, code)
		}
		if sum, code := c.nodes[0].Sum(t.Context(), 0, ^ring.Position(0), 0, time.Second); code != core.CodeOK || sum.Sum == (core.TreeHash{}) {
			t.Errorf("the sum is %+v, %v", sum, code)
		}
	})
}

func TestSumListsARange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		const keys = 3000
		for i := range keys {
			if _, code := c.ask(fmt.Sprint("key-", i), &core.Apply{Key: fmt.Append(nil, "key-", i), Set: setOf("v")}); code != core.CodeOK {
				t.Fatal(code)
			}
		}
		seen := map[string]bool{}
		parts := 0
		for first := ring.Position(0); ; parts++ {
			sum, code := c.nodes[0].Sum(t.Context(), first, ^ring.Position(0), 500, 10*time.Second)
			if code != core.CodeOK {
				t.Fatal(code)
			}
			for _, key := range sum.Keys {
				if at := ring.Hash(key); at < first {
					t.Fatalf("key %q stands before %x", key, first)
				}
				seen[string(key)] = true
			}
			if !sum.More {
				break
			}
			if len(sum.Keys) < 500 || len(sum.Keys) > 500+256 {
				t.Errorf("%d keys at once, and more follow", len(sum.Keys))
			}
			first = ring.Hash(sum.Keys[len(sum.Keys)-1]) + 1
		}
		if len(seen) != keys || parts < 3 {
			t.Errorf("%d keys in %d parts, want %d", len(seen), parts+1, keys)
		}
	})
}

// What a peer sends never answers a question from outside, whatever it claims.
func TestPeersDoNotAnswerAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		req := core.NewReqID(core.MaxShards-1, core.MachineOutside, 1, 1)
		for _, m := range []core.Message{&core.Applied{}, &core.Apply{Key: []byte("k"), Set: setOf("v")}, &core.GossipReply{}, &core.Gossip{}} {
			_, isReply := m.(*core.Applied)
			c.nodes[0].Deliver(&core.Envelope{
				From: "n1", To: "n1", Cluster: c.nodes[0].Status().Cluster, Req: req, Reply: isReply, Deadline: core.Never, Msg: m,
			})
		}
		synctest.Wait()
		if r := c.nodes[0].Do(t.Context(), &core.Request{Op: core.OpInspect, Key: []byte("k")}, time.Second); r.Code != core.CodeNotFound {
			t.Errorf("it is taken in: %+v", r)
		}
	})
}

func TestAskEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		read := &core.Read{Key: []byte("k")}
		for range 2000 { // more than may wait at once: none is left behind
			if m, code := c.nodes[0].Ask(ctx, "n1", read.Key, read, time.Second); m == nil && code != core.CodeTimeout {
				t.Fatalf("given up, it is answered with %v", code)
			}
		}
		if m, code := c.ask("k", read); code != core.CodeOK {
			t.Errorf("then: %#v, %v", m, code)
		}
		if err := c.nodes[0].Stop(); err != nil {
			t.Fatal(err)
		}
		if m, code := c.ask("k", read); m != nil || code != core.CodeStopped {
			t.Errorf("after Stop: %#v, %v", m, code)
		}
	})
}
