package lss_test

import (
	"errors"
	"path"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

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
