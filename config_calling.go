package dynamo

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/breaker"
	"github.com/dynamo-kv/dynamo/internal/latency"
	"github.com/dynamo-kv/dynamo/internal/runtime"
)

// CircuitBreakerConfig says when a node stops calling another one that does not
// answer, and when it tries again. docs/resilience.md tells the whole of it.
type CircuitBreakerConfig struct {
	// Enabled has the node keep a circuit breaker for each other one.
	Enabled bool
	// FailureThreshold is how many calls must fail in a row for a breaker to
	// open: 1 to 1000. Then others are asked at once instead.
	FailureThreshold int
	// ResetTimeout is how long a breaker stays open before the other node is
	// tried: 100 ms to an hour.
	ResetTimeout time.Duration
	// HalfOpenMaxRequests is with how many probes it is tried, all at once: 1 to
	// 100.
	HalfOpenMaxRequests int
	// SuccessThreshold is how many of them must be answered for the breaker to
	// close, 1 to HalfOpenMaxRequests. If one fails before, it opens again.
	SuccessThreshold int
}

// RetryConfig says how a node repeats what another one has not answered, where
// repeating is safe, and never past a request's deadline.
type RetryConfig struct {
	// Enabled has calls repeated at all.
	Enabled bool
	// MaxRetries is how often, after the first try: 0 to 10.
	MaxRetries int
	// InitialDelay is the pause before the first retry: 1 ms to MaxDelay.
	InitialDelay time.Duration
	// Multiplier is by what the pause grows with each retry: 1 to 10.
	Multiplier float64
	// Jitter is the share by which pauses vary, up and down: 0 to 1.
	Jitter float64
	// MaxDelay is what no pause exceeds, after its jitter: up to a minute.
	MaxDelay time.Duration
}

// CoordinatorSelectionConfig says which owner of a key a node asks first.
type CoordinatorSelectionConfig struct {
	// Enabled has the fastest known owner asked first: by the p99 of its latest
	// response times. Owners of which nothing is known follow in the order of
	// the preference list; without this, all stand in that order.
	Enabled bool
	// Window is how many response times of each node are kept: 10 to 1000.
	// Hedged reads go by them as well.
	Window int
	// MaxAge is how long a response time counts: 1 s to 24 h.
	MaxAge time.Duration
	// ProbeShare is the share of requests beside which an owner is read from
	// that was not chosen, so that it is known when it has become faster: 0 to
	// 1. No request waits for such a probe.
	ProbeShare float64
}

// ReadConfig says how many owners a read asks.
type ReadConfig struct {
	// Fanout is "quorum": R owners are asked, and others only when these are
	// slow or fail; or "all": all are asked at once, which costs more and waits
	// for no slow one.
	Fanout string
	// Hedge has a read ask one more owner when those that it has asked take
	// longer than the p95 of their latest response times.
	Hedge bool
}

// The values of ReadConfig.Fanout.
const (
	FanoutQuorum = "quorum"
	FanoutAll    = "all"
)

// The bounds of these groups.
const (
	maxFailureThreshold = 1000
	minResetTimeout     = 100 * time.Millisecond
	maxResetTimeout     = time.Hour
	maxHalfOpen         = 100 // messages at once, to one node
	maxRetries          = 10
	minRetryDelay       = time.Millisecond
	maxRetryDelay       = time.Minute // no request has longer
	maxMultiplier       = 10
	minWindow           = 10 // below, a p99 is the largest of a few
	minSampleAge        = time.Second
	maxSampleAge        = 24 * time.Hour
)

// defaultCalling fills in the groups with what DESIGN calls for.
func defaultCalling(c *Config) {
	b, r, l := breaker.Default(), backoff.Default(), latency.Default()
	c.CircuitBreaker = CircuitBreakerConfig{
		Enabled: true, FailureThreshold: b.Failures, ResetTimeout: b.Reset, HalfOpenMaxRequests: b.Probes, SuccessThreshold: b.Successes,
	}
	c.Retry = RetryConfig{
		Enabled: true, MaxRetries: r.Retries, InitialDelay: r.Base, Multiplier: r.Factor, Jitter: r.Jitter, MaxDelay: r.Max,
	}
	c.CoordinatorSelection = CoordinatorSelectionConfig{Enabled: true, Window: l.Size, MaxAge: l.MaxAge, ProbeShare: 0.01}
	c.Read = ReadConfig{Fanout: FanoutQuorum, Hedge: true}
}

