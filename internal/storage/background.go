package storage

import "time"

// DefaultBackgroundBytes a second are moved at most by the background work of an
// engine where nobody admits it: a third of what a small disk writes, so that
// commits keep the rest.
const DefaultBackgroundBytes = 32 << 20

// Background admits an engine's work behind the commits: merging segments,
// collecting garbage. One goroutine of the engine at a time uses it.
type Background interface {
	// Step returns true when a step may be taken that moves so many bytes, and
	// false when quit is closed. From then on the work may hold what it was
	// admitted with, until the next Step or Done.
	Step(bytes int, quit <-chan struct{}) bool
	// Done says that there is nothing to do for now.
	Done()
}

// AtRate admits so many bytes a second.
func AtRate(bytesPerSecond int64) Background { return atRate(bytesPerSecond) }

type atRate int64

// Step implements Background.
func (r atRate) Step(bytes int, quit <-chan struct{}) bool {
	select {
	case <-quit:
		return false
	default:
	}
	timer := time.NewTimer(time.Duration(float64(bytes) / float64(r) * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-quit:
		return false
	case <-timer.C:
		return true
	}
}

// Done implements Background.
func (atRate) Done() {}
