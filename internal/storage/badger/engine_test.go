package badger_test

import (
	"log/slog"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/badger"
	"github.com/dynamo-kv/dynamo/internal/storage/storagetest"
)

// TestMain lets pass what badger itself leaves behind where its Open fails.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/dgraph-io/badger/v4.(*DB).monitorCache"),
		goleak.IgnoreTopFunction("github.com/dgraph-io/ristretto/v2/z.(*AllocatorPool).freeupAllocators"))
}

// smallMemTable has memtables flushed and tables compacted after some thousand
// writes.
const smallMemTable = 1 << 20

func options(dir string, create bool) badger.Options {
	return badger.Options{
		Dir:           dir,
		Create:        create,
		CacheBytes:    1 << 20,
		Logger:        slog.New(slog.DiscardHandler),
		MemTableBytes: smallMemTable,
	}
}

func mustOpen(t testing.TB, o badger.Options) *badger.Engine {
	t.Helper()
	e, err := badger.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func open(t testing.TB) storage.Engine {
	return mustOpen(t, options(filepath.Join(t.TempDir(), "badger"), true))
}

func openLarge(t testing.TB) storage.Engine {
	o := options(filepath.Join(t.TempDir(), "badger"), true)
	o.MemTableBytes, o.CacheBytes = 0, storage.DefaultCacheBytes
	return mustOpen(t, o)
}

func TestEngine(t *testing.T) {
	t.Run("small", func(t *testing.T) { storagetest.Run(t, open) })
	t.Run("default", func(t *testing.T) { storagetest.Run(t, openLarge) })
}

func TestModel(t *testing.T) { storagetest.Model(t, open) }

func BenchmarkEngine(b *testing.B) { storagetest.Bench(b, openLarge) }
