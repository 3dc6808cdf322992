package server

import (
	"context"
	"sync"
)

// flight counts the requests of clients that are under way, so that a server
// can take no more of them and wait for these, while its node can still hear
// from other nodes what they wait for.
type flight struct {
	mu    sync.Mutex
	count int
	ended chan struct{} // nil before stop; closed when none is under way any more
}

// enter says that a request begins. False: none begins any more. The caller
// ends it with leave.
func (f *flight) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended != nil {
		return false
	}
	f.count++
	return true
}

func (f *flight) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.count--
	if f.count == 0 && f.ended != nil {
		close(f.ended)
	}
}

// stop lets no more requests begin and waits for those under way, until ctx
// ends.
func (f *flight) stop(ctx context.Context) {
	f.mu.Lock()
	if f.ended == nil {
		f.ended = make(chan struct{})
		if f.count == 0 {
			close(f.ended)
		}
	}
	ended := f.ended
	f.mu.Unlock()
	select {
	case <-ended:
	case <-ctx.Done():
	}
}
