package badger

import "sync"

// clock gives transactions their timestamps. badger may drop what has been
// replaced by the time of the oldest snapshot that is open.
type clock struct {
	discard func(ts uint64) // tells badger

	mu      sync.Mutex // guards what follows
	applied uint64     // the newest transaction
	open    map[uint64]int
}

func newClock(applied uint64, discard func(ts uint64)) *clock {
	c := &clock{discard: discard, applied: applied, open: make(map[uint64]int)}
	discard(applied)
	return c
}

// next returns the timestamp of the next transaction, and now that of the
// newest one.
func (c *clock) next() uint64 { return c.now() + 1 }

func (c *clock) now() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.applied
}

// advance says that the transaction of that timestamp has been carried out.
func (c *clock) advance(ts uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.applied = ts
	c.forget()
}

// hold opens a snapshot at the newest transaction, and returns its timestamp.
func (c *clock) hold() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[c.applied]++
	return c.applied
}

// release closes a snapshot.
func (c *clock) release(ts uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[ts]--; c.open[ts] == 0 {
		delete(c.open, ts)
	}
	c.forget()
}

// forget tells badger what nobody can look at any more.
func (c *clock) forget() {
	oldest := c.applied
	for ts := range c.open {
		oldest = min(oldest, ts)
	}
	c.discard(oldest)
}
