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
			w := latency.New(latency.Default())
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
	w := latency.New(latency.Default())
	if got, ok := w.Percentiles(0, 0.99); ok {
		t.Errorf("Percentiles of an empty window = %v, true", got)
	}
}

func TestOldSamplesDoNotCount(t *testing.T) {
	const maxAge = time.Minute * 3
	w := latency.New(latency.Config{Size: 5, MaxAge: maxAge})
	w.Add(0, time.Second)
	w.Add(time.Minute, time.Millisecond)
	for _, tt := range []struct {
		now  time.Duration
		want time.Duration
		ok   bool
	}{
		{maxAge, time.Second, true},
		{maxAge + 1, time.Millisecond, true},
		{maxAge + time.Minute + 1, 0, false},
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

func TestKnownOnesStandFirst(t *testing.T) {
	const ms = time.Millisecond
	got := []time.Duration{0, 30 * ms, 0, 10 * ms, 20 * ms}
	slices.SortStableFunc(got, latency.Compare)
	if want := []time.Duration{10 * ms, 20 * ms, 30 * ms, 0, 0}; !slices.Equal(got, want) {
		t.Errorf("%v; want %v", got, want)
	}
	names := []string{"b", "fast", "a", "c"}
	slices.SortStableFunc(names, func(x, y string) int {
		p99 := map[string]time.Duration{"fast": ms}
		return latency.Compare(p99[x], p99[y])
	})
	if want := []string{"fast", "b", "a", "c"}; !slices.Equal(names, want) {
		t.Errorf("%v; want %v: those that are not known keep their order", names, want)
	}
}

// TestAgainstSortedHistory compares the window with its dumb twin: the whole
// history, cut to its last samples and sorted.
func TestAgainstSortedHistory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		history := rapid.SliceOfN(rapid.Int64Range(0, 1_000_000), 1, 300).Draw(t, "history")
		p := rapid.Float64Range(0.001, 1).Draw(t, "p")
		size := rapid.SampledFrom([]int{1, 10, 100, latency.MaxSize}).Draw(t, "size")
		w := latency.New(latency.Config{Size: size, MaxAge: time.Minute})
		for i, s := range history {
			w.Add(time.Duration(i), time.Duration(s))
		}
		got, ok := w.Percentiles(time.Duration(len(history)), p)
		if !ok {
			t.Fatal("a filled window knows nothing")
		}
		last := slices.Clone(history[max(0, len(history)-size):])
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
	const size = 100
	w := latency.New(latency.Default())
	for i := range size {
		w.Add(0, time.Duration((i*37)%size)*time.Millisecond)
	}
	b.ReportAllocs()
	for b.Loop() {
		w.Percentiles(0, 0.95, 0.99)
	}
}
