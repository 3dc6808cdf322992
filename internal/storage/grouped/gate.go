package grouped

import (
	"sync"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

// gate keeps calls out of an engine that is being closed, and lets the one who
// closes it wait for those that are inside. A call inside may make another.
type gate struct {
	mu     sync.RWMutex // held for moments only, never over a call
	shut   bool
	inside sync.WaitGroup
}

// enter lets a call in, unless the gate is shut. Who enters must leave.
func (g *gate) enter() error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.shut {
		return storage.ErrClosed
	}
	g.inside.Add(1)
	return nil
}

func (g *gate) leave() { g.inside.Done() }

// close shuts the gate and waits until nobody is inside.
func (g *gate) close() {
	g.mu.Lock()
	g.shut = true
	g.mu.Unlock()
	g.inside.Wait()
}
