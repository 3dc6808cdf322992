package grpckv

import (
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

func (f *instant) Begin(_ *core.Request, _ time.Duration, done func(core.Result)) { done(f.result) }

// BenchmarkReceive: what a request of 100 bytes costs from the message that it is
// in until its reply is in one, without gRPC and the node. Messages have eight.
func BenchmarkReceive(b *testing.B) {
	const size = 8
	set := dotted(string(make([]byte, 100)))
	for _, c := range []struct {
		op     string
		one    func(n uint64) *dynamov1.Request
		result core.Result
	}{
		{"get", func(n uint64) *dynamov1.Request { return get(n, "key-1234") }, found(set)},
		{"put", func(n uint64) *dynamov1.Request {
			r := put(n, string(make([]byte, 100)))
			r.GetPut().Key, r.GetPut().Overwrite, r.GetPut().WriteId = []byte("key-1234"), true, make([]byte, 16)
			r.GetPut().WriteId[0] = 1
			return r
		}, core.Result{Code: core.CodeOK, Outcome: core.Written, Context: set.Clock, Acknowledged: 2, Required: 2}},
	} {
		b.Run(c.op, func(b *testing.B) {
			var batch dynamov1.Requests
			for n := range uint64(size) {
				r := c.one(n + 1)
				r.Timeout = 2e9
				batch.Requests = append(batch.Requests, r)
			}
			message, err := batch.MarshalVT()
			if err != nil {
				b.Fatal(err)
			}
			f := &instant{result: c.result}
			s := &session{service: newService(Options{Backend: f, Limits: testLimits, Logger: slog.New(slog.DiscardHandler)}), wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
			var d decoder
			var e encoder
			var calls []*call
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if n%size > 0 {
					continue // the message before had this one in it
				}
				if err := s.beginAll(b.Context(), &d, message); err != nil {
					b.Fatal(err)
				}
				calls, _ = s.take(calls)
				for _, c := range calls {
					e.add(c)
				}
				var m frame.Message
				e.encode(m.Alloc)
				m.Free()
				s.release(calls)
				clear(calls)
			}
		})
	}
}
