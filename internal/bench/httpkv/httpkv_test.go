package httpkv

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/bench"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// asked is a request as a node has seen it.
type asked struct{ method, uri, context, body string }

// node answers as it is told to, and remembers what it was asked.
type node struct {
	*httptest.Server
	mu    sync.Mutex
	asked []asked
}

func startNode(t *testing.T, answer http.HandlerFunc) *node {
	t.Helper()
	n := &node{}
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		n.mu.Lock()
		n.asked = append(n.asked, asked{r.Method, r.RequestURI, r.Header.Get(contextHeader), string(body)})
		n.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(n.Close)
	return n
}

func (n *node) addr() string { return n.Listener.Addr().String() }

// times returns how often it was asked.
func (n *node) times() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.asked)
}

func (n *node) last(t *testing.T) asked {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.asked) == 0 {
		t.Fatal("nothing was asked")
	}
	return n.asked[len(n.asked)-1]
}

func open(t *testing.T, addrs ...string) *DB {
	t.Helper()
	db := New(addrs, 2, time.Second)
	t.Cleanup(db.Close)
	return db
}

func TestRequests(t *testing.T) {
	n := startNode(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(contextHeader, "seen") })
	db := open(t, n.addr())
	if err := db.Put(t.Context(), "a key/?", []byte("value")); err != nil {
		t.Fatal(err)
	}
	if got, want := n.last(t), (asked{"PUT", "/v1/kv/a%20key%2F%3F?timeout=1s&overwrite", "", "value"}); got != want {
		t.Errorf("a put asks %+v, want %+v", got, want)
	}
	if err := db.Get(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	if got, want := n.last(t), (asked{"GET", "/v1/kv/k?timeout=1s", "", ""}); got != want {
		t.Errorf("a get asks %+v, want %+v", got, want)
	}
	if err := db.Modify(t.Context(), "k", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if got, want := n.last(t), (asked{"PUT", "/v1/kv/k?timeout=1s", "seen", "new"}); got != want {
		t.Errorf("a modify ends with %+v, want %+v", got, want)
	}
}

func kindOf(t *testing.T, err error) string {
	t.Helper()
	f, ok := errors.AsType[*bench.Failure](err)
	if !ok {
		t.Fatalf("%v is no failure", err)
	}
	return f.Kind
}

func TestAnswers(t *testing.T) {
	for _, test := range []struct {
		status     int
		body, kind string
	}{
		{http.StatusMultipleChoices, `{"siblings":[]}`, ""},
		{http.StatusNoContent, "", ""},
		{http.StatusNotFound, `{"error":{"code":"not_found","message":"the key is not found"}}`, "not found"},
		{http.StatusServiceUnavailable, `{"error":{"code":"quorum","message":"1 of 2"}}`, "quorum"},
		{http.StatusGatewayTimeout, `{"error":{"code":"timeout","message":"late"}}`, "timeout"},
		{http.StatusNotFound, `<html>`, kindProtocol},
		{http.StatusBadGateway, `{}`, kindProtocol},
	} {
		n := startNode(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(test.status)
			_, _ = io.WriteString(w, test.body)
		})
		switch err := open(t, n.addr()).Get(t.Context(), "k"); {
		case test.kind == "":
			if err != nil {
				t.Errorf("%d: %v", test.status, err)
			}
		case test.kind == "not found":
			if !errors.Is(err, bench.ErrNotFound) {
				t.Errorf("%d: %v", test.status, err)
			}
		case kindOf(t, err) != test.kind:
			t.Errorf("%d %s: %v", test.status, test.body, err)
		}
	}
}

// A modify of a key that is not there writes it, with the context of what was
// deleted if there is one.
func TestModifyWritesWhatIsMissing(t *testing.T) {
	n := startNode(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set(contextHeader, "deleted")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error":{"code":"not_found"}}`)
		}
	})
	if err := open(t, n.addr()).Modify(t.Context(), "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	if got := n.last(t); got.method != "PUT" || got.context != "deleted" {
		t.Errorf("it ends with %+v", got)
	}
}

// A node that is gone, or breaks off, is replaced by another one.
func TestAnotherNodeIsAsked(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	goneAddr := gone.Listener.Addr().String()
	gone.Close()
	breaks := startNode(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	good := startNode(t, func(http.ResponseWriter, *http.Request) {})
	db := open(t, goneAddr, breaks.addr(), good.addr())
	for i := range 3 {
		if err := db.Put(t.Context(), "k", nil); err != nil {
			t.Errorf("put %d: %v", i, err)
		}
	}
	if good.times() != 3 || breaks.times() == 0 {
		t.Errorf("%d requests came to the node that answers, %d to the one that breaks off", good.times(), breaks.times())
	}
	if err := open(t, goneAddr).Get(t.Context(), "k"); kindOf(t, err) != kindUnreachable {
		t.Errorf("no node: %v", err)
	}
	if err := open(t, breaks.addr()).Get(t.Context(), "k"); kindOf(t, err) != kindConnection {
		t.Errorf("a broken connection: %v", err)
	}
}

func TestDeadline(t *testing.T) {
	n := startNode(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := open(t, n.addr()).Get(ctx, "k"); kindOf(t, err) != bench.KindTimeout {
		t.Errorf("no answer: %v", err)
	}
	if err := open(t, "not an address").Get(t.Context(), "k"); err == nil || !strings.Contains(err.Error(), "not an address") {
		t.Errorf("an address that is none: %v", err)
	}
}
