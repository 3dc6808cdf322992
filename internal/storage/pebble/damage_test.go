package pebble_test

import (
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/pebble"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// commit commits a batch and waits for its completion.
func commit(e storage.Engine, d core.Durability, batch ...core.Write) error {
	done := make(chan error, 1)
	e.Commit(batch, d, func(err error) { done <- err })
	return <-done
}

// damage flips bits in the middle of every file of the engine with that
// ending, and returns how many there were.
func damage(t *testing.T, fs vfs.FS, ending string) (files int) {
	t.Helper()
	names, err := fs.List("data")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, ending) {
			continue
		}
		path := fs.PathJoin("data", name)
		b := read(t, fs, path)
		if len(b) == 0 {
			continue
		}
		for i := len(b) / 3; i < 2*len(b)/3; i += 7 {
			b[i] ^= 0x55
		}
		write(t, fs, path, b)
		files++
	}
	return files
}

func read(t *testing.T, fs vfs.FS, path string) []byte {
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

func write(t *testing.T, fs vfs.FS, path string, b []byte) {
	t.Helper()
	f, err := fs.Create(path, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// manyWrites is enough for some tables, and values that do not compress away.
func manyWrites(t *testing.T, e storage.Engine) {
	t.Helper()
	for i := range 200 {
		value := make([]byte, 1000)
		for j := range value {
			value[j] = byte(i * j)
		}
		if err := commit(e, core.Sync, core.Write{Key: []byte{'k', byte(i)}, Value: value}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamagedTable reads what the disk no longer has as it was written: an
// error that stops the engine, never a wrong or a missing value.
func TestDamagedTable(t *testing.T) {
	fs := vfs.NewDisk().FS()
	e := mustOpen(t, options(fs, true))
	manyWrites(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if damage(t, fs, ".sst") == 0 {
		t.Fatal("there is no table to damage")
	}
	var failures atomic.Int64
	o := options(fs, false)
	o.OnFailure = func(err error) {
		failures.Add(1)
		if !errors.Is(err, storage.ErrFailed) {
			t.Errorf("told of %v, want ErrFailed", err)
		}
	}
	e, err := pebble.Open(o)
	if err != nil {
		return // found at the start already
	}
	var failure error
	for i := 0; i < 200 && failure == nil; i++ {
		_, failure = e.Get([]byte{'k', byte(i)})
	}
	if !errors.Is(failure, storage.ErrFailed) {
		t.Fatalf("reading a damaged table: %v, want ErrFailed", failure)
	}
	if err := commit(e, core.NoSync, core.Write{Key: []byte("k")}); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("commit after that: %v, want ErrFailed", err)
	}
	if _, err := e.Scan(nil, nil, core.Limit{}, nil); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("scan after that: %v, want ErrFailed", err)
	}
	if err := e.Close(); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("close after that: %v, want ErrFailed", err)
	}
	if n := failures.Load(); n != 1 {
		t.Errorf("told of the failure %d times, want once", n)
	}
}

// TestDamagedLog damages the middle of a log whose end was synced: that is no
// torn tail, and what comes after it must not be dropped silently.
func TestDamagedLog(t *testing.T) {
	disk := vfs.NewDisk()
	o := options(disk.FS(), true)
	o.MemTableBytes = 1 << 20
	e := mustOpen(t, o)
	manyWrites(t, e)
	crashed := disk.PowerCut(nil, 0).FS()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if damage(t, crashed, ".log") == 0 {
		t.Fatal("there is no log to damage")
	}
	if e, err := pebble.Open(options(crashed, false)); err == nil {
		t.Errorf("a start from a damaged log succeeds; close: %v", e.Close())
	}
}

// TestBubble runs the engine under virtual time, as the tests of whole nodes
// do: nothing in it may wait for something outside.
func TestBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := mustOpen(t, options(vfs.NewDisk().FS(), true))
		manyWrites(t, e)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestMissing opens a folder that holds no store, and makes one where there is
// one already.
func TestMissing(t *testing.T) {
	fs := vfs.NewDisk().FS()
	if e, err := pebble.Open(options(fs, false)); err == nil {
		t.Errorf("an empty folder opens; close: %v", e.Close())
	}
	e := mustOpen(t, options(fs, true))
	manyWrites(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if e, err := pebble.Open(options(fs, true)); err == nil {
		t.Errorf("a store is made over another; close: %v", e.Close())
	}
}
