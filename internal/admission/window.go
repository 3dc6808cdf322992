package admission

import (
	"math/bits"
	"time"
)

const (
	// perOctave is how many buckets a doubling of the latency is divided into:
	// a percentile is right to one part in 32.
	perOctave     = 32
	perOctaveBits = 5

	// Latencies below 2^minBits ns (a microsecond) share a bucket, and so do
	// those above 2^maxBits ns (137 s), which no request takes.
	minBits = 10
	maxBits = 37

	buckets = 1 + (maxBits-minBits)*perOctave
	treeLen = 1024 // the power of two above buckets: the tree is descended by halves
)

// window counts the latest samples by buckets of latency, in a Fenwick tree: a
// sample is added and a percentile found in O(log buckets), whatever the size of
// the window is.
type window struct {
	ring  []sample // the latest ones; the next goes to next
	next  int
	count int // filled places, that are counted in tree
	tree  [treeLen + 1]uint32
}

type sample struct {
	at     time.Duration // Mono when it came
	bucket uint16
}

func newWindow(size int) window { return window{ring: make([]sample, size)} }

// add takes a sample, in place of the oldest one of a full window.
func (w *window) add(now, latency time.Duration) {
	if w.count == len(w.ring) {
		w.dropOldest()
	}
	b := bucketOf(latency)
	w.ring[w.next] = sample{at: now, bucket: b}
	w.next = (w.next + 1) % len(w.ring)
	w.count++
	w.change(b, 1)
}

// expire drops the samples that came before since.
func (w *window) expire(since time.Duration) {
	for w.count > 0 && w.ring[w.oldest()].at < since {
		w.dropOldest()
	}
}

func (w *window) oldest() int { return (w.next + len(w.ring) - w.count) % len(w.ring) }

func (w *window) dropOldest() {
	w.change(w.ring[w.oldest()].bucket, ^uint32(0))
	w.count--
}

// change adds n, modulo 2^32, to a bucket's count.
func (w *window) change(bucket uint16, n uint32) {
	for i := int(bucket) + 1; i <= treeLen; i += i & -i {
		w.tree[i] += n
	}
}

// percentile returns the upper bound of the bucket that holds the smallest
// sample which is not exceeded by the share p of the samples; 0 where there is
// no sample.
func (w *window) percentile(p float64) time.Duration {
	if w.count == 0 {
		return 0
	}
	rank := uint32(max(1, ceil(p*float64(w.count))))
	at := 0
	for half := treeLen; half > 0; half /= 2 {
		if at+half <= treeLen && w.tree[at+half] < rank {
			at += half
			rank -= w.tree[at]
		}
	}
	return upper(uint16(at))
}

func ceil(f float64) int {
	n := int(f)
	if float64(n) < f {
		n++
	}
	return n
}

func bucketOf(latency time.Duration) uint16 {
	v := uint64(min(max(latency, 0), 1<<maxBits-1))
	if v < 1<<minBits {
		return 0
	}
	exp := bits.Len64(v) - 1
	return uint16(1 + (exp-minBits)*perOctave + int(v>>(exp-perOctaveBits))&(perOctave-1))
}

// upper returns the largest latency of a bucket.
func upper(bucket uint16) time.Duration {
	if bucket == 0 {
		return 1<<minBits - 1
	}
	exp := minBits + int(bucket-1)/perOctave
	sub := int(bucket-1) % perOctave
	return time.Duration(perOctave+sub+1)<<(exp-perOctaveBits) - 1
}
