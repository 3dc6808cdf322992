package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/bench/keys"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a database that takes a time for each operation, in the virtual time
// of a synctest bubble.
type fake struct {
	takes func(at time.Duration) time.Duration // since the database was made
	fails func(at time.Duration) error
	start time.Time

	mu   sync.Mutex
	asks []string
	puts map[string]int
	gets map[string]int
}

func newFake(takes func(time.Duration) time.Duration, fails func(time.Duration) error) *fake {
	return &fake{takes: takes, fails: fails, start: time.Now(), puts: map[string]int{}, gets: map[string]int{}}
}

func always(d time.Duration) func(time.Duration) time.Duration {
	return func(time.Duration) time.Duration { return d }
}

func (f *fake) do(ctx context.Context, what, key string) error {
	f.mu.Lock()
	f.asks = append(f.asks, what+" "+key)
	f.mu.Unlock()
	at := time.Since(f.start)
	timer := time.NewTimer(f.takes(at))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.fails != nil {
		return f.fails(at)
	}
	return nil
}

func (f *fake) count(m map[string]int, key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m[key]++
}

func (f *fake) Get(ctx context.Context, key string) error {
	f.count(f.gets, key)
	return f.do(ctx, "get", key)
}

func (f *fake) Put(ctx context.Context, key string, value []byte) error {
	f.count(f.puts, key)
	return f.do(ctx, fmt.Sprintf("put %d %x", len(value), value[:min(4, len(value))]), key)
}

func (f *fake) Modify(ctx context.Context, key string, _ []byte) error {
	return f.do(ctx, "modify", key)
}

func options(t *testing.T, workload string, callers int) Options {
	t.Helper()
	w, err := ParseWorkload(workload)
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Workload: w, Distribution: w.Distribution, Keys: 100, ValueBytes: 10,
		Callers: callers, Timeout: 5 * time.Second, Seed: 1,
	}
}

// about says whether a latency in milliseconds is within what the histogram
// tells apart.
func about(got, want float64) bool { return math.Abs(got-want) <= want/1000+0.001 }

func TestClosedLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := New(newFake(always(10*time.Millisecond), nil), options(t, "a", 4)).Run(t.Context(), Plan{Duration: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if r.Operations != 400 || r.Rate != 400 || r.Seconds != 1 || r.Errors != 0 || r.Interrupted || r.Service != nil {
			t.Errorf("%+v", r)
		}
		if !about(r.Latency.P50, 10) || !about(r.Latency.Max, 10) || !about(r.Latency.Mean, 10) {
			t.Errorf("latencies of %+v, not of 10 ms", r.Latency)
		}
		get, put := r.ByOp["get"].Operations, r.ByOp["put"].Operations
		if get+put != 400 || get < 150 || put < 150 {
			t.Errorf("%d gets and %d puts", get, put)
		}
		if r.Pause != 0 {
			t.Errorf("in virtual time it stood still for %v ms", r.Pause)
		}
		if len(r.Timeline) < 9 {
			t.Errorf("%d points", len(r.Timeline))
		}
		for _, p := range r.Timeline {
			if p.Rate < 300 || p.Rate > 500 || p.P50 < 9.9 || p.P50 > 10.1 {
				t.Errorf("point %+v", p)
			}
		}
	})
}

// While the database stands still, requests become due: their latencies are
// what a measurement with coordinated omission would not show.
func TestOpenLoopCountsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stall := func(at time.Duration) time.Duration {
			if at >= 2*time.Second && at < 3*time.Second {
				return 3*time.Second - at
			}
			return time.Millisecond
		}
		r, err := New(newFake(stall, nil), options(t, "c", 4)).Run(t.Context(), Plan{Duration: 10 * time.Second, Rate: 100})
		if err != nil {
			t.Fatal(err)
		}
		if r.Operations != 1000 || r.NotStarted != 0 || r.Rate != 100 {
			t.Errorf("%d operations, %d not started, %.0f a second", r.Operations, r.NotStarted, r.Rate)
		}
		if !about(r.Latency.Max, 1000) || r.Latency.P50 > 1.1 {
			t.Errorf("latencies %+v", r.Latency)
		}
		// A hundred requests were due in that second: one in ten of all waited,
		// the middle one of them half a second.
		if l := r.Latency; l.P99 < 800 || l.Mean < 49 || l.Mean > 53 {
			t.Errorf("latencies %+v leave out the wait", l)
		}
		// Four were sent: the rest was not asked.
		if s := r.Service; s.Mean > 6 || s.P99 > 1.1 {
			t.Errorf("since they were sent: %+v", s)
		}
	})
}

func TestOpenLoopSaysWhatItDidNotSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := New(newFake(always(time.Second), nil), options(t, "c", 1)).Run(t.Context(), Plan{Duration: 10 * time.Second, Rate: 100})
		if err != nil {
			t.Fatal(err)
		}
		if r.Operations != 10 || r.NotStarted != 990 {
			t.Errorf("%d operations, %d not started", r.Operations, r.NotStarted)
		}
	})
}

func TestErrorsAreCountedByKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fails := func(at time.Duration) error {
			switch {
			case at < time.Second:
				return fmt.Errorf("wrapped: %w", &Failure{"overloaded", errors.New("too much")})
			case at < 2*time.Second:
				return ErrNotFound
			case at < 3*time.Second:
				return errors.New("something else")
			}
			return nil
		}
		takes := func(at time.Duration) time.Duration {
			if at >= 4*time.Second {
				return time.Hour // past its deadline
			}
			return 100 * time.Millisecond
		}
		r, err := New(newFake(takes, fails), options(t, "c", 1)).Run(t.Context(), Plan{Duration: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]int64{"overloaded": 10, KindOther: 10, KindTimeout: 1}; !maps.Equal(r.ErrorsByKind, want) || r.Errors != 21 {
			t.Errorf("%d errors: %v, want %v", r.Errors, r.ErrorsByKind, want)
		}
		if r.Operations != 20 || r.NotFound != 10 || !about(r.Latency.Max, 100) {
			t.Errorf("%+v", r.Figures)
		}
		if !about(r.ErrorLatency.Max, 5000) || r.Examples["overloaded"] != "wrapped: overloaded: too much" {
			t.Errorf("%+v, %v", r.ErrorLatency, r.Examples)
		}
		if !slices.Equal(r.Kinds(), []string{KindOther, "overloaded", KindTimeout}) {
			t.Errorf("%v", r.Kinds())
		}
	})
}

// An operation belongs to the segment in which it was due.
func TestEventsMakeSegments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		takes := func(at time.Duration) time.Duration {
			if at >= 2*time.Second && at < 2500*time.Millisecond {
				return 3500*time.Millisecond - at
			}
			return time.Millisecond
		}
		plan := Plan{Duration: 6 * time.Second, Rate: 100, Settle: time.Second}
		plan.Events = []Event{
			{At: 4 * time.Second, Do: func(_ context.Context, mark func(string)) error {
				mark("back")
				return nil
			}},
			{At: 2 * time.Second, Do: func(ctx context.Context, mark func(string)) error {
				mark("gone")
				waitUntil(ctx, time.Now().Add(500*time.Millisecond))
				mark("noticed")
				return nil
			}},
		}
		r, err := New(newFake(takes, nil), options(t, "c", 200)).Run(t.Context(), plan)
		if err != nil {
			t.Fatal(err)
		}
		type brief struct {
			name          string
			from, seconds float64
			operations    int64
			slow          bool
		}
		var got []brief
		for _, s := range r.Segments {
			got = append(got, brief{s.Name, s.From, s.Seconds, s.Operations, s.Latency.P50 > 500})
		}
		want := []brief{
			{"before", 0, 2, 200, false},
			{"gone, first 1s", 2, 0.5, 50, true},
			{"noticed, first 1s", 2.5, 1, 100, false},
			{"noticed, then", 3.5, 0.5, 50, false},
			{"back, first 1s", 4, 1, 100, false},
			{"back, then", 5, 1, 100, false},
		}
		if !slices.Equal(got, want) {
			t.Errorf("segments\n%v, want\n%v", got, want)
		}
		if want := []Mark{{2, "gone"}, {2.5, "noticed"}, {4, "back"}}; !slices.Equal(r.Marks, want) {
			t.Errorf("marks %v", r.Marks)
		}
	})
}

func TestAnEventsErrorEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no such node")
		events := []Event{{At: time.Second, Do: func(context.Context, func(string)) error { return broken }}}
		r, err := New(newFake(always(time.Millisecond), nil), options(t, "c", 2)).
			Run(t.Context(), Plan{Duration: 10 * time.Second, Events: events})
		if !errors.Is(err, broken) || r.Seconds != 1 {
			t.Errorf("%v after %v s", err, r.Seconds)
		}
	})
}

// What was measured until an interrupt is reported, and what the interrupt cut
// short is no error.
func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, rate := range []float64{0, 100} {
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			waits := Event{At: 5 * time.Second, Do: func(context.Context, func(string)) error { return errors.New("too late") }}
			r, err := New(newFake(always(time.Second), nil), options(t, "c", 1)).
				Run(ctx, Plan{Duration: 10 * time.Second, Rate: rate, Events: []Event{waits}})
			cancel()
			if err != nil {
				t.Fatal(err)
			}
			if r.Operations != 2 || r.Errors != 0 || !r.Interrupted || r.Seconds != 2.5 {
				t.Errorf("rate %v: %+v", rate, r)
			}
		}
	})
}

func TestFillWritesEveryKeyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newFake(always(100*time.Millisecond), nil)
		var told []Progress
		r, err := New(db, options(t, "a", 3)).Fill(t.Context(), func(p Progress) { told = append(told, p) })
		if err != nil {
			t.Fatal(err)
		}
		if r.Operations != 100 || r.ByOp["insert"].Operations != 100 || r.Interrupted || r.NotStarted != 0 || !about(r.Seconds, 3.4) {
			t.Errorf("%+v", r)
		}
		for i := range uint64(100) {
			if n := db.puts[keyName(i)]; n != 1 {
				t.Errorf("key %d was written %d times", i, n)
			}
		}
		if len(told) != 3 || told[2].Total != 100 || told[2].Done < 80 || told[2].Last.Rate < 25 || told[2].Last.P50 < 99 {
			t.Errorf("progress %+v", told)
		}
	})
}

func TestFillEndsWithAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := &Failure{"storage_full", errors.New("full")}
		db := newFake(always(time.Second), func(at time.Duration) error {
			if at > 3*time.Second {
				return full
			}
			return nil
		})
		if _, err := New(db, options(t, "a", 2)).Fill(t.Context(), nil); !errors.Is(err, full) {
			t.Errorf("the error is %v", err)
		}
		if len(db.puts) > 12 {
			t.Errorf("%d keys were written", len(db.puts))
		}
	})
}

func TestFillComesBackToAnOverloadedNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := &Failure{KindOverloaded, errors.New("too much")}
		until := 3 * time.Second
		db := newFake(always(time.Millisecond), func(at time.Duration) error {
			if at < until {
				return busy
			}
			return nil
		})
		if _, err := New(db, options(t, "a", 2)).Fill(t.Context(), nil); err != nil || len(db.puts) != 100 {
			t.Errorf("%d of 100 keys were written: %v", len(db.puts), err)
		}
		until = time.Hour
		if _, err := New(db, options(t, "a", 2)).Fill(t.Context(), nil); !errors.Is(err, busy) {
			t.Errorf("the error of a node that stays overloaded is %v", err)
		}
	})
}

// A node that takes less than it is sent will have taken all of it in the end,
// whichever keys it turns away how often.
func TestFillGoesOnWhileKeysAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const room = 50 * time.Millisecond // for one key
		var last atomic.Int64
		db := newFake(always(time.Millisecond), func(at time.Duration) error {
			if now := int64(at/room) + 1; last.Swap(now) != now {
				return nil
			}
			return &Failure{KindOverloaded, errors.New("too much")}
		})
		r, err := New(db, options(t, "a", 64)).Fill(t.Context(), nil)
		if err != nil || r.Operations != 100 || r.Errors < 100 {
			t.Errorf("%d of 100 keys were written, %d times one was turned away: %v", r.Operations, r.Errors, err)
		}
	})
}

func TestReadsOfTheLatestAskForWhatIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newFake(always(time.Millisecond), nil)
		r, err := New(db, options(t, "d", 8)).Run(t.Context(), Plan{Duration: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		inserted := uint64(r.ByOp["insert"].Operations)
		newer := 0
		for key, n := range db.gets {
			if key >= keyName(100) {
				newer += n
			}
			if key < keyName(100+inserted) && len(key) == len(keyName(0)) {
				continue
			}
			t.Errorf("%s was asked for, and %d were inserted", key, inserted)
		}
		if inserted < 1000 || newer < 20_000 {
			t.Errorf("%d inserts, %d reads of what was inserted", inserted, newer)
		}
	})
}

func TestSameSeedSameOperations(t *testing.T) {
	asks := func(seed uint64) (asks []string) {
		synctest.Test(t, func(t *testing.T) {
			db, o := newFake(always(time.Millisecond), nil), options(t, "a", 1)
			o.Seed = seed
			l := New(db, o)
			for range 2 {
				if _, err := l.Run(t.Context(), Plan{Duration: 100 * time.Millisecond}); err != nil {
					t.Fatal(err)
				}
			}
			asks = db.asks
		})
		return asks
	}
	first := asks(1)
	if !slices.Equal(first, asks(1)) {
		t.Error("one seed makes two loads")
	}
	if slices.Equal(first, asks(2)) {
		t.Error("two seeds make one load")
	}
	if half := len(first) / 2; half < 50 || slices.Equal(first[:half], first[half:]) {
		t.Errorf("a second run repeats the first: %d operations", len(first))
	}
}

func TestShares(t *testing.T) {
	for _, w := range Workloads() {
		random, counts, sum := rand.New(rand.NewPCG(1, 2)), [ops]float64{}, 0.0
		for range 100_000 {
			counts[w.pick(random)]++
		}
		for op, share := range w.shares {
			sum += share
			if math.Abs(counts[op]/100_000-share) > 0.01 {
				t.Errorf("%s: %s is %.3f of the operations, not %.3f", w.Name, Op(op), counts[op]/100_000, share)
			}
		}
		if sum != 1 {
			t.Errorf("%s: the shares add up to %v", w.Name, sum)
		}
	}
}

func TestParseWorkload(t *testing.T) {
	for name, want := range map[string]string{
		"e": "scans ranges", "x": `workload is "x"; a, b, c, d, f are allowed`,
	} {
		if _, err := ParseWorkload(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w, err := ParseWorkload("D"); err != nil || w.Distribution != keys.Latest {
		t.Errorf("%v, %v", w, err)
	}
	if _, err := ParseOp("scan"); err == nil || err.Error() != `op is "scan"; put and get are allowed` {
		t.Errorf("%v", err)
	}
	for name, want := range map[string]Op{"put": OpPut, "get": OpGet} {
		if w, err := ParseOp(name); err != nil || w.shares[want] != 1 || w.Distribution != keys.Uniform {
			t.Errorf("%s: %v, %v", name, w, err)
		}
	}
}

// Whatever the order in which inserts end, the count is the number below which
// all have ended.
func TestInserts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.Uint64Range(0, 5).Draw(t, "from")
		n := newInserts(from)
		var open []uint64
		ended := map[uint64]bool{}
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			if len(open) == 0 || rapid.Bool().Draw(t, "begin") {
				open = append(open, n.begin())
			} else {
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				ended[open[i]] = true
				n.end(open[i])
				open = slices.Delete(open, i, i+1)
			}
			want := from
			for ended[want] {
				want++
			}
			if got := n.count(); got != want {
				t.Fatalf("%d are written, not %d", got, want)
			}
		}
		if len(n.early) > len(ended) {
			t.Fatalf("%d are remembered", len(n.early))
		}
	})
}

func TestValues(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	v := newValues(100, rand.NewChaCha8([32]byte{1}))
	seen := map[string]bool{}
	for range 100 {
		value := v.next(random)
		if len(value) != 100 || cap(value) != 100 {
			t.Fatalf("a value of %d bytes", len(value))
		}
		seen[string(value)] = true
	}
	if len(seen) < 99 {
		t.Errorf("%d different values of 100", len(seen))
	}
	if got := newValues(0, rand.NewChaCha8([32]byte{1})).next(random); len(got) != 0 {
		t.Errorf("an empty value has %d bytes", len(got))
	}
}

