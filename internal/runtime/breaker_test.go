package runtime_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/breaker"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/node"
)

// TestSilentPeerIsNotWaitedFor cuts the answers of one node off from another,
// which both go on to hear of each other through the third: as a process that
// is stopped, or a link that is broken one way. The first calls wait for it;
// once the breaker is open no request does, for as long as it is, and when the
// node answers again it is called again. Without breakers the node gets a new
// chance whenever its failures are forgotten, and each time reads wait. Nobody
// is chosen by latency here, which would keep reads from it as well.
func TestSilentPeerIsNotWaitedFor(t *testing.T) {
	for _, on := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := tunedCluster(t, 3, nil, func(o *node.Options) {
				if o.Select = false; !on {
					o.Breaker = breaker.Config{}
				}
			})
			c.load(t, time.Second, true)
			c.network.CutOneWay("n3", "n1")
			slowest := c.load(t, 5*time.Second, true)
			if slowest < leastWait {
				t.Errorf("breakers on: %v: nobody has waited for the silent node", on)
			}
			wantCircuit(t, c, on, core.CircuitOpen)
			slowest = c.load(t, 2*time.Second, true)
			slowest = max(slowest, c.load(t, 20*time.Second, false))
			t.Logf("breakers on: %v: slowest request in 22 s: %v", on, slowest)
			if waited := slowest >= leastWait; waited == on {
				t.Errorf("breakers on: %v: a request has waited: %v", on, waited)
			}
			c.network.Heal()
			<-time.After(30 * time.Second)
			wantCircuit(t, c, on, core.CircuitClosed)
			c.load(t, time.Second, true)
			if changes := c.nodes[0].Status().Members[2].Changes; on && (changes.Opened == 0 || changes.Closed != 1) {
				t.Errorf("changes of the breaker: %+v", changes)
			}
		})
	}
}

// leastWait is the least time that a read waits for a slow node before it asks
// another one. The network in memory takes none.
const leastWait = time.Millisecond

// load has the first node get for a while, and put before if need be. It returns
// the longest time that a request took.
func (c *cluster) load(t *testing.T, d time.Duration, puts bool) (slowest time.Duration) {
	t.Helper()
	for i, end := 0, time.Now().Add(d); time.Now().Before(end); i++ {
		key := fmt.Sprint("key-", i%50)
		began := time.Now()
		if puts {
			if r := c.put(0, key, "v"); r.Outcome != core.Written {
				t.Fatalf("put %s: %+v", key, r)
			}
		}
		if r := c.get(0, key); r.Code != core.CodeOK {
			t.Fatalf("get %s: %+v", key, r)
		}
		slowest = max(slowest, time.Since(began))
		<-time.After(20 * time.Millisecond)
	}
	return slowest
}

// wantCircuit looks at the first node's breaker for the third.
func wantCircuit(t *testing.T, c *cluster, on bool, s core.CircuitState) {
	t.Helper()
	if !on {
		s = core.CircuitClosed
	}
	if got := c.nodes[0].Status().Members[2].Circuit.State; got != s {
		t.Errorf("the breaker is %v; want %v", got, s)
	}
}
