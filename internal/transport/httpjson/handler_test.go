package httpjson

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// backend answers what it is told and keeps what it was asked.
type backend struct {
	result core.Result
	asked  *core.Request
}

func (b *backend) Do(_ context.Context, q *core.Request, _ time.Duration) core.Result {
	b.asked = q
	return b.result
}

func call(t *testing.T, b *backend, method, body string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), method, GetPath, strings.NewReader(body))
	NewHandler(b, slog.New(slog.DiscardHandler)).ServeHTTP(w, r)
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
	return w
}

func actor(node string, seq uint64) version.Actor {
	return version.Actor{Node: id.Node(node), Epoch: version.Epoch{Start: 0xab, Seq: seq}}
}

func TestGetShowsTheWholeSet(t *testing.T) {
	at := time.Date(2026, 11, 26, 10, 0, 0, 5, time.UTC)
	set, first := version.Siblings{}.Put(version.Clock{}, actor("n1", 1), version.Write{Timestamp: at.UnixNano(), Data: []byte("old")})
	set, _ = set.Put(version.DotClock(first), actor("n1", 1), version.Write{ID: version.WriteID{15: 7}, Timestamp: at.UnixNano(), Data: []byte("new")})
	set, _ = set.Put(version.Clock{}, actor("n2", 3), version.Write{Timestamp: at.UnixNano(), Tombstone: true})
	b := &backend{result: core.Result{Code: core.CodeOK, Set: set}}
	w := call(t, b, http.MethodPost, `{"key":"cart"}`)
	if w.Code != http.StatusOK || b.asked.Op != core.OpInspect || string(b.asked.Key) != "cart" {
		t.Fatalf("status %d after asking %+v: %s", w.Code, b.asked, w.Body)
	}
	const want = `{"values":[` +
		`{"data":"bmV3","vector_clock":{"n1~00000000000000ab.1":2},"timestamp":"2026-11-26T10:00:00.000000005Z","is_tombstone":false,` +
		`"dot":{"actor":"n1~00000000000000ab.1","counter":2},"write_id":"00000000000000000000000000000007"},` +
		`{"data":"","vector_clock":{"n1~00000000000000ab.1":1,"n2~00000000000000ab.3":1},"timestamp":"2026-11-26T10:00:00.000000005Z","is_tombstone":true,` +
		`"dot":{"actor":"n2~00000000000000ab.3","counter":1}}],` +
		`"clock":{"vector":{"n1~00000000000000ab.1":2,"n2~00000000000000ab.3":1}}}`
	if diff := cmp.Diff(want, strings.TrimSpace(w.Body.String())); diff != "" {
		t.Errorf("the answer (-want +got):\n%s", diff)
	}
}

func TestGetOfNothing(t *testing.T) {
	w := call(t, &backend{result: core.Result{Code: core.CodeNotFound}}, http.MethodPost, `{"key_base64":"/w=="}`)
	if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusOK || got != `{"values":[],"clock":{"vector":{}}}` {
		t.Errorf("status %d: %s", w.Code, got)
	}
}

func TestClockWithIsolatedDots(t *testing.T) {
	c, err := version.NewClock([]version.Dot{{Actor: actor("a", 1), Counter: 2}}, []version.Dot{{Actor: actor("a", 1), Counter: 9}})
	if err != nil {
		t.Fatal(err)
	}
	got := clockOf(c)
	want := Clock{Vector: map[string]uint64{"a~00000000000000ab.1": 2}, Dots: []Dot{{Actor: "a~00000000000000ab.1", Counter: 9}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if v := vectorOf(c); v["a~00000000000000ab.1"] != 9 {
		t.Errorf("vector %v; want the highest counter that is covered", v)
	}
}

func TestBadRequests(t *testing.T) {
	long := strings.Repeat("k", id.MaxKeyBytes+1)
	for _, tt := range []struct {
		name, method, body string
		status             int
		want               string
	}{
		{"another method", http.MethodGet, ``, http.StatusMethodNotAllowed, "use POST"},
		{"no JSON", http.MethodPost, `key=cart`, http.StatusBadRequest, `write it like {"key": "cart"}`},
		{"no key", http.MethodPost, `{}`, http.StatusBadRequest, "one of key and key_base64"},
		{"two keys", http.MethodPost, `{"key":"a","key_base64":"YQ=="}`, http.StatusBadRequest, "one of key and key_base64"},
		{"a number", http.MethodPost, `{"key":7}`, http.StatusBadRequest, "cannot unmarshal"},
		{"an empty key", http.MethodPost, `{"key":""}`, http.StatusBadRequest, "1 to 2048"},
		{"a long key", http.MethodPost, `{"key":"` + long + `"}`, http.StatusBadRequest, "2049 bytes"},
		{"bad base64", http.MethodPost, `{"key_base64":"?"}`, http.StatusBadRequest, "base64 with padding"},
		{"half a character", http.MethodPost, `{"key":"\ud800"}`, http.StatusBadRequest, "key_base64"},
		{"no UTF-8", http.MethodPost, "{\"key\":\"\xff\"}", http.StatusBadRequest, "key_base64"},
		{"more than one value", http.MethodPost, `{"key":"a"}{"key":"b"}`, http.StatusBadRequest, "not a request"},
		{"a large body", http.MethodPost, `{"key":"` + strings.Repeat("k", maxGetBody) + `"}`, http.StatusRequestEntityTooLarge, "at most"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := &backend{}
			w := call(t, b, tt.method, tt.body)
			var reply GetReply
			if err := json.Unmarshal(w.Body.Bytes(), &reply); err != nil {
				t.Fatalf("%v in %s", err, w.Body)
			}
			if w.Code != tt.status || !strings.Contains(reply.Error, tt.want) || b.asked != nil {
				t.Errorf("status %d, error %q, asked %v; want %d, %q, nobody", w.Code, reply.Error, b.asked, tt.status, tt.want)
			}
		})
	}
}

func TestNodesThatCannotAnswer(t *testing.T) {
	for code, status := range map[core.Code]int{
		core.CodeNotReady:   http.StatusServiceUnavailable,
		core.CodeOverloaded: http.StatusServiceUnavailable,
		core.CodeStopped:    http.StatusServiceUnavailable,
		core.CodeTimeout:    http.StatusGatewayTimeout,
	} {
		w := call(t, &backend{result: core.Result{Code: code}}, http.MethodPost, `{"key":"a"}`)
		if w.Code != status || !strings.Contains(w.Body.String(), `"error":"`) {
			t.Errorf("%v is answered with %d %s; want %d", code, w.Code, w.Body, status)
		}
	}
}

// FuzzParseGet: whatever comes in, a key that is let through has a length
// that is allowed.
func FuzzParseGet(f *testing.F) {
	if seeds, err := os.ReadDir("testdata/fuzz/" + f.Name()); err != nil || len(seeds) == 0 {
		f.Fatalf("no committed corpus: %v", err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		key, err := parseGet(strings.NewReader(string(body)))
		if err == nil && (len(key) == 0 || len(key) > id.MaxKeyBytes) {
			t.Errorf("%q is let through with a key of %d bytes", body, len(key))
		}
		if err != nil && key != nil {
			t.Errorf("%q has a key beside the error %v", body, err)
		}
	})
}