func TestTable(t *testing.T) {
	figures := Figures{
		Operations: 10, NotFound: 2, Errors: 3, ErrorsByKind: map[string]int64{"timeout": 3},
		Latency: Latency{1, 2, 3, 4, 5, 6}, Service: &Latency{P50: 0.25},
	}
	r := Report{
		Workload: "a", Distribution: "zipfian", Protocol: "http", Keys: 7, ValueBytes: 8, Concurrency: 9,
		TargetRate: 70, PeakRate: 100,
		Load: &Result{Seconds: 2, Rate: 3},
		Result: &Result{
			Seconds: 5, Rate: 2, Figures: figures, NotStarted: 4, Pause: 250, Interrupted: true,
			ByOp: map[string]Figures{"get": figures, "put": figures}, Examples: map[string]string{"timeout": "timeout: late"},
			Marks: []Mark{{1.25, "n3 killed"}}, Segments: []Segment{{Name: "before", Figures: figures}},
		},
	}
	got := r.Table()
	for _, want := range []string{
		"workload a: zipfian keys, 7 of them with 8 bytes\n9 callers through http, 70 operations a second, 70 % of the peak\n",
		"written in 2.0 s, 3 a second", "10 operations in 5.0 s: 2 a second", "interrupted", "2 reads found no such key",
		"4 operations were due and never sent", "stood still for up to 250 ms", "3 failed:\n  3 timeout, such as: late\n", "at 1.2 s: n3 killed",
		"since it was sent   10      2       3", "  get  ", "  put  ", "before",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the table does not say %q:\n%s", want, got)
		}
	}
	r.PeakRate = 0
	if got := r.Title(); !strings.HasSuffix(got, "70 operations a second") {
		t.Errorf("%s", got)
	}
	r.TargetRate = 0
	if got := r.Title(); !strings.HasSuffix(got, "closed loop") {
		t.Errorf("%s", got)
	}
}

// The CPU of an operation is that of all nodes, each process once, or it is not
// known.
func TestSpent(t *testing.T) {
	spent := func(nodes ...NodeUsage) Report {
		r := Report{Result: &Result{Figures: Figures{Operations: 100_000}}}
		r.Spent(nodes)
		return r
	}
	json := func(r Report) string {
		b, err := json.Marshal(struct {
			Nodes []NodeUsage `json:"nodes"`
			CPU   float64     `json:"cpu"`
		}{r.Nodes, r.CPUPerOperation})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	a, b := NodeUsage{ID: "n1", Used: &Used{1.5, 2 << 20, 3 << 20}}, NodeUsage{ID: "n2", Used: &Used{CPUSeconds: 2}}
	same, lost := NodeUsage{ID: "n3", ProcessOf: "n1"}, NodeUsage{ID: "n4", Unknown: "no answer"}
	for _, c := range []struct {
		report      Report
		json, table string
	}{
		{
			spent(a, b, same),
			`{"nodes":[{"id":"n1","cpu_seconds":1.5,"rss_bytes":2097152,"peak_rss_bytes":3145728},` +
				`{"id":"n2","cpu_seconds":2},{"id":"n3","process_of":"n1"}],"cpu":35}`,
			"\n35.0 µs of CPU an operation on the nodes together\n" +
				"  n1: 1.5 s of CPU, 2 MiB in memory, 3 at most since it was started\n" +
				"  n2: 2.0 s of CPU\n  n3: in the process of n1\n",
		},
		{
			spent(b, lost),
			`{"nodes":[{"id":"n2","cpu_seconds":2},{"id":"n4","unknown":"no answer"}],"cpu":0}`,
			"\nthe CPU of an operation is not known\n  n2: 2.0 s of CPU\n  n4: not known, no answer\n",
		},
	} {
		if got := json(c.report); got != c.json {
			t.Errorf("%s; want %s", got, c.json)
		}
		if got := c.report.Table(); !strings.HasSuffix(got, c.table) {
			t.Errorf("%s\nwant %s", got, c.table)
		}
	}
}
