package server

import (
	"bytes"
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// instant answers at once.
type instant struct{ result core.Result }

func (b instant) Do(context.Context, *core.Request, time.Duration) core.Result { return b.result }

func (instant) Status() core.ClusterStatus { return core.ClusterStatus{} }

// sink is a response to nobody.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkServeHTTP: what this package adds to a request of 100 bytes, without
// net/http's own part and without the node's.
func BenchmarkServeHTTP(b *testing.B) {
	value := make([]byte, 100)
	set := siblings(string(value))
	for _, c := range []struct {
		name, method, target string
		result               core.Result
	}{
		{"get", http.MethodGet, "/v1/kv/key-1234", found(set)},
		{"put", http.MethodPut, "/v1/kv/key-1234?overwrite", core.Result{
			Code: core.CodeOK, Outcome: core.Written, Context: set.Clock, Acknowledged: 2, Required: 2,
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := newServer(instant{c.result})
			body := bytes.NewReader(value)
			r, err := http.NewRequestWithContext(b.Context(), c.method, "http://node"+c.target, body)
			if err != nil {
				b.Fatal(err)
			}
			w := &sink{}
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(value)
				w.header = make(http.Header)
				s.ServeHTTP(w, r)
			}
			if w.status >= http.StatusBadRequest {
				b.Fatalf("the status is %d", w.status)
			}
		})
	}
}
