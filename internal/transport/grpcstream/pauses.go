package grpcstream

import (
	"sync"
	"time"
)

// pauses counts how often this process has stood still for longer than
// silence: by SIGSTOP, or with its machine. What it had received or was about
// to send before a pause may be older than any deadline shows, since the
// remaining time is only read when a message is.
type pauses struct {
	mono func() time.Duration

	mu    sync.Mutex
	last  time.Duration // when count was called last
	count uint64
}

func newPauses(mono func() time.Duration) *pauses { return &pauses{mono: mono, last: mono()} }

// now returns the number of pauses so far. It must be called each beatEvery,
// from anywhere: the time between two calls is what it measures.
func (p *pauses) now() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.mono()
	if now-p.last > silence {
		p.count++
	}
	p.last = max(p.last, now)
	return p.count
}
