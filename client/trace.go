package client

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// traceOf returns the W3C traceparent of ctx's span, with its choice whether the
// trace is sampled; empty where there is none.
func traceOf(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	var carrier propagation.MapCarrier = map[string]string{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}
