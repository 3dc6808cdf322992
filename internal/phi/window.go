package phi

import (
	"math"
	"time"
)

// Size is the number of gaps that a window keeps: enough for a deviation that
// means something, few enough that a new rhythm is learnt in about as many
// gaps.
const Size = 100

// Window holds the latest Size gaps between the signs of life of one peer. The
// zero value is empty and ready for use.
type Window struct {
	gaps  [Size]time.Duration // a ring: the next one goes to next
	next  int
	count int // filled places, at most Size

	mean, deviation time.Duration // of the gaps that are held
}

// Add takes a gap, in place of the oldest one of a full window. Negative gaps
// count as zero.
func (w *Window) Add(gap time.Duration) {
	w.gaps[w.next] = max(gap, 0)
	w.next = (w.next + 1) % Size
	w.count = min(w.count+1, Size)
	w.measure()
}

// measure computes mean and deviation anew from all gaps: a hundred additions,
// and no error that adds up over the months as running sums have it.
func (w *Window) measure() {
	sum, n := 0.0, float64(w.count)
	for _, gap := range w.gaps[:w.count] {
		sum += float64(gap)
	}
	mean, squares := sum/n, 0.0
	for _, gap := range w.gaps[:w.count] {
		squares += (float64(gap) - mean) * (float64(gap) - mean)
	}
	w.mean, w.deviation = time.Duration(mean), time.Duration(math.Sqrt(squares/n))
}

// Count returns the number of gaps held.
func (w *Window) Count() int { return w.count }

// Prior is what is assumed of a peer's rhythm.
type Prior struct {
	// Mean and Deviation are the least that is assumed while the window has
	// fewer than Gaps gaps: it does not know the peer yet.
	Mean, Deviation time.Duration
	Gaps            int
	// Floor is the least deviation, for ever, and Share the least share of the
	// mean that it is: gaps that have all been equal so far are no promise, and
	// real ones are rather longer than the mean than shorter. Floor is more than 0.
	Floor time.Duration
	Share float64
}

// Rhythm returns mean and deviation of the gaps, as far as they are known, else
// those of the prior.
func (w *Window) Rhythm(p Prior) (mean, deviation time.Duration) {
	mean, deviation = w.mean, max(w.deviation, p.Floor, time.Duration(p.Share*float64(w.mean)))
	if w.count < p.Gaps {
		mean, deviation = max(mean, p.Mean), max(deviation, p.Deviation)
	}
	return mean, deviation
}
