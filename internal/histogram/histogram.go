package histogram

import (
	"math"
	"slices"
	"time"
)

const (
	// MaxBounds bounds the buckets that are chosen: each is a series of its own
	// wherever the histogram goes.
	MaxBounds = 64

	// Schema is the resolution of the exponential buckets, in the words of
	// Prometheus: 2^Schema of them an octave, each 9 % wider than the last.
	Schema    = 3
	perOctave = 1 << Schema

	// lowest and octaves are what the exponential buckets cover: from 2^lowest
	// seconds, about a microsecond, to 2^(lowest+octaves), an hour and more.
	// What is shorter is in no bucket of theirs, what is longer is in the last.
	lowest  = -20
	octaves = 32

	// Exponential is the number of exponential buckets.
	Exponential = octaves * perOctave
)

// Threshold is up to where durations are too short for the exponential
// buckets.
const Threshold = 1.0 / (1 << -lowest) // of a second

// Histogram counts durations. Use New, or the zero value where nothing is to
// be counted: it drops what it observes.
type Histogram struct {
	bounds []time.Duration // the upper ones, ascending; shared, never changed
	sum    time.Duration
	// chosen counts by bounds; the last one in use has what is above them all.
	chosen [MaxBounds + 1]uint64
	short  uint64 // up to Threshold
	expo   [Exponential]uint64
}

// New returns an empty histogram with these upper bounds, which must ascend
// and may not be changed: at most MaxBounds. Without any it counts nothing.
func New(bounds []time.Duration) Histogram {
	if len(bounds) > MaxBounds || !slices.IsSorted(bounds) {
		panic("histogram: bounds that are too many, or do not ascend")
	}
	return Histogram{bounds: bounds}
}

// Observe counts one duration. One that is negative counts as 0.
func (h *Histogram) Observe(d time.Duration) {
	if len(h.bounds) == 0 {
		return
	}
	d = max(d, 0)
	h.sum += d
	lo, hi := 0, len(h.bounds)
	for lo < hi {
		if mid := (lo + hi) / 2; h.bounds[mid] < d {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	h.chosen[lo]++
	if i := index(d.Seconds()); i >= 0 {
		h.expo[i]++
	} else {
		h.short++
	}
}

// index returns the exponential bucket of a number of seconds, −1 where it is
// too short for any. Bucket i ends, inclusively, where BucketIndex says.
func index(seconds float64) int {
	if seconds <= Threshold {
		return -1
	}
	part, exponent := math.Frexp(seconds) // part is in [1/2, 1)
	i := 0
	for _, bound := range [perOctave]float64{
		0.5, 0.5452538663326288, 0.5946035575013605, 0.6484197773255048,
		0.7071067811865475, 0.7711054127039704, 0.8408964152537144, 0.9170040432046711,
	} { // 2^(j/8 − 1)
		if part > bound {
			i++
		}
	}
	return min(i+(exponent-1-lowest)*perOctave-1, Exponential-1)
}

// BucketIndex returns the number that exponential bucket i has in the schema:
// it ends at 2^(BucketIndex/perOctave) seconds.
func BucketIndex(i int) int { return i + 1 + lowest*perOctave }

// Add adds what o has counted. Both have the same bounds, or one has none.
func (h *Histogram) Add(o *Histogram) {
	switch {
	case len(o.bounds) == 0:
		return
	case len(h.bounds) == 0:
		h.bounds = o.bounds
	case !slices.Equal(h.bounds, o.bounds):
		panic("histogram: added to one with other bounds")
	}
	h.sum += o.sum
	h.short += o.short
	for i := range h.chosen {
		h.chosen[i] += o.chosen[i]
	}
	for i := range h.expo {
		h.expo[i] += o.expo[i]
	}
}

// Count returns how many durations there were.
func (h *Histogram) Count() uint64 {
	var n uint64
	for _, c := range h.chosen {
		n += c
	}
	return n
}

// Sum returns all durations together.
func (h *Histogram) Sum() time.Duration { return h.sum }

// Bounds returns the upper bounds. The caller must not change them.
func (h *Histogram) Bounds() []time.Duration { return h.bounds }

// UpTo returns how many durations were at most bound i.
func (h *Histogram) UpTo(i int) uint64 {
	var n uint64
	for _, c := range h.chosen[:i+1] {
		n += c
	}
	return n
}

// Short returns how many durations were at most Threshold.
func (h *Histogram) Short() uint64 { return h.short }

// Bucket returns how many durations are in exponential bucket i.
func (h *Histogram) Bucket(i int) uint64 { return h.expo[i] }
