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

func (instant) TurnsAway(core.Op, []byte) bool { return false }

// sink is a response to nobody.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

// served returns what answers a request of 100 bytes, without net/http's own part
// and without the node's.
func served(tb testing.TB, op core.Op) (once func()) {
	tb.Helper()
	value := make([]byte, 100)
	set := siblings(string(value))
	method, target, result := http.MethodGet, "/v1/kv/key-1234", found(set)
	if op == core.OpPut {
		method, target = http.MethodPut, target+"?overwrite"
		result = core.Result{Code: core.CodeOK, Outcome: core.Written, Context: set.Clock, Acknowledged: 2, Required: 2}
	}
	s := newServer(instant{result})
	body := bytes.NewReader(value)
	r, err := http.NewRequestWithContext(context.Background(), method, "http://node"+target, body)
	if err != nil {
		tb.Fatal(err)
	}
	w := &sink{}
	return func() {
		body.Reset(value)
		w.header = make(http.Header)
		s.ServeHTTP(w, r)
		if w.status >= http.StatusBadRequest {
			tb.Fatalf("the status is %d", w.status)
		}
	}
}

// TestAllocations: what a request costs in this package is what it allocates. One
// is the header of the test's own.
func TestAllocations(t *testing.T) {
	for op, most := range map[core.Op]float64{core.OpGet: 9, core.OpPut: 12} {
		if n := testing.AllocsPerRun(100, served(t, op)); n > most {
			t.Errorf("a %s allocates %v times; at most %v are allowed", op, n, most)
		}
	}
}

// BenchmarkServeHTTP: what this package adds to a request of 100 bytes.
func BenchmarkServeHTTP(b *testing.B) {
	for _, op := range []core.Op{core.OpGet, core.OpPut} {
		b.Run(op.String(), func(b *testing.B) {
			once := served(b, op)
			b.ReportAllocs()
			for b.Loop() {
				once()
			}
		})
	}
}
