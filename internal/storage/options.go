package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// DefaultCacheBytes is the block cache of an engine that has one: enough for
// the hot blocks and all filters of some ten million keys, and small beside
// what a machine that runs another program as well can spare.
const DefaultCacheBytes = 64 << 20

// Options say which engine to open, where and for whom.
type Options struct {
	// Engine is the name of an engine.
	Engine string
	// Dir is the data directory. It is made if it does not exist. Engines that
	// are not durable ignore it.
	Dir string
	// Node is whose data it is.
	Node id.Node
	// CacheBytes is the size of the block cache, for engines that have one;
	// 0 is DefaultCacheBytes.
	CacheBytes int64
	// MemoryBytes is what an engine that is not durable may take of the memory
	// for what it holds; 0: nothing bounds it.
	MemoryBytes int64
	// Logger gets what the engine has to say; nil drops it.
	Logger *slog.Logger
	// OnFailure, if not nil, is called once when the engine fails, by whatever
	// goroutine meets the failure: it must not block and must not use the
	// engine. The same error comes with every completion from then on.
	OnFailure func(error)
	// OnDamage, if not nil, is told of every key whose record the engine finds that
	// the disk has lost: when it finds it, by whatever it does, and at each opening
	// of those that have not been written since. Any goroutine calls it, under the
	// engine's locks: it must not block and must not use the engine. Only lss knows
	// such keys; another engine that comes upon damage fails.
	OnDamage func(key []byte)
	// ScrubInterval is within what time the engine reads again all that it has and
	// nothing is added to, and checks it; 0: it does not. Only lss does: the others
	// check what is read when it is read.
	ScrubInterval time.Duration
	// Background admits what the engine does behind the commits; nil lets it
	// move DefaultBackgroundBytes a second. Engines of libraries that take no
	// such orders ignore it: bolt has no such work, and pebble paces its own,
	// by Throttled.
	Background Background
	// Throttled, if not nil, says whether requests are so slow that background work
	// is to take less of the machine. Any goroutine calls it, often; it must not
	// block and must not use the engine.
	Throttled func() bool
	// Buckets are the bounds by which the durations of syncs are counted, as
	// package histogram has them; none: they are not.
	Buckets []time.Duration
	// FS is the file system of the data directory; nil is the machine's own.
	FS vfs.FS
}

// Driver is what Open must know of one engine.
type Driver struct {
	// Name is the engine's name, and that of its folder in the data directory.
	Name string
	// Durable engines keep their data in the data directory. The others start
	// empty each time, and have no use for a directory.
	Durable bool
	// Need is about what the engine may need of the disk, in bytes, beside what
	// it is told to keep: for its logs, and to give back what is no longer used.
	Need uint64
	// Open opens the engine in its folder. With create it makes the folder,
	// which does not exist, else a folder that does not hold a complete store
	// is an error. The options are valid and have their defaults filled in.
	Open func(dir string, create bool, o Options) (Engine, error)
	// CopyRoom returns how much of the disk the engine takes, at the most, while it
	// is given so many keys in their order, of so many bytes with their values.
	// Durable engines have it; it is an estimate, on the safe side.
	CopyRoom func(keys, bytes uint64) uint64
	// Check looks at the engine's folder while it is not open, and changes
	// nothing in it: at every checksum that there is, and at every pair. Only
	// durable engines have it. The error says why it could not look to the end.
	Check func(dir string, o CheckOptions, x Examiner) error
}

// withDefaults fills in what was left out.
func (o Options) withDefaults() Options {
	if o.CacheBytes == 0 {
		o.CacheBytes = DefaultCacheBytes
	}
	if o.Background == nil {
		o.Background = AtRate(DefaultBackgroundBytes)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// validate returns the driver that the options ask for, or every fault of
// theirs at once.
func (o Options) validate(drivers []Driver) (Driver, error) {
	driver, err := pick(o.Engine, drivers)
	faults := []error{err}
	if _, err := id.ParseNode(string(o.Node)); err != nil {
		faults = append(faults, err)
	}
	if driver.Durable && o.Dir == "" {
		faults = append(faults, fmt.Errorf("storage engine %q needs a data directory", o.Engine))
	}
	if o.CacheBytes < 0 {
		faults = append(faults, fmt.Errorf("cache of %d bytes; it must not be negative", o.CacheBytes))
	}
	if o.MemoryBytes < 0 {
		faults = append(faults, fmt.Errorf("memory limit of %d bytes; it must not be negative", o.MemoryBytes))
	}
	if o.ScrubInterval < 0 {
		faults = append(faults, fmt.Errorf("scrub interval of %v; it must not be negative", o.ScrubInterval))
	}
	return driver, errors.Join(faults...)
}

func pick(name string, drivers []Driver) (Driver, error) {
	names := make([]string, 0, len(drivers))
	for _, d := range drivers {
		if d.Name == name {
			return d, nil
		}
		names = append(names, d.Name)
	}
	return Driver{}, fmt.Errorf("storage engine %q is not known; there are: %s", name, strings.Join(names, ", "))
}
