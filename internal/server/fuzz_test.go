package server

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// FuzzKey: every key comes through its percent-encoded path unchanged, and no
// path makes a key that is not allowed.
func FuzzKey(f *testing.F) {
	f.Fuzz(func(t *testing.T, s string) {
		key, err := parseKey(keyPrefix + url.PathEscape(s))
		if (err == nil) != (CheckKey([]byte(s)) == nil) {
			t.Fatalf("the key %q: %v", s, err)
		}
		if err == nil && !bytes.Equal(key, []byte(s)) {
			t.Fatalf("the key %q came out as %q", s, key)
		}
		if key, err := parseKey(keyPrefix + s); err == nil && CheckKey(key) != nil {
			t.Fatalf("the path %q made the key %q", s, key)
		}
	})
}

// FuzzQuery: a query is refused, or it has allowed values only.
func FuzzQuery(f *testing.F) {
	f.Fuzz(func(t *testing.T, query string) {
		p, err := testLimits.parseQuery(query)
		if err != nil {
			return
		}
		q := core.Request{Op: core.OpPut, Key: []byte("k"), Options: p.options}
		if err := testLimits.Check(&q); err != nil {
			t.Fatalf("the query %q was accepted: %v", query, err)
		}
		if err := CheckTimeout(p.timeout); err != nil {
			t.Fatalf("the query %q was accepted: %v", query, err)
		}
	})
}

// FuzzRequest: whatever comes in, an answer with a known status goes out, and
// the backend sees what Check accepts.
func FuzzRequest(f *testing.F) {
	f.Fuzz(func(t *testing.T, method uint8, path, query, context, idempotency string, body []byte) {
		b := &fake{result: found(siblings("v"))}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", bytes.NewReader(body))
		r.Method = []string{"GET", "PUT", "DELETE", "HEAD", "POST"}[method%5]
		r.URL = &url.URL{Path: path, RawQuery: query}
		r.Header = http.Header{HeaderContext: {context}, HeaderIdempotencyKey: {idempotency}}
		w := httptest.NewRecorder()
		newServer(b).ServeHTTP(w, r)
		switch w.Code {
		case 200, 204, 400, 404, 405, 413, 503:
		default:
			t.Fatalf("status %d", w.Code)
		}
		if b.asked == nil {
			return
		}
		if err := testLimits.Check(b.asked); err != nil {
			t.Fatalf("the backend was asked for what is not allowed: %v", err)
		}
	})
}

func TestCorpora(t *testing.T) {
	for _, fuzzer := range []string{"FuzzKey", "FuzzQuery", "FuzzRequest"} {
		seeds, err := os.ReadDir(filepath.Join("testdata", "fuzz", fuzzer))
		if err != nil || len(seeds) == 0 {
			t.Errorf("%s has no corpus: %v", fuzzer, err)
		}
		for _, seed := range seeds {
			data, err := os.ReadFile(filepath.Join("testdata", "fuzz", fuzzer, seed.Name()))
			if err != nil || !strings.HasPrefix(string(data), "go test fuzz v1\n") {
				t.Errorf("%s/%s is no seed: %v", fuzzer, seed.Name(), err)
			}
		}
	}
}
