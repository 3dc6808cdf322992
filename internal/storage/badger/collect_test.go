package badger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// The stores of these tests have files of the value log that some rounds of
// their values fill.
const (
	collectKeys   = 50
	collectRounds = 6
	firstLog      = "000001.vlog"
)

func collectValue(round, key int) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("%d/%d,", round, key)), 2000)
}

// collecting are the options of a store whose garbage is collected at ticks.
func collecting(dir string, ticks <-chan time.Time, work storage.Background) Options {
	return Options{
		Dir: dir, Create: true, CacheBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler),
		MemTableBytes: 1 << 20, ValueLogBytes: 1 << 20, Collect: ticks, Background: work,
	}
}

func collectOpen(t *testing.T, o Options) *Engine {
	t.Helper()
	e, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// reopened closes a store, which puts what is in its memtables into tables of
// level 0, and opens it again.
func reopened(t *testing.T, e *Engine, o Options) *Engine {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	o.Create = false
	return collectOpen(t, o)
}

// sunk closes a store, has all that it has compacted into the lowest level, and
// opens it again.
func sunk(t *testing.T, e *Engine, o Options) *Engine {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := badger.OpenManaged(o.library(&logger{log: o.Logger}).WithCompactL0OnClose(true))
	if err != nil {
		t.Fatal(err)
	}
	db.SetDiscardTs(db.MaxVersion())
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	o.Create = false
	return collectOpen(t, o)
}

func write1(t *testing.T, e *Engine, w core.Write) {
	t.Helper()
	done := make(chan error, 1)
	e.Commit([]core.Write{w}, core.Sync, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// replaceAll writes rounds of values to the same keys.
func replaceAll(t *testing.T, e *Engine) {
	t.Helper()
	for round := range collectRounds {
		for key := range collectKeys {
			write1(t, e, core.Write{Key: []byte{byte(key)}, Value: collectValue(round, key)})
		}
	}
}

// expectLast looks whether the store has the values of the last round.
func expectLast(t *testing.T, e *Engine) {
	t.Helper()
	for key := range collectKeys {
		if v, err := e.Get([]byte{byte(key)}); err != nil || !bytes.Equal(v, collectValue(collectRounds-1, key)) {
			t.Errorf("key %d reads %d bytes, %v", key, len(v), err)
		}
	}
}

// work admits background work and counts it.
type work struct {
	t           *testing.T
	steps, done int
}

func (w *work) Step(bytes int, _ <-chan struct{}) bool {
	if bytes < 0 || bytes > sweepBytes && bytes != rewriteBytes {
		w.t.Errorf("step %d moves %d bytes", w.steps, bytes)
	}
	w.steps++
	return true
}

func (w *work) Done() { w.done++ }

// TestCollect has the files of the value log rewritten of which most was
// replaced: they are gone and their room is given back, nothing that is current
// is lost by it, and all of that is admitted.
func TestCollect(t *testing.T) {
	ticks := make(chan time.Time)
	work := &work{t: t}
	o := collecting(filepath.Join(t.TempDir(), "badger"), ticks, work)
	e := collectOpen(t, o)
	// What is kept is in the first file, with garbage: it must be moved.
	write1(t, e, core.Write{Key: []byte("kept"), Value: collectValue(0, 0)})
	replaceAll(t, e)
	e = sunk(t, e, o) // by which badger knows what is garbage
	first := filepath.Join(o.Dir, firstLog)
	if _, err := os.Stat(first); err != nil {
		t.Fatalf("the first file of the value log: %v", err)
	}
	before := e.Stats().DiskBytes
	ticks <- time.Time{}
	ticks <- time.Time{} // when the first collecting has ended
	if _, err := os.Stat(first); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the first file of the value log, of which most is garbage, is there: %v", err)
	}
	if after, least := e.Stats().DiskBytes, int64(1<<20); before-after < least {
		t.Errorf("%d bytes on the disk, and %d before; want %d less at least", after, before, least)
	}
	e = reopened(t, e, o)
	if work.done != 2 || work.steps < 3 {
		t.Errorf("%d steps were admitted, and %d times there was no more to do, of 2", work.steps, work.done)
	}
	expectLast(t, e)
	if v, err := e.Get([]byte("kept")); err != nil || !bytes.Equal(v, collectValue(0, 0)) {
		t.Errorf("what was moved reads %d bytes, %v", len(v), err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestDeletedStaysDeleted deletes a key, has its value moved by the collecting
// of garbage, which puts it above the deletion, and then compacts what is below
// that. Where badger knows of a deletion, it drops it with what it hides, there,
// and the value that was moved comes back.
func TestDeletedStaysDeleted(t *testing.T) {
	ticks := make(chan time.Time)
	o := collecting(filepath.Join(t.TempDir(), "badger"), ticks, &work{t: t})
	e := collectOpen(t, o)
	write1(t, e, core.Write{Key: []byte("gone"), Value: collectValue(0, 0)})
	replaceAll(t, e)
	e = sunk(t, e, o)
	write1(t, e, core.Write{Key: []byte("gone"), Delete: true})
	e = reopened(t, e, o) // the deletion is in a table above
	ticks <- time.Time{}
	ticks <- time.Time{}
	if _, err := os.Stat(filepath.Join(o.Dir, firstLog)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the file with the value is not rewritten, so that this shows nothing: %v", err)
	}
	for _, when := range []string{"before", "after"} {
		if v, err := e.Get([]byte("gone")); !errors.Is(err, core.ErrNotFound) {
			t.Errorf("%s a compaction the deleted key reads %d bytes, %v", when, len(v), err)
		}
		if err := e.library.db.Flatten(1); err != nil { // of what is in tables
			t.Fatal(err)
		}
	}
	e = reopened(t, e, o)
	if v, err := e.Get([]byte("gone")); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("after a start the deleted key reads %d bytes, %v", len(v), err)
	}
	expectLast(t, e)
	// When nothing is left that it hides, it is given back, and holds.
	for range 2 {
		e = sunk(t, e, o)
		ticks <- time.Time{}
		ticks <- time.Time{}
	}
	e = sunk(t, e, o)
	if n := entries(t, e); n != collectKeys {
		t.Errorf("%d entries in the end, want one for each of %d keys", n, collectKeys)
	}
	if v, err := e.Get([]byte("gone")); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("in the end the deleted key reads %d bytes, %v", len(v), err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// entries counts what badger has of keys: all entries, whatever they say.
func entries(t *testing.T, e *Engine) (n int64) {
	t.Helper()
	for from := []byte(nil); ; {
		s, err := e.library.look(from)
		if err != nil {
			t.Fatal(err)
		}
		n += s.entries
		if from = s.next; from == nil {
			return n
		}
	}
}

// TestSweep deletes most keys of a store: their marks are given back by and by,
// and nothing else is.
func TestSweep(t *testing.T) {
	ticks := make(chan time.Time)
	o := collecting(filepath.Join(t.TempDir(), "badger"), ticks, &work{t: t})
	e := collectOpen(t, o)
	const keys, kept = 3 * sweepEntries / 2, 100
	key := func(i int) []byte { return []byte(fmt.Sprintf("%06d", i)) }
	all := func(change func(i int) core.Write) {
		for from := 0; from < keys; from += 512 {
			var batch []core.Write
			for i := from; i < from+512; i++ {
				batch = append(batch, change(i))
			}
			done := make(chan error, 1)
			e.Commit(batch, core.Sync, func(err error) { done <- err })
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	all(func(i int) core.Write { return core.Write{Key: key(i), Value: []byte("value")} })
	e = sunk(t, e, o)
	all(func(i int) core.Write { return core.Write{Key: key(i), Delete: i >= kept, Value: []byte("again")} })
	e = reopened(t, e, o)
	sweep := func() {
		ticks <- time.Time{}
		ticks <- time.Time{}
	}
	before := entries(t, e)
	if sweep(); entries(t, e) != before {
		t.Errorf("%d entries, and %d before: there is something to hide yet", entries(t, e), before)
	}
	e = sunk(t, e, o)
	if n := entries(t, e); n != keys {
		t.Fatalf("%d entries when all is compacted, want one for each of %d keys: this shows nothing", n, keys)
	}
	sweep()
	write1(t, e, core.Write{Key: key(keys - 1), Value: []byte("back")})
	e = sunk(t, e, o)
	if n := entries(t, e); n != kept+1 {
		t.Errorf("%d entries after a sweep and a compaction, want those of %d keys", n, kept+1)
	}
	for i, want := range map[int]string{0: "again", kept - 1: "again", kept: "", keys - 2: "", keys - 1: "back"} {
		v, err := e.Get(key(i))
		if string(v) != want || (want == "") != errors.Is(err, core.ErrNotFound) {
			t.Errorf("key %d reads %q, %v, want %q", i, v, err, want)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSweepLosesNothing writes a key between the look at its mark and its end.
func TestSweepLosesNothing(t *testing.T) {
	e := collectOpen(t, collecting(filepath.Join(t.TempDir(), "badger"), make(chan time.Time), &work{t: t}))
	for _, key := range []string{"back", "gone"} {
		write1(t, e, core.Write{Key: []byte(key), Delete: true})
	}
	s, err := e.library.look(nil)
	if err != nil || len(s.idle) != 2 || s.marks != 2 {
		t.Fatalf("%+v, %v: want two marks that hide nothing", s, err)
	}
	write1(t, e, core.Write{Key: []byte("back"), Value: []byte("value")})
	if dropped, err := e.library.drop(s.idle); dropped != 1 || err != nil {
		t.Errorf("%d keys are deleted, %v, want the one that was not written", dropped, err)
	}
	if v, err := e.Get([]byte("back")); err != nil || string(v) != "value" {
		t.Errorf("what was written reads %q, %v", v, err)
	}
	if s, err := e.library.look(nil); err != nil || len(s.idle) != 0 {
		t.Errorf("%+v, %v: a key that is deleted, or has a value, is to be deleted", s, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
