package client_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo"
	"github.com/dynamo-kv/dynamo/client"
)

func TestReadModifyWrites(t *testing.T) {
	nodes := startCluster(t, 3, memoryConfig())
	c := connect(t, nil, nodes[0])
	ctx := t.Context()
	if r, err := c.Get(ctx, "k"); !errors.Is(err, client.ErrKeyNotFound) || r == nil || len(r.Values) != 0 {
		t.Fatalf("a key that was never written: %v, %v", r, err)
	}
	if r, err := c.Get(ctx, "k"); !errors.Is(err, client.ErrKeyNotFound) {
		t.Fatal(err)
	} else if _, err = c.Delete(ctx, "k", r.Context); err != nil {
		t.Errorf("a delete of what a read did not find: %v", err)
	}
	seen, err := c.Put(ctx, "k", []byte("a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.Put(ctx, "k", []byte("b"), nil); err != nil {
		t.Fatal(err)
	}
	r, err := c.Get(ctx, "k")
	if err != nil || len(r.Values) != 2 {
		t.Fatalf("%v, %v", r, err)
	}
	if o := r.Values[0].VectorClock.Compare(r.Values[1].VectorClock); o != client.Concurrent {
		t.Errorf("siblings are %v", o)
	}
	if _, err = c.Put(ctx, "k", []byte("c"), r.Context); err != nil {
		t.Fatal(err)
	}
	if r, err = c.Get(ctx, "k"); err != nil || len(r.Values) != 1 || string(r.Values[0].Data) != "c" {
		t.Fatalf("%v, %v", r, err)
	}
	if _, err = c.Put(ctx, "other", nil, seen); !errors.Is(err, client.ErrInvalidContext) {
		t.Errorf("the context of another key: %v", err)
	}
	if _, err = c.Delete(ctx, "k", nil, client.Overwrite()); err != nil {
		t.Fatal(err)
	}
	if _, err = c.Get(ctx, "k"); !errors.Is(err, client.ErrKeyNotFound) {
		t.Errorf("a deleted key: %v", err)
	}
}

func TestOptions(t *testing.T) {
	nodes := startCluster(t, 3, memoryConfig())
	c := connect(t, nil, nodes...)
	ctx := t.Context()
	var met client.QuorumMet
	for w := 1; w <= 3; w++ {
		if _, err := c.Put(ctx, "k", []byte("v"), nil, client.Overwrite(), client.WithW(w), client.Strict(), client.ReportQuorum(&met)); err != nil {
			t.Fatal(err)
		}
		if met.Required != w || met.Replicas < w {
			t.Errorf("w=%d: %+v", w, met)
		}
		r, err := c.Get(ctx, "k", client.WithR(w), client.Sloppy(), client.ReportQuorum(&met))
		if err != nil {
			t.Fatal(err)
		}
		if met.Required != w || met.Replicas < w || r.Quorum != met {
			t.Errorf("r=%d: %+v, %+v", w, met, r.Quorum)
		}
	}
	if _, err := c.Get(ctx, "k", client.BlockingRepair(), client.WithR(2)); err != nil {
		t.Errorf("a blocking read: %v", err)
	}
	// The same write twice is one.
	for range 2 {
		if _, err := c.Put(ctx, "once", []byte("v"), nil, client.WithIdempotencyKey("mine")); err != nil {
			t.Fatal(err)
		}
	}
	r, err := c.Get(ctx, "once")
	if err != nil || len(r.Values) != 1 {
		t.Fatalf("%v, %v", r, err)
	}
	for _, n := range r.Values[0].VectorClock.Counters() {
		if n != 1 {
			t.Errorf("the write was carried out %d times", n)
		}
	}
}

func TestRequestsRefused(t *testing.T) {
	nodes := startCluster(t, 1, memoryConfig())
	c := connect(t, nil, nodes...)
	ctx := t.Context()
	seen, err := c.Put(ctx, "k", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	put := func(options ...client.Option) error {
		_, err := c.Put(ctx, "k", nil, nil, options...)
		return err
	}
	get := func(options ...client.Option) error {
		_, err := c.Get(ctx, "k", options...)
		return err
	}
	long := strings.Repeat("k", 2049)
	_, noKey := c.Get(ctx, "")
	_, longKey := c.Get(ctx, long)
	_, largeValue := c.Put(ctx, "k", make([]byte, 16<<20+1), nil)
	_, largerValue := c.Put(ctx, "k", make([]byte, 2<<20), nil) // than the node accepts
	_, both := c.Put(ctx, "k", nil, seen, client.Overwrite())
	_, neither := c.Delete(ctx, "k", nil)
	for name, c := range map[string]struct{ err, kind error }{
		"no key":                     {noKey, client.ErrInvalidRequest},
		"a long key":                 {longKey, client.ErrTooLarge},
		"a value that none takes":    {largeValue, client.ErrTooLarge},
		"a large value":              {largerValue, client.ErrTooLarge},
		"context and overwrite":      {both, client.ErrInvalidRequest},
		"a delete with neither":      {neither, client.ErrInvalidRequest},
		"r=0":                        {get(client.WithR(0)), client.ErrInvalidRequest},
		"r=4":                        {get(client.WithR(4)), client.ErrInvalidRequest},
		"w=300":                      {put(client.WithW(300)), client.ErrInvalidRequest},
		"no time":                    {put(client.WithTimeout(0)), client.ErrInvalidRequest},
		"much time":                  {put(client.WithTimeout(2 * time.Minute)), client.ErrInvalidRequest},
		"no idempotency key":         {put(client.WithIdempotencyKey("")), client.ErrInvalidRequest},
		"a zero write ID":            {put(client.WithIdempotencyKey(strings.Repeat("0", 32))), client.ErrInvalidRequest},
		"a read that overwrites":     {get(client.Overwrite()), client.ErrInvalidRequest},
		"a read that settles":        {get(client.Settle(client.LastWriteWins)), client.ErrInvalidRequest},
		"a write that repairs":       {put(client.BlockingRepair()), client.ErrInvalidRequest},
		"repair with sloppy quorums": {get(client.BlockingRepair(), client.Sloppy()), client.ErrInvalidRequest},
	} {
		e, ok := errors.AsType[*client.Error](c.err)
		if !ok || !errors.Is(c.err, c.kind) {
			t.Errorf("%s: %v", name, c.err)
		} else if e.Op != "get" && e.Outcome != client.NotWritten {
			t.Errorf("%s: outcome %q", name, e.Outcome)
		}
	}
}

// TestErrorsAreTheLibrarys: code that looks at the library's errors, contexts
// and values works with those of a client.
func TestErrorsAreTheLibrarys(t *testing.T) {
	nodes := startCluster(t, 1, memoryConfig())
	c := connect(t, nil, nodes...)
	seen, err := nodes[0].Put(t.Context(), "k", []byte("a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if seen, err = c.Put(t.Context(), "k", []byte("b"), seen); err != nil {
		t.Fatal(err)
	}
	if _, err = nodes[0].Put(t.Context(), "k", []byte("c"), seen); err != nil {
		t.Fatal(err)
	}
	r, err := c.Get(t.Context(), "k")
	if err != nil || len(r.Values) != 1 || string(r.Values[0].Data) != "c" {
		t.Fatalf("%v, %v", r, err)
	}
	_, err = c.Get(t.Context(), "never")
	if e, ok := errors.AsType[*dynamo.Error](err); !ok || !errors.Is(err, dynamo.ErrKeyNotFound) || e.Op != "get" {
		t.Errorf("%v", err)
	}
}

// TestLayoutsAreFollowed: nodes join, and the client goes to them; the one that
// it was told about stops, and the client goes on.
func TestLayoutsAreFollowed(t *testing.T) {
	cfg := memoryConfig()
	cfg.W = 1
	nodes := []*dynamo.Node{startNode(t, "n1", "", cfg)}
	c := connect(t, patient(), nodes[0])
	for i := range 3 {
		nodes = append(nodes, startNode(t, fmt.Sprint("joins", i), nodes[0].Addr(), cfg))
		if _, err := c.Put(t.Context(), fmt.Sprint(i), nil, nil, client.Overwrite()); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		waitReady(t, n)
	}
	await(t, "four nodes and three owners", func() bool {
		addrs, width := client.Addrs(c)
		return len(addrs) == 4 && width == 3
	})
	if err := nodes[0].Stop(); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if _, err := c.Put(t.Context(), fmt.Sprint(i), nil, nil, client.Overwrite()); err != nil {
			t.Fatal(err)
		}
	}
	nodes = append(nodes, startNode(t, "late", nodes[1].Addr(), cfg))
	await(t, "the node that joined after that", func() bool {
		addrs, _ := client.Addrs(c)
		return slices.Contains(addrs, nodes[4].Addr())
	})
}

func TestNewRefuses(t *testing.T) {
	cfg := client.DefaultConfig()
	cfg.Timeout, cfg.AttemptTimeout, cfg.Connections = 0, time.Hour, 17
	_, err := client.New(t.Context(), []string{"nonsense", ":1"}, cfg)
	if !errors.Is(err, client.ErrInvalidConfig) {
		t.Fatal(err)
	}
	for _, want := range []string{`"nonsense"`, `":1"`, "Timeout is 0s", "AttemptTimeout is 1h0m0s", "Connections is 17"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in: %v", want, err)
		}
	}
	if _, err = client.New(t.Context(), nil, nil); !errors.Is(err, client.ErrInvalidConfig) {
		t.Errorf("no addresses: %v", err)
	}
	if err := client.DefaultConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := (*client.Config)(nil).Validate(); !errors.Is(err, client.ErrInvalidConfig) {
		t.Errorf("no configuration: %v", err)
	}
	var config net.ListenConfig
	ln, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0") // where nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err = client.New(ctx, []string{ln.Addr().String()}, nil); !errors.Is(err, client.ErrTimeout) ||
		!strings.HasSuffix(err.Error(), "timeout: no node has told the topology: none has answered yet") {
		t.Errorf("nobody answers: %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err = client.New(ctx, []string{ln.Addr().String()}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that is cancelled: %v", err)
	}
}

// TestNodesThatCannotBeReached: the error of a request that reaches nobody says
// which node was tried last, and why that did not work: with the first attempt,
// which waits for the connection, and with those that find it down.
func TestNodesThatCannotBeReached(t *testing.T) {
	refused := errors.New("refused by the test")
	var down atomic.Bool
	cut := newCutter()
	cfg := client.DefaultConfig()
	cfg.Timeout = time.Second
	cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		if down.Load() {
			return nil, refused
		}
		return cut.dial(ctx, addr)
	}
	nodes := startCluster(t, 1, memoryConfig())
	c := connect(t, cfg, nodes...)
	down.Store(true)
	cut.all()
	for range 2 {
		_, err := c.Put(t.Context(), "k", nil, nil)
		e, ok := errors.AsType[*client.Error](err)
		if !ok || !errors.Is(err, client.ErrTimeout) || e.Outcome != client.NotWritten {
			t.Fatalf("%v", err)
		}
		if want := "the node cannot be reached: " + nodes[0].Addr() + ": " + refused.Error(); e.Detail != want {
			t.Errorf("the detail is %q; want %q", e.Detail, want)
		}
	}
}

