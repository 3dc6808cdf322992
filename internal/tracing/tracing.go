package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/dynamo-kv/dynamo/internal/core"
)

const (
	// maxQueue bounds the spans that wait for the exporter: a thousand sampled
	// requests or so. Past it spans are dropped; requests never wait.
	maxQueue = 16384

	// exportEvery is how long a span waits at most before it is exported.
	exportEvery = time.Second

	// exportTimeout bounds one export.
	exportTimeout = 5 * time.Second

	// closeTimeout bounds the last one: a node that stops does not wait for a
	// collector that is away.
	closeTimeout = time.Second
)

// Options of a Tracer.
type Options struct {
	Node string // that traces
	// Endpoint is the collector's URL: http for plain gRPC, https for TLS.
	Endpoint string
	// SampleRatio is the share of the requests without a traceparent that are
	// traced: 0 to 1.
	SampleRatio float64
	// Exporter takes the spans in place of Endpoint.
	Exporter sdk.SpanExporter
	Logger   *slog.Logger
}

// Tracer begins and exports spans. Its methods may be called from any
// goroutine.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	ratio    float64
	exporter *exporter
}

// New returns a tracer. It does not wait for the collector, which may come and
// go.
func New(o Options) (*Tracer, error) {
	if o.Exporter == nil {
		client, err := otlptracegrpc.New(context.Background(), // which it only takes for a wait that it does not need
			otlptracegrpc.WithEndpointURL(o.Endpoint), otlptracegrpc.WithTimeout(exportTimeout))
		if err != nil {
			return nil, fmt.Errorf("tracing to %s: %w", o.Endpoint, err)
		}
		o.Exporter = client
	}
	e := &exporter{SpanExporter: o.Exporter, logger: o.Logger}
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(e, sdk.WithMaxQueueSize(maxQueue), sdk.WithBatchTimeout(exportEvery), sdk.WithExportTimeout(exportTimeout)),
		sdk.WithSampler(sdk.AlwaysSample()), // Begin has decided
		sdk.WithIDGenerator(ids{}),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "dynamo"), attribute.String("service.instance.id", o.Node))),
	)
	return &Tracer{provider: provider, tracer: provider.Tracer("github.com/dynamo-kv/dynamo"), ratio: o.SampleRatio, exporter: e}, nil
}

// Begin begins the span of a request that comes in, below the W3C traceparent
// that came with it or the span of ctx. Where there is one, it has decided
// whether the request is traced; else the ratio does. place is nil where it is
// not. end must be called with the result.
func (t *Tracer) Begin(ctx context.Context, op core.Op, traceparent, requestID string) (place *core.Trace, end func(core.Result)) {
	if traceparent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
	}
	traced := rand.Float64() < t.ratio
	if above := trace.SpanContextFromContext(ctx); above.IsValid() {
		traced = above.IsSampled()
	}
	if !traced {
		return nil, func(core.Result) {}
	}
	_, span := t.tracer.Start(ctx, "dynamo "+op.String(), trace.WithSpanKind(trace.SpanKindServer))
	at := span.SpanContext()
	if requestID != "" {
		span.SetAttributes(attribute.String("dynamo.request_id", requestID))
	}
	return &core.Trace{ID: at.TraceID(), Span: core.SpanID(at.SpanID())}, func(r core.Result) {
		span.SetAttributes(result(core.SpanResult{
			Code: r.Code, Acknowledged: r.Acknowledged, Required: r.Required, Fallbacks: r.Fallbacks,
		})...)
		if r.Code != core.CodeOK && r.Code != core.CodeNotFound {
			span.SetStatus(codes.Error, r.Code.String())
		}
		span.End()
	}
}

// Spans takes what the machines have left; times count from began.
func (t *Tracer) Spans(began time.Time, spans []core.Span) {
	for i := range spans {
		t.span(began, &spans[i])
	}
}

