package badger

import (
	"errors"
	"fmt"
	"time"

	badger "github.com/dgraph-io/badger/v4"
)

// collector has garbage of the value log collected, from one goroutine, which
// it owns.
type collector struct {
	db     *badger.DB
	log    *logger
	stop   chan struct{}
	exited chan struct{}
}

// newCollector returns a collector that starts whenever it receives from ticks,
// every gcInterval if that is nil.
func newCollector(db *badger.DB, log *logger, ticks <-chan time.Time) *collector {
	c := &collector{db: db, log: log, stop: make(chan struct{}), exited: make(chan struct{})}
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
			c.collect()
		}
	}
}

// collect has files rewritten, one at a time, until there is none that is worth
// it.
func (c *collector) collect() {
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		err := c.db.RunValueLogGC(gcRatio)
		if errors.Is(err, badger.ErrNoRewrite) {
			return
		}
		if err != nil {
			c.log.Errorf("%v", fmt.Errorf("collecting garbage: %w", err))
			return
		}
	}
}
