package cluster

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	remote "github.com/dynamo-kv/dynamo/client"
)

// BenchmarkClient: N=3, R=W=2, values of 100 bytes, three nodes in processes of
// their own over loopback, all callers in this process, through one Client. CPU
// µs an operation are summed over the three nodes; those of this process, with
// the client and its callers, stand apart. Allocations are this process's.
func BenchmarkClient(b *testing.B) {
	for _, engine := range []string{"memory", "pebble"} {
		workers := startWorkers(b, engine)
		c, err := remote.New(b.Context(), []string{workers[0].addr}, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(c.Close)
		for _, op := range []string{"put", "get"} {
			for _, callers := range []int64{1, 8, 64} {
				b.Run(fmt.Sprintf("%s/%s/callers=%d", op, engine, callers), func(b *testing.B) {
					b.ReportAllocs()
					before, own := usedBy(workers), ownCPU(b)
					b.ResetTimer()
					callThrough(b, c, op, callers)
					b.StopTimer()
					ops := float64(b.N)
					b.ReportMetric(float64((usedBy(workers)-before).Nanoseconds())/1e3/ops, "node-cpu-µs/op")
					b.ReportMetric(float64((ownCPU(b)-own).Nanoseconds())/1e3/ops, "client-cpu-µs/op")
					b.ReportMetric(ops/b.Elapsed().Seconds(), "ops/s")
				})
			}
		}
	}
}

// usedBy returns the CPU time that the workers have used since they started.
func usedBy(workers []*worker) (sum time.Duration) {
	for _, w := range workers {
		w.begin("used", 1, 1)
		sum += w.end()
	}
	return sum
}

func ownCPU(b *testing.B) time.Duration {
	b.Helper()
	used, err := cpuOf(syscall.RUSAGE_SELF)
	if err != nil {
		b.Fatal(err)
	}
	return used
}

// callThrough carries out b.N operations, so many at a time.
func callThrough(b *testing.B, c *remote.Client, op string, callers int64) {
	b.Helper()
	ctx := context.Background()
	value := make([]byte, benchValue)
	do := map[string]func(key string) error{
		"put": func(key string) error {
			_, err := c.Put(ctx, key, value, nil, remote.Overwrite())
			return err
		},
		"get": func(key string) error {
			_, err := c.Get(ctx, key)
			return err
		},
	}[op]
	var next atomic.Int64
	errs := make(chan error, callers)
	for range callers {
		go func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := do(fmt.Sprint("key-", i%benchKeys)); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range callers {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
}
