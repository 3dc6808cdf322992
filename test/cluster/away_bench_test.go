package cluster

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo"
)

// BenchmarkTwoAway: five nodes, N=3, R=W=2, two of them gone. It reports the
// p99 of puts and gets while all are there, and once the failures are noticed,
// in one run; every request must succeed.
func BenchmarkTwoAway(b *testing.B) {
	nodes := embedded(b, 5, nil)
	ctx := b.Context()
	const keys = 1000
	measure := func(among []*dynamo.Node) (puts, gets time.Duration) {
		var took [2][]time.Duration
		for i := range max(b.N, keys) {
			key := fmt.Sprint("key-", i%keys)
			began := time.Now()
			if _, err := among[i%len(among)].Put(ctx, key, []byte("value"), nil, dynamo.Overwrite()); err != nil {
				b.Fatalf("put %s: %v", key, err)
			}
			written := time.Now()
			if _, err := among[(i+1)%len(among)].Get(ctx, key); err != nil {
				b.Fatalf("get %s: %v", key, err)
			}
			took[0], took[1] = append(took[0], written.Sub(began)), append(took[1], time.Since(written))
		}
		return p99(took[0]), p99(took[1])
	}
	healthyPut, healthyGet := measure(nodes)
	for _, n := range nodes[3:] {
		if err := n.Stop(); err != nil {
			b.Fatal(err)
		}
	}
	for _, n := range nodes[:3] {
		awaitDead(b, n, 2)
	}
	awayPut, awayGet := measure(nodes[:3])
	b.ReportMetric(float64(healthyPut.Microseconds()), "p99-put-µs")
	b.ReportMetric(float64(awayPut.Microseconds()), "p99-put-away-µs")
	b.ReportMetric(float64(healthyGet.Microseconds()), "p99-get-µs")
	b.ReportMetric(float64(awayGet.Microseconds()), "p99-get-away-µs")
}

func p99(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)*99/100]
}

// awaitDead waits until a node believes that many others dead.
func awaitDead(b *testing.B, n *dynamo.Node, dead int) {
	b.Helper()
	changes, err := n.Subscribe(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	count := func() (found int) {
		for _, m := range n.Status().Members {
			if m.Status == "dead" {
				found++
			}
		}
		return found
	}
	if count() >= dead {
		return
	}
	for range changes {
		if count() >= dead {
			return
		}
	}
}
