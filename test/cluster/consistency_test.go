package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo"
)

// embedded starts a cluster of that many nodes in this process and waits
// until its layout is whole.
func embedded(t testing.TB, nodes int, change func(*dynamo.Config)) []*dynamo.Node {
	t.Helper()
	var all []*dynamo.Node
	for i := range nodes {
		cfg := config()
		cfg.GossipInterval = 100 * time.Millisecond
		cfg.LayoutDelay = 200 * time.Millisecond
		cfg.Partitions = 64
		if change != nil {
			change(cfg)
		}
		n := newNode(t, fmt.Sprintf("n%d", i+1), "127.0.0.1:0", cfg)
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Stop() })
		all = append(all, n)
		if i > 0 {
			if err := n.Join([]string{all[0].Addr()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, n := range all {
		if nodes >= 3 {
			if err := n.Ready(ctx); err != nil {
				t.Fatal(err)
			}
		}
		await(t, "the last layout", func() bool {
			s := n.Status()
			return len(s.Members) == nodes && s.Layout.Stable && !slices.ContainsFunc(s.Members, func(m dynamo.Member) bool { return m.State != "active" })
		})
	}
	return all
}

func values(res *dynamo.GetResult) []string {
	var all []string
	for _, v := range res.Values {
		all = append(all, string(v.Data))
	}
	slices.Sort(all)
	return all
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// readContext returns the context of a read of all replicas. A put through a node
// that owns no copy of its key may be carried out by two owners, where the first is
// slow to answer: that leaves two equal values, of which the put's context covers one.
func readContext(t *testing.T, n *dynamo.Node, key string) *dynamo.Context {
	t.Helper()
	return must[*dynamo.GetResult](t)(n.Get(t.Context(), key, dynamo.WithR(3))).Context
}

func TestBlindPutsThroughTwoNodesAreSiblings(t *testing.T) {
	nodes := embedded(t, 3, nil)
	ctx := t.Context()
	put, get := must[*dynamo.Context](t), must[*dynamo.GetResult](t)
	put(nodes[0].Put(ctx, "cart", []byte("bread"), nil))
	put(nodes[1].Put(ctx, "cart", []byte("milk"), nil))
	res := get(nodes[2].Get(ctx, "cart", dynamo.WithR(3)))
	if got := values(res); !slices.Equal(got, []string{"bread", "milk"}) {
		t.Fatalf("read %q", got)
	}
	if o := res.Values[0].VectorClock.Compare(res.Values[1].VectorClock); o != dynamo.Concurrent {
		t.Errorf("the siblings' clocks are %v", o)
	}
	put(nodes[2].Put(ctx, "cart", []byte("bread, milk"), res.Context))
	if got := values(get(nodes[0].Get(ctx, "cart", dynamo.WithR(3)))); !slices.Equal(got, []string{"bread, milk"}) {
		t.Errorf("after the merge: %q", got)
	}
}

func TestStaleContextDeletesOnlyWhatItHasSeen(t *testing.T) {
	nodes := embedded(t, 3, nil)
	ctx := t.Context()
	put, get := must[*dynamo.Context](t), must[*dynamo.GetResult](t)
	put(nodes[0].Put(ctx, "k", []byte("old"), nil))
	seen := get(nodes[0].Get(ctx, "k")).Context
	put(nodes[1].Put(ctx, "k", []byte("unseen"), nil))
	put(nodes[0].Delete(ctx, "k", seen))
	res := get(nodes[2].Get(ctx, "k", dynamo.WithR(3)))
	if got := values(res); !slices.Equal(got, []string{"unseen"}) {
		t.Fatalf("after a delete that has seen old only: %q", got)
	}
	put(nodes[2].Delete(ctx, "k", res.Context))
	gone, err := nodes[1].Get(ctx, "k", dynamo.WithR(3))
	if !errors.Is(err, dynamo.ErrKeyNotFound) || gone == nil || gone.Context == nil {
		t.Errorf("a deleted key: %v, %v", gone, err)
	}
}

func TestReadModifyWritesLeaveOneVersion(t *testing.T) {
	nodes := embedded(t, 1, func(c *dynamo.Config) { c.N, c.R, c.W = 1, 1, 1 })
	ctx := t.Context()
	var seen *dynamo.Context
	for i := range 5 {
		must[*dynamo.Context](t)(nodes[0].Put(ctx, "k", fmt.Append(nil, i), seen))
		seen = must[*dynamo.GetResult](t)(nodes[0].Get(ctx, "k")).Context
	}
	res := must[*dynamo.GetResult](t)(nodes[0].Get(ctx, "k"))
	if len(res.Values) != 1 {
		t.Fatalf("%d versions", len(res.Values))
	}
	counters := res.Values[0].VectorClock.Counters()
	if len(counters) != 1 {
		t.Fatalf("clock %v", counters)
	}
	for actor, n := range counters {
		if n != 5 {
			t.Errorf("%s is at %d, want 5", actor, n)
		}
	}
}

// TestReadsBelowAQuorumMayBeStale shows why R+W ≤ N is a choice: with R=W=1 a
// read after an acknowledged write misses it; with R=W=2 none ever does.
func TestReadsBelowAQuorumMayBeStale(t *testing.T) {
	nodes := embedded(t, 3, nil)
	ctx := t.Context()
	stale := 0
	for i := 0; stale == 0 && i < 20_000; i++ {
		key := fmt.Sprint("weak-", i)
		must[*dynamo.Context](t)(nodes[0].Put(ctx, key, []byte("v"), nil, dynamo.WithW(1)))
		if _, err := nodes[1+i%2].Get(ctx, key, dynamo.WithR(1)); errors.Is(err, dynamo.ErrKeyNotFound) {
			stale++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if stale == 0 {
		t.Error("R=W=1 never read stale data in 20,000 tries: does it wait for more than it says?")
	}
	for i := range 2000 {
		key := fmt.Sprint("strong-", i)
		must[*dynamo.Context](t)(nodes[i%3].Put(ctx, key, []byte("v"), nil, dynamo.WithW(2)))
		must[*dynamo.GetResult](t)(nodes[(i+1)%3].Get(ctx, key, dynamo.WithR(2)))
	}
}

func TestNodesThatDoNotOwnAKeyServeIt(t *testing.T) {
	nodes := embedded(t, 6, nil)
	ctx := t.Context()
	for i := range 200 {
		key := fmt.Sprint("key-", i)
		must[*dynamo.Context](t)(nodes[i%6].Put(ctx, key, []byte("v1"), nil))
		must[*dynamo.Context](t)(nodes[(i+1)%6].Put(ctx, key, []byte("v2"), readContext(t, nodes[i%6], key)))
		for _, n := range nodes {
			if got := values(must[*dynamo.GetResult](t)(n.Get(ctx, key))); !slices.Equal(got, []string{"v2"}) {
				t.Fatalf("%s reads %s as %q", n.ID(), key, got)
			}
		}
		if _, err := nodes[(i+2)%6].Delete(ctx, key, nil, dynamo.Overwrite()); err != nil {
			t.Fatal(err)
		}
		if _, err := nodes[(i+3)%6].Get(ctx, key); !errors.Is(err, dynamo.ErrKeyNotFound) {
			t.Fatalf("%s after its delete: %v", key, err)
		}
	}
}

// TestTier3AnyFault has one fault after the other, as they are drawn, while
// clients work: for tier3.minutes.
func TestTier3AnyFault(t *testing.T) {
	m := newMachines(t, 5)
	rng := rand.New(rand.NewPCG(m.seed, 99))
	end := time.Now().Add(time.Duration(*tier3Minutes * float64(time.Minute)))
	for round := 0; round == 0 || time.Now().Before(end); round++ {
		m.begin(round)
		stop := m.work()
		for range 5 {
			undo := m.anyFault(rng)
			m.goOn(10 + rng.IntN(60))
			undo()
			m.goOn(30 + rng.IntN(60))
		}
		stop()
		m.check()
	}
}

// anyFault draws a fault, begins it, and returns what ends it.
func (m *machines) anyFault(rng *rand.Rand) (undo func()) {
	some := rng.Perm(len(m.nodes))[:1+rng.IntN(2)]
	switch rng.IntN(5) {
	case 0:
		m.t.Logf("n%d and so on are cut off: %v", some[0]+1, some)
		m.net.split(some...)
		return m.net.heal
	case 1:
		from := some[0]
		for to := range m.nodes {
			if to != from && rng.IntN(2) == 0 {
				m.t.Logf("the way from n%d to n%d is cut", from+1, to+1)
				m.net.cut(from, to)
			}
		}
		return m.net.heal
	case 2:
		m.t.Logf("killed: %v", some)
		for _, i := range some {
			m.nodes[i].kill()
		}
		return func() {
			for _, i := range some {
				m.nodes[i].restart()
			}
		}
	case 3:
		m.t.Logf("n%d stands still", some[0]+1)
		return m.pause(some[0])
	}
	m.t.Log("all cut off from each other")
	for i := range m.nodes {
		m.net.split(i)
	}
	return m.net.heal
}
