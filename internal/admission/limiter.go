package admission

import (
	"math"
	"time"
)

const (
	// MinSamples is how many latencies must be known before they limit
	// anything: the p99 of fewer is the accident of one request.
	MinSamples = 10

	// maxAge is how long a latency counts. Where nobody has asked for anything
	// for that long, nobody is disturbed.
	maxAge = 30 * time.Second

	// shrinkEach is the least time between two halvings, within which some
	// requests feel the first; growEach the time between two slots that come
	// back: slow, so that a node at its limit does not swing.
	shrinkEach = 250 * time.Millisecond
	growEach   = time.Second

	// calm is the share of the target below which slots come back. Between it
	// and the target they stay.
	calm = 0.8

	percentile = 0.99

	never = time.Duration(math.MaxInt64)
)

// Limits of a Limiter.
type Limits struct {
	Target         time.Duration // of the p99 of foreground requests
	MinSlots       int           // at least 1
	MaxSlots       int           // at least MinSlots
	Window         int           // requests that the p99 is of, at least MinSamples
	BytesPerSecond int64         // with all slots
}

// Limiter finds out how many slots background work may have by how long
// foreground requests take. Use NewLimiter.
type Limiter struct {
	limits Limits
	window window
	slots  int
	fresh  int           // samples since the latest change
	change time.Duration // when that was
	due    time.Duration // when to look again though no latency comes
}

// NewLimiter returns one with every slot.
func NewLimiter(l Limits) *Limiter {
	return &Limiter{limits: l, window: newWindow(l.Window), slots: l.MaxSlots, change: -growEach, due: never}
}

// Add takes the latencies of requests that have ended by now.
func (l *Limiter) Add(now time.Duration, latencies []time.Duration) {
	for _, d := range latencies {
		l.window.add(now, d)
	}
	l.fresh += len(latencies)
}

// Adjust shrinks or grows the slots where it is time to, and says whether it
// did.
func (l *Limiter) Adjust(now time.Duration) (changed bool) {
	l.window.expire(now - maxAge)
	p99, known := l.P99()
	slots := l.slots
	switch since := now - l.change; {
	case known && p99 > l.limits.Target:
		if since >= shrinkEach && l.fresh >= MinSamples {
			slots = max(l.limits.MinSlots, slots/2)
		}
	case known && float64(p99) > calm*float64(l.limits.Target):
	case since >= growEach:
		slots = min(l.limits.MaxSlots, slots+1)
	}
	changed = slots != l.slots
	if changed {
		l.slots, l.change, l.fresh = slots, now, 0
	}
	l.due = never
	if slots < l.limits.MaxSlots {
		l.due = now + shrinkEach
	}
	return changed
}

// Next returns when Adjust may have something to do though no latency comes:
// never, while all slots are there.
func (l *Limiter) Next() time.Duration { return l.due }

// Slots returns how many there are.
func (l *Limiter) Slots() int { return l.slots }

// BytesPerSlot returns the rate of one slot, in bytes a second: all of them
// together make the whole rate.
func (l *Limiter) BytesPerSlot() int64 {
	return max(1, l.limits.BytesPerSecond/int64(l.limits.MaxSlots))
}

// P99 returns that of the window; ok is false where too few requests are known.
func (l *Limiter) P99() (p99 time.Duration, ok bool) {
	return l.window.percentile(percentile), l.window.count >= MinSamples
}

// DefaultLimits returns the limits of DESIGN section 6. The rate is some third
// of what one disk and one core can move: 115 GB an hour, for a whole node.
func DefaultLimits() Limits {
	return Limits{Target: 100 * time.Millisecond, MinSlots: 1, MaxSlots: 10, Window: 1000, BytesPerSecond: 32 << 20}
}
