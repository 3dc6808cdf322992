package pebble

import (
	"fmt"
	"log/slog"
	"runtime"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Name is the engine's name in a configuration.
const Name = "pebble"

// format is the format of pebble's files. It is raised on purpose, never by
// an update of the library, since older programs cannot read a newer one. This
// one tells a damaged log from one that ends in a torn write, and has
// checksums in the footers of its tables.
const format = pebble.FormatTableFormatV6

const (
	// memTableBytes is where a memtable is full. Pebble reserves 1.1 times as
	// much of the disk for each log, and keeps one or two of them for their next
	// use, so a small disk pays for a large memtable; and from some MiB on a
	// larger one makes no put cheaper, since what its tables save its misses of
	// the processor's caches cost. A batch of half this size, one very large set,
	// goes to the log and to a table without passing through it. Memtables begin
	// small and double, so an idle node does not pay for this.
	memTableBytes = 16 << 20
	// diskNeed is a log that is being written, one that is kept for reuse, and the
	// tables that a flush and a compaction write.
	diskNeed = 4 * memTableBytes
	// maxMemTables is at how many of them commits wait for a flush: three that
	// wait while one is written keep a disk busy that stands still for a moment.
	maxMemTables = 4
	// blockBytes is the unit of reading and caching: some hundred small
	// values, and larger values have blocks of their own.
	blockBytes = 16 << 10
	// indexBlockBytes keeps indexes of one level up to some ten thousand
	// blocks a table.
	indexBlockBytes = 256 << 10
	// filterBits a key give a false positive rate of one in a hundred. All levels
	// have filters but the last, to which gets of pebble never ask any: what is
	// in no other level is most often in that one.
	filterBits = 10
	// smoothBytes is after how much written data a background sync of a table,
	// or of a log that nobody waits for, is started, so that the last one is
	// short.
	smoothBytes = 512 << 10
	// l0Compaction is twice the number of overlapping tables of level 0 at which
	// they are merged into the next. Each merge writes that one again, which is
	// four memtables large: with one table at a time every put would be written
	// four times more, with four at a time it is once. What a read pays for it
	// are four filters.
	l0Compaction = 8
	// l0Stop is at how many of them commits wait for that. By then compaction
	// has fallen behind by hundreds of MiB, and does not catch up by itself:
	// better that commits slow down than that every read looks into more and
	// more tables, and the disk fills with what is in none of its places.
	l0Stop = 20
	// openFiles bounds the tables that are held open: 64 GiB with the tables'
	// usual size, and below the usual limit of 1024 for a process.
	openFiles = 512
)

// Options of one engine. The fields up to Logger are required.
type Options struct {
	Dir        string // the engine's own folder
	Create     bool   // it does not exist, else it must hold a store
	FS         vfs.FS
	CacheBytes int64
	Logger     *slog.Logger
	OnFailure  func(error)
	// Buckets are the bounds by which the durations of syncs are counted.
	Buckets []time.Duration
	// Throttled says whether background work is to take less of the machine; nil:
	// never. It must not block, and must not use the engine.
	Throttled func() bool
	// MemTableBytes is for tests, which want flushes early; 0 is the default.
	MemTableBytes uint64
	// Compression is for benchmarks; nil is the default.
	Compression *sstable.CompressionProfile
}

// Driver returns what storage.Open must know of this engine.
func Driver() storage.Driver {
	return storage.Driver{
		Name:     Name,
		Durable:  true,
		CopyRoom: copyRoom,
		Check:    Check,
		Need:     diskNeed,
		Open: func(dir string, create bool, o storage.Options) (storage.Engine, error) {
			return Open(Options{
				Dir:        dir,
				Create:     create,
				FS:         o.FS,
				CacheBytes: o.CacheBytes,
				Logger:     o.Logger,
				OnFailure:  o.OnFailure,
				Buckets:    o.Buckets,
				Throttled:  o.Throttled,
			})
		},
	}
}

// library returns the options for pebble itself.
func (o Options) library(disk *vfs.FailStop, cache *pebble.Cache, stalls *stalls) *pebble.Options {
	if o.MemTableBytes == 0 {
		o.MemTableBytes = memTableBytes
	}
	if o.Compression == nil {
		// zstd at its lowest level, and what is cheaper where that saves hardly
		// less: docs/adr/0031 has the figures. Each block says what it is compressed
		// with, and stays as it is where that saves less than a twentieth.
		o.Compression = sstable.BalancedCompression
	}
	p := &pebble.Options{
		FS:                          markerFS{listFS{disk}},
		Cache:                       cache,
		ErrorIfExists:               o.Create,
		ErrorIfNotExists:            !o.Create,
		FormatMajorVersion:          format,
		MemTableSize:                o.MemTableBytes,
		MemTableStopWritesThreshold: maxMemTables,
		L0CompactionThreshold:       l0Compaction,
		L0StopWritesThreshold:       l0Stop,
		BytesPerSync:                smoothBytes,
		WALBytesPerSync:             smoothBytes,
		MaxOpenFiles:                openFiles,
		CompactionConcurrencyRange:  o.compactions,
		Logger:                      logger{o.Logger, disk},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { disk.Fail(err) },
			WriteStallBegin: stalls.begin,
			WriteStallEnd:   stalls.end,
			DataCorruption:  func(i pebble.DataCorruptionInfo) { disk.Fail(fmt.Errorf("%s: %w", i.Path, i.Details)) },
		},
	}
	for i := range p.Levels {
		p.Levels[i] = pebble.LevelOptions{
			BlockSize:      blockBytes,
			IndexBlockSize: indexBlockBytes,
			FilterPolicy:   bloom.FilterPolicy(filterBits),
			Compression:    func() *sstable.CompressionProfile { return o.Compression },
		}
	}
	p.Levels[len(p.Levels)-1].FilterPolicy = pebble.NoFilterPolicy
	return p
}

