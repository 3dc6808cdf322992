package badger

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"syscall"
	"time"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Name is the engine's name in a configuration.
const Name = "badger"

const (
	// memTableBytes is where a memtable is full; a transaction may take 15 % of
	// it (package documentation).
	memTableBytes = 64 << 20
	// maxMemTables is at how many of them transactions wait for a flush.
	maxMemTables = 3
	// valueThreshold is from what size on values go to the value log: those of
	// a kilobyte and more make compactions expensive and transactions large.
	valueThreshold = 1 << 10
	// valueLogBytes is where a file of the value log is full. Collecting
	// garbage rewrites whole files, so it takes this much room and time.
	valueLogBytes = 256 << 20
	// compactors is the least that badger takes.
	compactors = 2
	// gcInterval is how often garbage is looked for: it is looked for in
	// statistics, so that this costs nothing where there is none.
	gcInterval = 10 * time.Minute
	// gcRatio is how much of a file must be garbage for it to be rewritten:
	// what is copied is then never more than what is given back.
	gcRatio = 0.5
	// rewriteBytes is what rewriting a file moves at most.
	rewriteBytes = valueLogBytes / 2
	// minFree is how much must be free on the disk for badger to open, and for
	// each transaction: what it may write in the background, through its maps of
	// memory, before the next one.
	minFree = 2 * memTableBytes
	// diskNeed is that, and a file of the value log, which is copied to collect
	// what is garbage in it.
	diskNeed = minFree + valueLogBytes
	// indexShare of the cache is for the tables' indexes when these are
	// encrypted, and must be decrypted to be used.
	indexShare = 4
)

// Options of one engine. Dir, CacheBytes and Logger are required.
type Options struct {
	Dir        string // the engine's own folder
	Create     bool   // it does not exist, else it must hold a store
	CacheBytes int64
	Logger     *slog.Logger
	OnFailure  func(error)
	// Buckets are the bounds by which the durations of transactions are
	// counted.
	Buckets []time.Duration
	// Background admits the collecting of garbage; nil is
	// storage.DefaultBackgroundBytes a second.
	Background storage.Background
	// EncryptionKey encrypts tables and logs, by AES with keys that are drawn
	// anew every ten days and kept under this one: 16, 24 or 32 bytes, the same
	// each time; none: nothing is encrypted. No setting of a node leads here
	// yet.
	EncryptionKey []byte
	// MemTableBytes is for tests, which want flushes early; 0 is the default.
	MemTableBytes int64
	// ValueLogBytes is for tests, which want files of the value log to be full
	// early; 0 is the default, and 1 MiB the least.
	ValueLogBytes int64
	// Collect is for tests, which want garbage collected at each receive; nil
	// is every gcInterval.
	Collect <-chan time.Time
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
			if o.FS != vfs.OS() {
				return nil, errors.New("badger: it runs on the machine's own file system only; use another engine on this one")
			}
			if err := checkRoom(o.FS, filepath.Dir(dir), 0); err != nil {
				return nil, fmt.Errorf("badger: %w", err)
			}
			return Open(Options{
				Dir:        dir,
				Create:     create,
				CacheBytes: o.CacheBytes,
				Logger:     o.Logger,
				OnFailure:  o.OnFailure,
				Buckets:    o.Buckets,
				Background: o.Background,
			})
		},
	}
}

// checkRoom returns an error if too little of the disk is free for so many bytes
// beside minFree. Where the system does not tell, it is not known to be too little.
func checkRoom(fs vfs.FS, dir string, bytes uint64) error {
	usage, err := fs.GetDiskUsage(dir)
	if err != nil || usage.AvailBytes >= minFree+bytes {
		return nil //nolint:nilerr // as said above
	}
	return fmt.Errorf("%d bytes of the disk are free, and %d are needed: %w", usage.AvailBytes, minFree+bytes, syscall.ENOSPC)
}

func (o Options) validate() error {
	switch len(o.EncryptionKey) {
	case 0, 16, 24, 32:
		return nil
	}
	return fmt.Errorf("an encryption key of %d bytes; 16, 24 or 32 are allowed", len(o.EncryptionKey))
}

// library returns the options for badger itself.
func (o Options) library(l badger.Logger) badger.Options {
	if o.MemTableBytes == 0 {
		o.MemTableBytes = memTableBytes
	}
	if o.ValueLogBytes == 0 {
		o.ValueLogBytes = valueLogBytes
	}
	b := badger.DefaultOptions(o.Dir).
		WithSyncWrites(true).
		WithDetectConflicts(false). // there is one writer
		WithVerifyValueChecksum(true).
		WithMetricsEnabled(false). // they are global to the process
		WithNumVersionsToKeep(1).
		WithMemTableSize(o.MemTableBytes).
		WithNumMemtables(maxMemTables).
		WithNumCompactors(compactors).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(o.ValueLogBytes).
		WithBlockCacheSize(o.CacheBytes).
		WithLogger(l)
	if len(o.EncryptionKey) > 0 {
		index := o.CacheBytes / indexShare
		b = b.WithEncryptionKey(o.EncryptionKey).
			WithIndexCacheSize(index).
			WithBlockCacheSize(o.CacheBytes - index)
	}
	return b
}

// copyRoom is what the store takes at most while it is filled in order, tables that
// are being compacted included, and what badger wants free to open.
func copyRoom(keys, bytes uint64) uint64 {
	return bytes + bytes/2 + 64*keys + 2*minFree
}
