package wire

import "github.com/dynamo-kv/dynamo/internal/core"

// traceBytes is the length of a request's place in a trace.
const traceBytes = 16 + 8

// appendTrace appends a place to b; none is nil, whatever b is.
func appendTrace(b []byte, t *core.Trace) []byte {
	if t == nil {
		return nil
	}
	b = append(b, t.ID[:]...)
	return append(b, t.Span[:]...)
}

// decodeTrace returns the place that b is, nil for none. Tracing is a help for
// people, so what cannot be understood is no reason to refuse a request.
func decodeTrace(b []byte) *core.Trace {
	if len(b) != traceBytes {
		return nil
	}
	t := &core.Trace{ID: [16]byte(b), Span: core.SpanID(b[16:])}
	if t.ID == [16]byte{} || t.Span == (core.SpanID{}) {
		return nil
	}
	return t
}