// calling sets the options of a node's machines.
func (c *Config) calling(options *runtime.Options) {
	o := &options.Node
	if b := &c.CircuitBreaker; b.Enabled {
		o.Breaker = breaker.Config{
			Failures: b.FailureThreshold, Reset: b.ResetTimeout, Probes: b.HalfOpenMaxRequests, Successes: b.SuccessThreshold,
		}
	}
	if r := &c.Retry; r.Enabled {
		o.Retry = backoff.Policy{Retries: r.MaxRetries, Base: r.InitialDelay, Factor: r.Multiplier, Max: r.MaxDelay, Jitter: r.Jitter}
	}
	s := &c.CoordinatorSelection
	o.Select, o.ProbeShare = s.Enabled, s.ProbeShare
	o.Latency = latency.Config{Size: s.Window, MaxAge: s.MaxAge}
	o.ReadAll, o.ReadHedge = c.Read.Fanout == FanoutAll, c.Read.Hedge
}

func (c *Config) checkCalling(f *faults) {
	b := &c.CircuitBreaker
	f.check(b.FailureThreshold >= 1 && b.FailureThreshold <= maxFailureThreshold,
		"CircuitBreaker.FailureThreshold is %d; 1 to %d are allowed: 5 suits most clusters", b.FailureThreshold, maxFailureThreshold)
	f.check(b.ResetTimeout >= minResetTimeout && b.ResetTimeout <= maxResetTimeout,
		"CircuitBreaker.ResetTimeout is %v; %v to %v are allowed: 30s suits most clusters", b.ResetTimeout, minResetTimeout, maxResetTimeout)
	f.check(b.HalfOpenMaxRequests >= 1 && b.HalfOpenMaxRequests <= maxHalfOpen,
		"CircuitBreaker.HalfOpenMaxRequests is %d; 1 to %d are allowed: 3 forgives a lost message", b.HalfOpenMaxRequests, maxHalfOpen)
	f.check(b.SuccessThreshold >= 1 && b.SuccessThreshold <= b.HalfOpenMaxRequests,
		"CircuitBreaker.SuccessThreshold is %d; 1 to CircuitBreaker.HalfOpenMaxRequests, which is %d, are allowed: 2 suits most clusters",
		b.SuccessThreshold, b.HalfOpenMaxRequests)
	r := &c.Retry
	f.check(r.MaxRetries >= 0 && r.MaxRetries <= maxRetries,
		"Retry.MaxRetries is %d; 0 to %d are allowed: 3 fit into most requests", r.MaxRetries, maxRetries)
	f.check(r.MaxDelay >= minRetryDelay && r.MaxDelay <= maxRetryDelay,
		"Retry.MaxDelay is %v; %v to %v are allowed: 5s suits most clusters", r.MaxDelay, minRetryDelay, maxRetryDelay)
	f.check(r.InitialDelay >= minRetryDelay && r.InitialDelay <= r.MaxDelay,
		"Retry.InitialDelay is %v; %v to Retry.MaxDelay, which is %v, are allowed: 100ms suits most clusters",
		r.InitialDelay, minRetryDelay, r.MaxDelay)
	f.check(r.Multiplier >= 1 && r.Multiplier <= maxMultiplier,
		"Retry.Multiplier is %v; 1 to %d are allowed: 2 doubles each pause", r.Multiplier, maxMultiplier)
	f.check(r.Jitter >= 0 && r.Jitter <= 1, "Retry.Jitter is %v; 0 to 1 are allowed: 0.2 suits most clusters", r.Jitter)
	s := &c.CoordinatorSelection
	f.check(s.Window >= minWindow && s.Window <= latency.MaxSize,
		"CoordinatorSelection.Window is %d; %d to %d are allowed: 100 suits most clusters", s.Window, minWindow, latency.MaxSize)
	f.check(s.MaxAge >= minSampleAge && s.MaxAge <= maxSampleAge,
		"CoordinatorSelection.MaxAge is %v; %v to %v are allowed: 5m suits most clusters", s.MaxAge, minSampleAge, maxSampleAge)
	f.check(s.ProbeShare >= 0 && s.ProbeShare <= 1,
		"CoordinatorSelection.ProbeShare is %v; 0 to 1 are allowed: 0.01 is one request in a hundred", s.ProbeShare)
	f.check(c.Read.Fanout == FanoutQuorum || c.Read.Fanout == FanoutAll,
		"Read.Fanout is %q; %s and %s are allowed: %s asks as few owners as will do", c.Read.Fanout, FanoutQuorum, FanoutAll, FanoutQuorum)
}
