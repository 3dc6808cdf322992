package cluster

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

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

const (
	// overloadRounds is how often BenchmarkOverload measures each load: what else
	// the machine does falls on all of them alike, and medians are compared.
	overloadRounds = 3
	// overloadLength is how long each load lasts: many times what the nodes take to
	// find out how much they can do.
	overloadLength = 3 * time.Second
)

// overload is what BenchmarkOverload has measured of one load.
type overload struct {
	flooded

	CPU time.Duration // of the nodes
	RSS int64         // theirs at the end
}

// perCPU is the goodput of a second of the nodes' CPU time, which says how well
// they use what other programs leave them.
func (o *overload) perCPU() float64 { return float64(o.OK) / o.CPU.Seconds() }

func (o *overload) String() string {
	return fmt.Sprintf("%.0f/s ok, %.1f µs CPU each, the nodes' part of their core %.0f %%, %v; %d MiB",
		o.goodput(), float64(o.CPU.Microseconds())/float64(o.OK), 100*o.CPU.Seconds()/o.Took.Seconds(), &o.flooded, o.RSS>>20)
}

// BenchmarkOverload: what is left of the peak when several times as much is
// asked for. Three nodes in processes of their own, N=3, R=W=2, the memory engine,
// all on one core; this process, which asks, is on another one, so that what it
// takes is nobody's loss. Puts of 100 bytes come in through all three, at their
// rate, and have half a second each.
//
// The peak is the best that callers reach which wait for their answers.
func BenchmarkOverload(b *testing.B) {
	const size = 100
	var workers []*worker
	onCore(b, 0, func() { workers = startWorkers(b, "memory", size) })
	moveToCore(b, 1)
	var addrs []string
	for _, w := range workers {
		addrs = append(addrs, w.addr)
	}
	all := newFlooders(b, addrs, size)
	measure := func(name string, do func(f *flooder) error) overload {
		var o overload
		o.CPU = used(workers, func() {
			var err error
			if o.flooded, err = flood(all, do); err != nil {
				b.Fatal(err)
			}
		})
		for _, w := range workers {
			o.RSS += w.do(job{Op: "usage"}).RSS
		}
		b.Logf("%-20s %v", name, &o)
		return o
	}
	times := []float64{1, 2, 3, 5}
	goodput, perCPU := make([][]float64, len(times)), make([][]float64, len(times))
	for range overloadRounds {
		peak, best := 0.0, 0.0
		for _, n := range []int64{32, 128} {
			o := measure(strconv.Itoa(len(all)*int(n))+" waiting callers", func(f *flooder) error { return f.keeping(n, overloadLength) })
			peak, best = max(peak, o.goodput()), max(best, o.perCPU())
		}
		for i, x := range times {
			rate := x * peak / float64(len(all))
			o := measure(fmt.Sprintf("%g × the peak", x), func(f *flooder) error { return f.at(rate, overloadLength) })
			goodput[i], perCPU[i] = append(goodput[i], o.goodput()/peak), append(perCPU[i], o.perCPU()/best)
		}
	}
	for i, x := range times {
		b.Logf("%g × the peak: %.0f %% of its goodput, %.0f %% of its goodput a CPU second (medians of %d)",
			x, 100*median(goodput[i]), 100*median(perCPU[i]), overloadRounds)
		b.ReportMetric(100*median(goodput[i]), fmt.Sprintf("%%-at-%gx", x))
	}
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
