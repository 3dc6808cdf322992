package grouped_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/grouped"
	"github.com/dynamo-kv/dynamo/internal/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBroken = errors.New("broken library")

// library is a dumb one: a sorted slice that is copied for each change.
type library struct {
	mu     sync.Mutex // guards what follows
	pairs  []pair
	groups [][][]core.Write // what Apply was given
	broken bool             // Apply and Get fail
	closed int

	// gate, if not nil, is received from before each Apply is carried out, and
	// entered is sent to before that.
	gate, entered chan struct{}
}

type pair struct{ key, value []byte }

func compare(p pair, key []byte) int { return bytes.Compare(p.key, key) }

func (l *library) Get(key []byte) (value []byte, found bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return nil, false, errBroken
	}
	if i, ok := slices.BinarySearchFunc(l.pairs, key, compare); ok {
		return append([]byte{}, l.pairs[i].value...), true, nil
	}
	return nil, false, nil
}

func (l *library) Apply(batches [][]core.Write) error {
	if l.gate != nil {
		l.entered <- struct{}{}
		<-l.gate
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.groups = append(l.groups, batches)
	if l.broken {
		return errBroken
	}
	pairs := slices.Clone(l.pairs)
	for _, w := range slices.Concat(batches...) {
		i, ok := slices.BinarySearchFunc(pairs, w.Key, compare)
		if ok {
			pairs = slices.Delete(pairs, i, i+1)
		}
		if !w.Delete {
			pairs = slices.Insert(pairs, i, pair{w.Key, w.Value})
		}
	}
	l.pairs = pairs
	return nil
}

func (l *library) Snapshot() (grouped.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return nil, errBroken
	}
	return snapshot(l.pairs), nil
}

func (l *library) Stats() storage.Stats { return storage.Stats{Keys: -1, MemoryBytes: 1} }

func (l *library) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed++
	return nil
}

type snapshot []pair

func (s snapshot) Ascend(from []byte, f func(key, value []byte) bool) error {
	i, _ := slices.BinarySearchFunc(s, from, compare)
	for _, p := range s[i:] {
		if !f(p.key, p.value) {
			break
		}
	}
	return nil
}

func (s snapshot) Close() {}

func newEngine(l *library, onFailure func(error)) *grouped.Engine {
	return grouped.New(l, grouped.Options{
		Name:      "dumb",
		Logger:    slog.New(slog.DiscardHandler),
		OnFailure: onFailure,
	})
}

func open(testing.TB) storage.Engine { return newEngine(new(library), nil) }

func TestEngine(t *testing.T) { storagetest.Run(t, open) }

func TestModel(t *testing.T) { storagetest.Model(t, open) }

// held returns a library that carries out nothing until it is told to.
func held() *library {
	return &library{gate: make(chan struct{}), entered: make(chan struct{})}
}

func set(key, value string) []core.Write {
	return []core.Write{{Key: []byte(key), Value: []byte(value)}}
}

// show returns what a scan of everything shows.
func show(t *testing.T, e storage.Engine) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := e.Scan(nil, nil, core.Limit{Keys: 1000, Bytes: 1 << 20}, func(k, v []byte) bool {
		fmt.Fprintf(&b, "%s=%s ", k, v)
		return true
	}); err != nil {
		t.Error(err)
	}
	return b.String()
}

