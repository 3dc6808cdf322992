package lss_test

import (
	"log/slog"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/lss"
	"github.com/dynamo-kv/dynamo/internal/storage/storagetest"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// smallSegment has segments sealed, merged and reused after some dozen writes.
const smallSegment = 32 << 10

// options are those of a small engine in a folder of fs.
func options(fs vfs.FS, create bool) lss.Options {
	return lss.Options{
		Dir:          "data",
		Create:       create,
		FS:           fs,
		Logger:       slog.New(slog.DiscardHandler),
		SegmentBytes: smallSegment,
		MergeRate:    unbounded,
	}
}

// unbounded is a rate of merging that nothing waits for.
func unbounded() int64 { return 1 << 40 }

func mustOpen(t testing.TB, o lss.Options) *lss.Engine {
	t.Helper()
	e, err := lss.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEngine(t *testing.T) {
	t.Run("memory", func(t *testing.T) { storagetest.Run(t, openMemory) })
	t.Run("os", func(t *testing.T) { storagetest.Run(t, openOS) })
}

func TestModel(t *testing.T) { storagetest.Model(t, openMemory) }

func openMemory(t testing.TB) storage.Engine {
	return mustOpen(t, options(vfs.NewDisk().FS(), true))
}

func openOS(t testing.TB) storage.Engine {
	return mustOpen(t, lss.Options{
		Dir:    t.TempDir(),
		Create: true,
		FS:     vfs.OS(),
		Logger: slog.New(slog.DiscardHandler),
	})
}

func BenchmarkEngine(b *testing.B) { storagetest.Bench(b, openOS) }

// machine implements storagetest.CrashDisk.
type machine struct {
	disk   *vfs.Disk
	engine storage.Engine // nil when none is open
	made   bool
}

func (m *machine) Open(t testing.TB) storage.Engine {
	t.Helper()
	m.engine = mustOpen(t, options(m.disk.FS(), !m.made))
	m.made = true
	return m.engine
}

// Crash takes the disk away from the engine, which goes on with a copy that
// nobody will see, and is closed.
func (m *machine) Crash(t testing.TB, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	keep := []int{0, 30, 70, 100}[rng.IntN(4)]
	m.disk = m.disk.PowerCut(rng, keep)
	if m.engine != nil {
		if err := m.engine.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		m.engine = nil
	}
}

func TestCrash(t *testing.T) {
	storagetest.Crash(t, func(testing.TB) storagetest.CrashDisk {
		return &machine{disk: vfs.NewDisk()}
	})
}
