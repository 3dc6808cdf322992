package breaker_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/breaker"
)

func want(t *testing.T, b *breaker.Breaker, s breaker.State) {
	t.Helper()
	if got := b.State(); got != s {
		t.Fatalf("%v; want %v", got, s)
	}
}

// opened returns a breaker that has opened at now.
func opened(t *testing.T, now time.Duration) breaker.Breaker {
	t.Helper()
	b := breaker.New(breaker.Default())
	for range 4 {
		b.Record(now, b.Generation(), 0, 1)
		want(t, &b, breaker.Closed)
	}
	b.Record(now, b.Generation(), 0, 1)
	want(t, &b, breaker.Open)
	return b
}

func TestFailuresInARowOpenIt(t *testing.T) {
	b := breaker.New(breaker.Default())
	for range 10 { // a success in between begins anew
		b.Record(0, b.Generation(), 0, 4)
		b.Record(0, b.Generation(), 1, 0)
	}
	want(t, &b, breaker.Closed)
	b.Record(0, b.Generation(), 7, 4) // successes of a tally come before its failures
	want(t, &b, breaker.Closed)
	b.Record(0, b.Generation(), 0, 1)
	want(t, &b, breaker.Open)
	if _, ok := b.Allow(29 * time.Second); ok {
		t.Error("an open breaker lets a call through")
	}
}

func TestHalfOpenLetsProbesThrough(t *testing.T) {
	b := opened(t, time.Second)
	if at, ok := b.Due(); !ok || at != 31*time.Second {
		t.Errorf("due at %v, %v; want 30 s after it opened", at, ok)
	}
	b.Advance(31*time.Second - 1)
	want(t, &b, breaker.Open)
	for probe := range 4 {
		if _, ok := b.Allow(31 * time.Second); ok != (probe < 3) {
			t.Errorf("probe %d is let through: %v; want three", probe+1, ok)
		}
	}
	want(t, &b, breaker.HalfOpen)
	b.Record(31*time.Second, b.Generation(), 1, 0)
	want(t, &b, breaker.HalfOpen)
	b.Record(31*time.Second, b.Generation(), 1, 0)
	want(t, &b, breaker.Closed)
	if got := b.Changes(); got != (breaker.Changes{Opened: 1, HalfOpened: 1, Closed: 1}) {
		t.Errorf("changes %+v", got)
	}
}

func TestAnyFailureOpensAHalfOpenOne(t *testing.T) {
	b := opened(t, 0)
	generation, _ := b.Allow(time.Minute)
	b.Record(time.Minute, generation, 1, 0)
	b.Record(time.Minute, generation, 0, 1)
	want(t, &b, breaker.Open)
	if at, _ := b.Due(); at != 90*time.Second {
		t.Errorf("due at %v; it is to stay open for 30 s more", at)
	}
}

func TestLateResultsDoNotCount(t *testing.T) {
	b := breaker.New(breaker.Default())
	closed := b.Generation()
	b.Record(0, closed, 0, 5)
	want(t, &b, breaker.Open)
	b.Record(0, closed, 100, 0)
	want(t, &b, breaker.Open)
	probe, _ := b.Allow(30 * time.Second)
	b.Record(30*time.Second, closed, 2, 0) // calls of before are no probes
	want(t, &b, breaker.HalfOpen)
	b.Record(30*time.Second, closed, 0, 2)
	want(t, &b, breaker.HalfOpen)
	b.Record(30*time.Second, probe, 2, 0)
	want(t, &b, breaker.Closed)
	b.Record(30*time.Second, probe, 0, 5) // the third probe, as it were
	want(t, &b, breaker.Closed)
}

// A call that was made though it is open, since there was nobody else, shows
// that the peer is back.
func TestAnswerWhileOpenMakesItHalfOpen(t *testing.T) {
	b := opened(t, 0)
	b.Record(time.Second, b.Generation(), 0, 5)
	want(t, &b, breaker.Open)
	if at, _ := b.Due(); at != 30*time.Second {
		t.Errorf("due at %v; failures put nothing off", at)
	}
	b.Record(time.Second, b.Generation(), 1, 0)
	want(t, &b, breaker.HalfOpen)
	b.Record(time.Second, b.Generation(), 2, 0)
	want(t, &b, breaker.Closed)
}

