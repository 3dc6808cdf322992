package latency

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// MaxSize bounds a window: a megabyte for some sixty peers.
const MaxSize = 1000

// Config of a Window.
type Config struct {
	// Size is the number of samples that a window keeps, 1 to MaxSize.
	Size int
	// MaxAge is how long a sample counts. A peer of which nothing was heard for
	// that long is unknown again.
	MaxAge time.Duration
}

// Default keeps 100 samples: enough for a p99, few enough that a change shows
// within a moment of traffic.
func Default() Config { return Config{Size: 100, MaxAge: 5 * time.Minute} }

// Window holds the latest samples of one peer. It is not safe for concurrent
// use; New makes one.
type Window struct {
	samples []sample // a ring: the next one goes to next
	maxAge  time.Duration
	next    int
	count   int // filled places
}

type sample struct {
	at      time.Duration // Mono when it came
	latency time.Duration
}

// New returns an empty window.
func New(c Config) *Window {
	return &Window{samples: make([]sample, min(max(c.Size, 1), MaxSize)), maxAge: c.MaxAge}
}

// Compare orders two peers by a percentile of each, 0 where it is not known:
// the faster one first, those that are not known last and equal to each other,
// so that a stable sort leaves these in the order in which they stood.
func Compare(a, b time.Duration) int {
	switch {
	case a == b:
		return 0
	case a == 0:
		return 1
	case b == 0:
		return -1
	}
	return cmp.Compare(a, b)
}

// Add takes a sample that came at now, in place of the oldest one of a full
// window. Negative latencies count as zero.
func (w *Window) Add(now, latency time.Duration) {
	w.samples[w.next] = sample{at: now, latency: max(latency, 0)}
	w.next = (w.next + 1) % len(w.samples)
	w.count = min(w.count+1, len(w.samples))
}

// Percentiles returns for each fraction p of ps, 0 < p ≤ 1, the smallest
// sample that is not exceeded by the share p of the samples (the nearest
// rank). Samples older than the window's MaxAge at now do not count. ok is false, and
// the result nil, where there is no sample.
//
// It copies and sorts the window: for a publication now and then, not for
// each request.
func (w *Window) Percentiles(now time.Duration, ps ...float64) (latencies []time.Duration, ok bool) {
	var few [128]time.Duration // most windows need no more
	fresh := few[:]
	if w.count > len(fresh) {
		fresh = make([]time.Duration, w.count)
	}
	n := 0
	for _, s := range w.samples[:w.count] {
		if now-s.at <= w.maxAge {
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
