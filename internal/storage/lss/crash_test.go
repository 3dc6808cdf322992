package lss_test

import (
	"errors"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/lss"
	"github.com/dynamo-kv/dynamo/internal/storage/storagetest"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// openDirectory opens a data directory on fs as a node does, with segments
// small enough for sealing, merging and reuse to take place.
func openDirectory(fs vfs.FS) (storage.Engine, storage.Identity, error) {
	driver := lss.Driver()
	driver.Open = func(dir string, create bool, o storage.Options) (storage.Engine, error) {
		return lss.Open(lss.Options{
			Dir:          dir,
			Create:       create,
			FS:           o.FS,
			Logger:       o.Logger,
			OnFailure:    o.OnFailure,
			SegmentBytes: smallSegment,
			Background:   free{},
			// In the way of everything else, all the time.
			ScrubInterval: time.Millisecond,
		})
	}
	return storage.Open(storage.Options{
		Engine: lss.Name,
		Dir:    "var/data",
		Node:   "n1",
		FS:     fs,
	}, driver)
}

// TestCrashEverywhere: the script has segments sealed, merged and used again.
func TestCrashEverywhere(t *testing.T) {
	storagetest.CrashEverywhere(t, openDirectory, sort, "segment", "reused segment", "freed segment", "hint", "manifest", "identity")
}

// TestFailEverywhere has each of its operations fail.
func TestFailEverywhere(t *testing.T) { storagetest.FailEverywhere(t, openDirectory) }

// TestLieEverywhere has each of its syncs be a lie.
func TestLieEverywhere(t *testing.T) { storagetest.LieEverywhere(t, openDirectory) }

// TestReadFailEverywhere has each read of its disk fail.
func TestReadFailEverywhere(t *testing.T) { storagetest.ReadFailEverywhere(t, openDirectory) }

// TestCommitDoesNotWait has its disk take its time to sync.
func TestCommitDoesNotWait(t *testing.T) { storagetest.CommitDoesNotWait(t, openDirectory) }

// TestReleasedLate looks, whenever a segment file is renamed or removed, at the
// manifest that a power cut would leave: it must not name the segment any more.
// Whoever writes a manifest lets all others go first, so that one who does not
// wait for it is not saved by being slow.
func TestReleasedLate(t *testing.T) {
	disk := vfs.NewDisk()
	var released atomic.Int64
	fs := vfs.Watch(disk.FS(), func(op vfs.Op) error {
		name := path.Base(op.Path)
		switch {
		case op.Kind == errorfs.OpCreate && name == "MANIFEST.tmp":
			for range 1000 {
				runtime.Gosched()
			}
		case (op.Kind == errorfs.OpRename || op.Kind == errorfs.OpRemove) && lss.Names(t, disk.PowerCut(nil, 0).FS(), "data", name):
			t.Errorf("%v of %s, which the manifest names on the disk", op.Kind, name)
		case op.Kind == errorfs.OpRename && strings.HasSuffix(name, ".seg"):
			released.Add(1)
		}
		return nil
	})
	e := mustOpen(t, options(fs, true))
	churn(t, e, 1500) // dozens of merges, so that some find the keeper at leisure
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if released.Load() == 0 {
		t.Error("no segment was merged and given back")
	}
}

// TestFullDisk has the disk be full from each operation of a first start on,
// with room again for the next one. The start that fails says why, and leaves no
// file open.
func TestFullDisk(t *testing.T) {
	for at := int64(1); ; at++ {
		disk := vfs.NewDisk()
		var count, open atomic.Int64
		full := vfs.Watch(disk.FS(), func(op vfs.Op) error {
			if vfs.Mutates(op) && count.Add(1) >= at {
				return syscall.ENOSPC
			}
			return nil
		})
		e, _, err := openDirectory(openFiles{full, &open})
		reached := count.Load() >= at
		switch {
		case !reached && err != nil:
			t.Fatalf("nothing failed, and yet: %v", err)
		case err == nil:
			// What failed, if anything did, was in the background, or in the
			// close that is to come.
			_ = e.Close()
		case !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the disk is full: make room on it"):
			t.Errorf("operation %d: %v; want an error that says what to do", at, err)
		}
		if n := open.Load(); n != 0 {
			t.Errorf("operation %d: %d files are left open", at, n)
		}
		if !reached {
			t.Logf("full from each of %d operations on", at-1)
			return
		}
		e, _, err = openDirectory(disk.FS())
		if err != nil {
			t.Fatalf("operation %d: with room again: %v", at, err)
		}
		mustCommit(t, e, set("key", "value"))
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// openFiles counts the files that are open.
type openFiles struct {
	vfs.FS
	n *atomic.Int64
}

func (o openFiles) count(f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	o.n.Add(1)
	return openFile{f, o.n}, nil
}

func (o openFiles) Create(name string, c vfs.Category) (vfs.File, error) {
	return o.count(o.FS.Create(name, c))
}

func (o openFiles) Open(name string, opts ...pebblevfs.OpenOption) (vfs.File, error) {
	return o.count(o.FS.Open(name, opts...))
}

func (o openFiles) OpenReadWrite(name string, c vfs.Category, opts ...pebblevfs.OpenOption) (vfs.File, error) {
	return o.count(o.FS.OpenReadWrite(name, c, opts...))
}

func (o openFiles) OpenDir(name string) (vfs.File, error) { return o.count(o.FS.OpenDir(name)) }

type openFile struct {
	vfs.File
	n *atomic.Int64
}

func (f openFile) Close() error {
	f.n.Add(-1)
	return f.File.Close()
}

// sort says what sort of file an operation changes.
func sort(op vfs.Op) string {
	name := path.Base(op.Path)
	switch {
	case op.Kind == errorfs.OpRename && strings.HasSuffix(name, ".free"):
		return "reused segment"
	case op.Kind == errorfs.OpRename && strings.HasSuffix(name, ".seg"):
		return "freed segment"
	case strings.HasSuffix(name, ".seg"):
		return "segment"
	case strings.Contains(name, ".hint"):
		return "hint"
	case strings.HasPrefix(name, "MANIFEST"):
		return "manifest"
	case strings.HasPrefix(name, "identity"):
		return "identity"
	default:
		return "other"
	}
}

// cleans is a file system as Linux has them: what a failed sync could not write
// counts as written. It is read as it is in memory, and no later sync writes it,
// unless it is written to the file again.
type cleans struct {
	vfs.FS
	fails atomic.Bool
	dirty *sync.Map // by the names of files
}

type cleansFile struct {
	vfs.File
	fs   *cleans
	name string
}

func (c *cleans) file(f vfs.File, err error, name string) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return cleansFile{f, c, name}, nil
}

func (c *cleans) Create(name string, k vfs.Category) (vfs.File, error) {
	f, err := c.FS.Create(name, k)
	return c.file(f, err, name)
}

func (c *cleans) OpenReadWrite(name string, k vfs.Category, opts ...pebblevfs.OpenOption) (vfs.File, error) {
	f, err := c.FS.OpenReadWrite(name, k, opts...)
	return c.file(f, err, name)
}

func (f cleansFile) Write(b []byte) (int, error) {
	f.fs.dirty.Store(f.name, true)
	return f.File.Write(b)
}

func (f cleansFile) WriteAt(b []byte, off int64) (int, error) {
	f.fs.dirty.Store(f.name, true)
	return f.File.WriteAt(b, off)
}

func (f cleansFile) Sync() error     { return f.sync(f.File.Sync) }
func (f cleansFile) SyncData() error { return f.sync(f.File.SyncData) }

func (f cleansFile) sync(sync func() error) error {
	if _, dirty := f.fs.dirty.LoadAndDelete(f.name); !dirty {
		return nil
	}
	if f.fs.fails.Load() {
		return syscall.EIO
	}
	return sync()
}

// TestFailedSyncIsNotBelieved: a sync fails, which stops the engine, and the next
// start finds what the disk does not have in the memory of the machine. What it
// shows of that, a power cut after the start must not take away: the node has taken
// it for durable.
func TestFailedSyncIsNotBelieved(t *testing.T) {
	disk := vfs.NewDisk()
	fs := &cleans{FS: disk.FS(), dirty: new(sync.Map)}
	e := mustOpen(t, options(fs, true))
	lss.Settle(e)
	mustCommit(t, e, set("before", "1"))
	fs.fails.Store(true)
	if err := commit(e, core.Sync, set("failed", "2")); !errors.Is(err, storage.ErrFailed) {
		t.Fatalf("the sync that fails: %v", err)
	}
	_ = e.Close()
	fs.fails.Store(false)
	e = mustOpen(t, options(fs, false))
	shown, err := e.Get([]byte("failed"))
	if err != nil && !errors.Is(err, core.ErrNotFound) {
		t.Fatal(err)
	}
	cut := disk.PowerCut(nil, 0)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = mustOpen(t, options(cut.FS(), false))
	defer func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}()
	if after, err := e.Get([]byte("failed")); err != nil && shown != nil || string(after) != string(shown) {
		t.Errorf("the start has shown %q, and after a power cut there is %q, %v", shown, after, err)
	}
	if v, err := e.Get([]byte("before")); err != nil || string(v) != "1" {
		t.Errorf("what was durable before reads %q, %v", v, err)
	}
}