// TestGroups commits while the library is at work: what came in is carried out
// at once, in order, is visible meanwhile over what the library has, and
// completes afterwards.
func TestGroups(t *testing.T) {
	l := held()
	e := newEngine(l, nil)
	done := make(chan error, 100)
	commit := func(batch []core.Write, d core.Durability) {
		e.Commit(batch, d, func(err error) { done <- err })
	}
	commit(append(set("a", "1"), set("c", "1")...), core.Sync)
	<-l.entered
	commit(set("a", "2"), core.NoSync)
	commit([]core.Write{{Key: []byte("c"), Delete: true}}, core.Sync)
	commit(set("b", "3"), core.Sync)
	const want = "a=2 b=3 "
	if got := show(t, e); got != want {
		t.Errorf("while nothing is carried out, a scan shows %q, want %q", got, want)
	}
	l.gate <- struct{}{}
	<-l.entered
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := show(t, e); got != want {
		t.Errorf("over what the library has, a scan shows %q, want %q", got, want)
	}
	if n := len(done); n != 0 {
		t.Errorf("%d completions of what is not carried out", n)
	}
	l.gate <- struct{}{}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := show(t, e); got != want {
		t.Errorf("in the end, a scan shows %q, want %q", got, want)
	}
	if len(l.groups) != 2 || len(l.groups[1]) != 3 {
		t.Errorf("the library was given %d groups, want one batch and then three", len(l.groups))
	}
	if s := e.Stats(); s.Commits != 4 || s.Fsyncs != 2 {
		t.Errorf("%d commits and %d fsyncs are counted, want 4 and 2", s.Commits, s.Fsyncs)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// TestGathered has what nobody waits for stay in memory until somebody waits,
// or the engine closes.
func TestGathered(t *testing.T) {
	l := new(library)
	e := newEngine(l, nil)
	done := make(chan error, 1)
	for i := range 10 {
		e.Commit(set(fmt.Sprint(i), "v"), core.NoSync, func(err error) { done <- err })
		if err := <-done; err != nil { // which comes at once, or never here
			t.Fatal(err)
		}
	}
	e.Commit(nil, core.Sync, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(l.groups) != 1 || len(l.pairs) != 10 {
		t.Errorf("the library has %d pairs out of %d groups, want 10 out of 1", len(l.pairs), len(l.groups))
	}
	e.Commit(set("last", "v"), core.NoSync, func(error) {})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if len(l.pairs) != 11 || l.closed != 1 {
		t.Errorf("after Close the library has %d pairs and was closed %d times, want 11 and once", len(l.pairs), l.closed)
	}
}

// TestBackpressure has commits wait when too much is pending.
func TestBackpressure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := held()
		e := newEngine(l, nil)
		const batches, size, fit = 6, 20 << 20, 3
		returned, done := make(chan int, batches), make(chan error, batches)
		go func() {
			for i := range batches {
				w := core.Write{Key: []byte{byte(i)}, Value: make([]byte, size)}
				e.Commit([]core.Write{w}, core.Sync, func(err error) { done <- err })
				returned <- i
			}
		}()
		synctest.Wait()
		if n := len(returned); n != fit {
			t.Errorf("%d commits have returned while nothing is carried out, want %d", n, fit)
		}
		<-time.After(time.Second) // of the bubble's time
		for range batches {
			<-l.entered
			l.gate <- struct{}{}
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
		if s := e.Stats(); s.Stalls == 0 || s.Stalled != time.Second {
			t.Errorf("%d stalls of %v are counted, want some of 1s", s.Stalls, s.Stalled)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestFailure has the library fail while batches wait. All of these fail, the
// library is given nothing more, and the failure is told once.
func TestFailure(t *testing.T) {
	l := held()
	var told []error
	e := newEngine(l, func(err error) { told = append(told, err) })
	done := make(chan error, 100)
	for i := range 3 {
		e.Commit(set(fmt.Sprint(i), "v"), core.Sync, func(err error) { done <- err })
		if i == 0 {
			<-l.entered
		}
	}
	l.mu.Lock()
	l.broken = true
	l.mu.Unlock()
	l.gate <- struct{}{}
	var errs []error
	for range 3 {
		errs = append(errs, <-done)
	}
	for _, d := range []core.Durability{core.Sync, core.NoSync} {
		e.Commit(set("late", "v"), d, func(err error) { done <- err })
		errs = append(errs, <-done)
	}
	_, err := e.Get([]byte("0"))
	errs = append(errs, err)
	_, err = e.Scan(nil, nil, core.Limit{}, func(_, _ []byte) bool { return true })
	errs = append(errs, err, e.Close(), e.Close())
	for i, err := range errs {
		if !errors.Is(err, storage.ErrFailed) || !errors.Is(err, errBroken) {
			t.Errorf("%d: %v, want ErrFailed and its cause", i, err)
		}
	}
	if len(l.groups) != 1 || l.closed != 1 || len(told) != 1 {
		t.Errorf("%d groups, closed %d times, told %d times; want each once", len(l.groups), l.closed, len(told))
	}
}

// TestFailedRead has a read fail, which stops the engine as well.
func TestFailedRead(t *testing.T) {
	l := &library{broken: true}
	e := newEngine(l, nil)
	if _, err := e.Get([]byte("key")); !errors.Is(err, storage.ErrFailed) || !errors.Is(err, errBroken) {
		t.Errorf("get: %v, want ErrFailed and its cause", err)
	}
	done := make(chan error, 1)
	e.Commit(set("key", "v"), core.Sync, func(err error) { done <- err })
	if err := <-done; !errors.Is(err, storage.ErrFailed) {
		t.Errorf("commit after a read that failed: %v, want ErrFailed", err)
	}
	if err := e.Close(); !errors.Is(err, errBroken) {
		t.Errorf("close: %v, want the failure", err)
	}
	if len(l.groups) != 0 {
		t.Error("the library was given something after the failure")
	}
}
