package pause

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPauses(t *testing.T) {
	now := time.Duration(0)
	p := New(func() time.Duration { return now })
	for _, step := range []struct {
		pass time.Duration
		want uint64
	}{
		{0, 0},
		{BeatEvery, 0},
		{Silence, 0},
		{Silence + 1, 1},
		{0, 1},
		{-time.Hour, 1}, // a clock that goes back is no pause, nor is its return
		{time.Hour, 1},
		{1 << 60, 2},
	} {
		now += step.pass
		if got := p.Now(); got != step.want {
			t.Errorf("%d pauses after another %s, want %d", got, step.pass, step.want)
		}
	}
}

// Watch looks often enough that a quiet process has no pauses, and ends.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		p := New(func() time.Duration { return time.Since(began) })
		ctx, cancel := context.WithTimeout(t.Context(), 10*Silence)
		defer cancel()
		p.Watch(ctx)
		if n := p.Now(); n != 0 {
			t.Errorf("%d pauses of a process that was watched", n)
		}
	})
}
