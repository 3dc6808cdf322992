package breaker

import "time"

// State is whether a peer is called.
type State uint8

// The states.
const (
	Closed   State = iota // all calls go through
	Open                  // none does
	HalfOpen              // a few do, to try the peer
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	}
	return "unknown"
}

// Config of a Breaker.
type Config struct {
	Failures  int           // in a row, that open it
	Reset     time.Duration // for which it stays open
	Probes    int           // that it lets through while it is half-open, at most
	Successes int           // of them, that close it
}

// Default is the breaker of DESIGN section 6.
func Default() Config {
	return Config{Failures: 5, Reset: 30 * time.Second, Probes: 3, Successes: 2}
}

// Changes counts the changes to each state. They never fall.
type Changes struct{ Opened, HalfOpened, Closed uint64 }

// Breaker is the circuit breaker of one peer. It is not safe for concurrent
// use; New makes one.
type Breaker struct {
	config     Config
	state      State
	generation uint32
	failures   int           // in a row; closed
	probes     int           // let through; half-open
	successes  int           // of them; half-open
	until      time.Duration // when it becomes half-open; open
	changes    Changes
}

// New returns a breaker that is closed.
func New(c Config) Breaker { return Breaker{config: c} }

// State returns the state, as of the latest step.
func (b *Breaker) State() State { return b.state }

// Generation returns the generation that calls begin in now.
func (b *Breaker) Generation() uint32 { return b.generation }

// Changes returns how often each state was come to.
func (b *Breaker) Changes() Changes { return b.changes }

// Due returns when Advance will change the state; ok is false where time alone
// does not.
func (b *Breaker) Due() (at time.Duration, ok bool) { return b.until, b.state == Open }

// Advance makes a breaker half-open that has been open for long enough.
func (b *Breaker) Advance(now time.Duration) {
	if b.state == Open && now >= b.until {
		b.become(HalfOpen)
		b.changes.HalfOpened++
	}
}

// Allow says whether a call may begin at now, and in which generation. Each
// call that it lets through is to be recorded, once, or a half-open breaker
// waits for it for ever.
func (b *Breaker) Allow(now time.Duration) (generation uint32, ok bool) {
	b.Advance(now)
	switch b.state {
	case Closed:
		return b.generation, true
	case HalfOpen:
		if b.probes < b.config.Probes {
			b.probes++
			return b.generation, true
		}
	case Open:
	}
	return b.generation, false
}

// Record counts the results of calls that began in a generation: ok of them
// that succeeded, then failed of them that did not. Those of an earlier
// generation do not count. Whoever has nobody else to call may have called
// while it is open: where that has succeeded, it need not wait any longer to be
// half-open.
func (b *Breaker) Record(now time.Duration, generation uint32, ok, failed int) {
	b.Advance(now)
	if generation != b.generation {
		return
	}
	switch b.state {
	case Closed:
		b.recordClosed(now, ok, failed)
	case HalfOpen:
		b.successes += ok
		switch {
		case b.successes >= b.config.Successes:
			b.close()
		case failed > 0:
			b.open(now)
		}
	case Open:
		if ok > 0 {
			b.Expect(now)
		}
	}
}

func (b *Breaker) recordClosed(now time.Duration, ok, failed int) {
	if ok > 0 {
		b.failures = 0
	}
	b.failures += failed
	if b.failures >= b.config.Failures {
		b.open(now)
	}
}

// Expect makes a breaker that is open half-open: the peer is said to be back,
// so there is no point in waiting any longer before it is tried.
func (b *Breaker) Expect(now time.Duration) {
	if b.state == Open {
		b.until = now
		b.Advance(now)
	}
}

// Forget makes a breaker closed whatever it was: the peer is another one now,
// and results of calls to the one before do not count.
func (b *Breaker) Forget() {
	if b.state != Closed {
		b.close()
		return
	}
	b.become(Closed)
}

func (b *Breaker) open(now time.Duration) {
	b.become(Open)
	b.until = now + b.config.Reset
	b.changes.Opened++
}

func (b *Breaker) close() {
	b.become(Closed)
	b.changes.Closed++
}

// become begins a new generation.
func (b *Breaker) become(s State) {
	b.state = s
	b.generation++
	b.failures, b.probes, b.successes, b.until = 0, 0, 0, 0
}
