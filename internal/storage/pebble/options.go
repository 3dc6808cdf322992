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
	// memTableBytes is where a memtable is full. A batch of half that size
	// goes to the log and to a table without passing through it: larger than
	// the largest sibling set would do by itself, so such batches are rare.
	// Memtables begin small and double, so an idle node does not pay for this.
	memTableBytes = 64 << 20
	// diskNeed is a log that is being written, and one that is kept for reuse.
	diskNeed = 2 * memTableBytes
	// maxMemTables is at how many of them commits wait for a flush.
	maxMemTables = 4
	// blockBytes is the unit of reading and caching: some hundred small
	// values, and larger values have blocks of their own.
	blockBytes = 16 << 10
	// indexBlockBytes keeps indexes of one level up to some ten thousand
	// blocks a table.
	indexBlockBytes = 256 << 10
	// filterBits a key give a false positive rate of one in a hundred.
	filterBits = 10
	// smoothBytes is after how much written data a background sync of a table
	// is started, so that the last one is short.
	smoothBytes = 512 << 10
	// l0Compaction is at how many overlapping tables of level 0 they are
	// merged, and l0Stop at how many commits wait for that.
	l0Compaction = 2
	l0Stop       = 1000
	// openFiles bounds the tables that are held open: 64 GiB with the tables'
	// usual size, and below the usual limit of 1024 for a process.
	openFiles = 512
)

// Options of one engine. All fields but OnFailure, Buckets and MemTableBytes
// are required.
type Options struct {
	Dir        string // the engine's own folder
	Create     bool   // it does not exist, else it must hold a store
	FS         vfs.FS
	CacheBytes int64
	Logger     *slog.Logger
	OnFailure  func(error)
	// Buckets are the bounds by which the durations of syncs are counted.
	Buckets []time.Duration
	// MemTableBytes is for tests, which want flushes early; 0 is the default.
	MemTableBytes uint64
}

// Driver returns what storage.Open must know of this engine.
func Driver() storage.Driver {
	return storage.Driver{
		Name:    Name,
		Durable: true,
		Need:    diskNeed,
		Open: func(dir string, create bool, o storage.Options) (storage.Engine, error) {
			return Open(Options{
				Dir:        dir,
				Create:     create,
				FS:         o.FS,
				CacheBytes: o.CacheBytes,
				Logger:     o.Logger,
				OnFailure:  o.OnFailure,
				Buckets:    o.Buckets,
			})
		},
	}
}

// library returns the options for pebble itself. It refers to cache, which the
// caller lets go of when the database is open.
func (o Options) library(disk *vfs.FailStop, cache *pebble.Cache, stalls *stalls) *pebble.Options {
	if o.MemTableBytes == 0 {
		o.MemTableBytes = memTableBytes
	}
	p := &pebble.Options{
		FS:                          markerFS{disk},
		Cache:                       cache,
		ErrorIfExists:               o.Create,
		ErrorIfNotExists:            !o.Create,
		FormatMajorVersion:          format,
		MemTableSize:                o.MemTableBytes,
		MemTableStopWritesThreshold: maxMemTables,
		L0CompactionThreshold:       l0Compaction,
		L0StopWritesThreshold:       l0Stop,
		BytesPerSync:                smoothBytes,
		MaxOpenFiles:                openFiles,
		CompactionConcurrencyRange:  compactions,
		Logger:                      logger{o.Logger, disk},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { disk.Fail(err) },
			WriteStallBegin: func(pebble.WriteStallBeginInfo) { stalls.begin() },
			WriteStallEnd:   stalls.end,
			DataCorruption:  func(i pebble.DataCorruptionInfo) { disk.Fail(fmt.Errorf("%s: %w", i.Path, i.Details)) },
		},
	}
	for i := range p.Levels {
		p.Levels[i] = pebble.LevelOptions{
			BlockSize:      blockBytes,
			IndexBlockSize: indexBlockBytes,
			FilterPolicy:   bloom.FilterPolicy(filterBits),
			Compression:    func() *sstable.CompressionProfile { return sstable.SnappyCompression },
		}
	}
	return p
}

// compactions returns how many of them may run at once: one always, and when
// they fall behind, half of the cores, since requests want the others.
func compactions() (lower, upper int) {
	return 1, max(1, min(4, runtime.GOMAXPROCS(0)/2))
}

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
