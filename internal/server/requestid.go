package server

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// HeaderRequestID names a request in its answer, in the body of an error and
// in the node's log. A client may choose the name.
const HeaderRequestID = "Dynamo-Request-Id"

// MaxLoggedPath bounds what a line of the log shows of a path, which has the key
// in it, or of a key.
const MaxLoggedPath = 128

// requestID returns the name of a request as the one value of its header: its
// client's, or where that is none that is allowed, one of 16 random hexadecimal
// digits.
func requestID(h http.Header) []string {
	if given := h[HeaderRequestID]; len(given) == 1 && id.SoundRequestID(given[0]) {
		return given
	}
	return []string{NewRequestID()}
}

// NewRequestID returns a name of 16 random hexadecimal digits.
func NewRequestID() string {
	var b [16]byte
	return string(strconv.AppendUint(b[:0], rand.Uint64()|1<<63, 16)) // with the highest bit, so that it has 16 digits
}

// nameOf returns the name of the request that w answers.
func nameOf(w http.ResponseWriter) slog.Attr {
	return slog.String("request_id", w.Header().Get(HeaderRequestID))
}

// logFailure logs an answer that is no success: what the node is to blame for
// on level info, what its client is on debug.
func (s *Server) logFailure(w http.ResponseWriter, r *http.Request, f *failure) {
	level := slog.LevelDebug
	if f.status >= http.StatusInternalServerError {
		level = slog.LevelInfo
	}
	if !s.logger.Enabled(r.Context(), level) {
		return
	}
	path := r.URL.EscapedPath()
	s.logger.LogAttrs(r.Context(), level, "a request was not carried out", nameOf(w),
		slog.String("method", r.Method), slog.String("path", path[:min(len(path), MaxLoggedPath)]),
		slog.Int("status", f.status), slog.String("code", f.Code), slog.String("outcome", f.Outcome), slog.String("why", f.Message))
}

// logPanic is deferred. A panic costs its connection, and net/http would tell of it
// among what clients do wrong, which is on level debug.
func (s *Server) logPanic(w http.ResponseWriter) {
	v := recover()
	if v == nil {
		return
	}
	if err, _ := v.(error); !errors.Is(err, http.ErrAbortHandler) {
		s.logger.Error("a request has panicked", nameOf(w), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
	}
	panic(http.ErrAbortHandler)
}

// do carries a request out: traced if it is to be, and logged on level debug.
func (s *Server) do(w http.ResponseWriter, r *http.Request, q *core.Request, timeout time.Duration) core.Result {
	end := func(core.Result) {}
	if s.tracer != nil {
		q.Trace, end = s.tracer.Begin(r.Context(), q.Op, r.Header.Get("Traceparent"), w.Header().Get(HeaderRequestID))
	}
	if !s.logger.Enabled(r.Context(), slog.LevelDebug) {
		result := s.backend.Do(r.Context(), q, timeout)
		end(result)
		return result
	}
	began := time.Now()
	result := s.backend.Do(r.Context(), q, timeout)
	end(result)
	s.logDone(r.Context(), w, q, result, time.Since(began))
	return result
}

func (s *Server) logDone(ctx context.Context, w http.ResponseWriter, q *core.Request, r core.Result, took time.Duration) {
	attrs := []slog.Attr{
		nameOf(w), slog.String("op", q.Op.String()), slog.String("code", r.Code.String()),
		slog.Int("acknowledged", r.Acknowledged), slog.Int("required", r.Required), slog.Duration("took", took),
	}
	if q.Trace != nil {
		attrs = append(attrs, slog.String("trace_id", hex.EncodeToString(q.Trace.ID[:])))
	}
	s.logger.LogAttrs(ctx, slog.LevelDebug, "a request has ended", attrs...)
}
