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
	Max     time.Duration // the cap, applied after the jitter
	Jitter  float64       // ±, as a share of the delay: 0.2 is ±20 %
}

// Default is the policy of calls between nodes (DESIGN section 6): 3 retries
// from 100 ms, doubling, ±20 %, never above 5 s.
func Default() Policy {
	return Policy{Retries: 3, Base: 100 * time.Millisecond, Max: 5 * time.Second, Jitter: 0.2}
}

// Delay returns the pause before retry number attempt (1 is the first), and
// whether there is one.
func (p Policy) Delay(attempt int, rng *rand.Rand) (time.Duration, bool) {
	if attempt < 1 || attempt > p.Retries {
		return 0, false
	}
	d := p.Max
	if shift := attempt - 1; shift < 32 && p.Base<<shift>>shift == p.Base {
		d = min(d, p.Base<<shift)
	}
	jitter := 1 + p.Jitter*(2*rng.Float64()-1)
	return min(time.Duration(float64(d)*jitter), p.Max), true
}
