package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo"
)

// handoffCluster is five nodes with their data on disk.
type handoffCluster struct {
	t     *testing.T
	dir   string
	nodes []*dynamo.Node
}

func newHandoffCluster(t *testing.T) *handoffCluster {
	t.Helper()
	c := &handoffCluster{t: t, dir: t.TempDir()}
	c.nodes = embedded(t, 5, func(cfg *dynamo.Config) {
		durable(cfg, filepath.Join(c.dir, fmt.Sprint("n", len(c.nodes)+1)))
		c.nodes = append(c.nodes, nil)
	})
	return c
}

// restart starts a stopped node again, at its address and on its data.
func (c *handoffCluster) restart(i int) {
	c.t.Helper()
	cfg := config()
	cfg.GossipInterval = 100 * time.Millisecond
	durable(cfg, filepath.Join(c.dir, fmt.Sprint("n", i+1)))
	n := newNode(c.t, c.nodes[i].ID(), c.nodes[i].Addr(), cfg)
	if err := n.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = n.Stop() })
	c.nodes[i] = n
}

// hints counts the keys that the nodes keep for others.
func (c *handoffCluster) hints() (keys uint64) {
	for _, n := range c.nodes {
		for _, pending := range n.Status().Hints.Pending {
			keys += pending
		}
	}
	return keys
}

// Two nodes of five are gone, two owners of many keys among them: every put at
// W=2 and every get at R=2 succeeds, every get returns the last acknowledged
// put, and after their return hints reach zero and the owners hold everything.
func TestWritesGoOnWithoutTwoOwnersAndReachThemLater(t *testing.T) {
	c := newHandoffCluster(t)
	ctx := t.Context()
	const keys = 60
	key := func(i int) string { return fmt.Sprint("key-", i) }
	contexts := make([]*dynamo.Context, keys)
	for i := range keys {
		must[*dynamo.Context](t)(c.nodes[i%5].Put(ctx, key(i), []byte("before"), nil))
		contexts[i] = readContext(t, c.nodes[i%5], key(i))
	}
	for _, gone := range []int{3, 4} {
		if err := c.nodes[gone].Stop(); err != nil {
			t.Fatal(err)
		}
	}
	hinted := 0
	for i := range keys {
		var met dynamo.QuorumMet
		through := c.nodes[i%3]
		if _, err := through.Put(ctx, key(i), fmt.Append(nil, "after-", i), contexts[i], dynamo.ReportQuorum(&met)); err != nil {
			t.Fatalf("put of %s: %v", key(i), err)
		}
		if met.Replicas < 2 || met.Required != 2 {
			t.Errorf("put of %s: %+v", key(i), met)
		}
		hinted += met.Hinted
		got := must[*dynamo.GetResult](t)(c.nodes[(i+1)%3].Get(ctx, key(i)))
		if len(got.Values) != 1 || !bytes.Equal(got.Values[0].Data, fmt.Append(nil, "after-", i)) {
			t.Fatalf("get of %s: %q", key(i), values(got))
		}
	}
	if hinted == 0 {
		t.Fatal("no fallback has stood in for anybody: nothing was tested")
	}
	await(t, "hints in the status", func() bool { return c.hints() > 0 })
	c.restart(3)
	c.restart(4)
	c.allDelivered(ctx, keys, key)
}

// allDelivered waits until no hint is left, and looks at the own copies of the
// nodes that had been away: an owner reads its own one first.
func (c *handoffCluster) allDelivered(ctx context.Context, keys int, key func(i int) string) {
	c.t.Helper()
	await(c.t, "zero hints", func() bool { return c.nodes[3].Status().Serving && c.nodes[4].Status().Serving && c.hints() == 0 })
	for i := range keys {
		got := must[*dynamo.GetResult](c.t)(c.nodes[3+i%2].Get(ctx, key(i), dynamo.Strict(), dynamo.WithR(1)))
		if len(got.Values) != 1 || !bytes.Equal(got.Values[0].Data, fmt.Append(nil, "after-", i)) {
			c.t.Errorf("%s at a node that was away: %q", key(i), values(got))
		}
		if got.Quorum.Replicas != 1 || got.Quorum.Fallbacks != 0 {
			c.t.Errorf("%s: %+v", key(i), got.Quorum)
		}
	}
}

// Strict quorums count owners only: where two owners are away, W=2 fails.
func TestStrictQuorumNeedsOwners(t *testing.T) {
	c := newHandoffCluster(t)
	for _, gone := range []int{3, 4} {
		if err := c.nodes[gone].Stop(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 60 {
		var met dynamo.QuorumMet
		key := fmt.Sprint("key-", i)
		_, err := c.nodes[0].Put(t.Context(), key, []byte("v"), nil, dynamo.Strict(), dynamo.ReportQuorum(&met))
		if met.Hinted != 0 {
			t.Errorf("a strict put counted %+v", met)
		}
		if err == nil {
			continue // one owner of it is away at most
		}
		if !errors.Is(err, dynamo.ErrQuorum) && !errors.Is(err, dynamo.ErrTimeout) {
			t.Errorf("put of %s: %v", key, err)
		}
		if _, err := c.nodes[0].Put(t.Context(), key, []byte("v"), nil); err != nil {
			t.Errorf("the same put with a sloppy quorum: %v", err)
		}
		return
	}
	t.Error("every strict put succeeded without two of its owners")
}

// TestTier3Hints cuts one node off while clients write. What it misses is kept
// for it; after the heal hints alone make it whole, and none is left.
func TestTier3Hints(t *testing.T) {
	m := newMachines(t, 4, "--anti-entropy-interval", "0s")
	stop := m.work()
	m.goOn(100)
	m.net.split(3)
	m.goOn(150)
	await(t, "hints for the node that is cut off", func() bool {
		kept := 0
		for _, p := range m.others(3) {
			if s, err := p.status(); err == nil {
				for _, pending := range s.Hints.Pending {
					if pending.Target == "n4" {
						kept += pending.Keys
					}
				}
			}
		}
		return kept > 0
	})
	stop()
	m.net.heal()
	m.check()
	delivered := 0
	for _, p := range m.others(3) {
		s, err := p.status()
		if err != nil {
			t.Fatal(err)
		}
		delivered += s.Hints.Delivered
	}
	if delivered == 0 {
		t.Error("the cluster is whole, and no hint was delivered: something else has done it")
	}
}
