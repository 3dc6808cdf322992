package dynamo

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// benchCluster is three nodes over real connections in this process, so that
// the process's CPU time is that of all three.
func benchCluster(b *testing.B, engine string) []*Node {
	b.Helper()
	return tunedBenchCluster(b, engine, func(*Config) {})
}

// tunedBenchCluster is one with a configuration of the benchmark's own.
func tunedBenchCluster(b *testing.B, engine string, tune func(*Config)) []*Node {
	b.Helper()
	var nodes []*Node
	for i := range 3 {
		cfg := DefaultConfig()
		cfg.StorageEngine = engine
		cfg.StoragePath = b.TempDir()
		cfg.GossipInterval = 200 * time.Millisecond
		cfg.LayoutDelay = 200 * time.Millisecond
		tune(cfg)
		n, err := NewNode(fmt.Sprintf("n%d", i+1), "127.0.0.1:0", cfg)
		if err != nil {
			b.Fatal(err)
		}
		if err := n.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = n.Stop() })
		nodes = append(nodes, n)
		if i > 0 {
			if err := n.Join([]string{nodes[0].Addr()}); err != nil {
				b.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	for _, n := range nodes {
		if err := n.Ready(ctx); err != nil {
			b.Fatal(err)
		}
	}
	return nodes
}

// cpu returns the CPU time that this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// traffic is what the nodes have sent and stored.
type traffic struct{ envelopes, messages, commits, syncs uint64 }

func trafficOf(nodes []*Node) traffic {
	var t traffic
	for _, n := range nodes {
		p := n.parts.Load()
		sent, store := p.peers.Stats().Sent, p.engine.Stats()
		t.envelopes += sent.Envelopes
		t.messages += sent.Messages
		t.commits += store.Commits
		t.syncs += store.Fsyncs
	}
	return t
}

// benchmarkOps runs op from that many callers, spread over the nodes, and
// reports CPU µs an operation summed over the three nodes and their callers,
// and how well messages and fsyncs are shared.
func benchmarkOps(b *testing.B, nodes []*Node, callers int, op func(n *Node, i int64) error) {
	b.Helper()
	b.ReportAllocs()
	var next atomic.Int64
	before, busy := trafficOf(nodes), cpu(b)
	b.ResetTimer()
	errs := make(chan error, callers)
	for caller := range callers {
		go func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					errs <- nil
					return
				}
				if err := op(nodes[caller%len(nodes)], i); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	for range callers {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	used, after := cpu(b)-busy, trafficOf(nodes)
	b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-µs/op")
	if m := after.messages - before.messages; m > 0 {
		b.ReportMetric(float64(after.envelopes-before.envelopes)/float64(m), "envelopes/message")
	}
	if s := after.syncs - before.syncs; s > 0 {
		b.ReportMetric(float64(after.commits-before.commits)/float64(s), "commits/fsync")
	}
}

const benchKeys = 10_000

// benchValue is what the benchmarks store.
var benchValue = make([]byte, 100)

func benchKey(i int64) string { return fmt.Sprint("key-", i%benchKeys) }

// benchmarkCluster runs op for each engine and number of callers, on three
// nodes over loopback with N=3 and R=W=2, in which all keys are written.
func benchmarkCluster(b *testing.B, op func(b *testing.B, n *Node, i int64) error) {
	b.Helper()
	for _, engine := range []string{"memory", "pebble"} {
		nodes := benchCluster(b, engine)
		var load errgroup.Group
		load.SetLimit(64)
		for i := range int64(benchKeys) {
			load.Go(func() error { return benchPut(b, nodes[0], i) })
		}
		if err := load.Wait(); err != nil {
			b.Fatal(err)
		}
		for _, callers := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", engine, callers), func(b *testing.B) {
				benchmarkOps(b, nodes, callers, func(n *Node, i int64) error { return op(b, n, i) })
			})
		}
	}
}

// BenchmarkFanout: what a get costs that asks R owners, all of them, and R of
// them with a probe beside each; as BenchmarkCluster else.
func BenchmarkFanout(b *testing.B) {
	const keys = 10_000
	for _, c := range []struct {
		name string
		tune func(*Config)
	}{
		{"quorum", func(*Config) {}},
		{"all", func(c *Config) { c.Read.Fanout = FanoutAll }},
		{"quorum, 1 probe in 1", func(c *Config) { c.CoordinatorSelection.ProbeShare = 1 }},
	} {
		nodes := tunedBenchCluster(b, "memory", c.tune)
		for i := range keys {
			if _, err := nodes[0].Put(b.Context(), fmt.Sprint("key-", i), make([]byte, 100), nil, Overwrite()); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(c.name, func(b *testing.B) {
			benchmarkOps(b, nodes, 64, func(n *Node, i int64) error {
				_, err := n.Get(b.Context(), fmt.Sprint("key-", i%keys))
				return err
			})
		})
	}
}

func benchPut(b *testing.B, n *Node, i int64) error {
	_, err := n.Put(b.Context(), benchKey(i), benchValue, nil, Overwrite())
	return err
}

func BenchmarkPut(b *testing.B) { benchmarkCluster(b, benchPut) }

func BenchmarkGet(b *testing.B) {
	benchmarkCluster(b, func(b *testing.B, n *Node, i int64) error {
		_, err := n.Get(b.Context(), benchKey(i))
		return err
	})
}
