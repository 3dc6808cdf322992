package lss

import "runtime"

// group is what the flusher writes at once, to one segment.
type group struct {
	segment *segment
	start   uint32 // where in the segment it begins
	buf     []byte // frames
	sync    bool   // somebody waits until it is durable
	now     bool   // somebody waits for the room that it takes
	last    bool   // nothing more goes to the segment
	taken   bool   // the flusher has it, and it takes no more
	done    []completion
}

// open reports whether the group takes more. A full one does not, so that no
// buffer grows far.
func (g *group) open() bool { return !g.taken && !g.last && len(g.buf) < groupBytes }

// completion is one batch whose done is to be called.
type completion struct {
	err  error // what is known of its outcome already
	done func(error)
}

// urgent reports whether the group is not to wait for more to come.
func (g *group) urgent() bool {
	return g.sync || g.now || g.last || len(g.done) > 0 || len(g.buf) >= flushBytes
}

// flush carries out groups until the engine closes.
func (e *Engine) flush() {
	defer close(e.flushed)
	var durable position // the log is, up to here
	dirty := false       // something was written and not synced
	for {
		g := e.take()
		if g == nil {
			return
		}
		if len(g.buf) > 0 {
			stamp(g.buf, g.segment.seed, g.start, durable)
			_, _ = g.segment.file.WriteAt(g.buf, int64(g.start)) // the disk tells of its failure itself
			dirty = true
		}
		end := g.start + uint32(len(g.buf))
		if (g.sync || g.last) && dirty {
			_ = g.segment.file.SyncData() // likewise
			dirty = false
			durable = position{g.segment.id, end}
		}
		e.complete(g, end)
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

// complete tells everyone that a group was carried out.
func (e *Engine) complete(g *group, end uint32) {
	failure := e.failed()
	s := g.segment
	s.grow(int64(end))
	s.written.Store(end)
	e.mu.Lock()
	e.queue[0] = nil
	e.queue = e.queue[1:]
	e.buffered -= len(g.buf)
	if cap(g.buf) <= keptBuffer && len(e.spare) < keptBuffers {
		e.spare = append(e.spare, g.buf[:0])
	}
	if g.last {
		s.flushed = true
		e.keeper.signal()
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
