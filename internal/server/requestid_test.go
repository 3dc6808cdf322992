package server

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

func TestRequestIDs(t *testing.T) {
	for _, given := range []string{"a", "0b5c-1.x_Y", strings.Repeat("z", id.MaxRequestIDBytes)} {
		if got := requestID(http.Header{HeaderRequestID: {given}})[0]; got != given {
			t.Errorf("the ID %q became %q", given, got)
		}
	}
	seen := map[string]bool{}
	for _, given := range [][]string{nil, {""}, {"a b"}, {"a\n"}, {"ü"}, {"a", "b"}, {strings.Repeat("z", id.MaxRequestIDBytes+1)}} {
		got := requestID(http.Header{HeaderRequestID: given})[0]
		if len(got) != 16 || strings.Trim(got, "0123456789abcdef") != "" || seen[got] {
			t.Errorf("%q in place of the ID %q", got, given)
		}
		seen[got] = true
	}
}

// logged returns the lines that a server with that level logs about one
// request, and the request's answer.
func logged(t *testing.T, level slog.Level, b Backend, method, target string) ([]map[string]any, *httptest.ResponseRecorder) {
	t.Helper()
	var out bytes.Buffer
	s := New(Options{Backend: b, Limits: testLimits, Logger: slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: level}))})
	r := httptest.NewRequestWithContext(t.Context(), method, target, http.NoBody)
	r.Header.Set(HeaderRequestID, "r7")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var lines []map[string]any
	for line := range strings.Lines(out.String()) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, one)
	}
	return lines, w
}

func TestFailuresAreLoggedWithTheirID(t *testing.T) {
	b := &fake{result: core.Result{Code: core.CodeQuorum, Outcome: core.Unknown, Acknowledged: 1, Required: 2}}
	lines, w := logged(t, slog.LevelInfo, b, "PUT", "/v1/kv/cart%2F1")
	if len(lines) != 1 || lines[0]["request_id"] != "r7" || lines[0]["code"] != "quorum" || lines[0]["outcome"] != "unknown" ||
		lines[0]["path"] != "/v1/kv/cart%2F1" || lines[0]["status"] != 503.0 {
		t.Errorf("logged %v", lines)
	}
	if !strings.Contains(w.Body.String(), `"request_id":"r7"`) || w.Header().Get(HeaderRequestID) != "r7" {
		t.Errorf("answered %v %s", w.Header(), w.Body)
	}
	if lines, _ := logged(t, slog.LevelInfo, &fake{}, "PUT", "/v1/kv/"); len(lines) != 0 {
		t.Errorf("what a client has done wrong is logged on level info: %v", lines)
	}
	lines, _ = logged(t, slog.LevelDebug, &fake{}, "PUT", "/v1/kv/"+strings.Repeat("k", 500)+"?r=no")
	if len(lines) != 1 || lines[0]["request_id"] != "r7" || len(lines[0]["path"].(string)) != MaxLoggedPath {
		t.Errorf("logged %v", lines)
	}
}

func TestRequestsAreLoggedOnLevelDebug(t *testing.T) {
	b := &fake{result: found(siblings("v"))}
	lines, w := logged(t, slog.LevelDebug, b, "GET", "/v1/kv/k")
	if len(lines) != 1 || lines[0]["request_id"] != "r7" || lines[0]["op"] != "get" || lines[0]["code"] != "ok" || lines[0]["trace_id"] != nil {
		t.Errorf("logged %v", lines)
	}
	if w.Code != http.StatusOK || w.Header().Get(HeaderRequestID) != "r7" {
		t.Errorf("answered %d %v", w.Code, w.Header())
	}
}

// beginner traces every request and keeps what it was told.
type beginner struct {
	traceparent, requestID string
	ended                  []core.Code
}

func (b *beginner) Begin(_ context.Context, _ core.Op, traceparent, requestID string) (*core.Trace, func(core.Result)) {
	b.traceparent, b.requestID = traceparent, requestID
	return &core.Trace{ID: [16]byte{1}, Span: core.SpanID{2}}, func(r core.Result) { b.ended = append(b.ended, r.Code) }
}

func TestRequestsAreTraced(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	f, tracer := &fake{result: core.Result{Code: core.CodeTimeout}}, &beginner{}
	var out bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := New(Options{Backend: f, Limits: testLimits, Tracer: tracer, Logger: logger})
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/kv/k", http.NoBody)
	r.Header.Set("Traceparent", parent)
	r.Header.Set(HeaderRequestID, "r7")
	s.ServeHTTP(httptest.NewRecorder(), r)
	if tracer.traceparent != parent || tracer.requestID != "r7" || len(tracer.ended) != 1 || tracer.ended[0] != core.CodeTimeout {
		t.Errorf("the tracer was told %+v", tracer)
	}
	if f.asked.Trace == nil || f.asked.Trace.Span != (core.SpanID{2}) {
		t.Errorf("the request stands at %+v", f.asked.Trace)
	}
	if want := `"trace_id":"01000000000000000000000000000000"`; !strings.Contains(out.String(), want) {
		t.Errorf("%s is not logged: %s", want, &out)
	}
}
