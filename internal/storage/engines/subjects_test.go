package engines_test

import (
	"bytes"
	"math/rand/v2"
	"time"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/badger"
	"github.com/dynamo-kv/dynamo/internal/storage/bolt"
	"github.com/dynamo-kv/dynamo/internal/storage/lss"
	"github.com/dynamo-kv/dynamo/internal/storage/memory"
	"github.com/dynamo-kv/dynamo/internal/storage/pebble"
	"github.com/dynamo-kv/dynamo/internal/storage/storagetest"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// subjects are all engines, each in a data directory as a node has it, with
// options that are drawn anew for each start: most of them small, so that what
// takes a node hours takes place within some dozen writes.
func subjects() []storagetest.Subject {
	return []storagetest.Subject{
		{Name: pebble.Name, Durable: true, Crashes: true, Open: opener(pebble.Driver(), openPebble)},
		{Name: lss.Name, Durable: true, Crashes: true, Open: opener(lss.Driver(), openLSS)},
		{Name: bolt.Name, Durable: true, Open: opener(bolt.Driver(), openBolt)},
		{Name: badger.Name, Durable: true, Open: opener(badger.Driver(), openBadger)},
		{Name: memory.Name, Open: opener(memory.Driver(), openMemory)},
	}
}

// start is how one engine is to be started.
type start struct {
	storage.Options
	folder     string
	create     bool
	store, rng *rand.Rand
}

// pick draws one of some values.
func pick[T any](rng *rand.Rand, values ...T) T { return values[rng.IntN(len(values))] }

// buckets are those of a node, or none.
func (s start) buckets() []time.Duration {
	return pick(s.rng, nil, []time.Duration{time.Microsecond, time.Millisecond})
}

// opener opens a data directory by a driver whose engine is opened by open.
func opener(d storage.Driver, open func(start) (storage.Engine, error)) func(string, vfs.FS, *rand.Rand, *rand.Rand) (storage.Engine, error) {
	return func(dir string, fs vfs.FS, store, rng *rand.Rand) (storage.Engine, error) {
		d.Open = func(folder string, create bool, o storage.Options) (storage.Engine, error) {
			return open(start{o, folder, create, store, rng})
		}
		e, _, err := storage.Open(storage.Options{Engine: d.Name, Dir: dir, Node: "n1", FS: fs}, d)
		return e, err
	}
}

func openPebble(s start) (storage.Engine, error) {
	return pebble.Open(pebble.Options{
		Dir: s.folder, Create: s.create, FS: s.FS, Logger: s.Logger, OnFailure: s.OnFailure,
		Buckets:       s.buckets(),
		CacheBytes:    pick[int64](s.rng, 0, 64<<10, 1<<20, 64<<20),
		MemTableBytes: pick[uint64](s.rng, 16<<10, 32<<10, 256<<10, 1<<20, 0),
	})
}

func openLSS(s start) (storage.Engine, error) {
	return lss.Open(lss.Options{
		Dir: s.folder, Create: s.create, FS: s.FS, Logger: s.Logger, OnFailure: s.OnFailure,
		Buckets:      s.buckets(),
		SegmentBytes: pick(s.rng, 4<<10, 8<<10, 32<<10, 256<<10, 1<<20),
		Background:   storage.AtRate(pick[int64](s.rng, 64<<10, 1<<20, 1<<40)),
	})
}

func openBolt(s start) (storage.Engine, error) {
	return bolt.Open(bolt.Options{
		Dir: s.folder, Create: s.create, Logger: s.Logger, OnFailure: s.OnFailure,
		Buckets:  s.buckets(),
		MaxBytes: pick(s.rng, 0, 1<<40),
	})
}

// openBadger has garbage collected some times at once, or never.
func openBadger(s start) (storage.Engine, error) {
	ticks := make(chan time.Time, 10)
	for range s.rng.IntN(cap(ticks)) {
		ticks <- time.Time{}
	}
	return badger.Open(badger.Options{
		Dir: s.folder, Create: s.create, Logger: s.Logger, OnFailure: s.OnFailure,
		Buckets:       s.buckets(),
		CacheBytes:    pick[int64](s.rng, 1<<20, 64<<20),
		MemTableBytes: pick[int64](s.rng, 2<<20, 8<<20, 0),
		EncryptionKey: bytes.Repeat([]byte("k"), pick(s.store, 0, 16, 24, 32)),
		Collect:       ticks,
	})
}

func openMemory(s start) (storage.Engine, error) {
	return memory.Driver().Open(s.folder, s.create, s.Options)
}
