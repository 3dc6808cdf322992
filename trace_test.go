package dynamo

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/propagation"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/client"
)

// otlpCollector keeps the spans that it is sent, by node.
type otlpCollector struct {
	collector.UnimplementedTraceServiceServer

	mu    sync.Mutex
	spans map[string][]*otlp.Span
}

func (c *otlpCollector) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range r.GetResourceSpans() {
		node := ""
		for _, a := range of.GetResource().GetAttributes() {
			if a.GetKey() == "service.instance.id" {
				node = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range of.GetScopeSpans() {
			c.spans[node] = append(c.spans[node], scope.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// await waits until so many spans of these names are there, or of any name where
// none is given. A node that stops exports what waits, but for a second at most.
func (c *otlpCollector) await(t *testing.T, n int, names ...string) {
	t.Helper()
	await(t, fmt.Sprint(n, " spans ", names), func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		there := 0
		for _, spans := range c.spans {
			for _, s := range spans {
				if len(names) == 0 || slices.Contains(names, s.GetName()) {
					there++
				}
			}
		}
		return there >= n
	})
}

// startCollector returns a collector and its URL.
func startCollector(t testing.TB) (*otlpCollector, string) {
	t.Helper()
	c := &otlpCollector{spans: map[string][]*otlp.Span{}}
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	collector.RegisterTraceServiceServer(s, c)
	ended := make(chan error)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-ended; err != nil {
			t.Errorf("the collector: %v", err)
		}
	})
	return c, "http://" + l.Addr().String()
}

const (
	callersTrace = "0af7651916cd43dd8448eb211c80319c"
	callersSpan  = "b7ad6b7169203331"
)

// One put over three nodes is one connected trace below its caller's span: the
// edge, the coordinator, the wait for each peer, what each peer serves, and
// the engine of all three. However it comes to its node.
func TestOnePutIsOneTrace(t *testing.T) {
	for name, put := range map[string]func(t *testing.T, n *Node){
		"http": putOverHTTP, "a single call": putOverGRPC, "the Go client": putThroughClient,
	} {
		t.Run(name, func(t *testing.T) { onePutIsOneTrace(t, put) })
	}
}

const callersTraceparent = "00-" + callersTrace + "-" + callersSpan + "-01"

func putOverHTTP(t *testing.T, n *Node) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+n.Addr()+"/v1/kv/k", strings.NewReader("v"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Traceparent", callersTraceparent)
	r.Header.Set("Dynamo-Request-Id", "callers")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusNoContent {
		t.Fatalf("status %d, %v", resp.StatusCode, err)
	}
}

func putOverGRPC(t *testing.T, n *Node) {
	t.Helper()
	conn, err := grpc.NewClient(n.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", callersTraceparent, "dynamo-request-id", "callers")
	if _, err := dynamov1.NewKVClient(conn).Put(ctx, &dynamov1.PutRequest{Key: []byte("k"), Value: []byte("v")}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
}

func putThroughClient(t *testing.T, n *Node) {
	t.Helper()
	cfg := client.DefaultConfig()
	cfg.Timeout, cfg.AttemptTimeout = time.Minute, time.Minute // a second attempt would have spans of its own
	c, err := client.New(t.Context(), []string{n.Addr()}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := propagation.TraceContext{}.Extract(t.Context(), propagation.MapCarrier{"traceparent": callersTraceparent})
	if _, err := c.Put(t.Context(), "unsampled, too", []byte("v"), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(ctx, "k", []byte("v"), nil, client.WithRequestID("callers")); err != nil {
		t.Fatal(err)
	}
}

func onePutIsOneTrace(t *testing.T, send func(t *testing.T, n *Node)) {
	collected, url := startCollector(t)
	cfg := memoryConfig(3)
	cfg.W = 3
	cfg.Tracing = TracingConfig{Endpoint: url} // nothing but what others have sampled
	nodes := startCluster(t, 3, cfg)
	put(t, nodes[0], "unsampled", "v", nil)
	send(t, nodes[0])
	collected.await(t, 9) // that are all
	for _, n := range nodes {
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	all := map[string]*otlp.Span{}
	names := map[string]int{}
	coordinator := ""
	for node, spans := range collected.spans {
		for _, s := range spans {
			if hex.EncodeToString(s.GetTraceId()) != callersTrace {
				t.Errorf("%s on %s is in another trace, which nobody has asked for", s.GetName(), node)
			}
			all[hex.EncodeToString(s.GetSpanId())] = s
			names[node+" "+s.GetName()]++
			if s.GetName() == "dynamo put" {
				coordinator = node // since all are owners
				wantRequestID(t, s, "callers")
			}
		}
	}
	for _, s := range all {
		parent := hex.EncodeToString(s.GetParentSpanId())
		if (all[parent] == nil) != (s.GetName() == "dynamo put") || all[parent] == nil && parent != callersSpan {
			t.Errorf("%s stands below %s, which is not there", s.GetName(), parent)
		}
		if s.GetEndTimeUnixNano() < s.GetStartTimeUnixNano() {
			t.Errorf("%s ends before it begins", s.GetName())
		}
	}
	want := map[string]int{}
	for _, n := range nodes {
		want[n.ID()+" engine write"] = 1
		if n.ID() == coordinator {
			want[n.ID()+" dynamo put"], want[n.ID()+" coordinate put"], want[n.ID()+" ask apply"] = 1, 1, 2
		} else {
			want[n.ID()+" serve apply"] = 1
		}
	}
	if !maps.Equal(names, want) {
		t.Errorf("the spans are %v; want %v", names, want)
	}
}

func wantRequestID(t *testing.T, s *otlp.Span, want string) {
	t.Helper()
	for _, a := range s.GetAttributes() {
		if a.GetKey() == "dynamo.request_id" && a.GetValue().GetStringValue() == want {
			return
		}
	}
	t.Errorf("%s has the attributes %v; want the request ID %s", s.GetName(), s.GetAttributes(), want)
}

// A request of the embedding program is traced as configured, and one through
// a node that is no owner goes on at an owner.
func TestForwardIsOneTrace(t *testing.T) {
	collected, url := startCollector(t)
	cfg := memoryConfig(1)
	cfg.Tracing = TracingConfig{Endpoint: url, SampleRatio: 1}
	nodes := startCluster(t, 2, cfg)
	waitLayout(t, nodes[0], 2)
	waitLayout(t, nodes[1], 2)
	for c := 'a'; c <= 'z'; c++ { // some of them belong to the other node
		put(t, nodes[0], string(c), "v", nil)
		if r := get(t, nodes[0], string(c)); len(r.Values) != 1 {
			t.Fatalf("%d values", len(r.Values))
		}
	}
	collected.await(t, 2*26, "dynamo put", "dynamo get") // which end last
	for _, n := range nodes {
		if err := n.Stop(); err != nil {
			t.Fatal(err)
		}
	}
	here := map[string]*otlp.Span{}
	for _, s := range collected.spans["n1"] {
		here[hex.EncodeToString(s.GetSpanId())] = s
	}
	forwarded, served := 0, 0
	for _, s := range collected.spans["n2"] {
		above := here[hex.EncodeToString(s.GetParentSpanId())]
		switch s.GetName() {
		case "coordinate put":
			if above.GetName() != "ask forward" {
				t.Errorf("a forwarded put stands below %q", above.GetName())
			}
			forwarded++
		case "serve read":
			if above.GetName() != "ask read" {
				t.Errorf("a read that is served stands below %q", above.GetName())
			}
			served++
		}
	}
	if forwarded == 0 || served == 0 {
		t.Errorf("%d forwarded puts and %d reads at the other node", forwarded, served)
	}
}

// waitLayout waits until a node's layout is of that version and filled.
func waitLayout(t *testing.T, n *Node, version uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p, err := n.running("status")
	if err != nil {
		t.Fatal(err)
	}
	for {
		changed := p.runtime.Changed()
		if l := n.Status().Layout; l.Version >= version && l.Stable {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("layout %+v; want version %d", n.Status().Layout, version)
		}
	}
}

// BenchmarkTracing: a put of 100 bytes on one node in memory, without tracing
// and with so many of the requests sampled.
func BenchmarkTracing(b *testing.B) {
	_, url := startCollector(b)
	for name, c := range map[string]TracingConfig{
		"off":        {},
		"ratio=0":    {Endpoint: url},
		"ratio=0.01": {Endpoint: url, SampleRatio: 0.01},
		"ratio=1":    {Endpoint: url, SampleRatio: 1},
	} {
		cfg := memoryConfig(1)
		cfg.Tracing = c
		n, err := NewNode("n1", "127.0.0.1:0", inDirectory(b, cfg))
		if err != nil {
			b.Fatal(err)
		}
		if err := n.Start(); err != nil {
			b.Fatal(err)
		}
		value := make([]byte, 100)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := n.Put(b.Context(), "key", value, nil, Overwrite()); err != nil {
					b.Fatal(err)
				}
			}
		})
		if err := n.Stop(); err != nil {
			b.Fatal(err)
		}
	}
}
