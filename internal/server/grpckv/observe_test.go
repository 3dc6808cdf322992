package grpckv

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
)

// tracer traces all requests that have a traceparent, and keeps what it is told.
type tracer struct {
	mu    sync.Mutex
	begun []string // "op traceparent requestID"
	ended []core.Code
}

func (tr *tracer) Begin(_ context.Context, op core.Op, traceparent, requestID string) (*core.Trace, func(core.Result)) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.begun = append(tr.begun, op.String()+" "+traceparent+" "+requestID)
	end := func(r core.Result) {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		tr.ended = append(tr.ended, r.Code)
	}
	if traceparent == "" {
		return nil, end
	}
	return &core.Trace{ID: [16]byte{15: 9}}, end
}

// lines is where a logger writes to.
type lines struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}

// read returns the lines so far, by their request IDs.
func (l *lines) read(t *testing.T) map[string]map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]map[string]any{}
	for line := range bytes.SplitSeq(bytes.TrimSpace(l.out.Bytes()), []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		out[m["request_id"].(string)] = m
	}
	return out
}

// watched is a service that traces, and logs from that level on.
func watched(t *testing.T, f *fake, level slog.Level) (dynamov1.KVClient, *tracer, *lines) {
	t.Helper()
	kv, s := start(t, f)
	tr, l := &tracer{}, &lines{}
	s.tracer, s.logger = tr, slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: level}))
	return kv, tr, l
}

// wantLine checks some of what a line says.
func wantLine(t *testing.T, line map[string]any, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if line[name] != value {
			t.Errorf("the line %v says %v of %s; want %v", line, line[name], name, value)
		}
	}
}

// TestStreamIsObserved: each request of one message has a trace and a name of
// its own.
func TestStreamIsObserved(t *testing.T) {
	f := &fake{result: core.Result{Code: core.CodeQuorum, Outcome: core.Unknown, Acknowledged: 1, Required: 2}}
	kv, tr, l := watched(t, f, slog.LevelInfo)
	stream, err := kv.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	one, two, three, bad := put(1, "v"), get(2, "k"), get(3, "k"), get(4, "")
	one.Traceparent, one.RequestId = "tp1", "order-1"
	two.RequestId = "order-2"
	three.RequestId = "not sound\n"
	bad.RequestId = "order-4"
	if err := stream.Send(&dynamov1.Requests{Requests: []*dynamov1.Request{one, two, three, bad}}); err != nil {
		t.Fatal(err)
	}
	got := collect(t, stream.Recv, 4)
	drawn := got[3].GetFailure().GetRequestId()
	for n, want := range map[uint64]string{1: "order-1", 2: "order-2", 3: drawn, 4: "order-4"} {
		if id := got[n].GetFailure().GetRequestId(); id != want {
			t.Errorf("request %d is called %q; want %q", n, id, want)
		}
	}
	if len(drawn) != 16 {
		t.Errorf("a request without a sound name is called %q", drawn)
	}
	wantStrings(t, tr.begun, "put tp1 order-1", "get  order-2", "get  ")
	if len(tr.ended) != 3 || tr.ended[0] != core.CodeQuorum {
		t.Errorf("the traces have ended as %v", tr.ended)
	}
	if f.asked[0].Trace == nil || f.asked[1].Trace != nil {
		t.Errorf("the requests are at %v and %v of a trace", f.asked[0].Trace, f.asked[1].Trace)
	}
	logged := l.read(t)
	wantLine(t, logged["order-1"], map[string]any{
		"level": "INFO", "op": "put", "key": "k", "reason": "REASON_QUORUM", "outcome": "WRITE_OUTCOME_UNKNOWN",
		"trace_id": "00000000000000000000000000000009",
	})
	wantLine(t, logged["order-2"], map[string]any{"op": "get", "trace_id": nil, "took": nil})
	if len(logged) != 3 || logged[drawn] == nil { // what a client got wrong is for debugging
		t.Errorf("the log is %v", logged)
	}
}

func wantStrings(t *testing.T, got []string, want ...string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("%q; want %q", got, want)
		}
	}
}

// TestCallsAreObserved: the same of single calls, by their metadata.
func TestCallsAreObserved(t *testing.T) {
	f := &fake{result: found(dotted("a"))}
	kv, tr, l := watched(t, f, slog.LevelDebug)
	ctx := metadata.AppendToOutgoingContext(t.Context(), "traceparent", "tp1", "dynamo-request-id", "order-1")
	var header metadata.MD
	if _, err := kv.Get(ctx, &dynamov1.GetRequest{Key: []byte("k")}, grpc.Header(&header)); err != nil {
		t.Fatal(err)
	}
	wantStrings(t, header.Get("dynamo-request-id"), "order-1")
	_, err := kv.Put(t.Context(), &dynamov1.PutRequest{}, grpc.Header(&header))
	_, refused := failureOf(t, err)
	if len(refused.RequestId) != 16 {
		t.Errorf("a call without a name is called %q", refused.RequestId)
	}
	wantStrings(t, header.Get("dynamo-request-id"), refused.RequestId)
	wantStrings(t, tr.begun, "get tp1 order-1")
	if len(tr.ended) != 1 || tr.ended[0] != core.CodeOK {
		t.Errorf("the traces have ended as %v", tr.ended)
	}
	logged := l.read(t)
	wantLine(t, logged["order-1"], map[string]any{
		"level": "DEBUG", "msg": "a request has ended", "op": "get", "code": "ok", "acknowledged": 2.0, "required": 2.0,
		"trace_id": "00000000000000000000000000000009",
	})
	if logged["order-1"]["took"] == nil {
		t.Errorf("the line %v does not say how long it took", logged["order-1"])
	}
	wantLine(t, logged[refused.RequestId], map[string]any{
		"level": "DEBUG", "msg": "a request was not carried out", "op": "put", "reason": "REASON_INVALID_REQUEST",
	})
}
