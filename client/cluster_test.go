package client_test

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo"
	"github.com/dynamo-kv/dynamo/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryConfig is a configuration for tests: nothing on the disk, unless the
// environment names another engine, and fast.
func memoryConfig() *dynamo.Config {
	c := dynamo.DefaultConfig()
	c.Partitions = 16
	c.StorageEngine = cmp.Or(os.Getenv("DYNAMO_ENGINE"), "memory")
	c.GossipInterval = 20 * time.Millisecond
	c.RequestTimeout, c.PeerTimeout = time.Minute, 2*time.Second // the machine may be slow
	c.LayoutDelay = 0
	return c
}

// startNode starts a node, which joins the cluster of the seed if there is
// one, and stops it with the test.
func startNode(tb testing.TB, id, seed string, c *dynamo.Config) *dynamo.Node {
	tb.Helper()
	if c.StorageEngine != "memory" {
		own := *c
		own.StoragePath = tb.TempDir()
		c = &own
	}
	n, err := dynamo.NewNode(id, "127.0.0.1:0", c)
	if err != nil {
		tb.Fatal(err)
	}
	if err := n.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := n.Stop(); err != nil {
			tb.Errorf("Stop: %v", err)
		}
	})
	if seed != "" {
		if err := n.Join([]string{seed}); err != nil {
			tb.Fatal(err)
		}
	}
	return n
}

// startCluster returns that many nodes, ready; with fewer than three, all of
// them hold each key.
func startCluster(tb testing.TB, nodes int, c *dynamo.Config) []*dynamo.Node {
	tb.Helper()
	c.N = min(c.N, nodes)
	c.R, c.W = c.N/2+1, c.N/2+1
	var out []*dynamo.Node
	for i := range nodes {
		seed := ""
		if i > 0 {
			seed = out[0].Addr()
		}
		out = append(out, startNode(tb, fmt.Sprintf("n%d", i+1), seed, c))
	}
	for _, n := range out {
		waitReady(tb, n)
	}
	return out
}

func waitReady(tb testing.TB, n *dynamo.Node) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := n.Ready(ctx); err != nil {
		tb.Fatal(err)
	}
}

// connect returns a client that knows the addresses of these nodes, closed
// with the test. Without a configuration of its own it is patient.
func connect(tb testing.TB, cfg *client.Config, nodes ...*dynamo.Node) *client.Client {
	tb.Helper()
	if cfg == nil {
		cfg = patient()
	}
	var addrs []string
	for _, n := range nodes {
		addrs = append(addrs, n.Addr())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c, err := client.New(ctx, addrs, cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}
