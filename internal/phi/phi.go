package phi

import (
	"math"
	"time"
)

const (
	// farOut is where the logarithm of the tail is computed without the tail
	// itself, in deviations over the square root of two. math.Erfc is exact to
	// the last digits below it and ends altogether above 27.
	farOut = 5

	// depth is how many steps of its continued fraction give the tail beyond
	// farOut to the last digit.
	depth = 40
)

// Phi returns how suspicious a silence is, 0 or more, where gaps are usually as
// long as mean, give or take deviation, which is more than 0. It is finite and
// grows with the silence.
func Phi(silence, mean, deviation time.Duration) float64 {
	return OfDeviations(float64(silence-mean) / float64(deviation))
}

// OfDeviations returns the phi of a silence that is so many deviations longer
// than the mean.
func OfDeviations(x float64) float64 {
	z := x / math.Sqrt2
	switch {
	case z < 0:
		return -math.Log1p(-math.Erfc(-z)/2) / math.Ln10
	case z < farOut:
		return -math.Log10(math.Erfc(z) / 2)
	}
	// erfc(z) = exp(-z²) / (√π (z + (1/2)/(z + (2/2)/(z + (3/2)/(z + …))))
	fraction := z
	for i := depth; i >= 1; i-- {
		fraction = z + float64(i)/2/fraction
	}
	return (z*z + math.Log(2*math.SqrtPi*fraction)) / math.Ln10
}

// Deviations is the reverse of OfDeviations: how many deviations longer than
// the mean a silence must be for its phi to be at least this one. It is -Inf
// for 0 and less, which any silence has. It takes a few dozen steps: for a
// configuration, not for each peer.
func Deviations(phi float64) float64 {
	if phi <= 0 {
		return math.Inf(-1)
	}
	// The tail beyond x ≥ 0 is at most exp(-x²/2)/2, and below 0 phi is less
	// than the tail on the other side: both ends are past the solution.
	low, high := -math.Sqrt(2*(1+math.Abs(math.Log(phi)))), math.Sqrt(2*math.Ln10*phi)
	for {
		middle := low + (high-low)/2
		if middle <= low || middle >= high {
			return high
		}
		if OfDeviations(middle) >= phi {
			high = middle
		} else {
			low = middle
		}
	}
}
