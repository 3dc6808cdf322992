package lss_test

import (
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

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
		Background:   free{},
	}
}

// free admits all background work at once.
type free struct{}

func (free) Step(int, <-chan struct{}) bool { return true }
func (free) Done()                          {}

// gate admits as many steps of background work as are put into it: none at all
// where steps is nil.
type gate struct {
	steps chan struct{}
	asked atomic.Int64 // steps that have been asked for
	bytes atomic.Int64 // that those were to move which were admitted
	held  atomic.Bool  // a step was admitted, and Done has not been called since
}

func (g *gate) Step(bytes int, quit <-chan struct{}) bool {
	g.asked.Add(1)
	select {
	case <-quit:
		return false
	case <-g.steps:
		g.bytes.Add(int64(bytes))
		g.held.Store(true)
		return true
	}
}

func (g *gate) Done() { g.held.Store(false) }

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
	o := options(vfs.NewDisk().FS(), true)
	o.ScrubInterval = time.Millisecond // in the way of everything else, all the time
	return mustOpen(t, o)
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
