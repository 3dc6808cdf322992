package dynamo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for what must happen, far above what any takes: a
// machine may stand still for a while.
const patience = 2 * time.Minute

// memoryConfig is a configuration for tests: nothing on the disk, unless the
// environment names another engine, and fast. All tests here hold for each
// engine and each transport but where one says why not.
func memoryConfig(n int) *Config {
	c := DefaultConfig()
	c.N, c.R, c.W = n, n/2+1, n/2+1
	c.Partitions = 16
	c.StorageEngine = engineOr("memory")
	c.GossipInterval = 20 * time.Millisecond
	c.RequestTimeout, c.PeerTimeout = time.Minute, 2*time.Second // as patience
	if transport := os.Getenv("DYNAMO_TRANSPORT"); transport != "" {
		setTransport(c, transport)
	}
	c.LayoutDelay = 0
	return c
}

// engineOr returns the engine that the environment names, or else this one.
func engineOr(usual string) string { return cmp.Or(os.Getenv("DYNAMO_ENGINE"), usual) }

// durableOr is engineOr for tests whose nodes must find their data again.
func durableOr(usual string) string {
	if engine := engineOr(usual); engine != "memory" {
		return engine
	}
	return usual
}

// inDirectory returns c with a data directory that nobody else has, if its
// engine needs one and c does not name it.
func inDirectory(tb testing.TB, c *Config) *Config {
	if c.StoragePath != "" || c.StorageEngine == "memory" {
		return c
	}
	c = c.clone()
	c.StoragePath = tb.TempDir()
	return c
}

// setTransport has c send by a transport. JSON costs so much more that gossip
// at the pace of these tests would take most of a slow machine.
func setTransport(c *Config, transport string) {
	c.Transport = transport
	if transport == TransportHTTP {
		c.GossipInterval = 100 * time.Millisecond
	}
}

// startNode starts a node on a free port, and stops it with the test.
func startNode(t *testing.T, id string, c *Config) *Node {
	t.Helper()
	n, err := NewNode(id, "127.0.0.1:0", inDirectory(t, c))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
	})
	return n
}

// startCluster returns that many nodes that hold each key on N of them, ready.
func startCluster(t *testing.T, nodes int, c *Config) []*Node {
	t.Helper()
	var out []*Node
	for i := range nodes {
		n := startNode(t, fmt.Sprintf("n%d", i+1), c)
		if i > 0 {
			if err := n.Join([]string{out[0].Addr()}); err != nil {
				t.Fatal(err)
			}
		}
		out = append(out, n)
	}
	for _, n := range out {
		waitReady(t, n)
	}
	return out
}

