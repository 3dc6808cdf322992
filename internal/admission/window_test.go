package admission

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// twin is the window as one would write it without a thought for its cost: it
// keeps all samples, and sorts them.
type twin struct {
	size    int
	at      []time.Duration
	latency []time.Duration
}

func (w *twin) add(now, latency time.Duration) {
	w.at, w.latency = append(w.at, now), append(w.latency, latency)
	if n := len(w.at) - w.size; n > 0 {
		w.at, w.latency = w.at[n:], w.latency[n:]
	}
}

func (w *twin) expire(since time.Duration) {
	for len(w.at) > 0 && w.at[0] < since {
		w.at, w.latency = w.at[1:], w.latency[1:]
	}
}

func (w *twin) percentile(p float64) time.Duration {
	if len(w.at) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(w.latency))
	return sorted[max(1, int(math.Ceil(p*float64(len(sorted)))))-1]
}

// TestWindowAgainstTwin: the window's percentile is the upper bound of the
// bucket that the twin's is in, after any sequence of samples and pauses.
func TestWindowAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 40).Draw(t, "size")
		w, dumb := newWindow(size), &twin{size: size}
		now := time.Duration(0)
		latencies := rapid.OneOf(
			rapid.Int64Range(-10, 5_000), rapid.Int64Range(0, int64(time.Second)), rapid.Int64Range(0, math.MaxInt64),
		)
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			now += time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "pause"))
			if rapid.IntRange(0, 4).Draw(t, "kind") == 0 {
				since := now - time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "age"))
				w.expire(since)
				dumb.expire(since)
			} else {
				latency := time.Duration(latencies.Draw(t, "latency"))
				w.add(now, latency)
				dumb.add(now, latency)
			}
			for _, p := range []float64{0.5, 0.9, percentile, 1} {
				got, exact := w.percentile(p), dumb.percentile(p)
				if want := upper(bucketOf(exact)); len(dumb.at) > 0 && got != want {
					t.Fatalf("p%v of %d samples is %v; want %v, the bound of %v", 100*p, len(dumb.at), got, want, exact)
				}
				if len(dumb.at) == 0 && got != 0 {
					t.Fatalf("p%v of no samples is %v", 100*p, got)
				}
			}
			if w.count != len(dumb.at) {
				t.Fatalf("%d samples; want %d", w.count, len(dumb.at))
			}
		}
	})
}

// TestBuckets: every latency is in a bucket whose bound is above it, by a
// thirty-second at most.
func TestBuckets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := time.Duration(rapid.Int64Range(1<<minBits, 1<<maxBits-1).Draw(t, "latency"))
		b := bucketOf(v)
		if bound := upper(b); bound < v || float64(bound) > float64(v)*(1+1.0/perOctave) {
			t.Fatalf("%v is in a bucket up to %v", v, bound)
		}
		if int(b) >= buckets || b > 0 && upper(b-1) >= v {
			t.Fatalf("%v is in bucket %d of %d, and the one below goes up to %v", v, b, buckets, upper(b-1))
		}
	})
}

func BenchmarkWindowAdd(b *testing.B) {
	w := newWindow(1000)
	b.ReportAllocs()
	for i := range b.N {
		w.add(0, time.Duration(i%4096)*time.Millisecond/16)
		_ = w.percentile(percentile)
	}
}
