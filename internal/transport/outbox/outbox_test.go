package outbox

import (
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

// envelope returns a request with that number and a key of so many bytes.
func envelope(n uint64, size int, deadline time.Duration) *core.Envelope {
	return &core.Envelope{
		From: "a", To: "b", Cluster: 1, Req: core.ReqID(n), Deadline: deadline,
		Msg: &core.Read{Key: make([]byte, size)},
	}
}

func put(tb testing.TB, q *Queue, n uint64, size int) {
	tb.Helper()
	if !q.Put(envelope(n, size, time.Hour)) {
		tb.Fatalf("envelope %d is refused", n)
	}
}

func TestBatchesKeepToTheLimits(t *testing.T) {
	const size = 40 << 10
	q := New()
	for n := range uint64(100) {
		put(t, q, n, size)
	}
	var b Batch
	next, messages := uint64(0), 0
	for more := true; more; messages++ {
		more = q.Take(0, &b)
		bytes := 0
		for i := range b.Envelopes {
			if b.Envelopes[i].Req != core.ReqID(next) {
				t.Fatalf("envelope %d follows %d", b.Envelopes[i].Req, next)
			}
			next++
			bytes += wire.Size(&b.Envelopes[i])
		}
		if bytes > wire.MaxBatchBytes {
			t.Errorf("a message of %d bytes", bytes)
		}
	}
	if next != 100 || messages != 4 {
		t.Errorf("%d envelopes in %d messages; want 100 in 4", next, messages)
	}
}

func TestLargeEnvelopeTravelsAlone(t *testing.T) {
	q := New()
	put(t, q, 1, 10)
	put(t, q, 2, 32<<20)
	put(t, q, 3, 10)
	put(t, q, 4, 10)
	var got [][]core.ReqID
	var b Batch
	for more := true; more; {
		more = q.Take(0, &b)
		var reqs []core.ReqID
		for _, e := range b.Envelopes {
			reqs = append(reqs, e.Req)
		}
		got = append(got, reqs)
	}
	if len(got) != 3 || len(got[0]) != 1 || len(got[1]) != 1 || len(got[2]) != 2 {
		t.Errorf("messages %v; want 1, 2 and 3 with 4", got)
	}
}

func TestMessagesHaveOneHeader(t *testing.T) {
	q := New()
	for _, change := range []func(*core.Envelope){
		func(*core.Envelope) {},
		func(e *core.Envelope) { e.From = "c" },
		func(e *core.Envelope) { e.To = "" },
		func(e *core.Envelope) { e.Cluster = 2 },
	} {
		for n := range uint64(2) {
			e := envelope(n, 1, time.Hour)
			change(e)
			q.Put(e)
		}
	}
	var b Batch
	for range 4 {
		q.Take(0, &b)
		if len(b.Envelopes) != 2 {
			t.Errorf("a message of %d envelopes; want the two that share their header", len(b.Envelopes))
		}
	}
}

func TestBounds(t *testing.T) {
	q := New()
	for n := range uint64(MaxEnvelopes) {
		put(t, q, n, 1)
	}
	if q.Put(envelope(0, 1, time.Hour)) {
		t.Errorf("%d envelopes wait, and one more is taken", MaxEnvelopes)
	}
	var b Batch
	q.Take(0, &b)
	put(t, q, 0, 1)

	q = New()
	put(t, q, 0, 60<<20)
	if q.Put(envelope(1, 4<<20, time.Hour)) {
		t.Error("64 MiB and more wait")
	}
	put(t, q, 2, 3<<20)
	q.Drain()
	put(t, q, 3, 70<<20) // alone it may be larger than the bound
	if q.Put(envelope(4, 1, time.Hour)) {
		t.Error("something waits behind an envelope above the bound")
	}
	q.Drain()
	if q.Put(envelope(5, id.MaxMessageBytes, time.Hour)) {
		t.Error("an envelope above the size of any message is taken")
	}
}

func TestClose(t *testing.T) {
	q := New()
	put(t, q, 1, 1)
	if q.CloseIfEmpty() {
		t.Error("a queue with an envelope is closed")
	}
	if left := q.Close(); len(left) != 1 || left[0].Req != 1 {
		t.Errorf("closing gives back %d envelopes, want the one that waits", len(left))
	}
	if q.Put(envelope(2, 1, time.Hour)) {
		t.Error("a closed queue takes an envelope")
	}
	q = New()
	if !q.CloseIfEmpty() || q.Put(envelope(2, 1, time.Hour)) {
		t.Error("an empty queue is not closed")
	}
}

// The queue against a slice that does the same without any cleverness.
func TestQueueIsAFIFO(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, twin := New(), []core.Envelope(nil)
		var b Batch
		now, next := time.Duration(0), uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				for range rapid.IntRange(1, 600).Draw(t, "envelopes") {
					e := envelope(next, 1, now+time.Duration(rapid.IntRange(0, 5).Draw(t, "time")))
					if ok := q.Put(e); ok != (len(twin) < MaxEnvelopes) {
						t.Fatalf("put with %d waiting: %v", len(twin), ok)
					} else if ok {
						twin = append(twin, *e)
					}
					next++
				}
			},
			"take": func(t *rapid.T) {
				now += time.Duration(rapid.IntRange(0, 3).Draw(t, "passes"))
				more := q.Take(now, &b)
				taken := len(b.Envelopes) + len(b.Expired)
				live, expired := split(twin[:taken], now)
				requireSame(t, live, b.Envelopes)
				requireSame(t, expired, b.Expired)
				twin = twin[taken:]
				if more != (len(twin) > 0) || more && len(live) < wire.MaxBatchEnvelopes {
					t.Fatalf("%d envelopes were taken, more: %v, and %d are left", len(live), more, len(twin))
				}
			},
			"drain": func(t *rapid.T) {
				requireSame(t, twin, q.Drain())
				twin = nil
			},
		})
	})
}

func split(all []core.Envelope, now time.Duration) (live, expired []core.Envelope) {
	for _, e := range all {
		if e.Deadline <= now {
			expired = append(expired, e)
		} else {
			live = append(live, e)
		}
	}
	return live, expired
}

func requireSame(t *rapid.T, want, got []core.Envelope) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d envelopes, want %d", len(got), len(want))
	}
	for i := range want {
		if want[i].Req != got[i].Req {
			t.Fatalf("envelope %d stands where %d belongs", got[i].Req, want[i].Req)
		}
	}
}

func TestConcurrentPuts(t *testing.T) {
	const putters, each = 8, 500
	q := New()
	var wg sync.WaitGroup
	for p := range uint64(putters) {
		wg.Go(func() {
			for n := range uint64(each) {
				if !q.Put(envelope(p<<32|n, 1, time.Hour)) {
					t.Errorf("envelope %d of putter %d is refused", n, p)
				}
			}
		})
	}
	var b Batch
	var next [putters]uint64
	for total := 0; total < putters*each; {
		<-q.Ready()
		for more := true; more; {
			more = q.Take(0, &b)
			for _, e := range b.Envelopes {
				p, n := e.Req>>32, uint64(e.Req)&(1<<32-1)
				if n != next[p] {
					t.Fatalf("envelope %d of putter %d; want %d", n, p, next[p])
				}
				next[p]++
				total++
			}
		}
	}
	wg.Wait()
}