func (t *Tracer) span(began time.Time, s *core.Span) {
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: s.Trace.ID, SpanID: trace.SpanID(s.Parent), TraceFlags: trace.FlagsSampled, Remote: true,
	}))
	name, kind := describe(s)
	_, span := t.tracer.Start(context.WithValue(ctx, placeKey{}, trace.SpanID(s.Trace.Span)), name,
		trace.WithSpanKind(kind), trace.WithTimestamp(began.Add(s.Begin)))
	span.SetAttributes(attribute.Int("dynamo.partition", int(s.Partition)))
	if s.Peer != "" {
		span.SetAttributes(attribute.String("dynamo.peer", string(s.Peer)))
	}
	if s.Kind == core.SpanCoordinate {
		span.SetAttributes(result(s.Result)...)
	}
	if s.Failed != "" {
		span.SetStatus(codes.Error, s.Failed)
	}
	span.End(trace.WithTimestamp(began.Add(s.End)))
}

// describe returns a span's name, and its kind in OpenTelemetry's terms.
func describe(s *core.Span) (string, trace.SpanKind) {
	switch s.Kind {
	case core.SpanCoordinate:
		return "coordinate " + s.Name, trace.SpanKindInternal
	case core.SpanAsk:
		return "ask " + s.Name, trace.SpanKindClient
	case core.SpanServe:
		return "serve " + s.Name, trace.SpanKindServer
	case core.SpanEngine:
		return "engine " + s.Name, trace.SpanKindInternal
	}
	return s.Name, trace.SpanKindInternal
}

func result(r core.SpanResult) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("dynamo.code", r.Code.String()),
		attribute.Int("dynamo.acknowledged", r.Acknowledged),
		attribute.Int("dynamo.required", r.Required),
		attribute.Int("dynamo.fallbacks", r.Fallbacks),
	}
}

// Close exports what waits, within closeTimeout, and ends the tracer.
func (t *Tracer) Close() {
	late := time.AfterFunc(closeTimeout, t.exporter.giveUp)
	defer late.Stop()
	if err := t.provider.Shutdown(context.Background()); err != nil { // which ends once its exports do
		t.exporter.logger.Warn("tracing has not ended in order", "error", err)
	}
}

// exporter says in the log of the node what fails, once until it works again:
// OpenTelemetry's own word of it goes to the whole process.
type exporter struct {
	sdk.SpanExporter
	logger *slog.Logger
	failed bool // the batcher exports one after another

	mu      sync.Mutex // guards what follows
	current context.CancelFunc
	over    bool // nothing is exported any more
}

// giveUp ends the export that runs, and all that would follow.
func (e *exporter) giveUp() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.over = true
	if e.current != nil {
		e.current()
	}
}

// begin notes what ends the export that begins.
func (e *exporter) begin(cancel context.CancelFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.current = cancel
	if e.over {
		cancel()
	}
}

// ExportSpans exports spans, and drops those that it cannot.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e.begin(cancel)
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch failed := err != nil; {
	case failed == e.failed:
	case failed:
		e.logger.Warn("spans cannot be exported and are dropped", "error", err)
	default:
		e.logger.Info("spans are exported again")
	}
	e.failed = err != nil
	return nil
}

// placeKey is the key of a context's value that has the ID for the next span.
type placeKey struct{}

// ids gives the machines' spans the IDs that they have already, and all others
// random ones.
type ids struct{}

func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	var id trace.TraceID
	for !id.IsValid() {
		fill(id[:8])
		fill(id[8:])
	}
	return id, ids{}.NewSpanID(ctx, id)
}

func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if place, ok := ctx.Value(placeKey{}).(trace.SpanID); ok {
		return place
	}
	var id trace.SpanID
	for !id.IsValid() {
		fill(id[:])
	}
	return id
}

// fill fills 8 bytes at random.
func fill(b []byte) {
	v := rand.Uint64()
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
}
