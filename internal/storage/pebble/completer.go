package pebble

import (
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// maxCompletions is how many batches may wait for their completion before
// Commit waits for one of them: as many as pebble lets wait for an fsync.
const maxCompletions = 4096

// completion is one batch whose done is to be called.
type completion struct {
	batch *pebble.Batch // whose fsync is to be awaited; nil if there is none
	err   error         // what is known of its outcome already
	done  func(error)
}

// completer calls the dones in the order in which they were added, from one
// goroutine, which it owns.
type completer struct {
	queue chan completion
	// pending counts completions that were queued and whose done has not
	// returned yet.
	pending atomic.Int64
	failed  func() error // the engine's failure, nil if there is none
	exited  chan struct{}
}

func newCompleter(failed func() error) *completer {
	c := &completer{
		queue:  make(chan completion, maxCompletions),
		failed: failed,
		exited: make(chan struct{}),
	}
	go c.run()
	return c
}

// add queues x. Where there is no fsync to wait for, and nothing before it
// either, its done is called at once.
func (c *completer) add(x completion) {
	if x.batch == nil && c.pending.Load() == 0 {
		c.complete(x)
		return
	}
	c.pending.Add(1)
	c.queue <- x
}

// close waits until every done has returned. Nothing may be added any more.
func (c *completer) close() {
	close(c.queue)
	<-c.exited
}

func (c *completer) run() {
	defer close(c.exited)
	for x := range c.queue {
		c.complete(x)
		c.pending.Add(-1)
	}
}

// complete awaits the fsync of x and calls its done. The engine's failure is
// looked up after the fsync has ended, or one that failed would be taken for
// one that succeeded: pebble is not told of it.
func (c *completer) complete(x completion) {
	err := x.err
	if x.batch != nil {
		err = x.batch.SyncWait()
		_ = x.batch.Close() // recycles it; there is nothing in it that can fail
	}
	if failure := c.failed(); failure != nil {
		err = failure
	}
	x.done(err)
}
