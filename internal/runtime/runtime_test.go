package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/breaker"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/runtime"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
	"github.com/dynamo-kv/dynamo/internal/transport/memnet"
	"github.com/dynamo-kv/dynamo/internal/version"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is some assembled nodes on a network in memory, in a bubble of
// virtual time: an hour passes as soon as everyone waits.
type cluster struct {
	t       *testing.T
	network *memnet.Network
	nodes   []*runtime.Runtime
	buckets []time.Duration               // of those that are added
	tune    func(*node.Options)           // nil: the options stay as they are
	delay   func(to string) time.Duration // that a message takes; nil: none
}

func newCluster(t *testing.T, nodes int, engine func(runtime.Engine) runtime.Engine) *cluster {
	t.Helper()
	return tunedCluster(t, nodes, engine, nil)
}

// tunedCluster returns a cluster whose nodes have options of a test's own.
func tunedCluster(t *testing.T, nodes int, engine func(runtime.Engine) runtime.Engine, tune func(*node.Options)) *cluster {
	t.Helper()
	c := &cluster{t: t, network: memnet.New(1), tune: tune}
	c.form(nodes, engine)
	return c
}

// form starts the nodes and waits until they are one cluster.
func (c *cluster) form(nodes int, engine func(runtime.Engine) runtime.Engine) {
	t := c.t
	t.Helper()
	for i := range nodes {
		c.add(i, engine)
	}
	for _, n := range c.nodes {
		await(t, n, func(s core.ClusterStatus) bool {
			return len(s.Members) == nodes && !s.UnderReplicated && s.Layouts.Phase == core.PhaseDone && allActive(s)
		})
	}
}

func allActive(s core.ClusterStatus) bool {
	for _, m := range s.Members {
		if m.State != core.Active {
			return false
		}
	}
	return true
}

func await(t *testing.T, n *runtime.Runtime, ok func(core.ClusterStatus) bool) {
	t.Helper()
	for {
		changed := n.Changed()
		if ok(n.Status()) {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Fatalf("still waiting after a minute: %+v", n.Status())
		}
	}
}

func (c *cluster) add(i int, wrap func(runtime.Engine) runtime.Engine) {
	c.t.Helper()
	store, _, err := engines.Open(storage.Options{Engine: "memory", Node: name(i)})
	if err != nil {
		c.t.Fatal(err)
	}
	var engine runtime.Engine = store
	if wrap != nil {
		engine = wrap(store)
	}
	o := runtime.Options{
		Engine: engine,
		Logger: slog.New(slog.DiscardHandler),
		Connect: func(h runtime.Handler, mono func() time.Duration) (runtime.Transport, error) {
			inner, err := c.network.Transport(string(name(i)), h, mono)
			if c.delay == nil || err != nil {
				return inner, err
			}
			return delayed{inner, h, c.delay}, nil
		},
		Node: node.Options{
			Self: name(i), Start: uint64(i + 1), Instance: uint64(i + 1), Addr: string(name(i)), Weight: 1, Seed: uint64(i),
			Shards: 4, Partitions: 32, N: 3, R: 2, W: 2, MaxHintBytes: 1 << 20, PeerTimeout: 300 * time.Millisecond,
			GossipInterval: time.Second, LayoutDelay: time.Second, LayoutAuto: true,
			TombstoneTTL: id.MinTombstoneTTL, TombstoneInterval: time.Minute,
			Buckets: c.buckets,
			Admit:   true, Admission: admission.DefaultLimits(),
			Breaker: breaker.Default(), Retry: backoff.Default(), Select: true, ReadHedge: true,
		},
	}
	if c.tune != nil {
		c.tune(&o.Node)
	}
	if i > 0 {
		o.Node.Seeds = []string{string(name(0))}
	}
	r, err := runtime.New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.nodes = append(c.nodes, r)
	c.t.Cleanup(func() {
		if err := errors.Join(r.Stop(), store.Close()); err != nil {
			c.t.Error(err)
		}
	})
}

