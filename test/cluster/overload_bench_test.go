package cluster

import (
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo"
)

// floodTimeout is what requests of a flood have: a client that waits for longer
// has gone.
const floodTimeout = 500 * time.Millisecond

// flooded is how an open-loop load went: requests come at their rate, whatever
// became of those before.
type flooded struct {
	OK, Overloaded, Late, Other int64
	Took                        time.Duration // from the first request to the last
	CPU                         time.Duration
	P50, P99                    time.Duration // of those that were ok, from when they were due
	RSS                         int64         // the most, in bytes
}

// floodCallers is how many requests of a flood may be under way at a node: some
// more than it takes.
const floodCallers = 1024

// flood sends puts at a rate, through a node of this process. Where this process
// is late, so is the request, and the time counts.
func flood(node *dynamo.Node, j *job) (out flooded) {
	due := make(chan time.Time, j.Ops)
	parts := make(chan *flooded)
	began := time.Now()
	before, _ := usage()
	latencies := make([][]time.Duration, floodCallers)
	for i := range floodCallers {
		go func() {
			part := new(flooded)
			for at := range due {
				one(node, part, at, j.ValueBytes, &latencies[i])
			}
			parts <- part
		}()
	}
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for sent := 0; sent < j.Ops; {
		now := <-ticker.C
		for n := min(j.Ops, int(now.Sub(began).Seconds()*float64(j.Rate))); sent < n; sent++ {
			due <- began.Add(time.Duration(float64(sent) / float64(j.Rate) * float64(time.Second)))
		}
		out.RSS = max(out.RSS, residentBytes())
	}
	close(due)
	for range floodCallers {
		part := <-parts
		out.OK += part.OK
		out.Overloaded += part.Overloaded
		out.Late += part.Late
		out.Other += part.Other
	}
	out.Took = time.Since(began)
	after, _ := usage()
	out.CPU = after - before
	all := slices.Concat(latencies...)
	slices.Sort(all)
	if n := len(all); n > 0 {
		out.P50, out.P99 = all[n/2], all[n*99/100]
	}
	return out
}

// one sends the request that is due at a time.
func one(node *dynamo.Node, out *flooded, due time.Time, bytes int, latencies *[]time.Duration) {
	ctx, cancel := context.WithDeadline(context.Background(), due.Add(floodTimeout))
	defer cancel()
	_, err := node.Put(ctx, benchKey(due.Nanosecond()/1000), make([]byte, bytes), nil, dynamo.Overwrite())
	took := time.Since(due)
	switch {
	case err == nil && took <= floodTimeout:
		out.OK++
		*latencies = append(*latencies, took)
	case err == nil || errors.Is(err, dynamo.ErrTimeout):
		out.Late++
	case errors.Is(err, dynamo.ErrOverloaded):
		out.Overloaded++
	default:
		out.Other++
	}
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

// plus adds what went through another node.
func (f *flooded) plus(o *flooded) {
	f.OK += o.OK
	f.Overloaded += o.Overloaded
	f.Late += o.Late
	f.Other += o.Other
	f.Took = max(f.Took, o.Took)
	f.CPU += o.CPU
	f.P50, f.P99 = max(f.P50, o.P50), max(f.P99, o.P99)
	f.RSS += o.RSS
}

func (f *flooded) goodput() float64 { return float64(f.OK) / f.Took.Seconds() }

// BenchmarkOverload: what is left of the peak when several times as much is
// asked for. Three nodes in processes of their own, N=3, R=W=2, the memory engine;
// puts of 100 bytes come in through all three, at their rate, and have half a
// second each. The processes' own part of the load is in their CPU time.
func BenchmarkOverload(b *testing.B) {
	const size, callers, each = 100, 21, 10_000
	workers := startWorkers(b, "memory", size)
	// What the nodes do for callers that wait for their answers.
	began := time.Now()
	for _, w := range workers {
		w.begin(job{Op: "put", Callers: callers, Ops: each, ValueBytes: size})
	}
	for _, w := range workers {
		w.end()
	}
	closed := float64(each*len(workers)) / time.Since(began).Seconds()
	peak, best := 0.0, 0.0
	for _, times := range []float64{0.5, 1, 1.5, 3, 3, 6} {
		const length = 2 * time.Second
		rate := int(times * closed / float64(len(workers)))
		for _, w := range workers {
			w.begin(job{Op: "flood", Rate: rate, Ops: int(float64(rate) * length.Seconds()), ValueBytes: size})
		}
		var f flooded
		for _, w := range workers {
			one := w.end().Flood
			f.plus(&one)
		}
		efficiency := float64(f.OK) / f.CPU.Seconds()
		peak, best = max(peak, f.goodput()), max(best, efficiency)
		b.Logf("offered %3.1f × %.0f/s: %.0f/s ok (%.0f %%), %.0f a CPU second (%.0f %%), p50 %v, p99 %v, %d overloaded, %d late, %d other; %d MiB",
			times, closed, f.goodput(), 100*f.goodput()/peak, efficiency, 100*efficiency/best,
			f.P50.Round(time.Microsecond), f.P99.Round(time.Microsecond), f.Overloaded, f.Late, f.Other, f.RSS>>20)
	}
}