// TestReconnectedNodesAreUnknown: what a node took before its connection broke says
// nothing of it when there is a new one.
func TestReconnectedNodesAreUnknown(t *testing.T) {
	nodes := startCluster(t, 1, memoryConfig())
	cut := newCutter()
	cfg := patient()
	cfg.Dial = cut.dial
	c := connect(t, cfg, nodes...)
	if _, err := c.Put(t.Context(), "k", nil, nil); err != nil {
		t.Fatal(err)
	}
	if client.Slow(c, nodes[0].Addr()) == 0 {
		t.Fatal("a node that has answered is not known")
	}
	cut.all()
	await(t, "the node to be unknown", func() bool { return client.Slow(c, nodes[0].Addr()) == 0 })
}

// TestCloseLeavesNothing: when Close returns, every connection is closed.
func TestCloseLeavesNothing(t *testing.T) {
	nodes := startCluster(t, 1, memoryConfig())
	cut := newCutter()
	cfg := patient()
	cfg.Connections, cfg.Dial = 16, cut.dial
	c := connect(t, cfg, nodes...)
	for range 2 * cfg.Connections {
		if _, err := c.Get(t.Context(), "k"); !errors.Is(err, client.ErrKeyNotFound) {
			t.Fatal(err)
		}
	}
	if n := cut.open(); n != 1+cfg.Connections {
		t.Fatalf("%d connections are open", n)
	}
	c.Close()
	if n := cut.open(); n > 0 {
		t.Errorf("%d connections are open after Close", n)
	}
}

// TestSeveralConnections: they share the requests.
func TestSeveralConnections(t *testing.T) {
	nodes := startCluster(t, 1, memoryConfig())
	cut := newCutter()
	cfg := patient()
	cfg.Connections, cfg.Dial = 3, cut.dial
	c := connect(t, cfg, nodes...)
	for i := range 10 {
		if _, err := c.Put(t.Context(), fmt.Sprint(i), nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	cut.all()
	if n := cut.count(); n != 1+3 { // the one that watches the topology
		t.Errorf("there were %d connections", n)
	}
	if _, err := c.Get(t.Context(), "0"); err != nil {
		t.Errorf("after all connections were cut: %v", err)
	}
}

// await polls until the condition holds.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("still waiting for %s after a minute", what)
		case <-tick.C:
		}
	}
}
