package lss_test

import (
	"path"
	"strings"
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

// TestLieEverywhere has each of its syncs be a lie.
func TestLieEverywhere(t *testing.T) { storagetest.LieEverywhere(t, openDirectory) }

// TestReadFailEverywhere has each read of its disk fail.
func TestReadFailEverywhere(t *testing.T) { storagetest.ReadFailEverywhere(t, openDirectory) }

// TestCommitDoesNotWait has its disk take its time to sync.
func TestCommitDoesNotWait(t *testing.T) { storagetest.CommitDoesNotWait(t, openDirectory) }

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
