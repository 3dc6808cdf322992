package guard_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/guard"
)

const (
	ms    = time.Millisecond
	never = core.Never
)

// bench is a guard of calls to n2.
type bench struct {
	*guard.Guard
	t   *testing.T
	now time.Duration
	out core.Out
}

func newBench(t *testing.T, p backoff.Policy) *bench {
	b := &bench{Guard: guard.New(p, rand.New(rand.NewPCG(1, 2))), t: t, now: time.Minute}
	b.circuit(core.CircuitClosed, 7)
	return b
}

func (b *bench) circuit(s core.CircuitState, generation uint32) {
	b.SetView(&core.View{Peers: []core.Peer{{ID: "n2", Circuit: core.Circuit{State: s, Generation: generation}}}})
}

// reports returns what Control is told, added up.
func (b *bench) reports() (r core.PeerReport) {
	for _, one := range b.out.Reports {
		r.OK += one.OK
		r.Failed += one.Failed
		r.Calls.OK += one.Calls.OK
		r.Calls.Failed += one.Calls.Failed
		if one.Calls != (core.Calls{}) {
			r.Calls.Generation = one.Calls.Generation
		}
	}
	b.out.Reset()
	return r
}

func (b *bench) want(ok, failed uint32, calls core.Calls) {
	b.t.Helper()
	if got := b.reports(); got.OK != ok || got.Failed != failed || got.Calls != calls {
		b.t.Errorf("told %+v; want OK %d, Failed %d, %+v", got, ok, failed, calls)
	}
}

// steady is a policy without randomness.
func steady() backoff.Policy {
	return backoff.Policy{Retries: 3, Base: 100 * ms, Factor: 2, Max: 5 * time.Second}
}

func TestOneOutcomeAfterAllRetries(t *testing.T) {
	b := newBench(t, steady())
	var c guard.Call
	b.Try(&c, "n2")
	for _, pause := range []time.Duration{100 * ms, 200 * ms, 400 * ms} {
		at, ok := b.Retry(b.now, &c, guard.Silent, never, &b.out)
		if !ok || at != b.now+pause {
			t.Fatalf("the next try is due at %v, %v; want after %v", at-b.now, ok, pause)
		}
		b.want(0, 1, core.Calls{}) // failure detection hears of each try
		b.now = at
		b.Try(&c, "n2")
	}
	if _, ok := b.Retry(b.now, &c, guard.Silent, never, &b.out); ok || c.UnderWay() {
		t.Error("a fourth retry")
	}
	b.want(0, 1, core.Calls{Generation: 7, Failed: 1})
	var counted core.Counters
	if b.Count(&counted); counted.Calls.Retries != 3 {
		t.Errorf("%d retries are counted", counted.Calls.Retries)
	}
}

func TestCallThatWorksInTheEnd(t *testing.T) {
	b := newBench(t, steady())
	var c guard.Call
	b.Try(&c, "n2")
	b.Retry(b.now, &c, guard.Unsent, never, &b.out)
	b.Try(&c, "n2")
	b.Answered(b.now, &c, ms, &b.out)
	b.want(1, 1, core.Calls{Generation: 7, OK: 1})
	b.Dropped(&c, &b.out)
	b.want(0, 0, core.Calls{})
}

func TestNoRetryPastTheDeadline(t *testing.T) {
	b := newBench(t, steady())
	for _, left := range []time.Duration{0, 50 * ms, 100 * ms} {
		var c guard.Call
		b.Try(&c, "n2")
		if _, ok := b.Retry(b.now, &c, guard.Silent, b.now+left, &b.out); ok {
			t.Errorf("repeated after 100ms, with %v left", left)
		}
		b.want(0, 1, core.Calls{Generation: 7, Failed: 1})
	}
	var c guard.Call
	b.Try(&c, "n2")
	if _, ok := b.Retry(b.now, &c, guard.Silent, b.now+101*ms, &b.out); !ok {
		t.Error("not repeated, with 101ms left")
	}
}

