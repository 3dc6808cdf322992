package dynamo

import (
	"testing"
	"time"
)

// TestVirtualStopWaits: requests of the embedding program that are under way when
// its node stops get their second, as those of clients do.
func TestVirtualStopWaits(t *testing.T) {
	single := func(c *Config) { c.N, c.R, c.W = 1, 1, 1 }
	inLab(t, 1, 1, single, func(t *testing.T, l *lab) {
		n := l.hosts[0].node
		written := make(chan error, 1)
		go func() {
			_, err := n.Put(t.Context(), "k", []byte("v"), nil)
			written <- err
		}()
		l.pass(syncTime / 5) // the disk is busy with it
		began := time.Now()
		l.hosts[0].node = nil
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
		if err := <-written; err != nil {
			t.Errorf("the put ends with %v", err)
		}
		if took := time.Since(began); took >= stopGrace {
			t.Errorf("the stop takes %v, though nobody asks for anything more", took)
		}
	})
}