// compactions returns how many of them may run at once: one always, or level 0
// grows until commits wait, whatever else is slow; and when they fall behind,
// half of the cores, since requests want the others, unless these are slow.
// Pebble asks each time that it may begin one.
func (o *Options) compactions() (lower, upper int) {
	if o.Throttled != nil && o.Throttled() {
		return 1, 1
	}
	return 1, max(1, min(maxCompactions, runtime.GOMAXPROCS(0)/2))
}

// maxCompactions is the most that run at once: more are limited by the disk.
const maxCompactions = 4

// logger passes on what pebble has to say. Its chatter about every flush and
// file is of use only to who debugs pebble.
type logger struct {
	log  *slog.Logger
	disk *vfs.FailStop
}

func (l logger) Infof(format string, args ...any) {
	l.log.Debug("pebble", "message", lazy{format, args})
}

func (l logger) Errorf(format string, args ...any) {
	l.log.Error("pebble", "message", lazy{format, args})
}

// Fatalf implements pebble.Logger. Pebble expects it not to return; here it
// stops the engine instead, and pebble goes on without a disk.
func (l logger) Fatalf(format string, args ...any) {
	l.disk.Fail(fmt.Errorf(format, args...))
}

// lazy is a message that is put together only if somebody wants it.
type lazy struct {
	format string
	args   []any
}

// LogValue implements slog.LogValuer.
func (m lazy) LogValue() slog.Value { return slog.StringValue(fmt.Sprintf(m.format, m.args...)) }

// copyRoom is what the store takes at most while it is filled in order: the tables,
// which such filling does not compact twice, and the logs, which are kept to be
// used again and are as long as a memtable each.
func copyRoom(keys, bytes uint64) uint64 {
	const logs = (maxMemTables + 3) * memTableBytes * 9 / 8
	return bytes + bytes/4 + 64*keys + logs
}
