package cluster

import (
	"context"
	"testing"

	remote "github.com/dynamo-kv/dynamo/client"
)

// overClient: 64 callers in this process through one Client; the CPU time of
// the nodes alone, and that of this process beside it.
func overClient(b *testing.B, workers []*worker, op string, size int) {
	c, err := remote.New(b.Context(), []string{workers[0].addr}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
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
	before, _ := usage()
	cpu := used(workers, func() {
		b.ResetTimer()
		if _, err := callers(64, b.N, do); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
	})
	after, _ := usage()
	reportCPU(b, cpu)
	b.ReportMetric(float64((after-before).Nanoseconds())/1e3/float64(b.N), "client-cpu-µs/op")
}
