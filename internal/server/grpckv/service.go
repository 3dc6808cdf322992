package grpckv

import (
	"context"
	"log/slog"
	"time"

	"google.golang.org/grpc"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/server"
)

// Backend carries out what the service has parsed and checked.
type Backend interface {
	server.Backend
	// Begin carries out q like Do, and gives its result to to, before it returns
	// or later.
	Begin(q *core.Request, timeout time.Duration, to core.Taker)
	// Changed returns a channel that is closed when the status may have changed.
	Changed() <-chan struct{}
}

// Options of the service.
type Options struct {
	Backend Backend
	Limits  server.Limits
	// Tracer begins the traces of requests; nil: none is traced.
	Tracer server.Tracer
	Logger *slog.Logger
}

// service is dynamo.v1.KV. It is safe for concurrent use.
type service struct {
	dynamov1.UnimplementedKVServer
	backend Backend
	limits  server.Limits
	tracer  server.Tracer // nil: nothing is traced
	logger  *slog.Logger
	memory  memory

	overloaded *refusals // of streams' requests
}

// Register adds the service to a server, whose codec is frame.Codec.
func Register(to grpc.ServiceRegistrar, o Options) {
	dynamov1.RegisterKVServer(to, newService(o))
}

func newService(o Options) *service {
	return &service{
		backend: o.Backend, limits: o.Limits, tracer: o.Tracer, logger: o.Logger, overloaded: newRefusals(),
	}
}

// Get answers a single call.
func (s *service) Get(ctx context.Context, m *dynamov1.GetRequest) (*dynamov1.GetReply, error) {
	var q core.Request
	r, err := s.do(ctx, &q, s.parseGet(&q, m))
	if err != nil {
		return nil, err
	}
	var e encoder
	return e.got(&q, r), nil
}

// Put answers a single call.
func (s *service) Put(ctx context.Context, m *dynamov1.PutRequest) (*dynamov1.WriteReply, error) {
	var q core.Request
	return s.write(ctx, &q, s.parsePut(&q, m))
}

// Delete answers a single call.
func (s *service) Delete(ctx context.Context, m *dynamov1.DeleteRequest) (*dynamov1.WriteReply, error) {
	var q core.Request
	return s.write(ctx, &q, s.parseDelete(&q, m))
}

func (s *service) write(ctx context.Context, q *core.Request, refused error) (*dynamov1.WriteReply, error) {
	r, err := s.do(ctx, q, refused)
	if err != nil {
		return nil, err
	}
	var e encoder
	return e.written(q, r), nil
}

// do carries out a single call's request, unless that is refused already.
func (s *service) do(ctx context.Context, q *core.Request, refused error) (core.Result, error) {
	o, traceparent := incoming(ctx)
	if refused != nil {
		return core.Result{}, s.fail(ctx, &o, q, refusal(q.Op, refused))
	}
	need := sizeOf(q)
	if !s.memory.take(0, need) {
		return core.Result{}, s.fail(ctx, &o, q, failed(q.Op, overloaded()))
	}
	defer s.memory.give(need)
	s.watch(ctx, &o, q, traceparent)
	r := s.backend.Do(ctx, q, s.within(ctx))
	o.ended(r)
	if r.Code != core.CodeOK && r.Code != core.CodeNotFound {
		return r, s.fail(ctx, &o, q, failed(q.Op, r))
	}
	s.logDone(ctx, &o, q, r)
	return r, nil
}

// fail returns the error of a single call.
func (s *service) fail(ctx context.Context, o *observed, q *core.Request, f *failure) error {
	f.RequestId = o.name()
	s.logFailure(ctx, o, q, f)
	return f.status()
}

// within returns the time that a single call has.
func (s *service) within(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return s.limits.Timeout
	}
	left := time.Until(deadline)
	return min(left-min(maxMargin, left/10), server.MaxTimeout)
}

// overloaded is the result of a request for which there is no memory.
func overloaded() core.Result {
	return core.Result{Code: core.CodeOverloaded, Outcome: core.NotWritten}
}

// sizeOf returns the memory that a request takes.
func sizeOf(q *core.Request) int64 {
	return int64(len(q.Key) + len(q.Value) + q.Context.Len()*entryBytes)
}
