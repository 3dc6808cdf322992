package node

import "github.com/dynamo-kv/dynamo/internal/core"

// traceServed notes what a peer's traced request m was answered with, and the
// store's part in it: a read, or the wait for the flush.
func traceServed(now core.Now, e *core.Envelope, answer core.Message, flush uint64, out *core.Out) {
	if e.Trace == nil {
		return
	}
	serve := core.Span{
		Trace: e.Trace.Child(0), Parent: e.Trace.Span, Kind: core.SpanServe, Name: "apply",
		Peer: e.From, Partition: e.Partition, Begin: now.Mono,
	}
	engine := core.Span{
		Parent: serve.Trace.Span, Kind: core.SpanEngine, Name: "write",
		Partition: e.Partition, Begin: now.Mono,
	}
	engine.Trace = serve.Trace.Child(0)
	switch e.Msg.(type) {
	case *core.Read:
		serve.Name, engine.Name = "read", "read"
	case *core.Hint:
		serve.Name = "hint"
	case *core.Forward:
		serve.Name = "forward" // one that is refused: else the coordinator has it
	}
	if r, ok := answer.(*core.Refused); ok {
		serve.Failed = r.Why.String()
		out.Spans = append(out.Spans, serve)
		return
	}
	if flush != 0 {
		out.SpansHeld = append(out.SpansHeld, serve, engine)
	} else {
		out.Spans = append(out.Spans, serve, engine)
	}
}
