package server

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// waiting is a backend whose requests wait until they are let go.
type waiting struct {
	fake
	let chan struct{}
}

func (b *waiting) Do(ctx context.Context, q *core.Request, timeout time.Duration) core.Result {
	<-b.let
	return b.fake.Do(ctx, q, timeout)
}

// A server that stops ends what it has begun, begins nothing for clients, and
// answers other nodes until then: what a client waits for may come from them.
func TestStopServesNodesWhileClientsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &waiting{let: make(chan struct{})}
		b.result = core.Result{Code: core.CodeNotFound}
		s := New(Options{
			Backend: b, Limits: testLimits, Logger: slog.New(slog.DiscardHandler),
			Others: map[string]http.Handler{"/rpc/x": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) })},
		})
		ask := func(method, path string) *httptest.ResponseRecorder {
			w := httptest.NewRecorder()
			s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("v")))
			return w
		}
		first, stopped := make(chan *httptest.ResponseRecorder, 1), make(chan error, 1)
		go func() { first <- ask(http.MethodGet, "/v1/kv/k") }()
		synctest.Wait()
		go func() { stopped <- s.Stop(t.Context()) }()
		synctest.Wait()
		refused := ask(http.MethodPut, "/v1/kv/k")
		wantStatus(t, refused, http.StatusServiceUnavailable)
		for _, want := range []string{`"code":"stopped"`, `"outcome":"not_written"`} {
			if !strings.Contains(refused.Body.String(), want) {
				t.Errorf("a request after Stop is answered with %s, without %s", refused.Body, want)
			}
		}
		wantStatus(t, ask(http.MethodPost, "/rpc/x"), http.StatusAccepted)
		if len(first)+len(stopped) > 0 {
			t.Error("Stop does not wait for a client's request, or ends it")
		}
		close(b.let)
		wantStatus(t, <-first, http.StatusNotFound)
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

// Stop waits no longer than its context, and may be called again.
func TestStopGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &waiting{let: make(chan struct{})}
		s := newServer(b)
		go s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/kv/k", http.NoBody))
		synctest.Wait()
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := s.Stop(ctx); err != nil {
				t.Error(err) // nothing listens, so that nothing is left open
			}
			cancel()
		}
		close(b.let)
	})
}

// ConnContext sees each connection once.
func TestConnContext(t *testing.T) {
	type key struct{}
	seen := make(chan any, 10)
	s := New(Options{
		Backend: &fake{}, Limits: testLimits, Logger: slog.New(slog.DiscardHandler),
		Others: map[string]http.Handler{"/x": http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			seen <- r.Context().Value(key{})
		})},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, key{}, c.RemoteAddr().String())
		},
	})
	server := httptest.NewUnstartedServer(nil)
	server.Config = s.http
	server.Start()
	defer server.Close()
	for range 2 {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/x", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
	if first, second := <-seen, <-seen; first == nil || first != second {
		t.Errorf("the requests of one connection see %v and %v", first, second)
	}
}
