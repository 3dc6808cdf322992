package grpckv

import (
	"log/slog"
	"testing"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
)

func requestsOf(t testing.TB, all ...*dynamov1.Request) []byte {
	t.Helper()
	b, err := (&dynamov1.Requests{Requests: all}).MarshalVT()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTurnedAwayAsItCame: an overloaded backend is not shown what it would turn
// away; what it takes goes on beside that.
func TestTurnedAwayAsItCame(t *testing.T) {
	f := &fake{result: core.Result{Code: core.CodeOK, Outcome: core.Written}, full: map[string]bool{"full": true, "k": true}}
	kv, s := start(t, f)
	stream, err := kv.Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	remove := &dynamov1.Request{Id: 3, Op: &dynamov1.Request_Delete{Delete: &dynamov1.DeleteRequest{Key: []byte("full"), Overwrite: true}}}
	batch := []*dynamov1.Request{get(1, "full"), put(2, "v"), remove, get(4, "other"), {Id: 5}}
	if err := stream.Send(&dynamov1.Requests{Requests: batch}); err != nil {
		t.Fatal(err)
	}
	got := collect(t, stream.Recv, len(batch))
	for n, outcome := range map[uint64]dynamov1.WriteOutcome{
		1: dynamov1.WriteOutcome_WRITE_OUTCOME_UNSPECIFIED,
		2: dynamov1.WriteOutcome_WRITE_OUTCOME_NOT_WRITTEN,
		3: dynamov1.WriteOutcome_WRITE_OUTCOME_NOT_WRITTEN,
	} {
		if fail := got[n].GetFailure(); fail.GetReason() != dynamov1.Reason_REASON_OVERLOADED || fail.Outcome != outcome || fail.Message == "" {
			t.Errorf("request %d: %v", n, got[n])
		}
	}
	if got[4].GetGot() == nil || got[5].GetFailure().GetReason() != dynamov1.Reason_REASON_INVALID_REQUEST {
		t.Errorf("what was taken: %v, %v", got[4], got[5])
	}
	if f.count() != 1 || f.away != 3 {
		t.Errorf("%d requests have begun, %d were turned away; want 1 and 3", f.count(), f.away)
	}
	wantEnd(t, stream, nil)
	wantFree(t, s)
}

// TestTurnedAwayAreUnderWay: they count like others until their replies leave, so
// that a client which reads none cannot have the node keep any number of them.
func TestTurnedAwayAreUnderWay(t *testing.T) {
	s := newService(Options{Backend: &fake{full: map[string]bool{"k": true}}, Limits: testLimits})
	session := &session{service: s, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
	var all []*dynamov1.Request
	for n := range uint64(maxRequests) {
		all = append(all, get(n, "k"))
	}
	if err := session.beginAll(t.Context(), new(decoder), requestsOf(t, all...)); err != nil {
		t.Fatal(err)
	}
	_, away, _ := session.take(nil, nil)
	if len(away) != maxRequests || session.underWay != maxUnderWay {
		t.Errorf("%d replies wait, %d requests are under way", len(away), session.underWay)
	}
	session.release(nil, len(away))
	if session.underWay != 0 {
		t.Errorf("%d requests are under way", session.underWay)
	}
}

// BenchmarkTurnAway: what a request that is turned away costs its node, from the
// bytes of its message to those of its reply; and what beginning it would cost
// as well.
func BenchmarkTurnAway(b *testing.B) {
	const each = 64
	var all []*dynamov1.Request
	for n := range uint64(each) {
		r := put(n, string(make([]byte, 100)))
		r.Timeout = uint64(time.Second)
		all = append(all, r)
	}
	message := requestsOf(b, all...)
	for name, full := range map[string]bool{"as it came": true, "begun": false} {
		b.Run(name, func(b *testing.B) {
			f := &turningAway{fake{result: overloaded()}, full}
			s := newService(Options{Backend: f, Limits: testLimits, Logger: slog.New(slog.DiscardHandler)})
			session := &session{service: s, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
			e := encoder{overloaded: s.overloaded}
			var d decoder
			var calls []*call
			var away []turned
			buffer := make([]byte, 0, 1<<20)
			b.ReportAllocs()
			for i := 0; i < b.N; i += each {
				if err := session.beginAll(b.Context(), &d, message); err != nil {
					b.Fatal(err)
				}
				calls, away, _ = session.take(calls, away)
				for _, c := range calls {
					e.add(c)
				}
				for _, t := range away {
					e.addTurned(t)
				}
				e.encode(func(size int) []byte { return buffer[:size] })
				session.release(calls, len(away))
			}
		})
	}
}

// turningAway turns all away: as they came, or when they are begun.
type turningAway struct {
	fake
	early bool
}

func (f *turningAway) TurnsAway(core.Op, []byte) bool { return f.early }

func (f *turningAway) Begin(_ *core.Request, _ time.Duration, to core.Taker) { to.Take(f.result) }
