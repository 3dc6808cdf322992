package latency

import (
	"math"
	"slices"
	"time"
)

const (
	// Size is the number of samples that a window keeps: enough for a p99,
	// few enough that a change shows within a moment of traffic.
	Size = 100

	// MaxAge is how long a sample counts. A peer that nobody asked for that
	// long is unknown again, and so gets the chance to show that it is faster
	// than it was.
	MaxAge = 5 * time.Minute
)

// Window holds the latest Size samples of one peer. The zero value is empty
// and ready for use. It is not safe for concurrent use.
type Window struct {
	samples [Size]sample // a ring: the next one goes to next
	next    int
	count   int // filled places, at most Size
}

type sample struct {
	at      time.Duration // Mono when it came
	latency time.Duration
}

// Add takes a sample that came at now, in place of the oldest one of a full
// window. Negative latencies count as zero.
func (w *Window) Add(now, latency time.Duration) {
	w.samples[w.next] = sample{at: now, latency: max(latency, 0)}
	w.next = (w.next + 1) % Size
	w.count = min(w.count+1, Size)
}

// Percentiles returns for each fraction p of ps, 0 < p ≤ 1, the smallest
// sample that is not exceeded by the share p of the samples (the nearest
// rank). Samples older than MaxAge at now do not count. ok is false, and
// the result nil, where there is no sample.
//
// It copies and sorts the window: for a publication now and then, not for
// each request.
func (w *Window) Percentiles(now time.Duration, ps ...float64) (latencies []time.Duration, ok bool) {
	var fresh [Size]time.Duration
	n := 0
	for _, s := range w.samples[:w.count] {
		if now-s.at <= MaxAge {
			fresh[n] = s.latency
			n++
		}
	}
	if n == 0 {
		return nil, false
	}
	slices.Sort(fresh[:n])
	latencies = make([]time.Duration, len(ps))
	for i, p := range ps {
		rank := int(math.Ceil(p * float64(n)))
		latencies[i] = fresh[min(max(rank, 1), n)-1]
	}
	return latencies, true
}

// Count returns the number of samples held, old ones included.
func (w *Window) Count() int { return w.count }
