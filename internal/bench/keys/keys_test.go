package keys

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// tally draws so often and returns how often each key came.
func tally(d Distribution, loaded, written uint64, draws int) []float64 {
	c := NewChooser(d, loaded, random(1))
	counts := make([]float64, max(loaded, written))
	for range draws {
		counts[c.Next(written)]++
	}
	return counts
}

// deviation is Pearson's statistic over its degrees of freedom: about 1 where
// the counts are those of the shares, with a standard deviation of
// sqrt(2/freedom).
func deviation(counts []float64, share func(i int) float64) float64 {
	total := 0.0
	for _, c := range counts {
		total += c
	}
	sum := 0.0
	for i, c := range counts {
		want := total * share(i)
		sum += (c - want) * (c - want) / want
	}
	return sum / float64(len(counts)-1)
}

// zipfShares are computed the dumb way.
func zipfShares(n int) []float64 {
	shares, sum := make([]float64, n), 0.0
	for k := range shares {
		shares[k] = math.Pow(float64(k+1), -Exponent)
		sum += shares[k]
	}
	for k := range shares {
		shares[k] /= sum
	}
	return shares
}

func TestShares(t *testing.T) {
	const n, draws = 500, 400_000
	shares, shuffle := zipfShares(n), newShuffle(n)
	rank := make([]int, n)
	for r := range n {
		rank[shuffle.of(uint64(r))] = r
	}
	limit := 1 + 5*math.Sqrt(2.0/(n-1)) // five standard deviations; the seed is fixed
	for _, test := range []struct {
		d     Distribution
		share func(i int) float64
	}{
		{Uniform, func(int) float64 { return 1.0 / n }},
		{Zipfian, func(i int) float64 { return shares[rank[i]] }},
		{Latest, func(i int) float64 { return shares[n-1-i] }},
	} {
		if got := deviation(tally(test.d, n, n, draws), test.share); got > limit {
			t.Errorf("%s deviates by %.2f from its shares, at most %.2f is chance", test.d, got, limit)
		}
	}
}

// The test above would notice a distribution that is a little off.
func TestSharesNotice(t *testing.T) {
	const n = 500
	shares := zipfShares(n)
	other := newZipf(0.9)
	counts, r := make([]float64, n), random(1)
	for range 400_000 {
		counts[other.next(r, n)-1]++
	}
	if got := deviation(counts, func(i int) float64 { return shares[i] }); got < 10 {
		t.Errorf("an exponent of 0.9 deviates by %.2f only", got)
	}
}

func TestLatestFollowsWhatIsWritten(t *testing.T) {
	const loaded, written = 100, 10_000
	counts := tally(Latest, loaded, written, 10_000)
	newest := 0.0
	for _, c := range counts[written-100:] {
		newest += c
	}
	if newest < 5000 {
		t.Errorf("of 10,000 reads %.0f are of the newest hundred keys", newest)
	}
	for _, d := range []Distribution{Uniform, Zipfian} {
		for i, c := range tally(d, loaded, written, 10_000)[loaded:] {
			if c > 0 {
				t.Fatalf("%s draws key %d, which was not loaded", d, loaded+i)
			}
		}
	}
}

func TestChoicesAreInRange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loaded := rapid.Uint64Range(1, 1<<40).Draw(t, "loaded")
		more := rapid.Uint64Range(0, 1<<20).Draw(t, "more")
		d := rapid.SampledFrom(Distributions()).Draw(t, "distribution")
		c := NewChooser(d, loaded, random(rapid.Uint64().Draw(t, "seed")))
		for range 50 {
			if i := c.Next(loaded + more); i >= loaded+more {
				t.Fatalf("key %d of %d", i, loaded+more)
			}
		}
	})
}

func TestSameSeedSameKeys(t *testing.T) {
	for _, d := range Distributions() {
		a, b, other := NewChooser(d, 1000, random(7)), NewChooser(d, 1000, random(7)), NewChooser(d, 1000, random(8))
		same := true
		for i := range uint64(100) {
			x := a.Next(1000 + i)
			if y := b.Next(1000 + i); x != y {
				t.Fatalf("%s: %d and %d from one seed", d, x, y)
			}
			same = other.Next(1000+i) == x && same
		}
		if same {
			t.Errorf("%s: two seeds draw the same keys", d)
		}
	}
}

func TestShufflePermutes(t *testing.T) {
	for n := range uint64(300) {
		n++
		s, seen := newShuffle(n), map[uint64]bool{}
		for i := range n {
			j := s.of(i)
			if j >= n || seen[j] {
				t.Fatalf("of %d: %d becomes %d, out of range or for the second time", n, i, j)
			}
			seen[j] = true
		}
	}
}

func TestParse(t *testing.T) {
	for _, d := range Distributions() {
		if got, err := Parse(string(d)); got != d || err != nil {
			t.Errorf("%s is %s, %v", d, got, err)
		}
	}
	if _, err := Parse("normal"); err == nil || err.Error() != `distribution is "normal"; uniform, zipfian, latest are allowed` {
		t.Errorf("another name: %v", err)
	}
}

func BenchmarkNext(b *testing.B) {
	for _, d := range Distributions() {
		b.Run(fmt.Sprint(d), func(b *testing.B) {
			c := NewChooser(d, 1_000_000, random(1))
			b.ReportAllocs()
			for b.Loop() {
				c.Next(1_000_000)
			}
		})
	}
}
