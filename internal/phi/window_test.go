package phi_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/phi"
)

// TestWindowAgainstASlice compares with all gaps ever, cut to the latest.
func TestWindowAgainstASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w phi.Window
		all := rapid.SliceOfN(rapid.Int64Range(-1000, int64(time.Hour)), 1, 3*phi.Size).Draw(t, "gaps")
		for _, gap := range all {
			w.Add(time.Duration(gap))
		}
		held := all[max(0, len(all)-phi.Size):]
		mean, variance := 0.0, 0.0
		for _, gap := range held {
			mean += float64(max(gap, 0)) / float64(len(held))
		}
		for _, gap := range held {
			variance += math.Pow(float64(max(gap, 0))-mean, 2) / float64(len(held))
		}
		gotMean, gotDeviation := w.Rhythm(phi.Prior{})
		if w.Count() != len(held) || math.Abs(float64(gotMean)-mean) > 10 || math.Abs(float64(gotDeviation)-math.Sqrt(variance)) > 10 {
			t.Fatalf("%d gaps of %v ± %v; want %d of %v ± %v", w.Count(), gotMean, gotDeviation,
				len(held), time.Duration(mean), time.Duration(math.Sqrt(variance)))
		}
	})
}

func TestPriorHoldsUntilThePeerIsKnown(t *testing.T) {
	prior := phi.Prior{Mean: 3 * time.Second, Deviation: 2 * time.Second, Gaps: 10, Floor: time.Second / 2}
	var w phi.Window
	for n := range 20 {
		mean, deviation := w.Rhythm(prior)
		wantMean, wantDeviation := prior.Mean, prior.Deviation
		if n >= prior.Gaps {
			wantMean, wantDeviation = time.Second, prior.Floor
		}
		if mean != wantMean || deviation != wantDeviation {
			t.Errorf("after %d gaps the rhythm is %v ± %v; want %v ± %v", n, mean, deviation, wantMean, wantDeviation)
		}
		w.Add(time.Second)
	}
	prior.Share = 0.8
	if mean, deviation := w.Rhythm(prior); mean != time.Second || deviation != 800*time.Millisecond {
		t.Errorf("with a share of the mean the rhythm is %v ± %v; want 1s ± 800ms", mean, deviation)
	}
}

func BenchmarkAdd(b *testing.B) {
	var w phi.Window
	b.ReportAllocs()
	for b.Loop() {
		w.Add(time.Second)
	}
}
