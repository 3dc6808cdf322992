package coordinator

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// trace is what a slot notes of a request that somebody looks at. All methods
// of a slot whose names begin with trace do nothing without it, and decide
// nothing with it.
type trace struct {
	own      *core.Trace // of the request at this node
	parent   core.SpanID // of whoever has asked
	began    time.Duration
	children uint64 // places that were made below own

	// The wait for this node's own flush.
	local      string // what waits; empty: nothing does
	localSince time.Duration
}

// newTrace returns what to note for a request that stands at parent, nil where
// nobody looks.
func newTrace(now core.Now, parent *core.Trace) *trace {
	if parent == nil {
		return nil
	}
	return &trace{own: parent.Child(0), parent: parent.Span, began: now.Mono}
}

// child returns a new place below the request's.
func (t *trace) child() *core.Trace {
	t.children++
	return t.own.Child(t.children)
}

// traceAsk returns the place of a question to a peer, which begins now.
func (s *slot) traceAsk(t *try) *core.Trace {
	if s.trace == nil {
		return nil
	}
	t.trace = s.trace.child()
	return t.trace
}

// traceReply ends the wait for a peer that has replied.
func (s *slot) traceReply(now core.Now, t *try, m core.Message, out *core.Out) {
	if t.trace == nil {
		return
	}
	why := ""
	if r, ok := m.(*core.Refused); ok {
		why = r.Why.String()
	}
	s.traceAsked(now, t, why, out)
}

// traceAsked ends the wait for a peer, with why it failed if it did.
func (s *slot) traceAsked(now core.Now, t *try, why string, out *core.Out) {
	if t.trace == nil {
		return
	}
	name := "read"
	switch {
	case s.stage == forwarding:
		name = "forward"
	case t.repair:
		name = "repair"
	case s.stage == writing && t.owner != "":
		name = "hint"
	case s.stage == writing:
		name = "apply"
	}
	out.Spans = append(out.Spans, core.Span{
		Trace: t.trace, Parent: s.trace.own.Span, Kind: core.SpanAsk, Name: name, Peer: t.node,
		Partition: s.partition, Begin: t.sent, End: now.Mono, Failed: why,
	})
	t.trace = nil
}

// traceLocal notes that this node's own copy takes part: at once, or when its
// flush is durable.
func (s *slot) traceLocal(now core.Now, name string, out *core.Out) {
	if s.trace == nil {
		return
	}
	s.trace.local, s.trace.localSince = name, now.Mono
	if s.local == done {
		s.traceEngine(0, "", out) // within this step
	}
}

// traceDurable notes that this node's own copy is durable.
func (s *slot) traceDurable(now core.Now, out *core.Out) {
	if s.trace != nil && s.trace.local != "" {
		s.traceEngine(now.Mono, "", out)
	}
}

func (s *slot) traceEngine(end time.Duration, why string, out *core.Out) {
	t := s.trace
	out.Spans = append(out.Spans, core.Span{
		Trace: t.child(), Parent: t.own.Span, Kind: core.SpanEngine, Name: t.local,
		Partition: s.partition, Begin: t.localSince, End: end, Failed: why,
	})
	t.local = ""
}

// traceAnswer ends the request's own span with its answer. What is still
// awaited after that may end later.
func (s *slot) traceAnswer(now core.Now, r core.Result, out *core.Out) {
	t := s.trace
	if t == nil {
		return
	}
	why := ""
	if r.Code != core.CodeOK && r.Code != core.CodeNotFound {
		why = r.Code.String()
	}
	out.Spans = append(out.Spans, core.Span{
		Trace: t.own, Parent: t.parent, Kind: core.SpanCoordinate, Name: s.op.String(),
		Partition: s.partition, Begin: t.began, End: now.Mono, Failed: why,
		Result: core.SpanResult{Code: r.Code, Acknowledged: r.Acknowledged, Required: r.Required, Fallbacks: r.Fallbacks},
	})
}

// traceEnd ends the waits that are given up: with the slot, or for another
// stage.
func (s *slot) traceEnd(now core.Now, out *core.Out) {
	if s.trace == nil {
		return
	}
	for i := range s.peers {
		s.traceAsked(now, &s.peers[i], "given up", out)
	}
	if s.trace.local != "" {
		s.traceEngine(now.Mono, "given up", out)
	}
}
