package runtime

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// maxChanges bounds the changes that wait for a watcher: each member of the
// largest cluster changes once before anything is dropped.
const maxChanges = id.MaxMembers

// Change is a change of a peer's status, with the time when this node came to
// it.
type Change struct {
	core.StatusChange
	Time time.Time
}

// Watch is a queue of changes for one watcher. Where it is full the oldest one
// is dropped, so that a slow watcher always comes to know the latest.
type Watch struct {
	runtime *Runtime
	wake    chan struct{} // has room for one

	mu      sync.Mutex // guards what follows
	changes []Change
	missed  int // dropped since Next returned one
}

// Watch returns a queue of the changes from now on. It ends with Close, and
// after the node.
func (r *Runtime) Watch() *Watch {
	w := &Watch{runtime: r, wake: make(chan struct{}, 1)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watches = append(r.watches, w)
	return w
}

// Close takes the watch off the runtime. It is idempotent.
func (w *Watch) Close() {
	r := w.runtime
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watches = slices.DeleteFunc(r.watches, func(o *Watch) bool { return o == w })
}

// Next waits for a change and returns it with the number of those that were
// dropped before it. ok is false when ctx has ended, or the node has stopped
// and all changes have been returned.
func (w *Watch) Next(ctx context.Context) (c Change, missed int, ok bool) {
	for ctx.Err() == nil {
		if c, missed, ok = w.take(); ok {
			return c, missed, true
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
		case <-w.runtime.stop:
			return w.take()
		}
	}
	return Change{}, 0, false
}

func (w *Watch) take() (c Change, missed int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.changes) == 0 {
		return Change{}, 0, false
	}
	c, missed = w.changes[0], w.missed
	w.changes, w.missed = w.changes[1:], 0
	return c, missed, true
}

// put adds a change. It never waits for the watcher.
func (w *Watch) put(c Change) {
	w.mu.Lock()
	if len(w.changes) == maxChanges {
		w.changes = w.changes[1:]
		w.missed++
	}
	w.changes = append(w.changes, c)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // it is awake
	}
}

// tell passes changes of peers' status on, once Status shows them.
func (r *Runtime) tell(changes []core.StatusChange) {
	if len(changes) == 0 {
		return
	}
	r.mu.Lock()
	watches := slices.Clone(r.watches)
	r.mu.Unlock()
	now := time.Now()
	for _, c := range changes {
		level := slog.LevelInfo
		if c.From == core.Dead || c.To == core.Dead {
			level = slog.LevelWarn // what an operator looks for in a log
		}
		r.logger.Log(context.Background(), level, "what this node thinks of a peer has changed", "peer", c.Peer, "from", c.From, "to", c.To)
		for _, w := range watches {
			w.put(Change{c, now})
		}
	}
}
