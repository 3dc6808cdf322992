package runtime_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/runtime"
	"github.com/dynamo-kv/dynamo/internal/transport/memnet"
)

// delayed is a transport whose messages take their time.
type delayed struct {
	runtime.Transport
	handler runtime.Handler
	delay   func(to string) time.Duration
}

func (d delayed) Send(addr string, e *core.Envelope) bool {
	later := *e
	time.AfterFunc(d.delay(addr), func() {
		if !d.Transport.Send(addr, &later) {
			d.handler.SendFailed(&later)
		}
	})
	return true
}

// network is what the figures are about: a message takes 0.1 ms, and 0.1 ms
// more on average; one in a thousand takes up to 5 ms. On top comes what a
// scenario adds for a node.
func network(extra func(to string) time.Duration) func(to string) time.Duration {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(1, 2))
	return func(to string) time.Duration {
		mu.Lock()
		defer mu.Unlock()
		d := 100*time.Microsecond + time.Duration(rng.ExpFloat64()*float64(100*time.Microsecond))
		if rng.IntN(1000) == 0 {
			d += time.Duration(rng.Float64() * float64(5*time.Millisecond))
		}
		return d + extra(to)
	}
}

// figures are percentiles of how long requests took.
type figures struct{ p50, p99, p999 time.Duration }

// measure runs requests from some callers, one after another each with a pause
// in between, and returns their percentiles.
func measure(t *testing.T, requests int, one func(i int)) figures {
	t.Helper()
	const callers = 8
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			var took []time.Duration
			for i := caller; i < requests; i += callers {
				began := time.Now()
				one(i)
				took = append(took, time.Since(began))
				<-time.After(5 * time.Millisecond)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
		})
	}
	wg.Wait()
	slices.Sort(all)
	at := func(p float64) time.Duration { return all[int(p*float64(len(all)))] }
	return figures{at(0.5), at(0.99), at(0.999)}
}

// choice is one way of choosing whom to ask, and what it must come to.
type choice struct {
	name string
	tune func(*node.Options)
	// most and least bound the p99.9, where they are set.
	least, most time.Duration
}

// figureRequests are measured, after warmRequests by which latencies are known.
const figureRequests, warmRequests = 2000, 1000

func (c *choice) check(t *testing.T, what string, f figures) {
	t.Helper()
	round := func(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
	t.Logf("| %s | %s | %v | %v | %v |", what, c.name, round(f.p50), round(f.p99), round(f.p999))
	if f.p999 < c.least || c.most > 0 && f.p999 > c.most {
		t.Errorf("%s, %s: the p99.9 is %v; want %v to %v", what, c.name, f.p999, c.least, c.most)
	}
}

// inCluster runs f in a cluster of three nodes with its network's delays.
func (c *choice) inCluster(t *testing.T, extra func(to string) time.Duration, f func(*cluster)) {
	synctest.Test(t, func(t *testing.T) {
		cl := &cluster{t: t, network: memnet.New(1), tune: c.tune, delay: network(extra)}
		cl.form(3, nil)
		f(cl)
	})
}

// gets measures gets through the given number of nodes.
func (c *choice) gets(t *testing.T, what string, through int, extra func(to string) time.Duration) {
	c.inCluster(t, extra, func(cl *cluster) {
		const keys = 200
		for i := range keys {
			if r := cl.put(0, fmt.Sprint(i), "v"); r.Outcome != core.Written {
				t.Fatalf("put: %+v", r)
			}
		}
		get := func(i int) {
			if r := cl.get(i%through, fmt.Sprint(i%keys)); r.Code != core.CodeOK {
				t.Errorf("get: %+v", r)
			}
		}
		measure(t, warmRequests, get)
		<-time.After(2 * time.Second)
		c.check(t, what, measure(t, figureRequests, get))
	})
}

// TestFiguresOfSlowNode: what is sent to one of three nodes takes 50 ms more.
// Gets with N=3, R=2 through the two others, and puts that are handed to an
// owner, with N=2, W=1, in virtual time. With -v it prints the table that
// docs/performance.md has.
func TestFiguresOfSlowNode(t *testing.T) {
	late := func(to string) time.Duration {
		if to == "n3" {
			return 50 * time.Millisecond
		}
		return 0
	}
	const ms = time.Millisecond
	for _, c := range []choice{
		{"in the order of the preference list", func(o *node.Options) { o.Select, o.ReadHedge = false, false }, 50 * ms, 0},
		{"the same, hedged", func(o *node.Options) { o.Select = false }, 8 * ms, 0},
		{"all owners at once", func(o *node.Options) { o.Select, o.ReadHedge, o.ReadAll = false, false, true }, 0, 8 * ms},
		{"the fastest first", func(o *node.Options) { o.ReadHedge, o.ProbeShare = false, 0.01 }, 0, 8 * ms},
		{"the fastest first, hedged", func(o *node.Options) { o.ProbeShare = 0.01 }, 0, 8 * ms},
	} {
		c.gets(t, "get, one node 50 ms away", 2, late)
	}
	for _, c := range []choice{
		{"in the order of the preference list", func(o *node.Options) { o.Select = false }, 50 * ms, 0},
		{"the fastest first", func(o *node.Options) { o.ProbeShare = 0.01 }, 0, 12 * ms},
	} {
		tune := c.tune
		c.tune = func(o *node.Options) {
			tune(o)
			o.N, o.R, o.W = 2, 1, 1
		}
		c.inCluster(t, late, func(cl *cluster) {
			put := func(i int) {
				r := cl.nodes[0].Do(cl.t.Context(), &core.Request{Op: core.OpPut, Key: cl.foreign(i), Value: []byte("v")}, 2*time.Second)
				if r.Outcome != core.Written {
					t.Errorf("put: %+v", r)
				}
			}
			measure(t, warmRequests, put)
			<-time.After(2 * time.Second)
			c.check(t, "put through a node that owns no copy", measure(t, figureRequests, put))
		})
	}
}

// foreign returns the key number i among those that the first node does not own.
func (c *cluster) foreign(i int) []byte {
	l := c.nodes[0].Status().Layouts.Live[0]
	for n := 0; ; n++ {
		key := fmt.Appendf(nil, "%d-%d", i, n)
		if !l.Owns("n1", l.Partition(key)) {
			return key
		}
	}
}

// TestFiguresOfPauses: two of three nodes stand still now and then, each for 20
// ms in a second, so that neither is the better one. Gets with N=3, R=2 through
// the third.
func TestFiguresOfPauses(t *testing.T) {
	const each, pause = time.Second, 20 * time.Millisecond
	extra := func(to string) time.Duration {
		offset := map[string]time.Duration{"n1": -1, "n2": 0, "n3": each / 2}[to]
		if offset < 0 {
			return 0
		}
		return max(0, pause-(time.Duration(time.Now().UnixNano())+offset)%each)
	}
	const ms = time.Millisecond
	for _, c := range []choice{
		{"the fastest first", func(o *node.Options) { o.ReadHedge = false }, 15 * ms, 0},
		{"the fastest first, hedged", func(*node.Options) {}, 0, 10 * ms},
		{"all owners at once", func(o *node.Options) { o.ReadAll = true }, 0, 5 * ms},
	} {
		c.gets(t, "get, two nodes pause", 1, extra)
	}
}
