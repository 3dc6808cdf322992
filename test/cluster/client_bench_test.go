package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	remote "github.com/dynamo-kv/dynamo/client"
)

// BenchmarkClient: N=3, R=W=2, three nodes in processes of their own over
// loopback, all callers in this process, through one Client. CPU µs an operation
// are summed over the three nodes; those of this process, with the client and its
// callers, stand apart. Allocations are this process's.
func BenchmarkClient(b *testing.B) {
	for _, c := range []struct {
		engine string
		bytes  int
	}{{"memory", 100}, {"pebble", 1024}} {
		b.Run(fmt.Sprintf("%s/%dB", c.engine, c.bytes), func(b *testing.B) {
			workers := startWorkers(b, c.engine, c.bytes)
			cl, err := remote.New(b.Context(), []string{workers[0].addr}, nil)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(cl.Close)
			for _, op := range []string{"put", "get"} {
				for _, n := range []int{1, 8, 64} {
					b.Run(fmt.Sprintf("%s/callers=%d", op, n), func(b *testing.B) {
						throughClient(b, cl, workers, op, n, c.bytes)
					})
				}
			}
		})
	}
}

// throughClient carries out b.N operations, so many at a time.
func throughClient(b *testing.B, c *remote.Client, workers []*worker, op string, n, size int) {
	ctx := context.Background()
	value := make([]byte, size)
	do := func(key string) error {
		_, err := c.Get(ctx, key)
		return err
	}
	if op == "put" {
		do = func(key string) error {
			_, err := c.Put(ctx, key, value, nil, remote.Overwrite())
			return err
		}
	}
	b.ReportAllocs()
	var own time.Duration
	cpu := used(workers, func() {
		before, _ := usage()
		b.ResetTimer()
		_, err := callers(n, b.N, do)
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		own, _ = usage()
		own -= before
	})
	b.ReportMetric(float64(own.Nanoseconds())/1e3/float64(b.N), "client-cpu-µs/op")
	reportCPU(b, cpu)
}

// overClient is the row of 64 callers in the table of BenchmarkSpeed.
func overClient(b *testing.B, workers []*worker, op string, size int) {
	c, err := remote.New(b.Context(), []string{workers[0].addr}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	throughClient(b, c, workers, op, 64, size)
}
