package phi_test

import (
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/phi"
)

// precision of the twin, in bits: the series of erfc(z) adds terms up to
// exp(z²) that leave exp(-z²), and there must be digits left at z = 25.
const precision = 3000

// twin computes phi the slow way: erfc as the alternating series, in numbers
// that are long enough for it not to matter.
func twin(x float64) float64 {
	number := func(v float64) *big.Float { return new(big.Float).SetPrec(precision).SetFloat64(v) }
	z := number(0).Quo(number(x), number(0).Sqrt(number(2)))
	square := number(0).Mul(z, z)
	sum, power := number(0), number(0).Set(z) // power = z^(2n+1)/n!
	for n := range 4000 {
		term := number(0).Quo(power, number(float64(2*n+1)))
		if n%2 == 0 {
			sum.Add(sum, term)
		} else {
			sum.Sub(sum, term)
		}
		power.Mul(power, square)
		power.Quo(power, number(float64(n+1)))
	}
	erf := number(0).Quo(number(0).Mul(number(2), sum), number(0).Sqrt(circle()))
	tail := number(0).Quo(number(0).Sub(number(1), erf), number(2))
	mantissa := number(0)
	exponent := tail.MantExp(mantissa)
	m, _ := mantissa.Float64()
	if exponent == 0 && m > 0.99 { // log10 of what is next to 1
		rest, _ := number(0).Sub(number(1), tail).Float64()
		return -math.Log1p(-rest) / math.Ln10
	}
	return -(math.Log10(m) + float64(exponent)*math.Log10(2))
}

// circle returns π, by Machin's formula.
func circle() *big.Float {
	number := func(v int64) *big.Float { return new(big.Float).SetPrec(precision).SetInt64(v) }
	arctan := func(inverse int64) *big.Float {
		sum, power := number(0), number(0).Quo(number(1), number(inverse))
		for n := range int64(2500) {
			term := number(0).Quo(power, number(2*n+1))
			if n%2 == 0 {
				sum.Add(sum, term)
			} else {
				sum.Sub(sum, term)
			}
			power.Quo(power, number(inverse*inverse))
		}
		return sum
	}
	a, b := arctan(5), arctan(239)
	a.Mul(a, number(16))
	return a.Sub(a, b.Mul(b, number(4)))
}

func TestPhiAgainstItsTwin(t *testing.T) {
	for _, x := range []float64{-6, -3, -1, -0.1, 0, 0.1, 1, 2, 3, 4.2648, 5.6120, 7, 7.0710678, 7.0710679, 8, 10, 15, 20, 25, 30, 35} {
		got, want := phi.OfDeviations(x), twin(x)
		if math.Abs(got-want) > 1e-12*math.Max(want, 1e-3) {
			t.Errorf("phi of %v deviations is %.17g; its twin says %.17g", x, got, want)
		}
	}
}

// The thresholds are really reached, and left far behind.
func TestTheTailIsNotClamped(t *testing.T) {
	last := 0.0
	for _, c := range []struct {
		silence time.Duration
		atLeast float64
	}{
		{time.Second, 0.3},
		{6 * time.Second, 5},
		{8 * time.Second, 8},
		{11 * time.Second, 20},
		{25 * time.Second, 100},
		{time.Hour, 2e6},
		{math.MaxInt64, 1e18},
	} {
		got := phi.Phi(c.silence, time.Second, time.Second)
		if got < c.atLeast || got <= last || math.IsInf(got, 0) || math.IsNaN(got) {
			t.Errorf("phi after %v is %v; want at least %v, finite, and more than %v", c.silence, got, c.atLeast, last)
		}
		last = got
	}
}

func TestPhiGrowsWithTheSilence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string, least, most time.Duration) time.Duration {
			return time.Duration(rapid.Int64Range(int64(least), int64(most)).Draw(t, label))
		}
		mean, deviation := draw("mean", 0, time.Hour), draw("deviation", 1, time.Hour)
		short := draw("silence", 0, 1000*time.Hour)
		long := short + draw("longer by", 0, 1000*time.Hour)
		a, b := phi.Phi(short, mean, deviation), phi.Phi(long, mean, deviation)
		if a < 0 || b < a || math.IsInf(b, 0) || math.IsNaN(b) {
			t.Fatalf("phi after %v is %v, after %v it is %v", short, a, long, b)
		}
	})
}

func TestDeviationsIsTheReverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := math.Exp(rapid.Float64Range(math.Log(1e-6), math.Log(1e6)).Draw(t, "log of phi"))
		x := phi.Deviations(want)
		if got := phi.OfDeviations(x); got < want || got > want*(1+1e-9) {
			t.Fatalf("%v deviations have phi %v; want %v", x, got, want)
		}
	})
	for _, none := range []float64{0, -1} {
		if x := phi.Deviations(none); !math.IsInf(x, -1) {
			t.Errorf("phi %v needs %v deviations", none, x)
		}
	}
}

func BenchmarkPhi(b *testing.B) {
	for name, silence := range map[string]time.Duration{"near": 2 * time.Second, "far": time.Minute} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				phi.Phi(silence, time.Second, time.Second/2)
			}
		})
	}
}
