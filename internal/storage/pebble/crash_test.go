package pebble_test

import (
	"path"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/pebble"
	"github.com/dynamo-kv/dynamo/internal/storage/storagetest"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// openDirectory opens a data directory on fs as a node does, with memtables
// small enough for flushes and compactions to take place.
func openDirectory(fs vfs.FS) (storage.Engine, storage.Identity, error) {
	driver := pebble.Driver()
	driver.Open = func(dir string, create bool, o storage.Options) (storage.Engine, error) {
		return pebble.Open(pebble.Options{
			Dir:           dir,
			Create:        create,
			FS:            o.FS,
			CacheBytes:    o.CacheBytes,
			Logger:        o.Logger,
			OnFailure:     o.OnFailure,
			MemTableBytes: smallMemTable,
		})
	}
	return storage.Open(storage.Options{
		Engine:     pebble.Name,
		Dir:        "var/data",
		Node:       "n1",
		CacheBytes: 1 << 20,
		FS:         fs,
	}, driver)
}

// TestCrashEverywhere: the script has logs rotated and recycled, tables flushed and compacted.
func TestCrashEverywhere(t *testing.T) {
	storagetest.CrashEverywhere(t, openDirectory, sort, "log", "recycled log", "table", "manifest", "identity")
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
	case op.Kind == errorfs.OpReuseForWrite:
		return "recycled log"
	case strings.HasSuffix(name, ".log"):
		return "log"
	case strings.HasSuffix(name, ".sst"):
		return "table"
	case strings.HasPrefix(name, "MANIFEST"), strings.HasPrefix(name, "marker.manifest"):
		return "manifest"
	case strings.HasPrefix(name, "identity"):
		return "identity"
	default:
		return "other"
	}
}
