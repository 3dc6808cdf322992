package lss_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/lss"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// commit commits a batch and waits for its completion.
func commit(e storage.Engine, d core.Durability, batch ...core.Write) error {
	done := make(chan error, 1)
	e.Commit(batch, d, func(err error) { done <- err })
	return <-done
}

func set(key, value string) core.Write {
	return core.Write{Key: []byte(key), Value: []byte(value)}
}

func mustCommit(t testing.TB, e storage.Engine, batch ...core.Write) {
	t.Helper()
	if err := commit(e, core.Sync, batch...); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, fs vfs.FS, path string) []byte {
	t.Helper()
	f, err := fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(append([]byte(nil), b...))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func names(t testing.TB, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List("data")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// damageBatches is how many batches the stores of the damage tests have.
const damageBatches = 6

// ownValue is the value of the key of a batch's own.
func ownValue(i int) string { return strings.Repeat(fmt.Sprint(i), 800) }

// store is one whose bytes are flipped.
type store struct {
	fs   vfs.FS
	want map[string]string // what it has
	torn bool              // its last batch, of the key "last", cannot be told from one that was torn
}

// gone is a key that each store had, and that was deleted.
const gone = "gone"

// stores makes a store of batches of two keys, of which the key "shared" is in
// all. It returns the store as a crash leaves it, and as a clean stop does.
func stores(t *testing.T) (crashed, closed store) {
	t.Helper()
	disk := vfs.NewDisk()
	o := options(disk.FS(), true)
	o.SegmentBytes = 4 << 10
	o.Background = &gate{}
	e := mustOpen(t, o)
	want := map[string]string{"shared": fmt.Sprintf("shared %d", damageBatches-1), "last": "last"}
	mustCommit(t, e, set(gone, "must not come back"))
	for i := range damageBatches {
		key := fmt.Sprintf("own %d", i)
		want[key] = ownValue(i)
		mustCommit(t, e, set("shared", fmt.Sprintf("shared %d", i)), set(key, want[key]))
		if i == 1 {
			mustCommit(t, e, core.Write{Key: []byte(gone), Delete: true})
		}
	}
	// It tells, when it is read, that what stands before it was durable.
	mustCommit(t, e, set("last", "last"))
	lss.Settle(e)
	crashed = store{fs: disk.PowerCut(nil, 0).FS(), want: want, torn: true}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return crashed, store{fs: disk.FS(), want: want}
}

// mergedStore makes a store whose segments have been merged and used again: what
// is current was copied, and the files have records of earlier uses.
func mergedStore(t *testing.T) store {
	t.Helper()
	s := store{fs: vfs.NewDisk().FS(), want: make(map[string]string)}
	o := options(s.fs, true)
	o.SegmentBytes = 4 << 10
	e := mustOpen(t, o)
	mustCommit(t, e, set(gone, "must not come back"))
	for i := range 3 * damageBatches {
		key := fmt.Sprintf("own %d", i%damageBatches)
		if i%damageBatches == 0 && i > 0 {
			key = "own 1" // so that the first one stays, and is copied
		}
		s.want[key] = strings.Repeat(fmt.Sprint(i%10), 800+i)
		mustCommit(t, e, set(key, s.want[key]))
		if i == 1 {
			mustCommit(t, e, core.Write{Key: []byte(gone), Delete: true})
		}
	}
	for s := e.Stats(); s.Compactions == 0 || s.CompactionDebt > 0; s = e.Stats() {
		mustCommit(t, e) // until the merger has come around
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestEveryByte flips each byte of a store in turn, and opens it. At most one
// record is lost, and is lost visibly: no key shows an older value, none that was
// written is missing, none that was deleted comes back, and the engine counts it
// and says so. After a crash, one thing cannot be told from damage: a batch that
// was torn. So the last one of all may be gone.
func TestEveryByte(t *testing.T) {
	crashed, closed := stores(t)
	_, unsealed := stores(t)
	unsealed.torn = true
	if n := lss.Unseal(t, unsealed.fs, "data"); n < 2 {
		t.Fatalf("%d segments; no end of one stands in another", n)
	}
	for name, s := range map[string]store{"crashed": crashed, "closed": closed, "unsealed": unsealed, "merged": mergedStore(t)} {
		t.Run(name, func(t *testing.T) {
			flips, lost := 0, 0
			for _, file := range names(t, s.fs) {
				whole := read(t, s.fs, "data/"+file)
				for at := 0; at < len(whole); at += stride(whole, at) {
					b := append([]byte(nil), whole...)
					b[at] ^= 0x55
					n, err := s.flipped(t, file, b)
					if err != nil {
						t.Fatalf("with byte %d of %s flipped: %v", at, file, err)
					}
					flips++
					lost += n
				}
			}
			t.Logf("%d bytes flipped, %d records lost", flips, lost)
			if lost == 0 {
				t.Error("no flip has cost anything: it does not reach the values")
			}
		})
	}
}

// stride is how far the next byte to flip is: in the middle of values, and of
// what is not used, one byte is like the others.
func stride(b []byte, at int) int {
	const same = 16
	if at+2*same < len(b) && bytes.Count(b[at:at+2*same], b[at:at+1]) == 2*same {
		return same
	}
	return 1
}

// flipped opens a copy of the store with one file replaced, and returns how
// many keys are lost.
func (s store) flipped(t *testing.T, file string, b []byte) (lost int, err error) {
	t.Helper()
	fs := vfs.NewDisk().FS()
	if err := fs.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range names(t, s.fs) {
		if name == file {
			write(t, fs, "data/"+name, b)
			continue
		}
		write(t, fs, "data/"+name, read(t, s.fs, "data/"+name))
	}
	report := check(t, fs)
	o := options(fs, false)
	o.SegmentBytes = 4 << 10
	var log bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	e, err := lss.Open(o)
	if err != nil {
		return 0, err
	}
	torn, err := s.shown(e, &lost)
	counted := e.Stats().Damaged
	if err = errors.Join(err, e.Close()); err != nil {
		return lost, err
	}
	switch {
	case lost+torn > 1:
		return lost, fmt.Errorf("%d records are lost", lost+torn)
	case lost > 0 && (counted == 0 || !strings.Contains(log.String(), "damaged")):
		return lost, fmt.Errorf("a record is lost; the engine counts %d, and has said: %s", counted, &log)
	case lost > 0 && !s.torn && len(report.lost()) != lost:
		return lost, fmt.Errorf("%d records are lost, and Check has found %q", lost, report.lost())
	}
	return lost + torn, nil
}

// shown compares what a store shows with what it has, by gets and by a scan, and
// counts the keys that are lost.
func (s store) shown(e storage.Engine, lost *int) (torn int, err error) {
	for key, value := range s.want {
		got, err := e.Get([]byte(key))
		switch {
		case errors.Is(err, core.ErrDamaged):
			*lost++
		case s.torn && key == "last" && errors.Is(err, core.ErrNotFound):
			torn++
		case err != nil:
			return torn, fmt.Errorf("%q: %w", key, err)
		case string(got) != value:
			return torn, fmt.Errorf("%q reads %q, want %q", key, got, value)
		}
	}
	if got, err := e.Get([]byte(gone)); !errors.Is(err, core.ErrNotFound) {
		return torn, fmt.Errorf("the key that was deleted reads %q, %w", got, err)
	}
	shown := 0
	_, err = e.Scan(nil, nil, core.Limit{Keys: 100, Bytes: 1 << 20}, func(k, v []byte) bool {
		if s.want[string(k)] == string(v) {
			shown++
		}
		return true
	})
	if n := len(s.want) - *lost - torn; err == nil && shown != n {
		err = fmt.Errorf("a scan shows %d keys as they are, want %d", shown, n)
	}
	return torn, err
}

// TestDamagedValue has a value damaged under a running engine: its key reads an
// error, it is counted, scans pass over it, merging does not let an older
// record come up, and a new write mends it.
func TestDamagedValue(t *testing.T) {
	fs := vfs.NewDisk().FS()
	o := options(fs, true)
	e := mustOpen(t, o)
	mustCommit(t, e, set("a", "old"), set("b", "b"))
	mustCommit(t, e, set("a", "the current value"))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range names(t, fs) {
		if b := read(t, fs, "data/"+name); strings.HasSuffix(name, ".seg") {
			write(t, fs, "data/"+name, []byte(strings.Replace(string(b), "the current value", "the curRent value", 1)))
		}
	}
	for life := range 3 {
		e = mustOpen(t, options(fs, false))
		if v, err := e.Get([]byte("a")); !errors.Is(err, core.ErrDamaged) {
			t.Fatalf("life %d: the damaged key reads %q, %v; want ErrDamaged", life, v, err)
		}
		if v, err := e.Get([]byte("b")); err != nil || string(v) != "b" {
			t.Errorf("life %d: the key beside it reads %q, %v", life, v, err)
		}
		var shown []string
		if _, err := e.Scan(nil, nil, core.Limit{Keys: 100, Bytes: 1 << 20}, func(k, _ []byte) bool {
			shown = append(shown, string(k))
			return true
		}); err != nil || len(shown) != 1 || shown[0] != "b" {
			t.Errorf("life %d: a scan shows %q, %v; want only b", life, shown, err)
		}
		if n := e.Stats().Damaged; life == 0 && n != 1 {
			t.Errorf("%d damaged records counted, want 1", n)
		}
		churn(t, e, 200) // has the segment merged
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e = mustOpen(t, options(fs, false))
	mustCommit(t, e, set("a", "new"))
	if v, err := e.Get([]byte("a")); err != nil || string(v) != "new" {
		t.Errorf("written again, it reads %q, %v", v, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// churn writes keys of its own, many times, and takes them away again.
func churn(t testing.TB, e storage.Engine, n int) {
	t.Helper()
	value := strings.Repeat("churn ", 200)
	for i := range n {
		mustCommit(t, e, set(fmt.Sprintf("churn %d", i%10), value))
	}
	for i := range 10 {
		mustCommit(t, e, core.Write{Key: fmt.Appendf(nil, "churn %d", i), Delete: true})
	}
}

// TestMissing opens a folder that holds no store, one that lacks a segment, and
// makes one where there is one already.
func TestMissing(t *testing.T) {
	fs := vfs.NewDisk().FS()
	if e, err := lss.Open(options(fs, false)); err == nil {
		t.Errorf("an empty folder opens; close: %v", e.Close())
	}
	e := mustOpen(t, options(fs, true))
	mustCommit(t, e, set("a", "1"))
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if e, err := lss.Open(options(fs, true)); err == nil {
		t.Errorf("a store is made over another; close: %v", e.Close())
	}
	for _, name := range names(t, fs) {
		if strings.HasSuffix(name, ".seg") {
			if err := fs.Remove("data/" + name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := lss.Open(options(fs, false)); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("without its segments: %v, want ErrDamaged", err)
	}
}

// TestBubble runs the engine under virtual time, as the tests of whole nodes
// do: nothing in it may wait for something outside.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := options(vfs.NewDisk().FS(), true)
		o.Background = nil
		e := mustOpen(t, o)
		churn(t, e, 200)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
