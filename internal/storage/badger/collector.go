package badger

import (
	"errors"
	"fmt"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

// collector has garbage of the value log collected and then deletions given
// back, from one goroutine, which it owns: never both at once.
type collector struct {
	library *library
	admit   storage.Background
	stop    chan struct{}
	exited  chan struct{}
	entries int64 // that the last sweep has seen; before the first none are known
}

// newCollector returns a collector that starts whenever it receives from ticks,
// every gcInterval if that is nil.
func newCollector(l *library, admit storage.Background, ticks <-chan time.Time) *collector {
	c := &collector{library: l, admit: admit, stop: make(chan struct{}), exited: make(chan struct{})}
	go c.run(ticks)
	return c
}

// close ends the collector. A file that is being rewritten is finished first.
func (c *collector) close() {
	close(c.stop)
	<-c.exited
}

func (c *collector) run(ticks <-chan time.Time) {
	defer close(c.exited)
	if ticks == nil {
		ticker := time.NewTicker(gcInterval)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		select {
		case <-c.stop:
			return
		case <-ticks:
			if err := errors.Join(c.collect(), c.sweep()); err != nil {
				c.library.log.Errorf("%v", err)
			}
			c.admit.Done()
		}
	}
}

// collect has files rewritten, one at a time, until there is none that is worth
// it, or no room for one. Whether there is, badger tells by doing it, so that a
// rewriting is paid for when it has been done, before the next.
func (c *collector) collect() error {
	for cost := 0; c.admit.Step(cost, c.stop); cost = rewriteBytes {
		l := c.library
		if err := checkRoom(l.disk, l.dir, rewriteBytes); err != nil {
			l.log.Warningf("collecting garbage has to wait: %v", err)
			return nil
		}
		err := l.db.RunValueLogGC(gcRatio)
		if errors.Is(err, badger.ErrNoRewrite) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("collecting garbage: %w", err)
		}
	}
	return nil
}
