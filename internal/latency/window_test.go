package latency_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/latency"
)

func TestPercentiles(t *testing.T) {
	const ms = time.Millisecond
	upTo := func(n int) (all []time.Duration) {
		for i := range n {
			all = append(all, time.Duration(i+1)*ms)
		}
		return all
	}
	tests := []struct {
		name     string
		samples  []time.Duration
		p95, p99 time.Duration
	}{
		{"one sample is every percentile", upTo(1), 1 * ms, 1 * ms},
		{"two samples", upTo(2), 2 * ms, 2 * ms},
		{"twenty samples", upTo(20), 19 * ms, 20 * ms},
		{"a full window", upTo(100), 95 * ms, 99 * ms},
		{"an overfull window forgets the oldest", upTo(150), 145 * ms, 149 * ms},
		{"a negative latency counts as zero", []time.Duration{-5 * ms}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var w latency.Window
			for _, s := range tt.samples {
				w.Add(0, s)
			}
			got, ok := w.Percentiles(0, 0.95, 0.99)
			if want := []time.Duration{tt.p95, tt.p99}; !ok || !slices.Equal(got, want) {
				t.Errorf("Percentiles = %v, %v; want %v, true", got, ok, want)
			}
		})
	}
}

func TestEmptyWindowKnowsNothing(t *testing.T) {
	var w latency.Window
	if got, ok := w.Percentiles(0, 0.99); ok {
		t.Errorf("Percentiles of an empty window = %v, true", got)
	}
}

func TestOldSamplesDoNotCount(t *testing.T) {
	var w latency.Window
	w.Add(0, time.Second)
	w.Add(time.Minute, time.Millisecond)
	for _, tt := range []struct {
		now  time.Duration
		want time.Duration
		ok   bool
	}{
		{latency.MaxAge, time.Second, true},
		{latency.MaxAge + 1, time.Millisecond, true},
		{latency.MaxAge + time.Minute + 1, 0, false},
	} {
		got, ok := w.Percentiles(tt.now, 1)
		if ok != tt.ok || ok && got[0] != tt.want {
			t.Errorf("at %v: Percentiles = %v, %v; want %v, %v", tt.now, got, ok, tt.want, tt.ok)
		}
	}
	if w.Count() != 2 {
		t.Errorf("Count = %d; want 2", w.Count())
	}
}

// TestAgainstSortedHistory compares the window with its dumb twin: the whole
// history, cut to its last samples and sorted.
func TestAgainstSortedHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		history := rapid.SliceOfN(rapid.Int64Range(0, 1_000_000), 1, 300).Draw(t, "history")
		p := rapid.Float64Range(0.001, 1).Draw(t, "p")
		var w latency.Window
		for i, s := range history {
			w.Add(time.Duration(i), time.Duration(s))
		}
		got, ok := w.Percentiles(time.Duration(len(history)), p)
		if !ok {
			t.Fatal("a filled window knows nothing")
		}
		last := slices.Clone(history[max(0, len(history)-latency.Size):])
		slices.Sort(last)
		// The nearest rank: the first sample that p of all do not exceed.
		i := slices.IndexFunc(last, func(v int64) bool {
			notAbove := 0
			for _, o := range last {
				if o <= v {
					notAbove++
				}
			}
			return float64(notAbove) >= p*float64(len(last))
		})
		if int64(got[0]) != last[i] {
			t.Fatalf("percentile %v of %v is %d, the twin says %d", p, last, got[0], last[i])
		}
	})
}

func BenchmarkPercentiles(b *testing.B) {
	var w latency.Window
	for i := range latency.Size {
		w.Add(0, time.Duration((i*37)%latency.Size)*time.Millisecond)
	}
	b.ReportAllocs()
	for b.Loop() {
		w.Percentiles(0, 0.95, 0.99)
	}
}