// A peer that is said to be back is tried at once; that alone closes nothing.
func TestExpectedPeerIsTriedAtOnce(t *testing.T) {
	b := opened(t, 0)
	b.Expect(time.Second)
	want(t, &b, breaker.HalfOpen)
	generation := b.Generation()
	b.Expect(2 * time.Second)
	if b.Generation() != generation {
		t.Error("a half-open breaker begins anew")
	}
	b.Record(2*time.Second, generation, 2, 0)
	want(t, &b, breaker.Closed)
	b.Expect(3 * time.Second)
	want(t, &b, breaker.Closed)
}

func TestAnotherPeerBeginsAnew(t *testing.T) {
	b := opened(t, 0)
	b.Forget()
	want(t, &b, breaker.Closed)
	b.Forget() // it is closed: that is no change
	if got := b.Changes(); got != (breaker.Changes{Opened: 1, Closed: 1}) {
		t.Errorf("changes %+v", got)
	}
	before := b.Generation()
	b.Record(0, before, 0, 4)
	b.Forget()
	b.Record(0, before, 0, 4)
	b.Record(0, b.Generation(), 0, 4)
	want(t, &b, breaker.Closed)
}

// twin is the breaker as a history of which everything is worked out anew.
type twin struct {
	config  breaker.Config
	state   breaker.State
	began   time.Duration // of the state
	results []bool        // within the state
	granted int
	changes int
}

func (w *twin) change(now time.Duration, s breaker.State) {
	*w = twin{config: w.config, state: s, began: now, changes: w.changes + 1}
}

func (w *twin) look(now time.Duration) {
	if w.state == breaker.Open && now-w.began >= w.config.Reset {
		w.change(now, breaker.HalfOpen)
	}
}

func (w *twin) record(now time.Duration, ok bool) {
	w.results = append(w.results, ok)
	run, good := 0, 0
	for _, r := range w.results {
		if run++; r {
			run = 0
			good++
		}
	}
	switch {
	case w.state == breaker.Closed && run >= w.config.Failures:
		w.change(now, breaker.Open)
	case w.state == breaker.Open && ok:
		w.change(now, breaker.HalfOpen)
	case w.state == breaker.HalfOpen && !ok:
		w.change(now, breaker.Open)
	case w.state == breaker.HalfOpen && good >= w.config.Successes:
		w.change(now, breaker.Closed)
	}
}

// TestAgainstItsTwin compares the breaker with its dumb twin over any history of
// calls, results that come late among them.
func TestAgainstItsTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := breaker.Config{
			Failures: rapid.IntRange(1, 6).Draw(t, "failures"), Reset: time.Duration(rapid.IntRange(1, 20).Draw(t, "reset")),
			Probes: rapid.IntRange(1, 4).Draw(t, "probes"),
		}
		c.Successes = rapid.IntRange(1, c.Probes).Draw(t, "successes")
		b, w := breaker.New(c), &twin{config: c}
		type call struct {
			generation uint32
			changes    int // of the twin, when it began
		}
		var calls []call
		now := time.Duration(0)
		t.Repeat(map[string]func(*rapid.T){
			"wait": func(t *rapid.T) { now += time.Duration(rapid.IntRange(0, 10).Draw(t, "wait")) },
			"call": func(t *rapid.T) {
				generation, ok := b.Allow(now)
				w.look(now)
				may := w.state == breaker.Closed || w.state == breaker.HalfOpen && w.granted < c.Probes
				if ok != may {
					t.Fatalf("let through: %v; the twin says %v", ok, may)
				}
				if ok {
					w.granted++
					calls = append(calls, call{generation, w.changes})
				}
			},
			"call all the same": func(*rapid.T) {
				b.Advance(now)
				w.look(now)
				calls = append(calls, call{b.Generation(), w.changes})
			},
			"result": func(t *rapid.T) {
				if len(calls) == 0 {
					return
				}
				i := rapid.IntRange(0, len(calls)-1).Draw(t, "which")
				ok := rapid.Bool().Draw(t, "ok")
				one := calls[i]
				calls = append(calls[:i], calls[i+1:]...)
				good, bad := 0, 1
				if ok {
					good, bad = 1, 0
				}
				b.Record(now, one.generation, good, bad)
				w.look(now)
				if one.changes == w.changes {
					w.record(now, ok)
				}
			},
			"": func(t *rapid.T) {
				b.Advance(now)
				w.look(now)
				if b.State() != w.state {
					t.Fatalf("%v; the twin is %v", b.State(), w.state)
				}
			},
		})
	})
}
