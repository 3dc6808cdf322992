package bolt_test

import (
	"log/slog"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/bolt"
	"github.com/dynamo-kv/dynamo/internal/storage/storagetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func options(dir string, create bool) bolt.Options {
	return bolt.Options{Dir: dir, Create: create, Logger: slog.New(slog.DiscardHandler)}
}

func mustOpen(t testing.TB, o bolt.Options) *bolt.Engine {
	t.Helper()
	e, err := bolt.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func open(t testing.TB) storage.Engine {
	return mustOpen(t, options(filepath.Join(t.TempDir(), "bolt"), true))
}

func TestEngine(t *testing.T) { storagetest.Run(t, open) }

func TestModel(t *testing.T) { storagetest.Model(t, open) }

func BenchmarkEngine(b *testing.B) { storagetest.Bench(b, open) }
