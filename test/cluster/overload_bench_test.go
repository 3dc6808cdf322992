package cluster

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo"
)

// floodTimeout is what requests of a flood have: a client that waits for longer
// has gone.
const floodTimeout = 500 * time.Millisecond

const floodValue = 100 // bytes

// flooded is how an open-loop load went: requests come at their rate, whatever
// became of those before.
type flooded struct {
	OK, Overloaded, Late, Other int64
	Took                        time.Duration // from the first request to the last
	P50, P99                    time.Duration // of those that were ok
	RSS                         int64         // the most, in bytes
	Outstanding                 int64         // the most at a time
}

// flood sends ops puts at a rate, through a node of this process.
func flood(node *dynamo.Node, rate, ops int64) flooded {
	const tick = time.Millisecond
	var (
		out         flooded
		outstanding atomic.Int64
		wg          sync.WaitGroup
		mu          sync.Mutex
		latencies   []time.Duration
	)
	value := make([]byte, floodValue)
	one := func(i int64) {
		defer wg.Done()
		defer outstanding.Add(-1)
		ctx, cancel := context.WithTimeout(context.Background(), floodTimeout)
		defer cancel()
		began := time.Now()
		_, err := node.Put(ctx, benchKey(int(i)), value, nil, dynamo.Overwrite())
		took := time.Since(began)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err == nil && took <= floodTimeout:
			out.OK++
			latencies = append(latencies, took)
		case err == nil || errors.Is(err, dynamo.ErrTimeout):
			out.Late++
		case errors.Is(err, dynamo.ErrOverloaded):
			out.Overloaded++
		default:
			out.Other++
		}
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	began, sent := time.Now(), int64(0)
	for sent < ops {
		<-ticker.C
		for due := min(ops, int64(time.Since(began).Seconds()*float64(rate))); sent < due; sent++ {
			wg.Add(1)
			outstanding.Add(1)
			go one(sent)
		}
		out.Outstanding = max(out.Outstanding, outstanding.Load())
		if sent%64 == 0 {
			out.RSS = max(out.RSS, residentBytes())
		}
	}
	out.Took = time.Since(began)
	wg.Wait()
	out.RSS = max(out.RSS, residentBytes())
	slices.Sort(latencies)
	if n := len(latencies); n > 0 {
		out.P50, out.P99 = latencies[n/2], latencies[n*99/100]
	}
	return out
}

// residentBytes is the memory of this process that is in use.
func residentBytes() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b))
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// BenchmarkOverload: what is left of the peak when several times as much is
// asked for. Three nodes in processes of their own, N=3, R=W=2, the memory engine;
// puts of 100 bytes come in through all three, at their rate.
func BenchmarkOverload(b *testing.B) {
	workers := startWorkers(b, "memory", floodValue)
	run := func(rate int64, length time.Duration) (sum flooded) {
		n := int64(len(workers))
		for _, w := range workers {
			w.begin(job{Op: "flood", Rate: rate / n, Ops: int(float64(rate/n) * length.Seconds())})
		}
		for _, w := range workers {
			f := w.end().Flooded
			sum.OK += f.OK
			sum.Overloaded += f.Overloaded
			sum.Late += f.Late
			sum.Other += f.Other
			sum.Took = max(sum.Took, f.Took)
			sum.P50, sum.P99 = max(sum.P50, f.P50), max(sum.P99, f.P99)
			sum.RSS += f.RSS
			sum.Outstanding += f.Outstanding
		}
		return sum
	}
	goodput := func(f flooded) float64 { return float64(f.OK) / f.Took.Seconds() }
	// The peak is what the nodes do for callers that wait for their answers.
	const callers, each = 63, 20_000
	began := time.Now()
	for _, w := range workers {
		w.begin(job{Op: "put", Callers: callers, Ops: each, ValueBytes: floodValue})
	}
	for _, w := range workers {
		w.end()
	}
	closed := float64(each*len(workers)) / time.Since(began).Seconds()
	peak := 0.0
	for _, share := range []float64{0.7, 1, 1.5, 3, 3, 6} {
		f := run(int64(share*closed), 5*time.Second)
		peak = max(peak, goodput(f))
		b.Logf("offered %3.1f × %.0f/s: %.0f/s ok (%.0f %% of the best), p50 %v, p99 %v, %d overloaded, %d late, %d other; %d outstanding, %d MiB",
			share, closed, goodput(f), 100*goodput(f)/peak, f.P50.Round(time.Microsecond), f.P99.Round(time.Microsecond),
			f.Overloaded, f.Late, f.Other, f.Outstanding, f.RSS>>20)
	}
}
