package outbox

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/dynamo-kv/dynamo/internal/backoff"
)

// Pace says when an address that could not be reached is tried again. Its
// methods are for the goroutine of the address.
type Pace struct {
	rng      *rand.Rand
	attempts int         // that failed, since one was good
	next     time.Time   // no attempt before it
	again    atomic.Bool // whoever listens there has been heard of: see Table.Reach
}

// retry returns when to try again: soon, so that a node that has restarted is
// reached quickly, and never less often than each second.
func retry() backoff.Policy {
	return backoff.Policy{Retries: math.MaxInt, Base: 50 * time.Millisecond, Factor: 2, Max: longestPause, Jitter: 0.2}
}

// longestPause bounds the time between two attempts.
const longestPause = time.Second

// Due says whether it is time for an attempt.
func (p *Pace) Due() bool {
	if p.again.Swap(false) {
		p.Good()
	}
	return !time.Now().Before(p.next)
}

// Failed puts off the next attempt, and returns how many have failed in a row.
func (p *Pace) Failed() int {
	p.attempts++
	pause, _ := retry().Delay(p.attempts, p.rng)
	p.next = time.Now().Add(pause)
	return p.attempts
}

// Good lets the next attempt be made at once.
func (p *Pace) Good() { p.attempts, p.next = 0, time.Time{} }

// Ended takes a connection that has ended. One that did not last counts as a
// failed attempt: a peer that greets and then hangs up is none to be dialled
// without a pause.
func (p *Pace) Ended(born time.Time) {
	if time.Since(born) < longestPause {
		p.Failed()
		return
	}
	p.Good()
}
