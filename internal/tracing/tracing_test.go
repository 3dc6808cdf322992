package tracing

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/core"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	yes     = "00-" + traceID + "-b7ad6b7169203331-01"
	no      = "00-" + traceID + "-b7ad6b7169203331-00"
)

// newTracer returns a tracer that samples so many, and what ends it and
// returns its spans.
func newTracer(t *testing.T, ratio float64) (*Tracer, func() tracetest.SpanStubs) {
	t.Helper()
	exporter := &keeper{InMemoryExporter: tracetest.NewInMemoryExporter()}
	tracer, err := New(Options{Node: "n1", SampleRatio: ratio, Exporter: exporter, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return tracer, func() tracetest.SpanStubs {
		tracer.Close()
		return exporter.GetSpans()
	}
}

// keeper keeps its spans after its end.
type keeper struct{ *tracetest.InMemoryExporter }

func (keeper) Shutdown(context.Context) error { return nil }

// A request below a traceparent, and what machines leave below the request,
// are one trace with the IDs that the machines have given out.
func TestSpansOfMachines(t *testing.T) {
	tracer, end := newTracer(t, 0)
	place, done := tracer.Begin(t.Context(), core.OpPut, yes, "r7")
	if place == nil {
		t.Fatal("what somebody else has sampled is not traced")
	}
	own := place.Child(0)
	ask := own.Child(1)
	began := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	tracer.Spans(began, []core.Span{
		{
			Trace: own, Parent: place.Span, Kind: core.SpanCoordinate, Name: "put", Partition: 5, Begin: time.Second, End: 2 * time.Second,
			Result: core.SpanResult{Code: core.CodeOK, Acknowledged: 2, Required: 2},
		},
		{Trace: ask, Parent: own.Span, Kind: core.SpanAsk, Name: "apply", Peer: "n2", Begin: time.Second, End: 3 * time.Second, Failed: "given up"},
		{Trace: ask.Child(0), Parent: ask.Span, Kind: core.SpanServe, Name: "apply", Peer: "n1", Begin: time.Second, End: time.Second},
		{Trace: ask.Child(1), Parent: ask.Span, Kind: core.SpanEngine, Name: "write", Begin: time.Second, End: time.Second},
	})
	done(core.Result{Code: core.CodeTimeout, Acknowledged: 1, Required: 2})
	spans := map[string]tracetest.SpanStub{}
	for _, s := range end() {
		spans[s.Name] = s
		if s.SpanContext.TraceID().String() != traceID {
			t.Errorf("%s is in the trace %s", s.Name, s.SpanContext.TraceID())
		}
	}
	edge, coordinate, asked := spans["dynamo put"], spans["coordinate put"], spans["ask apply"]
	if edge.Parent.SpanID().String() != "b7ad6b7169203331" || edge.Status.Code != codes.Error || edge.SpanKind != trace.SpanKindServer {
		t.Errorf("the edge: %+v", edge)
	}
	if coordinate.Parent.SpanID() != edge.SpanContext.SpanID() || coordinate.SpanContext.SpanID() != trace.SpanID(own.Span) ||
		!coordinate.StartTime.Equal(began.Add(time.Second)) || !coordinate.EndTime.Equal(began.Add(2*time.Second)) || coordinate.Status.Code == codes.Error {
		t.Errorf("the coordinator: %+v", coordinate)
	}
	if asked.Parent.SpanID() != trace.SpanID(own.Span) || asked.Status.Description != "given up" || asked.SpanKind != trace.SpanKindClient {
		t.Errorf("the question to a peer: %+v", asked)
	}
	for _, name := range []string{"serve apply", "engine write"} {
		if spans[name].Parent.SpanID() != trace.SpanID(ask.Span) {
			t.Errorf("%s: %+v", name, spans[name])
		}
	}
	attributes := map[string]string{}
	for _, a := range append(edge.Attributes, asked.Attributes...) {
		attributes[string(a.Key)] = a.Value.String()
	}
	for key, want := range map[string]string{
		"dynamo.request_id": "r7", "dynamo.code": "timeout", "dynamo.acknowledged": "1", "dynamo.peer": "n2", "dynamo.partition": "0",
	} {
		if attributes[key] != want {
			t.Errorf("%s is %q; want %q", key, attributes[key], want)
		}
	}
}

func TestWhatIsSampled(t *testing.T) {
	var sampled int
	some, end := newTracer(t, 0.5)
	for range 1000 {
		if place, done := some.Begin(t.Context(), core.OpGet, "", ""); place != nil {
			sampled++
			done(core.Result{Code: core.CodeOK})
		}
	}
	if n := len(end()); n != sampled || n < 300 || n > 700 { // which happens once in more than 10^36 runs
		t.Errorf("%d spans of %d requests that are sampled; want about 500", n, sampled)
	}
	for name, c := range map[string]struct {
		ratio       float64
		traceparent string
		traced      bool
	}{
		"none":                     {0, "", false},
		"all":                      {1, "", true},
		"another one's yes":        {0, yes, true},
		"another one's no":         {1, no, false},
		"a traceparent that is no": {1, "00-xyz-01", true},
		"one that is no, of none":  {0, "00-xyz-01", false},
	} {
		tracer, end := newTracer(t, c.ratio)
		place, done := tracer.Begin(t.Context(), core.OpGet, c.traceparent, "")
		done(core.Result{Code: core.CodeNotFound})
		if spans := end(); (place != nil) != c.traced || len(spans) > 0 != c.traced {
			t.Errorf("%s: place %+v, %d spans", name, place, len(spans))
		}
	}
}

// A request of an embedding program stands below the program's own span.
func TestBelowTheProgramsSpan(t *testing.T) {
	tracer, end := newTracer(t, 0)
	above := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	place, done := tracer.Begin(trace.ContextWithSpanContext(t.Context(), above), core.OpGet, "", "")
	done(core.Result{Code: core.CodeOK})
	spans := end()
	if place == nil || place.ID != above.TraceID() || len(spans) != 1 || spans[0].Parent.SpanID() != above.SpanID() {
		t.Errorf("place %+v, spans %+v", place, spans)
	}
}

func TestRandomIDsAreDistinct(t *testing.T) {
	seen := map[trace.SpanID]bool{}
	for range 1000 {
		_, id := ids{}.NewIDs(t.Context())
		if seen[id] || !id.IsValid() {
			t.Fatalf("the ID %s twice", id)
		}
		seen[id] = true
	}
}

// broken fails until it is whole.
type broken struct{ whole bool }

func (b *broken) ExportSpans(context.Context, []sdk.ReadOnlySpan) error {
	if b.whole {
		return nil
	}
	return errors.New("nobody listens")
}

func (*broken) Shutdown(context.Context) error { return nil }

// A collector that is away is said once, and so is that it is back.
func TestFailedExportsAreSaidOnce(t *testing.T) {
	var out bytes.Buffer
	b := &broken{}
	e := &exporter{SpanExporter: b, logger: slog.New(slog.NewTextHandler(&out, nil))}
	export := func() string {
		out.Reset()
		if err := e.ExportSpans(t.Context(), nil); err != nil {
			t.Errorf("the error %v would go to the whole process", err)
		}
		return out.String()
	}
	if said := export(); !strings.Contains(said, "nobody listens") {
		t.Errorf("the first failure: %q", said)
	}
	if said := export(); said != "" {
		t.Errorf("the second failure: %q", said)
	}
	b.whole = true
	if said := export(); !strings.Contains(said, "again") {
		t.Errorf("it works again: %q", said)
	}
}

// A collector that nobody has started keeps nothing from starting or ending.
func TestCollectorThatIsAway(t *testing.T) {
	tracer, err := New(Options{Node: "n1", Endpoint: "http://127.0.0.1:1", SampleRatio: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if place, done := tracer.Begin(t.Context(), core.OpGet, "", ""); place == nil {
		t.Error("it does not trace")
	} else {
		done(core.Result{Code: core.CodeOK})
	}
	tracer.Close()
}
