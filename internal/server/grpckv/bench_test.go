package grpckv

import (
	"context"
	"log/slog"
	"testing"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/frame"
)

// instant answers at once.
type instant struct {
	fake
	result core.Result
}

func (f *instant) Begin(_ *core.Request, _ time.Duration, to core.Taker) { to.Take(f.result) }

// received returns what takes a message of size requests of 100 bytes and makes
// the message of their replies, without gRPC and the node.
func received(tb testing.TB, op core.Op, size int) (once func()) {
	tb.Helper()
	set := dotted(string(make([]byte, 100)))
	f := &instant{result: found(set)}
	if op == core.OpPut {
		f.result = core.Result{Code: core.CodeOK, Outcome: core.Written, Context: set.Clock, Acknowledged: 2, Required: 2}
	}
	var batch dynamov1.Requests
	for n := range uint64(size) {
		r := get(n+1, "key-1234")
		if op == core.OpPut {
			r = put(n+1, string(make([]byte, 100)))
			m := r.GetPut()
			m.Key, m.Overwrite, m.WriteId = []byte("key-1234"), true, []byte("0123456789abcdef")
		}
		r.Timeout = uint64(2 * time.Second)
		batch.Requests = append(batch.Requests, r)
	}
	message := encoded(tb, &batch)
	s := &session{
		service: newService(Options{Backend: f, Limits: testLimits, Logger: slog.New(slog.DiscardHandler)}),
		wake:    make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	var d decoder
	var e encoder
	var calls []*call
	return func() {
		if err := s.beginAll(context.Background(), &d, message); err != nil {
			tb.Fatal(err)
		}
		calls, _, _ = s.take(calls, nil)
		for _, c := range calls {
			if c.failure != nil {
				tb.Fatal(c.failure)
			}
			e.add(c)
		}
		var m frame.Message
		e.encode(m.Alloc)
		m.Free()
		s.release(calls, 0)
		clear(calls)
	}
}

// TestAllocations: a request of a stream is itself and its memory.
func TestAllocations(t *testing.T) {
	const size = 64
	for _, op := range []core.Op{core.OpGet, core.OpPut} {
		n := testing.AllocsPerRun(100, received(t, op, size)) / size
		if n > 2.2 { // with some for the message
			t.Errorf("a %s allocates %v times; at most 2 are allowed", op, n)
		}
	}
}

// BenchmarkReceive: what a request of 100 bytes costs from the message that it is
// in until its reply is in one, eight of them a message.
func BenchmarkReceive(b *testing.B) {
	const size = 8
	for _, op := range []core.Op{core.OpGet, core.OpPut} {
		b.Run(op.String(), func(b *testing.B) {
			once := received(b, op, size)
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%size == 0 { // the others were in its message
					once()
				}
			}
		})
	}
}
