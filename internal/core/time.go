package core

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Now is the time of one step, read once per drained batch. Mono runs evenly
// from the start of the process and is what deadlines and timers use. Wall is
// the time since the Unix epoch; it may jump, and only stamps versions and
// bounds forwards, so a skewed clock can never cost a write.
type Now struct {
	Mono time.Duration
	Wall time.Duration
}

// Never is a Mono that does not come.
const Never = time.Duration(math.MaxInt64)

// Stream returns the random stream of that purpose: the same seed and
// purpose, the same numbers. Streams of one seed do not influence each other,
// so a new use of randomness leaves the others' traces as they were.
func Stream(seed uint64, purpose string) *rand.Rand {
	return rand.New(rand.NewPCG(seed, xxhash.Sum64String(purpose)))
}