// What is not on the list of reasons is not repeated, and a refusal for load is
// repeated but says nothing against the peer.
func TestWhatCounts(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(b *bench, c *guard.Call)
		want core.PeerReport
	}{
		{"a silence", func(b *bench, c *guard.Call) { b.Failed(c, guard.Silent, &b.out) }, core.PeerReport{Failed: 1, Calls: core.Calls{Generation: 7, Failed: 1}}},
		{"a failed send", func(b *bench, c *guard.Call) { b.Failed(c, guard.Unsent, &b.out) }, core.PeerReport{Failed: 1, Calls: core.Calls{Generation: 7, Failed: 1}}},
		{"a silence noticed late", func(b *bench, c *guard.Call) { b.Failed(c, guard.Late, &b.out) }, core.PeerReport{}},
		{"overloaded", func(b *bench, c *guard.Call) { b.Failed(c, guard.Overloaded, &b.out) }, core.PeerReport{}},
		{"a refusal", func(b *bench, c *guard.Call) { b.Refused(c) }, core.PeerReport{}},
		{"dropped at once", func(b *bench, c *guard.Call) { b.Dropped(c, &b.out) }, core.PeerReport{}},
		{"overloaded, then dropped", func(b *bench, c *guard.Call) {
			b.Retry(b.now, c, guard.Overloaded, never, &b.out)
			b.Dropped(c, &b.out)
		}, core.PeerReport{}},
		{"silent, then dropped", func(b *bench, c *guard.Call) {
			b.Retry(b.now, c, guard.Silent, never, &b.out)
			b.Dropped(c, &b.out)
		}, core.PeerReport{Failed: 1, Calls: core.Calls{Generation: 7, Failed: 1}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t, steady())
			var c guard.Call
			b.Try(&c, "n2")
			test.end(b, &c)
			b.Dropped(&c, &b.out) // an outcome is told once
			b.want(test.want.OK, test.want.Failed, test.want.Calls)
		})
	}
}

func TestAnswerAfterTheFailure(t *testing.T) {
	b := newBench(t, steady())
	var c guard.Call
	b.Try(&c, "n2")
	b.Failed(&c, guard.Silent, &b.out)
	b.want(0, 1, core.Calls{Generation: 7, Failed: 1})
	b.Answered(b.now, &c, time.Second, &b.out) // it lives, but the call had failed
	b.want(1, 0, core.Calls{})
}

func TestFailuresInARowAreToldAsSuch(t *testing.T) {
	b := newBench(t, steady())
	for range 3 { // the second and third wait for the next report
		var c guard.Call
		b.Try(&c, "n2")
		b.Answered(b.now, &c, ms, &b.out)
	}
	b.want(1, 0, core.Calls{Generation: 7, OK: 1})
	var c guard.Call
	b.Try(&c, "n2")
	b.Failed(&c, guard.Silent, &b.out)
	b.want(0, 1, core.Calls{Generation: 7, OK: 2, Failed: 1})
	b.now += time.Second
	b.Try(&c, "n2")
	b.Answered(b.now, &c, ms, &b.out)
	b.want(3, 0, core.Calls{Generation: 7, OK: 1})
}

func TestCallsBelongToTheirGeneration(t *testing.T) {
	b := newBench(t, steady())
	var before, after, good guard.Call
	b.Try(&before, "n2")
	b.Try(&good, "n2")
	b.now += time.Second
	b.Answered(b.now, &good, ms, &b.out)
	b.Try(&good, "n2")
	b.Answered(b.now, &good, ms, &b.out) // not told yet
	b.reports()
	b.circuit(core.CircuitClosed, 9)
	b.Try(&after, "n2")
	b.Failed(&after, guard.Silent, &b.out)
	b.want(0, 1, core.Calls{Generation: 9, Failed: 1})
	b.Failed(&before, guard.Silent, &b.out)
	b.want(0, 1, core.Calls{Generation: 7, OK: 1, Failed: 1})
}

func TestOpenBreaker(t *testing.T) {
	b := newBench(t, steady())
	for state, open := range map[core.CircuitState]bool{
		core.CircuitClosed: false, core.CircuitOpen: true, core.CircuitHalfOpen: true,
	} {
		b.circuit(state, 7)
		if b.Open("n2") != open {
			t.Errorf("a breaker that is %v lets calls through: %v", state, !b.Open("n2"))
		}
	}
	if b.Open("stranger") {
		t.Error("a peer that is not known yet is not called")
	}
}

func TestWithoutAPolicyNothingIsRepeated(t *testing.T) {
	b := newBench(t, backoff.Policy{})
	var c guard.Call
	b.Try(&c, "n2")
	if _, ok := b.Retry(b.now, &c, guard.Silent, never, &b.out); ok {
		t.Error("repeated")
	}
	b.want(0, 1, core.Calls{Generation: 7, Failed: 1})
}
