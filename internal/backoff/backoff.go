// Package backoff computes how long to wait before a call is tried again. It
// is a calculator: randomness comes in as an argument.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Policy is an exponential backoff with jitter. The zero value retries never.
type Policy struct {
	Retries int           // after the first try
	Base    time.Duration // before the first retry
	Factor  float64       // by which the delay grows with each retry, at least 1
	Max     time.Duration // the cap, applied after the jitter; delays stop growing there, so that they still differ
	Jitter  float64       // ±, as a share of the delay: 0.2 is ±20 %
}

// Default is the policy of calls between nodes (DESIGN section 6): 3 retries
// from 100 ms, doubling, ±20 %, never above 5 s.
func Default() Policy {
	return Policy{Retries: 3, Base: 100 * time.Millisecond, Factor: 2, Max: 5 * time.Second, Jitter: 0.2}
}

// Delay returns the pause before retry number attempt (1 is the first), and
// whether there is one.
func (p Policy) Delay(attempt int, rng *rand.Rand) (time.Duration, bool) {
	if attempt < 1 || attempt > p.Retries {
		return 0, false
	}
	d, most := float64(p.Base), float64(p.Max)
	for n := 1; n < attempt && p.Factor > 1 && d < most; n++ {
		d *= p.Factor
	}
	jitter := 1 + p.Jitter*(2*rng.Float64()-1)
	return time.Duration(min(min(d, most)*jitter, most)), true
}
