// Package pause counts how often this process has stood still for so long
// that what it has received, or was about to send, may be older than any
// deadline shows. All transports of real networks share it.
package pause

import (
	"context"
	"sync"
	"time"

	"github.com/dynamo-kv/dynamo/internal/id"
)

const (
	// Silence is how long a process may stand still, or a connection be
	// silent, without consequence: half of M, so that no message in a
	// connection can grow older than M.
	Silence = id.MaxMessageAge / 2

	// BeatEvery is how often Watch looks; it must be much less than Silence.
	BeatEvery = time.Second
)

// Counter counts the times that this process has stood still for longer than
// Silence: by SIGSTOP, or with its machine. What it had received or was about
// to send before a pause may be older than any deadline shows, since the
// remaining time is only read when a message is.
type Counter struct {
	mono func() time.Duration

	mu    sync.Mutex
	last  time.Duration // when Now was called last
	count uint64
}

// New returns a counter by the clock mono.
func New(mono func() time.Duration) *Counter { return &Counter{mono: mono, last: mono()} }

// Now returns the number of pauses so far. It must be called each BeatEvery,
// from anywhere: the time between two calls is what it measures.
func (c *Counter) Now() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.mono()
	if now-c.last > Silence {
		c.count++
	}
	c.last = max(c.last, now)
	return c.count
}

// Watch makes a pause known while nothing is sent or received, until ctx ends.
func (c *Counter) Watch(ctx context.Context) {
	tick := time.NewTicker(BeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.Now()
		}
	}
}
