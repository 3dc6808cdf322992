package runtime

import (
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// Tracer takes the spans of traced requests. Spans is called on the loops'
// goroutines, so it must not wait; began is the time that the spans' times
// count from. It keeps nothing of the slice.
type Tracer interface {
	Spans(began time.Time, spans []core.Span)
}

// heldSpan ends when its flush is durable.
type heldSpan struct {
	flush uint64
	span  core.Span
}

// trace passes on the spans of a drain whose effects have left.
func (l *loop) trace(out *core.Out) {
	tracer := l.runtime.tracer
	if len(out.Spans)+len(out.SpansHeld) == 0 || tracer == nil {
		return
	}
	now := l.runtime.mono()
	for i := range out.Spans {
		if s := &out.Spans[i]; s.End == 0 {
			s.End = now
		}
	}
	tracer.Spans(l.runtime.began, out.Spans)
	for i := range out.SpansHeld {
		l.heldSpans = append(l.heldSpans, heldSpan{flush: l.committed, span: out.SpansHeld[i]})
	}
}

// releaseSpans ends the spans whose flush is durable.
func (l *loop) releaseSpans() {
	if len(l.heldSpans) == 0 {
		return
	}
	now := l.runtime.mono()
	n := 0
	for n < len(l.heldSpans) && l.heldSpans[n].flush <= l.flushed {
		s := &l.heldSpans[n].span
		s.End = now
		l.runtime.tracer.Spans(l.runtime.began, []core.Span{*s})
		n++
	}
	l.heldSpans = slices.Delete(l.heldSpans, 0, n)
}
