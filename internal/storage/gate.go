package storage

import "sync"

// Gate keeps calls out of an engine that is being closed, and lets the one who
// closes it wait for those that are inside. A call inside may make another.
// Every engine uses it; the zero Gate is open.
type Gate struct {
	mu     sync.RWMutex // held for moments only, never over a call
	shut   bool
	inside sync.WaitGroup
}

// Enter lets a call in, unless the gate is shut: ErrClosed. Who enters must
// leave.
func (g *Gate) Enter() error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.shut {
		return ErrClosed
	}
	g.inside.Add(1)
	return nil
}

// Leave ends a call that has entered.
func (g *Gate) Leave() { g.inside.Done() }

// Close shuts the gate and waits until nobody is inside.
func (g *Gate) Close() {
	g.mu.Lock()
	g.shut = true
	g.mu.Unlock()
	g.inside.Wait()
}
