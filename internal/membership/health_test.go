package membership

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/phi"
)

// twin judges as the documentation says it: phi of the silence, and a share of
// the first threshold for each failure in a row that is not forgotten.
func twin(d *detector, c *Config, now time.Duration, h *health) (core.Status, float64) {
	mean, deviation := h.beats.Rhythm(d.prior)
	value := phi.Phi(now-h.sign, mean, deviation)
	if now-h.failedAt <= failureMemory*c.GossipInterval {
		value += c.suspectPhi() * float64(h.failures) / failuresToSuspect
	}
	switch {
	case value >= c.deadPhi():
		return core.Dead, value
	case value >= c.suspectPhi():
		return core.Suspected, value
	}
	return core.Alive, value
}

func TestDetectorAgainstItsTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &Config{GossipInterval: time.Duration(rapid.Int64Range(int64(10*time.Millisecond), int64(time.Minute)).Draw(t, "interval"))}
		c.SuspectPhi = rapid.Float64Range(0.5, 20).Draw(t, "suspect")
		c.DeadPhi = c.SuspectPhi + rapid.Float64Range(0.1, 20).Draw(t, "more for dead")
		d := newDetector(c)
		now := time.Hour
		h := newHealth(now)
		pass := func(label string) {
			now += time.Duration(rapid.Float64Range(0, 4).Draw(t, label) * float64(c.GossipInterval))
		}
		for range rapid.IntRange(0, 150).Draw(t, "events") {
			pass("pause")
			switch rapid.IntRange(0, 9).Draw(t, "event") {
			case 0:
				h.answered(now)
			case 1:
				d.failed(now, &h, rapid.Uint32Range(1, 7).Draw(t, "failures"))
			default:
				d.heartbeat(now, &h)
			}
		}
		for range 5 {
			pass("silence")
			got, again := d.judge(now, &h)
			want, value := twin(&d, c, now, &h)
			near := math.Abs(value-c.suspectPhi()) < 1e-6 || math.Abs(value-c.deadPhi()) < 1e-6
			if got != want && !near {
				t.Fatalf("%v after a silence of %v; its twin says %v, phi %v", got, now-h.sign, want, value)
			}
			if again <= now {
				t.Fatalf("at %v it asks to be judged at %v", now, again)
			}
			if again != core.Never {
				if before, _ := d.judge(again-1, &h); before != got {
					t.Fatalf("%v at %v and %v at %v, but to be judged at %v", got, now, before, again-1, again)
				}
			}
		}
	})
}

// A peer that is asked all the time has no rhythm of its answers: it may be left
// alone from one moment to the next.
func TestAnswersAreNoRhythm(t *testing.T) {
	c := &Config{GossipInterval: time.Second}
	d := newDetector(c)
	h := newHealth(0)
	now := time.Duration(0)
	for range 200 {
		now += time.Second
		d.heartbeat(now, &h)
	}
	silent, _ := d.judge(now, &h)
	_, before := d.judge(now, &h)
	for range 100_000 {
		now += 100 * time.Microsecond
		h.answered(now)
	}
	status, again := d.judge(now, &h)
	if silent != core.Alive || status != core.Alive || again-now != before-200*time.Second {
		t.Errorf("%v, then %v; suspected %v after the latest answer, want %v as after a heartbeat", silent, status, again-now, before-200*time.Second)
	}
	for range 100 { // bursts of news bring heartbeats that are close together
		now += time.Millisecond
		d.heartbeat(now, &h)
	}
	if mean, _ := h.beats.Rhythm(d.prior); mean < 900*time.Millisecond {
		t.Errorf("a burst made a rhythm of %v", mean)
	}
}

// An outage is not taken for the rhythm: the next one is noticed soon again.
func TestOutagesAreNoRhythm(t *testing.T) {
	c := &Config{GossipInterval: time.Second}
	d := newDetector(c)
	h := newHealth(0)
	now := time.Duration(0)
	beat := func(n int, every time.Duration) {
		for range n {
			now += every
			d.heartbeat(now, &h)
		}
	}
	beat(100, time.Second)
	for range 5 {
		beat(1, time.Hour)
		beat(19, time.Second)
	}
	if _, again := d.judge(now, &h); again-now > 7*time.Second {
		t.Errorf("after five outages of an hour a peer is suspected only after %v", again-now)
	}
	beat(100, 4*time.Second)
	if status, again := d.judge(now+6*time.Second, &h); status != core.Alive {
		t.Errorf("a slower rhythm is not learnt: %v, again at %v", status, again)
	}
}

func BenchmarkJudge(b *testing.B) {
	d := newDetector(&Config{GossipInterval: time.Second})
	h := newHealth(0)
	b.ReportAllocs()
	for now := time.Second; b.Loop(); now += time.Second {
		d.heartbeat(now, &h)
		d.judge(now, &h)
	}
}
