package lss_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/storagetest"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

var kills = flag.Int("storage.kills", 4, "processes that TestKill kills")

// TestKill kills real processes that use the engine, on segments small enough
// for sealing and merging to be under way. A process that dies before it has
// made the store leaves none, and the next one begins anew.
func TestKill(t *testing.T) {
	storagetest.Process(t, *kills, func(t testing.TB, dir string) storage.Engine {
		o := options(vfs.OS(), false)
		o.Dir = filepath.Join(dir, "lss")
		if _, err := os.Stat(filepath.Join(o.Dir, "MANIFEST")); os.IsNotExist(err) {
			o.Create = true
		}
		return mustOpen(t, o)
	})
}
