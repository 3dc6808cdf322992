package lss_test

import (
	"path"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

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
			MergeRate:    unbounded,
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
