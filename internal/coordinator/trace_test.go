package coordinator

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

var root = core.Trace{ID: [16]byte{1}, Span: core.SpanID{2}}

// spans runs f and returns the spans that it leaves.
func (b *bench) spans(f func()) []core.Span {
	b.traced = nil
	f()
	return b.traced
}

func wantSpan(t *testing.T, s core.Span, kind core.SpanKind, name string, parent core.SpanID, peer id.Node, failed string) {
	t.Helper()
	if s.Kind != kind || s.Name != name || s.Parent != parent || s.Peer != peer || s.Failed != failed || s.Trace.ID != root.ID {
		t.Errorf("span %+v; want kind %d, %s below %x, peer %q, failure %q", s, kind, name, parent, peer, failed)
	}
}

// A traced put has a span of its own, one for the wait for each peer and one
// for its own disk.
func TestSpansOfAPut(t *testing.T) {
	b := newBench(t, "a", 3)
	own := root.Child(0)
	if left := b.spans(func() {
		b.submit(core.Request{Req: 1, Op: core.OpPut, Key: b.key(true), Value: []byte("v"), Trace: &root})
	}); len(left) != 0 {
		t.Fatalf("spans before anything has ended: %+v", left)
	}
	for _, e := range b.sent {
		if e.Trace == nil || e.Trace.ID != root.ID || e.Trace.Span == own.Span {
			t.Errorf("%T to %s stands at %+v", e.Msg, e.To, e.Trace)
		}
	}
	b.now.Mono += time.Millisecond
	first := b.take(b.sent[0].To)
	left := b.spans(func() { b.answer(first, &core.Applied{}) })
	if len(left) != 1 {
		t.Fatalf("%d spans after a peer's answer: %+v", len(left), left)
	}
	wantSpan(t, left[0], core.SpanAsk, "apply", own.Span, first.To, "")
	if left[0].Trace.Span != first.Trace.Span || left[0].End-left[0].Begin != time.Millisecond {
		t.Errorf("the wait for the peer is %+v; its request stood at %x", left[0], first.Trace.Span)
	}
	left = b.spans(b.flush)
	if len(left) != 2 {
		t.Fatalf("%d spans when the own copy is durable: %+v", len(left), left)
	}
	wantSpan(t, left[0], core.SpanEngine, "write", own.Span, "", "")
	wantSpan(t, left[1], core.SpanCoordinate, "put", root.Span, "", "")
	if r := left[1].Result; left[1].Trace.Span != own.Span || r.Code != core.CodeOK || r.Acknowledged != 2 || r.Required != 2 {
		t.Errorf("the request's span is %+v", left[1])
	}
	second := b.take(b.sent[0].To)
	left = b.spans(func() { b.answer(second, &core.Refused{Why: core.RefusedInvalid}) })
	if len(left) != 1 {
		t.Fatalf("%d spans after a refusal: %+v", len(left), left)
	}
	wantSpan(t, left[0], core.SpanAsk, "apply", own.Span, second.To, core.RefusedInvalid.String())
}

// A put that ends before this node's own copy is durable, since others were
// quicker, has a span for its disk all the same.
func TestSpansOfAPutWithASlowDisk(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(core.Request{Req: 1, Op: core.OpPut, Key: b.key(true), Value: []byte("v"), Trace: &root})
	b.now.Mono += time.Millisecond
	left := b.spans(func() {
		for len(b.sent) > 0 {
			b.answer(b.take(b.sent[0].To), &core.Applied{})
		}
	})
	if len(left) != 4 {
		t.Fatalf("%d spans after both peers' answers: %+v", len(left), left)
	}
	disk := left[3]
	wantSpan(t, disk, core.SpanEngine, "write", root.Child(0).Span, "", "given up")
	if disk.End-disk.Begin != time.Millisecond {
		t.Errorf("the wait for the disk is %+v", disk)
	}
	if more := b.spans(b.flush); len(more) != 0 {
		t.Errorf("spans after the end: %+v", more)
	}
}

// A peer that does not answer leaves a span that says so; the next try has one
// of its own.
func TestSpansOfTriesThatFail(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(core.Request{Req: 1, Op: core.OpPut, Key: b.key(true), Value: []byte("v"), Trace: &root, Options: core.Options{Quorum: core.QuorumStrict}})
	late, unsent := b.take("b"), b.take("c")
	left := b.spans(func() { b.refuse(unsent) })
	if len(left) != 1 || left[0].Failed != "not sent" || left[0].Peer != unsent.To {
		t.Fatalf("spans of what was not sent: %+v", left)
	}
	left = b.spans(func() { b.pass(b.config.PeerTimeout) })
	if len(left) == 0 || left[0].Failed == "" {
		t.Fatalf("spans of a silent peer: %+v", left)
	}
	places := map[core.SpanID]bool{late.Trace.Span: true, unsent.Trace.Span: true}
	for _, e := range b.sent {
		if e.Trace == nil || places[e.Trace.Span] {
			t.Errorf("another try stands at %+v", e.Trace)
		}
		places[e.Trace.Span] = true
	}
}

// What nobody looks at leaves nothing, and says nothing to peers.
func TestNoSpansWithoutATrace(t *testing.T) {
	b := newBench(t, "a", 3)
	left := b.spans(func() {
		b.submit(core.Request{Req: 1, Op: core.OpPut, Key: b.key(true), Value: []byte("v")})
		for _, e := range b.sent {
			if e.Trace != nil {
				t.Errorf("%T stands at %+v", e.Msg, e.Trace)
			}
		}
		for len(b.sent) > 0 {
			b.answer(b.take(b.sent[0].To), &core.Applied{})
		}
		b.flush()
	})
	if len(left) != 0 {
		t.Errorf("spans %+v", left)
	}
}

// A forward is one trace over both nodes.
func TestSpansOfAForward(t *testing.T) {
	b := newBench(t, "a", 5)
	b.submit(core.Request{Req: 1, Op: core.OpPut, Key: b.key(false), Value: []byte("v"), Trace: &root})
	e := b.take(b.sent[0].To)
	b.now.Mono += time.Millisecond
	left := b.spans(func() {
		b.answer(e, &core.Forwarded{Result: core.Result{Code: core.CodeOK, Outcome: core.Written, Acknowledged: 2, Required: 2}})
	})
	if len(left) != 2 {
		t.Fatalf("%d spans: %+v", len(left), left)
	}
	wantSpan(t, left[0], core.SpanAsk, "forward", root.Child(0).Span, e.To, "")
	wantSpan(t, left[1], core.SpanCoordinate, "put", root.Span, "", "")
}

// A delete that reads first goes on once it has read enough: whom it has asked
// beside that is not waited for any more.
func TestSpansOfAReadBeforeADelete(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(core.Request{
		Req: 1, Op: core.OpDelete, Key: b.key(true), Trace: &root, Options: core.Options{Overwrite: true},
	})
	slow := b.take(b.sent[0].To)
	b.pass(20 * time.Millisecond) // one more owner is asked
	quick := b.take(b.sent[0].To)
	left := b.spans(func() { b.answer(quick, &core.ReadReply{}) })
	if len(left) != 2 {
		t.Fatalf("%d spans when it has read enough: %+v", len(left), left)
	}
	own := root.Child(0).Span
	wantSpan(t, left[0], core.SpanAsk, "read", own, quick.To, "")
	wantSpan(t, left[1], core.SpanAsk, "read", own, slow.To, "given up")
}
