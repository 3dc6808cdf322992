package keys

import (
	"math"
	"math/rand/v2"
)

// Exponent is how steep Zipfian and Latest are: the key of rank k is asked for
// k^-Exponent times as often as the first. It is the one that YCSB uses.
const Exponent = 0.99

// zipf draws ranks from 1 by rejection inversion (Hörmann and Derflinger,
// "Rejection-inversion to generate variates from monotone discrete
// distributions", 1996). Unlike a table of sums it needs no preparation for a
// number of ranks, which may grow between two draws.
//
// The histogram of k^-s lies below the area under x^-s, shifted by a half. A
// point of that area is drawn by inverting its integral, and is rejected in
// the small part that the histogram does not cover.
type zipf struct {
	s     float64 // above 0, and not 1
	first float64 // where the area of rank 1 begins, so that nothing of it is rejected
	near  float64 // a point no farther than this above its rank is always within the histogram
}

func newZipf(s float64) zipf {
	z := zipf{s: s}
	z.first = z.area(1.5) - 1
	z.near = 2 - z.inverse(z.area(2.5)-z.weight(2))
	return z
}

// next returns a rank of 1 to n.
func (z zipf) next(random *rand.Rand, n uint64) uint64 {
	last := z.area(float64(n) + 0.5)
	for {
		at := last + random.Float64()*(z.first-last)
		x := z.inverse(at)
		k := min(max(math.Floor(x+0.5), 1), float64(n))
		if k-x <= z.near || at >= z.area(k+0.5)-z.weight(k) {
			return uint64(k)
		}
	}
}

// weight is x^-s.
func (z zipf) weight(x float64) float64 { return math.Exp(-z.s * math.Log(x)) }

// area is the integral of weight from 1 to x: (x^(1-s) - 1) / (1-s), in a form
// that keeps its digits where s is near 1.
func (z zipf) area(x float64) float64 { return math.Expm1((1-z.s)*math.Log(x)) / (1 - z.s) }

// inverse is the x of an area.
func (z zipf) inverse(area float64) float64 {
	return math.Exp(math.Log1p(max(area*(1-z.s), -1)) / (1 - z.s))
}
