package admission

import (
	"slices"
	"testing"
	"time"
)

func limits() Limits {
	return Limits{Target: 100 * time.Millisecond, MinSlots: 1, MaxSlots: 10, Window: 1000, BytesPerSecond: 1 << 20}
}

// feed lets a second of requests of one latency pass, in steps, and returns the
// slots after each of them.
func feed(l *Limiter, from time.Duration, latency time.Duration) (slots []int) {
	const steps, requests = 8, 8000
	for i := range steps {
		now := from + time.Duration(i)*time.Second/steps
		l.Add(now, slices.Repeat([]time.Duration{latency}, requests/steps))
		l.Adjust(now)
		slots = append(slots, l.Slots())
	}
	return slots
}

func TestSlotsShrinkAndGrow(t *testing.T) {
	l := NewLimiter(limits())
	if got := feed(l, time.Second, 50*time.Millisecond); l.Slots() != 10 || l.Next() != never {
		t.Errorf("slots %v within the target; want 10, and nothing more to do", got)
	}
	if got := feed(l, 2*time.Second, 150*time.Millisecond); !slices.Equal(got, []int{5, 5, 2, 2, 1, 1, 1, 1}) {
		t.Errorf("slots %v above the target; want them halved, each quarter of a second", got)
	}
	if got := feed(l, 3*time.Second, 90*time.Millisecond); slices.Max(got) > 1 {
		t.Errorf("slots %v just below the target; want them to stay", got)
	}
	for second := range 9 {
		feed(l, time.Duration(4+second)*time.Second, 20*time.Millisecond)
		if want := 2 + second; l.Slots() != want {
			t.Errorf("%d slots after %d s well below the target; want %d", l.Slots(), second+1, want)
		}
	}
	if l.Next() != never {
		t.Errorf("next look at %v with every slot back", l.Next())
	}
}

// TestFewSamplesAdmitAll: what is not known limits nothing.
func TestFewSamplesAdmitAll(t *testing.T) {
	l := NewLimiter(limits())
	slow := slices.Repeat([]time.Duration{time.Minute}, MinSamples-1)
	l.Add(time.Second, slow)
	if _, known := l.P99(); known || l.Adjust(time.Second) {
		t.Errorf("%d slots after %d requests", l.Slots(), len(slow))
	}
	l.Add(time.Second, slow[:1])
	if p99, known := l.P99(); !known || p99 < time.Minute || !l.Adjust(time.Second) || l.Slots() != 5 {
		t.Errorf("%d slots with a p99 of %v, known %v; want 5", l.Slots(), p99, known)
	}
}

// TestOneRequestInAHundredMayBeSlow: it is the p99 that counts.
func TestOneRequestInAHundredMayBeSlow(t *testing.T) {
	l := NewLimiter(limits())
	latencies := slices.Repeat([]time.Duration{time.Millisecond}, 990)
	latencies = append(latencies, slices.Repeat([]time.Duration{time.Second}, 10)...)
	l.Add(time.Second, latencies)
	if l.Adjust(time.Second) {
		t.Errorf("%d slots with ten slow requests of a thousand", l.Slots())
	}
	l.Add(time.Second, []time.Duration{time.Second}) // and a fast one leaves the window
	if !l.Adjust(time.Second) {
		t.Errorf("%d slots with eleven slow requests of a thousand", l.Slots())
	}
}

// TestSlotsComeBackInSilence: requests that nobody makes are not disturbed.
func TestSlotsComeBackInSilence(t *testing.T) {
	l := NewLimiter(limits())
	feed(l, time.Second, time.Second)
	if l.Slots() != 1 {
		t.Fatalf("%d slots; want 1", l.Slots())
	}
	steps := 0
	for l.Next() != never {
		now := l.Next()
		l.Adjust(now)
		if steps++; steps > 1000 || now < 20*time.Second && l.Slots() > 1 {
			t.Fatalf("%d slots at %v, after %d looks", l.Slots(), now, steps)
		}
	}
	if l.Slots() != 10 {
		t.Errorf("%d slots when nothing is left to look at", l.Slots())
	}
}
