package grpckv

import (
	"context"
	"encoding/hex"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/server"
)

// The metadata of single calls. Requests of a stream have fields for both.
const (
	metaTraceparent = "traceparent"
	metaRequestID   = "dynamo-request-id" // of the answer, too
)

// observed is how a request is seen: in the log, and in a trace. Most are not,
// and pay for little more than its memory.
type observed struct {
	requestID string            // empty: its client has not named it, and nobody has asked yet
	end       func(core.Result) // of its trace; nil: nothing is traced
	began     time.Time         // zero: nobody wants to know
}

// named returns what is known of a request by the name that its client gives it.
func named(requestID string) observed {
	if !id.SoundRequestID(requestID) {
		return observed{}
	}
	return observed{requestID: requestID}
}

// incoming returns what a single call's metadata says, and names the call in its
// answer.
func incoming(ctx context.Context) (o observed, traceparent string) {
	first := func(name string) string {
		if values := metadata.ValueFromIncomingContext(ctx, name); len(values) == 1 {
			return values[0]
		}
		return ""
	}
	o = named(first(metaRequestID))
	_ = grpc.SetHeader(ctx, metadata.Pairs(metaRequestID, o.name())) // it only fails for a call that has gone
	return o, first(metaTraceparent)
}

// name returns the request's ID; it gets one where it has none.
func (o *observed) name() string {
	if o.requestID == "" {
		o.requestID = server.NewRequestID()
	}
	return o.requestID
}

// watch begins the request's trace, where it is to be traced.
func (s *service) watch(ctx context.Context, o *observed, q *core.Request, traceparent string) {
	if s.tracer != nil {
		q.Trace, o.end = s.tracer.Begin(ctx, q.Op, traceparent, o.requestID)
	}
	if s.logger.Enabled(ctx, slog.LevelDebug) {
		o.began = time.Now()
	}
}

// ended ends the request's trace.
func (o *observed) ended(r core.Result) {
	if o.end != nil {
		o.end(r)
	}
}

// logFailure logs an answer that is no success: what the node is to blame for
// on level info, what its client is on debug.
func (s *service) logFailure(ctx context.Context, o *observed, q *core.Request, f *failure) {
	level := slog.LevelInfo
	if c := codeOf(f.Reason); c == codes.InvalidArgument || c == codes.FailedPrecondition {
		level = slog.LevelDebug
	}
	if !s.logger.Enabled(ctx, level) {
		return
	}
	s.logger.LogAttrs(ctx, level, "a request was not carried out", o.attrs(q,
		slog.String("key", string(q.Key[:min(len(q.Key), server.MaxLoggedPath)])),
		slog.String("reason", f.Reason.String()), slog.String("outcome", f.Outcome.String()), slog.String("why", f.Message))...)
}

// logDone logs on level debug that a request was carried out.
func (s *service) logDone(ctx context.Context, o *observed, q *core.Request, r core.Result) {
	if o.began.IsZero() {
		return
	}
	s.logger.LogAttrs(ctx, slog.LevelDebug, "a request has ended", o.attrs(q,
		slog.String("code", r.Code.String()), slog.Int("acknowledged", r.Acknowledged), slog.Int("required", r.Required))...)
}

// attrs returns what each line about a request says, and more.
func (o *observed) attrs(q *core.Request, more ...slog.Attr) []slog.Attr {
	out := append([]slog.Attr{slog.String("request_id", o.name()), slog.String("op", q.Op.String())}, more...)
	if !o.began.IsZero() {
		out = append(out, slog.Duration("took", time.Since(o.began)))
	}
	if q.Trace != nil {
		out = append(out, slog.String("trace_id", hex.EncodeToString(q.Trace.ID[:])))
	}
	return out
}
