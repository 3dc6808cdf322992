package grouped

import (
	"runtime"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// group is what the library is given at once.
type group struct {
	number  uint64
	batches [][]core.Write
	bytes   int  // of its batches
	now     bool // somebody waits for the room that it takes
	taken   bool // the flusher has it, and it takes no more
	done    []completion
}

// completion is one batch whose done is to be called.
type completion struct {
	err  error // what is known of its outcome already
	done func(error)
}

// urgent reports whether the group is not to wait for more to come.
func (g *group) urgent() bool { return g.now || len(g.done) > 0 || g.bytes >= flushBytes }

// tail returns the group that takes a batch of that size now.
func (e *Engine) tail(size int) *group {
	if n := len(e.queue); n > 0 {
		g := e.queue[n-1]
		if !g.taken && (size == 0 || g.bytes == 0 || g.bytes+size <= groupBytes) {
			return g
		}
	}
	e.numbers++
	g := &group{number: e.numbers}
	e.queue = append(e.queue, g)
	return g
}

// flush carries out groups until the engine closes.
func (e *Engine) flush() {
	defer close(e.flushed)
	for {
		g := e.take()
		if g == nil {
			return
		}
		began := time.Now()
		if len(g.batches) > 0 && e.failed() == nil {
			if err := e.library.Apply(g.batches); err != nil {
				_ = e.Fail(err) // every completion asks for it
			}
		}
		e.complete(g, time.Since(began))
	}
}

// take returns the next group, nil if the engine closes and there is none.
// Whoever commits while it yields is in the group as well.
func (e *Engine) take() *group {
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.queue) == 0 || len(e.queue) == 1 && !e.queue[0].urgent() && !e.closing {
		if e.closing {
			return nil
		}
		e.work.Wait()
	}
	e.mu.Unlock()
	runtime.Gosched()
	e.mu.Lock()
	g := e.queue[0]
	g.taken = true
	return g
}

// complete tells everyone that a group was carried out. After a failure the
// overlay keeps it: a batch stays visible, whatever becomes of it.
func (e *Engine) complete(g *group, took time.Duration) {
	failure := e.failed()
	e.mu.Lock()
	e.queue[0] = nil
	e.queue = e.queue[1:]
	e.pending -= g.bytes
	if failure == nil && len(g.batches) > 0 {
		e.overlay.drop(g)
		e.count++
		e.syncs.Observe(took)
	}
	e.room.Broadcast()
	e.mu.Unlock()
	for _, c := range g.done {
		if failure != nil {
			c.err = failure
		}
		c.done(c.err)
		e.outstanding.Add(-1)
	}
}
