package dynamo

import (
	"errors"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/runtime"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// TestEngineIsWired: the engine's own work holds slots of the node that it is
// opened for, and its failure is the node's.
func TestEngineIsWired(t *testing.T) {
	c := memoryConfig(1)
	c.Room.Enabled = false // there is no engine to be measured
	n, err := NewNode("n1", "127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	p, work := &parts{failed: make(chan error, 1)}, runtime.NewEngineWork(1)
	o := n.opened(p, work, runtime.NewDamage(1))
	if o.Background != storage.Background(work) {
		t.Errorf("the engine's work is admitted by %v", o.Background)
	}
	if got := n.runtimeOptions(p, storage.Identity{}, work).EngineWork; got != work {
		t.Errorf("the node admits the work of %v", got)
	}
	failure := errors.New("the disk fails")
	o.OnFailure(failure)
	if got := <-p.failed; !errors.Is(got, failure) {
		t.Errorf("the failure is %v", got)
	}
	if o.Throttled() {
		t.Error("a node without requests says that they are slow")
	}
}

// TestVirtualThrottledEngine: the engine hears that requests are slow, and that
// they are fast again.
func TestVirtualThrottledEngine(t *testing.T) {
	slow := func(c *Config) {
		c.N, c.R, c.W = 1, 1, 1
		c.Admission.LatencyThreshold = time.Millisecond // a fifth of what the disk takes
		c.Admission.Window = 10
	}
	inLab(t, 1, 1, slow, func(t *testing.T, l *lab) {
		h := l.hosts[0]
		throttled := h.node.opened(h.node.parts.Load(), nil, runtime.NewDamage(1)).Throttled
		for range 20 {
			put(t, h.node, "k", "v", nil, Overwrite())
		}
		l.await("the engine to hear that requests are slow", throttled)
		h.slow.Store(false)
		for range 20 {
			put(t, h.node, "k", "v", nil, Overwrite())
		}
		l.await("the engine to hear that they are not", func() bool { return !throttled() })
	})
}
