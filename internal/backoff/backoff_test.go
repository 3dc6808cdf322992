package backoff

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDelayDoublesWithinItsJitter(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for attempt, want := range map[int]time.Duration{1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 3: 400 * time.Millisecond} {
		for range 100 {
			got, ok := Default().Delay(attempt, rng)
			if !ok || got < want*8/10 || got > want*12/10 {
				t.Fatalf("Delay(%d) = %v, %v; want %v ± 20 %%", attempt, got, ok, want)
			}
		}
	}
	for _, attempt := range []int{-1, 0, 4} {
		if d, ok := Default().Delay(attempt, rng); ok {
			t.Errorf("Delay(%d) = %v; want none", attempt, d)
		}
	}
}

func TestDelayStaysBelowItsCap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Policy{
			Retries: 100,
			Base:    time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "base")),
			Factor:  rapid.Float64Range(1, 1000).Draw(t, "factor"),
			Max:     time.Duration(rapid.Int64Range(1, int64(time.Minute)).Draw(t, "max")),
			Jitter:  rapid.Float64Range(0, 1).Draw(t, "jitter"),
		}
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		d, ok := p.Delay(rapid.IntRange(1, 100).Draw(t, "attempt"), rng)
		if !ok || d < 0 || d > p.Max {
			t.Fatalf("Delay = %v, %v with cap %v", d, ok, p.Max)
		}
	})
}

// At its cap a delay still has its jitter, downward: else all that wait for one
// peer would come back at the same moment.
func TestDelaysAtTheCapDiffer(t *testing.T) {
	p := Policy{Retries: 100, Base: time.Second, Factor: 10, Max: 5 * time.Second, Jitter: 0.2}
	rng := rand.New(rand.NewPCG(1, 2))
	below := 0
	for attempt := range 90 {
		d, ok := p.Delay(attempt+10, rng)
		if !ok || d < p.Max*8/10 || d > p.Max {
			t.Fatalf("Delay(%d) = %v, %v; want 4s to 5s", attempt+10, d, ok)
		}
		if d < p.Max {
			below++
		}
	}
	if below < 20 || below > 70 {
		t.Errorf("%d of 90 delays are below their cap; want about half", below)
	}
}

// Without jitter a delay is exactly its factor times the one before, up to the
// cap.
func TestDelayGrowsByItsFactor(t *testing.T) {
	p := Policy{Retries: 6, Base: time.Second, Factor: 3, Max: 50 * time.Second}
	rng := rand.New(rand.NewPCG(1, 2))
	for attempt, want := range map[int]time.Duration{1: 1, 2: 3, 3: 9, 4: 27, 5: 50, 6: 50} {
		if got, _ := p.Delay(attempt, rng); got != want*time.Second {
			t.Errorf("Delay(%d) = %v; want %v", attempt, got, want*time.Second)
		}
	}
	steady := Policy{Retries: 1 << 40, Base: time.Second, Factor: 1, Max: time.Minute}
	if got, _ := steady.Delay(1<<40, rng); got != time.Second {
		t.Errorf("with a factor of 1 the delay has grown to %v", got)
	}
}
