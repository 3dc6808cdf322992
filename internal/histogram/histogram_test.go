package histogram_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/histogram"
)

func bounds() []time.Duration {
	return []time.Duration{time.Microsecond, time.Millisecond, 10 * time.Millisecond, time.Second}
}

// A bound belongs to the bucket below it, and what is above all bounds is
// counted too.
func TestBoundsAreInclusive(t *testing.T) {
	h := histogram.New(bounds())
	for _, d := range []time.Duration{-1, 0, time.Millisecond, time.Millisecond + 1, time.Second, time.Hour} {
		h.Observe(d)
	}
	for i, want := range []uint64{2, 3, 4, 5} {
		if got := h.UpTo(i); got != want {
			t.Errorf("%d durations are at most %v; want %d", got, h.Bounds()[i], want)
		}
	}
	if h.Count() != 6 || h.Sum() != time.Hour+time.Second+2*time.Millisecond+1 {
		t.Errorf("%d durations, %v together", h.Count(), h.Sum())
	}
}

// dumb is a histogram that keeps everything.
type dumb []time.Duration

func (d dumb) between(from, to float64) (n uint64) {
	for _, one := range d {
		if s := one.Seconds(); s > from && s <= to {
			n++
		}
	}
	return n
}

// Every exponential bucket has exactly the durations that are above the end of
// the one before and not above its own; every chosen one likewise.
func TestBucketsAgainstTheDurationsThemselves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		duration := rapid.Custom(func(t *rapid.T) time.Duration {
			return time.Duration(math.Exp2(rapid.Float64Range(0, 43).Draw(t, "log2"))) // up to 2½ hours
		})
		half := rapid.SliceOf(duration)
		a, b := histogram.New(bounds()), histogram.New(bounds())
		all := dumb{}
		for _, into := range []*histogram.Histogram{&a, &b} {
			for _, d := range half.Draw(t, "durations") {
				into.Observe(d)
				all = append(all, d)
			}
		}
		a.Add(&b)
		end := func(i int) float64 {
			return math.Exp2(float64(histogram.BucketIndex(i)) / (1 << histogram.Schema))
		}
		from := histogram.Threshold
		if got, want := a.Short(), all.between(-1, from); got != want {
			t.Fatalf("%d short durations; want %d", got, want)
		}
		for i := range histogram.Exponential {
			to := end(i)
			if i == histogram.Exponential-1 {
				to = math.Inf(1)
			}
			if got, want := a.Bucket(i), all.between(from, to); got != want {
				t.Fatalf("bucket %d has %d durations in (%v, %v]; want %d", i, got, from, to, want)
			}
			from = to
		}
		for i, bound := range a.Bounds() {
			if got, want := a.UpTo(i), all.between(-1, bound.Seconds()); got != want {
				t.Fatalf("%d durations up to %v; want %d", got, bound, want)
			}
		}
		if a.Count() != uint64(len(all)) {
			t.Fatalf("%d durations; want %d", a.Count(), len(all))
		}
	})
}

func TestWithoutBoundsNothingIsCounted(t *testing.T) {
	var none histogram.Histogram
	none.Observe(time.Second)
	if none.Count() != 0 || none.Sum() != 0 {
		t.Errorf("%d durations, %v together", none.Count(), none.Sum())
	}
	some := histogram.New(bounds())
	some.Observe(time.Second)
	none.Add(&some)
	some.Add(&histogram.Histogram{})
	if none.Count() != 1 || some.Count() != 1 {
		t.Errorf("after adding: %d and %d durations; want 1 and 1", none.Count(), some.Count())
	}
}

func TestBoundsThatAreWrong(t *testing.T) {
	for _, wrong := range [][]time.Duration{
		{2, 1}, make([]time.Duration, histogram.MaxBounds+1),
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v are taken", wrong)
				}
			}()
			histogram.New(wrong)
		}()
	}
	defer func() {
		if recover() == nil {
			t.Error("histograms with other bounds are added")
		}
	}()
	a, b := histogram.New([]time.Duration{1}), histogram.New([]time.Duration{2})
	a.Add(&b)
}

func TestObservingAllocatesNothing(t *testing.T) {
	h := histogram.New(bounds())
	if n := testing.AllocsPerRun(100, func() { h.Observe(1234567) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	h := histogram.New(bounds())
	b.ReportAllocs()
	for d := time.Duration(1); b.Loop(); d += 7919 {
		h.Observe(d)
	}
}