func name(i int) id.Node { return id.Node(fmt.Sprintf("n%d", i+1)) }

func (c *cluster) put(n int, key, value string) core.Result {
	return c.nodes[n].Do(c.t.Context(), &core.Request{
		Op: core.OpPut, Key: []byte(key), Value: []byte(value), Options: core.Options{Overwrite: true},
	}, 2*time.Second)
}

func (c *cluster) get(n int, key string) core.Result {
	return c.nodes[n].Do(c.t.Context(), &core.Request{Op: core.OpGet, Key: []byte(key)}, 2*time.Second)
}

func TestClusterFormsGrowsAndServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 5, nil)
		for i := range 100 {
			key := fmt.Sprint("key-", i)
			if r := c.put(i%5, key, key); r.Outcome != core.Written {
				t.Fatalf("put %s: %v", key, r.Code)
			}
			for n := range c.nodes {
				if r := c.get(n, key); r.Code != core.CodeOK || string(r.Set.Live()[0].Data) != key {
					t.Fatalf("get %s at %s: %v", key, name(n), r.Code)
				}
			}
		}
		if r := c.get(0, "nobody wrote this"); r.Code != core.CodeNotFound {
			t.Errorf("a missing key: %v", r.Code)
		}
	})
}

// TestSilentPeerDelaysAReadByItsP95 shows hedging: nothing is refused, one
// owner just never answers.
func TestSilentPeerDelaysAReadByItsP95(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		for i := range 50 {
			if r := c.put(0, fmt.Sprint(i), "v"); r.Outcome != core.Written {
				t.Fatal(r.Code)
			}
		}
		c.network.Isolate("n3")
		// No peer has a p95 above the 10 ms that unknown ones are given, on a
		// network without delay; the second owner then answers at once.
		const bound = 11 * time.Millisecond
		slowest := time.Duration(0)
		for i := range 50 {
			began := time.Now()
			if r := c.get(0, fmt.Sprint(i)); r.Code != core.CodeOK {
				t.Fatalf("get %d: %v", i, r.Code)
			}
			slowest = max(slowest, time.Since(began))
		}
		t.Logf("slowest of 50 reads with one silent owner: %v of virtual time", slowest)
		if slowest > bound {
			t.Errorf("a read took %v, above %v", slowest, bound)
		}
		for i := range 20 {
			if r := c.put(0, fmt.Sprint(i), "w"); r.Outcome != core.Written {
				t.Fatalf("put with one silent owner: %v", r.Code)
			}
		}
	})
}

func TestNothingHangsPastItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		c.network.Isolate("n1")
		began := time.Now()
		if r := c.put(0, "k", "v"); r.Code == core.CodeOK || r.Outcome != core.Unknown || r.Required != 2 {
			t.Errorf("an isolated node's put: %+v", r)
		}
		if r := c.get(0, "k"); r.Code == core.CodeOK {
			t.Errorf("an isolated node's get: %+v", r)
		}
		if took := time.Since(began); took > 2*2*time.Second {
			t.Errorf("two requests with 2 s each took %v", took)
		}
		c.network.Heal()
		if r := c.put(0, "k", "w"); r.Outcome != core.Written {
			t.Errorf("after the heal: %+v", r)
		}
	})
}

// TestContextsDeadlinesTravel: a request has the time that its context has, where
// that is less than its timeout: here and at peers.
func TestContextsDeadlinesTravel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		const timeout, short = 2 * time.Second, 100 * time.Millisecond
		for _, within := range []time.Duration{short, time.Minute} {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			q := &core.Request{Op: core.OpPut, Key: []byte("k"), Value: []byte("v"), Options: core.Options{Overwrite: true}}
			if r := c.nodes[0].Do(ctx, q, timeout); r.Outcome != core.Written {
				t.Fatalf("%v", r.Code)
			}
			if got, want := q.Deadline-q.Arrived, min(timeout, within); got != want {
				t.Errorf("with %v in its context it has %v; want %v", within, got, want)
			}
		}
	})
}

func TestStopAnswersThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		c.network.Isolate("n1")
		results := make(chan core.Result)
		go func() { results <- c.put(0, "k", "v") }()
		synctest.Wait()
		if err := c.nodes[0].Stop(); err != nil {
			t.Fatal(err)
		}
		if r := <-results; r.Code != core.CodeStopped || r.Outcome != core.Unknown {
			t.Errorf("the one who waited: %+v", r)
		}
		if r := c.get(0, "k"); r.Code != core.CodeStopped {
			t.Errorf("after Stop: %v", r.Code)
		}
	})
}

// failing is an engine whose commits fail from some moment on.
type failing struct {
	runtime.Engine
	now chan struct{}
}

var errDisk = errors.New("disk on fire")

func (f failing) Commit(batch []core.Write, d core.Durability, done func(error)) {
	select {
	case <-f.now:
		done(errDisk)
	default:
		f.Engine.Commit(batch, d, done)
	}
}

func TestFailedCommitStopsTheNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := make(chan struct{})
		first := true
		c := newCluster(t, 3, func(e runtime.Engine) runtime.Engine {
			if !first {
				return e
			}
			first = false
			return failing{Engine: e, now: now}
		})
		close(now)
		r := c.put(0, "k", "v")
		if r.Outcome == core.NotWritten {
			t.Errorf("peers may have it: %+v", r)
		}
		<-c.nodes[0].Done()
		if err := c.nodes[0].Err(); !errors.Is(err, errDisk) {
			t.Errorf("stopped by %v", err)
		}
		if r := c.put(1, "l", "v"); r.Outcome != core.Written {
			t.Errorf("the others go on: %+v", r)
		}
	})
}

func TestIdempotencyKeyIsExecutedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		q := func() *core.Request {
			return &core.Request{Op: core.OpPut, Key: []byte("k"), Value: []byte("v"), Options: core.Options{WriteID: version.WriteID{7}}}
		}
		for range 3 {
			if r := c.nodes[0].Do(t.Context(), q(), time.Second); r.Outcome != core.Written {
				t.Fatal(r.Code)
			}
		}
		if r := c.get(1, "k"); len(r.Set.Versions) != 1 {
			t.Errorf("%d versions of one write ID", len(r.Set.Versions))
		}
	})
}

// TestDeathIsNoticed lets one node of an assembled cluster stop, and be cut off
// and found again: those who watch hear of it within seconds, though they hardly know each
// other yet.
func TestDeathIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		watch := c.nodes[0].Watch()
		next := func(within time.Duration) core.StatusChange {
			t.Helper()
			began := time.Now()
			change, missed, ok := watch.Next(t.Context())
			if took := time.Since(began); !ok || missed != 0 || took > within {
				t.Fatalf("%+v, %d missed, %v after %v; want one within %v", change, missed, ok, took, within)
			}
			return change.StatusChange
		}
		want := func(got, want core.StatusChange) {
			t.Helper()
			if got != want {
				t.Errorf("the change is %+v; want %+v", got, want)
			}
		}
		c.network.Isolate("n2")
		want(next(20*time.Second), core.StatusChange{Peer: "n2", From: core.Alive, To: core.Suspected})
		want(next(20*time.Second), core.StatusChange{Peer: "n2", From: core.Suspected, To: core.Dead})
		c.network.Heal()
		want(next(20*time.Second), core.StatusChange{Peer: "n2", From: core.Dead, To: core.Alive})
		if err := c.nodes[2].Stop(); err != nil {
			t.Fatal(err)
		}
		want(next(20*time.Second), core.StatusChange{Peer: "n3", From: core.Alive, To: core.Suspected})
		want(next(20*time.Second), core.StatusChange{Peer: "n3", From: core.Suspected, To: core.Dead})
		await(t, c.nodes[0], func(s core.ClusterStatus) bool {
			return s.Members[1].Status == core.Alive && s.Members[2].Status == core.Dead && s.Members[2].State == core.Active
		})
	})
}
