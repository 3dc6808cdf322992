package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo"
)

const (
	// repairKeys of repairValue bytes are what a node has lost and anti-entropy
	// brings back: some 100 MiB from two others.
	repairKeys  = 50_000
	repairValue = 1 << 10

	// foregroundFor is how long the load runs in each case.
	foregroundFor = 6 * time.Second
)

// foreground puts a load on the first two nodes, a put for each three gets, from
// callers that wait for their answers, and returns how long each took.
func foreground(b *testing.B, nodes []*dynamo.Node) []time.Duration {
	b.Helper()
	const callers = 16
	value := make([]byte, repairValue)
	took := make([][]time.Duration, callers)
	errs := make(chan error, callers)
	end := time.Now().Add(foregroundFor)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			ctx, node := context.Background(), nodes[caller%2]
			for i := caller; time.Now().Before(end); i += callers {
				key, began := fmt.Sprint("key-", i*7919%repairKeys), time.Now()
				var err error
				if i/callers%4 == 0 {
					_, err = node.Put(ctx, key, value, nil, dynamo.Overwrite())
				} else {
					_, err = node.Get(ctx, key)
				}
				if err != nil && !errors.Is(err, dynamo.ErrOverloaded) {
					errs <- err
					return
				}
				took[caller] = append(took[caller], time.Since(began))
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		b.Fatal(err)
	default:
	}
	all := slices.Concat(took...)
	slices.Sort(all)
	return all
}

// lostDisk has three nodes hold the keys, and then the third begin anew without
// any of them, so that anti-entropy brings all of them back.
func lostDisk(b *testing.B, admission dynamo.AdmissionConfig) (nodes []*dynamo.Node, before []time.Duration) {
	b.Helper()
	nodes = embedded(b, 3, func(cfg *dynamo.Config) {
		cfg.AntiEntropyInterval = time.Second
		cfg.Admission = admission
	})
	value := make([]byte, repairValue)
	errs := make(chan error, 16)
	for w := range cap(errs) {
		go func() {
			for i := w; i < repairKeys; i += cap(errs) {
				if _, err := nodes[w%3].Put(context.Background(), fmt.Sprint("key-", i), value, nil, dynamo.Overwrite()); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	before = foreground(b, nodes)
	if err := nodes[2].Stop(); err != nil {
		b.Fatal(err)
	}
	cfg := dynamo.DefaultConfig()
	cfg.StorageEngine, cfg.AntiEntropyInterval, cfg.Admission = "memory", time.Second, admission
	cfg.GossipInterval, cfg.Partitions, cfg.Seeds = 100*time.Millisecond, 64, []string{nodes[0].Addr()}
	fresh, err := dynamo.NewNode(nodes[2].ID(), nodes[2].Addr(), cfg)
	if err != nil {
		b.Fatal(err)
	}
	if err := fresh.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = fresh.Stop() })
	nodes[2] = fresh
	await(b, "anti-entropy to find what is missing", func() bool { return repaired(nodes) > 0 })
	return nodes, before
}

func repaired(nodes []*dynamo.Node) (n uint64) {
	for _, node := range nodes {
		n += node.Status().AntiEntropy.Repaired
	}
	return n
}

// BenchmarkAdmission: the p99 of the same load without and with a full
// anti-entropy, and that with admission off and on. The threshold is half as much
// again as the p99 without.
func BenchmarkAdmission(b *testing.B) {
	admission := dynamo.DefaultConfig().Admission
	measure := func(name string, admission dynamo.AdmissionConfig) (alone time.Duration) {
		nodes, before := lostDisk(b, admission)
		had := repaired(nodes)
		during := foreground(b, nodes)
		moved := repaired(nodes) - had
		s := nodes[0].Status().Background
		b.Logf("admission %s: p99 %v alone, %v beside anti-entropy (p50 %v), %d requests, %d keys repaired, %d slots at the end",
			name, p99(before).Round(10*time.Microsecond), p99(during).Round(10*time.Microsecond),
			during[len(during)/2].Round(10*time.Microsecond), len(during), moved, s.Slots)
		b.ReportMetric(float64(p99(during).Microseconds())/1e3, "p99-ms/"+name)
		for _, n := range nodes {
			_ = n.Stop()
		}
		return p99(before)
	}
	admission.Enabled = false
	alone := measure("off", admission)
	admission.Enabled, admission.LatencyThreshold = true, max(time.Millisecond, alone*3/2)
	measure("on", admission)
}
