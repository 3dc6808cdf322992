package core

// CircuitState is the state of the circuit breaker that Control keeps of a
// peer.
type CircuitState uint8

// The states of a breaker.
const (
	CircuitClosed   CircuitState = iota // the peer is called
	CircuitOpen                         // it is not, while others can do what it would
	CircuitHalfOpen                     // likewise: Control tries it with probes
)

// String returns the state's name, as status and metrics show it.
func (s CircuitState) String() string {
	switch s {
	case CircuitClosed:
		return "closed"
	case CircuitOpen:
		return "open"
	case CircuitHalfOpen:
		return "half-open"
	}
	return "unknown"
}

// Circuit is what the shards know of a peer's breaker.
type Circuit struct {
	State CircuitState
	// Generation grows with each change of the state. A call notes the one that
	// it began in, so that late results do not count.
	Generation uint32
}

// Calls tallies how guarded calls to a peer ended, that began in one generation
// of its breaker: first those that were answered, then those that failed, each
// once, after its retries.
type Calls struct {
	Generation uint32
	OK, Failed uint32
}

// CallCounters are those of guards, and of probes of latencies.
type CallCounters struct {
	Retries uint64 // tries of calls after the first
	Probes  uint64 // owners that were read from for their latency alone
}

// CircuitChanges counts the changes to each state of a breaker, or of all,
// since the start of the process.
type CircuitChanges struct{ Opened, HalfOpened, Closed uint64 }

// Plus returns the sum of both.
func (c CircuitChanges) Plus(o CircuitChanges) CircuitChanges {
	return CircuitChanges{c.Opened + o.Opened, c.HalfOpened + o.HalfOpened, c.Closed + o.Closed}
}
