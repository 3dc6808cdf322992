package sim

import (
	"encoding/binary"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// traceEach is how many attempts there are for each that is traced.
const traceEach = 16

// traceOf returns the place in a trace of attempt n, nil for most of them. It
// draws nothing, so that a seed's run is the same with traces and without.
func traceOf(n int64) *core.Trace {
	if n%traceEach != 0 {
		return nil
	}
	t := &core.Trace{Span: core.SpanID{7: 1}}
	binary.BigEndian.PutUint64(t.ID[8:], uint64(n)+1)
	return t
}

// span adds a span to the entry of a step.
func (t *tracer) span(s *core.Span) {
	t.num(uint64(s.Kind), binary.BigEndian.Uint64(s.Trace.Span[:]), binary.BigEndian.Uint64(s.Parent[:]), uint64(s.Begin), uint64(s.End))
	t.str(s.Name)
	t.str(s.Failed)
}

// inspectSpans holds spans to what core says of them: they are of a trace that
// a client has begun, stand below something in it, and do not end before they
// begin.
func (w *world) inspectSpans(p *process, now core.Now, spans []core.Span) {
	for i := range spans {
		s := &spans[i]
		w.report.Stats.Spans++
		switch {
		case s.Kind == 0 || s.Name == "":
			w.fail("span", "%v: a span of no kind or name: %+v", p.id, *s)
		case s.Trace == nil || !w.traced(s.Trace) || s.Parent == core.SpanID{} || s.Parent == s.Trace.Span:
			w.fail("span", "%v: a %s span without its place: %+v", p.id, s.Name, *s)
		case s.Begin > now.Mono || s.End > now.Mono || s.End != 0 && s.End < s.Begin:
			w.fail("span", "%v: a %s span from %v to %v at %v", p.id, s.Name, s.Begin, s.End, now.Mono)
		}
	}
}

// inspectTrace does so for an envelope: a reply, and what no client has asked
// for, is not traced.
func (w *world) inspectTrace(p *process, e *core.Envelope) {
	if e.Trace != nil && (e.Reply || !w.traced(e.Trace)) {
		w.fail("span", "%v sends %T in the trace %x, reply %v", p.id, e.Msg, e.Trace.ID, e.Reply)
	}
}

// traced says whether a trace is one that a client has begun.
func (w *world) traced(t *core.Trace) bool {
	n := int64(binary.BigEndian.Uint64(t.ID[8:])) - 1
	return n >= 0 && n < int64(len(w.attempts)) && n%traceEach == 0 && t.Span != core.SpanID{}
}
