package antientropy

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/guard"
	"github.com/dynamo-kv/dynamo/internal/id"
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

// A set is not sent any more when it is as old as a message may be, however often
// and seldom calls are repeated: what it holds may have been forgotten since.
func TestSetsAreNotSentForLongerThanMessagesLive(t *testing.T) {
	c := newCluster(t, 16, 2, 1, 1)
	for _, h := range c.nodes {
		s := h.shards[0]
		s.guard = guard.New(backoff.Policy{Retries: 10, Base: 20 * time.Second, Factor: 2, Max: time.Minute}, s.rng)
		s.guard.SetView(s.view)
	}
	c.put(0, "key", "v")
	c.put(1, "key", "w")
	first, tries := map[core.ReqID]time.Duration{}, map[core.ReqID]int{}
	c.cut = func(e *core.Envelope) bool {
		if _, ok := e.Msg.(*core.Apply); !ok {
			return false
		}
		if tries[e.Req]++; tries[e.Req] == 1 {
			first[e.Req] = c.now
		}
		if age := c.now - first[e.Req]; age >= id.MaxMessageAge {
			t.Errorf("%s sends a set that it has had for %v; M is %v", e.From, age, id.MaxMessageAge)
		}
		return true
	}
	c.run(4 * interval)
	repeated := 0
	for _, n := range tries {
		repeated += n - 1
	}
	if len(tries) < 2 || repeated == 0 {
		t.Errorf("%d sets are sent, and %d repeated", len(tries), repeated)
	}
}
