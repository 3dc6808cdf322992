package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// fake is a backend that answers what it is told and keeps what it was asked.
type fake struct {
	result  core.Result
	status  core.ClusterStatus
	mu      sync.Mutex
	asked   *core.Request // the last
	timeout time.Duration
	full    bool // it turns requests away
}

func (f *fake) TurnsAway(core.Op, []byte) bool { return f.full }

func (f *fake) Do(_ context.Context, q *core.Request, timeout time.Duration) core.Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.timeout = q, timeout
	return f.result
}

func (f *fake) Status() core.ClusterStatus { return f.status }

var testLimits = Limits{Replicas: 3, MaxValueBytes: 1 << 10, Timeout: 2 * time.Second}

func newServer(b Backend) *Server {
	return New(Options{Backend: b, Limits: testLimits, Logger: slog.New(slog.DiscardHandler)})
}

// call is one request to a server with the backend f.
func call(t *testing.T, f *fake, method, target, body string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	if r.Header.Get(HeaderRequestID) == "" {
		r.Header.Set(HeaderRequestID, "r1")
	}
	w := httptest.NewRecorder()
	newServer(f).ServeHTTP(w, r)
	return w
}

func wantStatus(t *testing.T, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Fatalf("status %d, want %d (%s): %s", w.Code, status, http.StatusText(status), w.Body)
	}
}

// dot returns the dot of that counter of one actor.
func dot(counter uint64) version.Dot {
	return version.Dot{Actor: actorOf("n1"), Counter: counter}
}

func actorOf(n id.Node) version.Actor {
	return version.Actor{Node: n, Epoch: version.Epoch{Start: 7, Seq: 1}}
}

// siblings returns a set of the values, written blindly one after another.
func siblings(values ...string) version.Siblings {
	var s version.Siblings
	for i, v := range values {
		s, _ = s.Put(version.Clock{}, actorOf("n1"), version.Write{
			Timestamp: time.Date(2026, 11, 24, 10, 0, i, 5000000, time.UTC).UnixNano(),
			Data:      []byte(v),
			Tombstone: v == tombstone,
		})
	}
	return s
}

// tombstone as a value of siblings makes a tombstone.
const tombstone = "\x00tombstone"

// found returns the result of a read that found s.
func found(s version.Siblings) core.Result {
	return core.Result{Code: core.CodeOK, Set: s, Context: s.Clock, Acknowledged: 2, Required: 2}
}