func waitReady(t *testing.T, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, n *Node, key, value string, c *Context, options ...Option) *Context {
	t.Helper()
	c, err := n.Put(t.Context(), key, []byte(value), c, options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(t *testing.T, n *Node, key string) *GetResult {
	t.Helper()
	r, err := n.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantValues fails unless r has these values, in any order.
func wantValues(t *testing.T, r *GetResult, want ...string) {
	t.Helper()
	left := map[string]int{}
	for _, w := range want {
		left[w]++
	}
	for _, v := range r.Values {
		left[string(v.Data)]--
	}
	for v, n := range left {
		if n != 0 {
			t.Errorf("the value %q: %d too few; got %d values", v, n, len(r.Values))
		}
	}
}

func TestReadModifyWrites(t *testing.T) {
	n := startNode(t, "n1", memoryConfig(1))
	if _, err := n.Get(t.Context(), "k"); !errors.Is(err, ErrKeyNotFound) {
		t.Fatalf("a key that was never written: %v", err)
	}
	var c *Context
	for i := range 5 {
		put(t, n, "k", fmt.Sprint(i), c)
		c = get(t, n, "k").Context
	}
	r := get(t, n, "k")
	wantValues(t, r, "4")
	counters := r.Values[0].VectorClock.Counters()
	if len(counters) != 1 {
		t.Fatalf("counters %v; one actor wrote", counters)
	}
	for actor, counter := range counters {
		if counter != 5 || !strings.HasPrefix(actor, "n1~") {
			t.Errorf("%s has counted to %d, want n1~… to 5", actor, counter)
		}
	}
	if age := time.Since(r.Values[0].Timestamp); age < 0 || age > time.Minute {
		t.Errorf("the value is %v old", age)
	}
}

func TestSiblingsAndContexts(t *testing.T) {
	n := startNode(t, "n1", memoryConfig(1))
	first := put(t, n, "k", "a", nil)
	put(t, n, "k", "b", nil)
	r := get(t, n, "k")
	wantValues(t, r, "a", "b")
	if o := r.Values[0].VectorClock.Compare(r.Values[1].VectorClock); o != Concurrent {
		t.Errorf("siblings are %v", o)
	}
	put(t, n, "k", "c", first) // it replaces a, and b it has not seen
	wantValues(t, get(t, n, "k"), "b", "c")
	put(t, n, "k", "d", r.Context) // which covers a and b, and c it has not seen
	wantValues(t, get(t, n, "k"), "c", "d")
	put(t, n, "k", "d", nil) // equal bytes are shown once
	r = get(t, n, "k")
	wantValues(t, r, "c", "d")
	put(t, n, "k", "e", r.Context)
	r = get(t, n, "k")
	wantValues(t, r, "e")
	put(t, n, "k", "f", nil, Overwrite())
	wantValues(t, get(t, n, "k"), "f")
}

func TestDelete(t *testing.T) {
	n := startNode(t, "n1", memoryConfig(1))
	put(t, n, "k", "a", nil)
	old := get(t, n, "k").Context
	put(t, n, "k", "b", nil)
	if _, err := n.Delete(t.Context(), "k", old); err != nil {
		t.Fatal(err)
	}
	wantValues(t, get(t, n, "k"), "b")
	deleted, err := n.Delete(t.Context(), "k", nil, Overwrite())
	if err != nil {
		t.Fatal(err)
	}
	r, err := n.Get(t.Context(), "k")
	if !errors.Is(err, ErrKeyNotFound) || r == nil || len(r.Values) != 0 {
		t.Fatalf("a deleted key: %v, %v", r, err)
	}
	put(t, n, "k", "again", r.Context)
	wantValues(t, get(t, n, "k"), "again")
	put(t, n, "k", "beside", deleted)
	wantValues(t, get(t, n, "k"), "again", "beside")
	if _, err := n.Delete(t.Context(), "never", nil, Overwrite()); err != nil {
		t.Errorf("deleting a key that does not exist: %v", err)
	}
}

func TestContextsAsTokens(t *testing.T) {
	n := startNode(t, "n1", memoryConfig(1))
	c, err := ParseContext(put(t, n, "k", "a", nil).Token())
	if err != nil {
		t.Fatal(err)
	}
	put(t, n, "k", "b", c)
	wantValues(t, get(t, n, "k"), "b")
	if _, err := n.Put(t.Context(), "other", nil, c); !errors.Is(err, ErrInvalidContext) {
		t.Errorf("the context of another key: %v", err)
	}
	if _, err := ParseContext("nonsense"); !errors.Is(err, ErrInvalidContext) {
		t.Errorf("a token that is none: %v", err)
	}
	if c, err := ParseContext(""); c != nil || err != nil || c.Token() != "" {
		t.Errorf("an empty token is %v (%v)", c, err)
	}
}

func TestInvalidRequests(t *testing.T) {
	n := startNode(t, "n1", memoryConfig(1))
	ctx := t.Context()
	c := put(t, n, "k", "a", nil)
	putWith := func(key string, value []byte, c *Context, o ...Option) error {
		_, err := n.Put(ctx, key, value, c, o...)
		return err
	}
	tests := map[string]struct{ err, want error }{
		"an empty key":             {putWith("", nil, nil), ErrInvalidRequest},
		"a long key":               {putWith(strings.Repeat("k", 2049), nil, nil), ErrTooLarge},
		"a large value":            {putWith("k", make([]byte, 1<<20+1), nil), ErrTooLarge},
		"context and overwrite":    {putWith("k", nil, c, Overwrite()), ErrInvalidRequest},
		"W of 0":                   {putWith("k", nil, nil, WithW(0)), ErrInvalidRequest},
		"W above N":                {putWith("k", nil, nil, WithW(2)), ErrInvalidRequest},
		"R above N":                {putWith("k", nil, nil, WithR(2)), ErrInvalidRequest},
		"no timeout":               {putWith("k", nil, nil, WithTimeout(0)), ErrInvalidRequest},
		"a long timeout":           {putWith("k", nil, nil, WithTimeout(time.Hour)), ErrInvalidRequest},
		"an empty idempotency key": {putWith("k", nil, nil, WithIdempotencyKey("")), ErrInvalidRequest},
	}
	for name, test := range tests {
		var e *Error
		if !errors.Is(test.err, test.want) || !errors.As(test.err, &e) || e.Outcome != NotWritten {
			t.Errorf("%s: %v", name, test.err)
		}
	}
	if _, err := n.Delete(ctx, "k", nil); !errors.Is(err, ErrInvalidRequest) {
		t.Errorf("a delete with neither context nor overwrite: %v", err)
	}
	if _, err := n.Get(ctx, "k", Overwrite()); !errors.Is(err, ErrInvalidRequest) {
		t.Errorf("a get that overwrites: %v", err)
	}
	if _, err := n.Get(ctx, "k", Sloppy(), BlockingRepair()); !errors.Is(err, ErrInvalidRequest) {
		t.Errorf("a blocking get that lets others stand in: %v", err)
	}
	if err := putWith("k", nil, nil, BlockingRepair()); !errors.Is(err, ErrInvalidRequest) {
		t.Errorf("a put that blocks for repairs: %v", err)
	}
}

func TestIdempotencyKey(t *testing.T) {
	n := startNode(t, "n1", memoryConfig(1))
	for range 3 {
		put(t, n, "k", "a", nil, WithIdempotencyKey("order-17"))
	}
	put(t, n, "k", "b", nil, WithIdempotencyKey("order-18"))
	r := get(t, n, "k")
	wantValues(t, r, "a", "b")
	for actor, counter := range r.Values[1].VectorClock.Counters() {
		if counter > 2 {
			t.Errorf("%s has counted to %d for two writes", actor, counter)
		}
	}
}

// The caller's slices stay the caller's.
func TestSlicesAreCopied(t *testing.T) {
	n := startNode(t, "n1", memoryConfig(1))
	value := []byte("abc")
	if _, err := n.Put(t.Context(), "k", value, nil); err != nil {
		t.Fatal(err)
	}
	value[0] = 'x'
	r := get(t, n, "k")
	wantValues(t, r, "abc")
	r.Values[0].Data[0] = 'y'
	wantValues(t, get(t, n, "k"), "abc")
}

func TestLifecycle(t *testing.T) {
	n, err := NewNode("n1", "127.0.0.1:0", inDirectory(t, memoryConfig(1)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Get(t.Context(), "k"); !errors.Is(err, ErrNotReady) {
		t.Errorf("Get before Start: %v", err)
	}
	if got := n.Addr(); got != "127.0.0.1:0" {
		t.Errorf("the address before Start is %s", got)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); !errors.Is(err, ErrAlreadyStarted) {
		t.Errorf("a second Start: %v", err)
	}
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", n.Addr())
	if err != nil {
		t.Fatalf("it does not listen: %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := n.Stop(); err != nil {
			t.Errorf("Stop: %v", err)
		}
	}
	select {
	case <-n.Done():
	default:
		t.Error("Done is not closed")
	}
	if err := n.Err(); err != nil {
		t.Errorf("Err after Stop: %v", err)
	}
	wantStopped(t, n)
}

func TestStopBeforeStart(t *testing.T) {
	n, err := NewNode("n1", "127.0.0.1:0", inDirectory(t, memoryConfig(1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(); err != nil {
		t.Errorf("Stop: %v", err)
	}
	wantStopped(t, n)
}

// wantStopped fails unless every call returns ErrStopped.
func wantStopped(t *testing.T, n *Node) {
	t.Helper()
	ctx := t.Context()
	_, getErr := n.Get(ctx, "k")
	_, putErr := n.Put(ctx, "k", nil, nil)
	_, deleteErr := n.Delete(ctx, "k", nil, Overwrite())
	for name, err := range map[string]error{
		"Start": n.Start(), "Join": n.Join([]string{"127.0.0.1:1"}), "Ready": n.Ready(ctx),
		"Get": getErr, "Put": putErr, "Delete": deleteErr,
	} {
		if !errors.Is(err, ErrStopped) {
			t.Errorf("%s of a stopped node: %v", name, err)
		}
	}
	if n.Status().Serving {
		t.Error("a stopped node says that it serves")
	}
}

func TestBusyPort(t *testing.T) {
	first := startNode(t, "n1", memoryConfig(1))
	second, err := NewNode("n2", first.Addr(), inDirectory(t, memoryConfig(1)))
	if err != nil {
		t.Fatal(err)
	}
	err = second.Start()
	if err == nil || !strings.Contains(err.Error(), first.Addr()+" is in use") {
		t.Errorf("a busy port: %v", err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := second.Start(); err != nil { // what failed to start can try again
		t.Errorf("the port is free again: %v", err)
	}
	if err := second.Stop(); err != nil {
		t.Error(err)
	}
}

func TestAdvertisedAddress(t *testing.T) {
	c := memoryConfig(1)
	c.AdvertiseAddr = "127.0.0.1:0"
	n, err := NewNode("n1", "0.0.0.0:0", inDirectory(t, c))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = n.Stop() }()
	host, port, err := net.SplitHostPort(n.Addr())
	if err != nil || host != "127.0.0.1" || port == "0" {
		t.Errorf("the address is %s", n.Addr())
	}
}

func TestCluster(t *testing.T) {
	nodes := startCluster(t, 3, memoryConfig(3))
	for i, n := range nodes {
		put(t, n, fmt.Sprint("k", i), "v", nil)
	}
	for i := range nodes {
		for _, n := range nodes {
			wantValues(t, get(t, n, fmt.Sprint("k", i)), "v")
		}
	}
	st := nodes[2].Status()
	if len(st.Members) != 3 || st.UnderReplicated || !st.Serving || st.Layout.Owners != 3 || !st.Layout.Stable {
		t.Errorf("status %+v", st)
	}

	put(t, nodes[0], "blind", "a", nil)
	put(t, nodes[1], "blind", "b", nil)
	r := get(t, nodes[2], "blind")
	wantValues(t, r, "a", "b")
	put(t, nodes[2], "blind", "c", r.Context)
	wantValues(t, get(t, nodes[0], "blind"), "c")
}

// With two of three nodes gone, a write says how far it came.
func TestTwoOfThreeNodesGone(t *testing.T) {
	nodes := startCluster(t, 3, memoryConfig(3))
	put(t, nodes[0], "k", "v", nil)
	for _, n := range nodes[1:] {
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	_, err := nodes[0].Put(t.Context(), "k", []byte("w"), nil)
	var q *QuorumError
	if !errors.As(err, &q) || q.Required != 2 || q.Acknowledged > 1 || q.Outcome == "" {
		t.Errorf("a put with one node of three: %v (%+v)", err, q)
	}
	if !errors.Is(err, ErrQuorum) && !errors.Is(err, ErrTimeout) {
		t.Errorf("neither ErrQuorum nor ErrTimeout: %v", err)
	}
	r, err := nodes[0].Get(t.Context(), "k", WithR(1))
	if err != nil || len(r.Values) == 0 {
		t.Errorf("a get of one replica: %v", err)
	}
}

func TestJoinRefused(t *testing.T) {
	first, second := startNode(t, "n1", memoryConfig(1)), startNode(t, "n2", memoryConfig(1))
	put(t, second, "k", "v", nil)
	err := second.Join([]string{first.Addr()})
	if !errors.Is(err, ErrJoinRefused) {
		t.Errorf("the join of a node that holds keys: %v", err)
	}
	for _, seeds := range [][]string{nil, {"nowhere"}, {"0.0.0.0:1"}} {
		if err := second.Join(seeds); !errors.Is(err, ErrInvalidRequest) {
			t.Errorf("the join of %q: %v", seeds, err)
		}
	}
}

func TestReadySaysWhatItWaitsFor(t *testing.T) {
	n := startNode(t, "n1", memoryConfig(3))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := n.Ready(ctx)
	var e *Error
	if !errors.Is(err, ErrTimeout) || !errors.As(err, &e) || !strings.Contains(e.Detail, "1 of 3") {
		t.Errorf("Ready of one node of three: %v", err)
	}
	put(t, n, "k", "v", nil) // it serves all the same
	if !n.Status().UnderReplicated {
		t.Error("it does not say that it is under-replicated")
	}
}

// A fresh node with seeds waits for its cluster, and is a member of it then.
func TestSeeds(t *testing.T) {
	first := startNode(t, "n1", memoryConfig(2))
	c := memoryConfig(2)
	c.Seeds = []string{first.Addr()}
	second := startNode(t, "n2", c)
	waitReady(t, second)
	put(t, second, "k", "v", nil)
	wantValues(t, get(t, first, "k"), "v")
}

func TestRestartFindsItsData(t *testing.T) {
	for _, sync := range []string{SyncAlways, SyncInterval} {
		c := memoryConfig(1)
		c.StorageEngine, c.StoragePath, c.Sync = durableOr("pebble"), t.TempDir(), sync
		n := startNode(t, "n1", c)
		old := put(t, n, "k", "v1", nil)
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
		n = startNode(t, "n1", c)
		wantValues(t, get(t, n, "k"), "v1")
		put(t, n, "k", "v2", old)
		wantValues(t, get(t, n, "k"), "v2")
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
		other, err := NewNode("n2", "127.0.0.1:0", c)
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Start(); err == nil || !strings.Contains(err.Error(), `"n1"`) {
			t.Errorf("a node on another's data: %v", err)
		}
	}
}

// A failure of what is below stops the node, and everyone hears why.
func TestFailureStopsTheNode(t *testing.T) {
	n := startNode(t, "n1", memoryConfig(1))
	cause := errors.New("the disk is gone")
	n.parts.Load().fail(cause)
	<-n.Done()
	if err := n.Err(); !errors.Is(err, cause) {
		t.Errorf("Err: %v", err)
	}
	wantStopped(t, n)
	if _, err := n.Get(t.Context(), "k"); !errors.Is(err, cause) || !strings.Contains(err.Error(), cause.Error()) {
		t.Errorf("Get does not say why: %v", err)
	}
}

func TestConcurrentUse(t *testing.T) {
	n := startNode(t, "n1", memoryConfig(1))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			key := fmt.Sprint("k", i%2)
			for range 50 {
				if _, err := n.Put(t.Context(), key, []byte("v"), nil, Overwrite()); err != nil {
					t.Error(err)
				}
				if _, err := n.Get(t.Context(), key); err != nil {
					t.Error(err)
				}
				_ = n.Status()
			}
		})
	}
	wg.Wait()
	for range 4 {
		wg.Go(func() {
			if err := n.Stop(); err != nil {
				t.Errorf("Stop: %v", err)
			}
		})
		wg.Go(func() {
			if _, err := n.Get(t.Context(), "k0"); err != nil && !errors.Is(err, ErrStopped) {
				t.Errorf("Get while the node stops: %v", err)
			}
		})
	}
	wg.Wait()
}

// A request ends with its context, and says so.
func TestContextEndsRequests(t *testing.T) {
	n := startNode(t, "n1", memoryConfig(1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := n.Put(ctx, "k", nil, nil)
	if err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("canceled before it began: %v", err)
	}
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err = n.Put(late, "k", nil, nil); !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("past its deadline: %v", err)
	}
}

func TestRepliesSayWhoAnswered(t *testing.T) {
	nodes := startCluster(t, 3, memoryConfig(3))
	var put, get, failed QuorumMet
	if _, err := nodes[0].Put(t.Context(), "k", []byte("v"), nil, ReportQuorum(&put)); err != nil {
		t.Fatal(err)
	}
	res, err := nodes[1].Get(t.Context(), "k", ReportQuorum(&get))
	if err != nil {
		t.Fatal(err)
	}
	want := QuorumMet{Replicas: 2, Required: 2}
	if put != want || get != want || res.Quorum != want {
		t.Errorf("the put was met by %+v, the get by %+v, which its result says is %+v; want %+v", put, get, res.Quorum, want)
	}
	if err := nodes[2].Stop(); err != nil {
		t.Fatal(err)
	}
	_, err = nodes[0].Put(t.Context(), "k", []byte("v"), res.Context, WithW(3), ReportQuorum(&failed))
	if err == nil || failed.Replicas != 2 || failed.Required != 3 {
		t.Errorf("a put that needs a stopped node: %v, %+v", err, failed)
	}
}
