package antientropy

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// Nobody is compared with while its breaker is open; the others are.
func TestExchangesWaitForTheBreaker(t *testing.T) {
	c := newCluster(t, 32, 3, 2, 2, 2)
	c.open["n3"] = true
	c.setViews()
	scatter(c, 100)
	c.seen = func(e *core.Envelope) {
		if !e.Reply && e.To == "n3" {
			t.Fatalf("%T is sent to n3", e.Msg)
		}
	}
	c.run(3 * interval)
	c.seen, c.open["n3"] = nil, false
	c.setViews()
	c.run(2 * interval)
	c.requireEqual(100)
}

// A breaker that opens ends the exchange.
func TestAnOpenBreakerEndsTheExchange(t *testing.T) {
	c := newCluster(t, 16, 2, 1, 1)
	scatter(c, 500)
	var s *shard
	for s == nil {
		c.run(10 * time.Millisecond)
		for _, h := range c.nodes {
			if h.shards[0].session != nil {
				s = h.shards[0]
			}
		}
	}
	c.open["n1"], c.open["n2"] = true, true
	c.setViews()
	if s.session != nil {
		t.Error("the exchange goes on")
	}
}

// A question that is not answered is asked again, after pauses that grow, and
// fails once, whatever the number of its tries.
func TestOneOutcomeAQuestion(t *testing.T) {
	c := newCluster(t, 16, 2, 1, 1)
	scatter(c, 10)
	var times []time.Duration
	c.cut = func(e *core.Envelope) bool {
		if !e.Reply && e.From == "n1" && len(times) < 4 {
			times = append(times, c.now)
		}
		return true
	}
	outcomes, tries := uint32(0), uint32(0)
	c.told = func(r core.PeerReport) {
		if r.Peer == "n2" && outcomes == 0 {
			outcomes += r.Calls.Failed
			tries += r.Failed
		}
	}
	c.run(interval)
	if outcomes != 1 || tries != 4 || len(times) != 4 {
		t.Fatalf("%d outcomes of %d tries at %v", outcomes, tries, times)
	}
	for i, least := range []time.Duration{80, 160, 320} {
		if pause := times[i+1] - times[i] - requestTimeout; pause < least*time.Millisecond || pause > least*3/2*time.Millisecond {
			t.Errorf("retry %d after a pause of %v", i+1, pause)
		}
	}
}
