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
	if bytes != 0 && bytes != rewriteBytes {
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
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
