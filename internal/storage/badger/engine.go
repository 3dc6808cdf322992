package badger

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/grouped"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Engine implements storage.Engine.
type Engine struct {
	*grouped.Engine
	library *library
}

var _ storage.Engine = (*Engine)(nil)

// Open opens the engine in its folder.
func Open(o Options) (*Engine, error) {
	if err := errors.Join(o.validate(), o.prepare()); err != nil {
		return nil, fmt.Errorf("badger: %w", err)
	}
	l, err := open(o)
	if err != nil {
		return nil, fmt.Errorf("badger: %w", err)
	}
	e := grouped.New(l, grouped.Options{
		Name:      Name,
		Logger:    o.Logger,
		OnFailure: o.OnFailure,
		Buckets:   o.Buckets,
	})
	l.log.tell(func(err error) { _ = e.Fail(err) })
	return &Engine{Engine: e, library: l}, nil
}

// prepare checks that the folder is there with a store in it, or is not there,
// since badger would open it or make it in either case.
func (o Options) prepare() error {
	if o.Create {
		return os.Mkdir(o.Dir, 0o700)
	}
	info, err := os.Stat(filepath.Join(o.Dir, badger.ManifestFilename))
	if err == nil && info.Size() == 0 {
		err = fmt.Errorf("%w: %s is empty", storage.ErrDamaged, badger.ManifestFilename)
	}
	if err != nil {
		return err
	}
	return removeEmptyLogs(o.Dir)
}

// removeEmptyLogs removes logs without a single byte. A process that ends while
// it begins a log leaves such a one, with nothing in it that could be lost, and
// badger does not open a store that has one.
func removeEmptyLogs(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if ext := filepath.Ext(entry.Name()); ext != memLog && ext != valueLog {
			continue
		}
		info, err := entry.Info()
		if err == nil && info.Size() == 0 {
			err = os.Remove(filepath.Join(dir, entry.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// How the names of badger's logs end: those of memtables, and of values.
const (
	memLog   = ".mem"
	valueLog = ".vlog"
)

// library implements grouped.Library.
type library struct {
	dir       string
	disk      vfs.FS // measures the room
	db        *badger.DB
	log       *logger
	clock     *clock
	collector *collector
	marks     atomic.Int64 // of deletions: those that the last sweep has left, and those since

	applying sync.Mutex // held over transactions; guards what follows
	logs     [2]string  // the newest logs whose names are durable
}

var _ grouped.Library = (*library)(nil)

func open(o Options) (*library, error) {
	if o.Background == nil {
		o.Background = storage.AtRate(storage.DefaultBackgroundBytes)
	}
	log := &logger{log: o.Logger}
	options := o.library(log)
	if !o.Create {
		m, err := readManifest(o.Dir, options)
		if err = errors.Join(err, m.trust()); err != nil {
			return nil, fmt.Errorf("%s: %w", o.Dir, err)
		}
	}
	db, err := badger.OpenManaged(options)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.Dir, err)
	}
	l := &library{dir: o.Dir, disk: vfs.OS(), db: db, log: log}
	l.clock = newClock(db.MaxVersion(), db.SetDiscardTs)
	if err := l.syncNames(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	l.collector = newCollector(l, o.Background, o.Collect)
	return l, nil
}

// keyPrefix begins the keys in badger, which knows no empty key and has some of
// its own.
const keyPrefix = 'k'

func inner(key []byte) []byte {
	return append(append(make([]byte, 0, 1+len(key)), keyPrefix), key...)
}

// Get implements grouped.Library. The newest version is the one to show even if
// its transaction is under way, and it is never discarded.
func (l *library) Get(key []byte) (value []byte, found bool, err error) {
	txn := l.db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	item, err := txn.Get(inner(key))
	if errors.Is(err, badger.ErrKeyNotFound) || err == nil && item.UserMeta() == removed {
		return nil, false, l.log.err()
	}
	if err != nil {
		return nil, false, err
	}
	value, err = item.ValueCopy(make([]byte, 0, item.ValueSize()))
	if err == nil {
		err = l.log.err()
	}
	if value == nil {
		value = []byte{}
	}
	return value, true, err
}

// Apply implements grouped.Library, in as few transactions as badger's limit
// allows.
func (l *library) Apply(batches [][]core.Write) error {
	l.applying.Lock()
	defer l.applying.Unlock()
	if err := checkRoom(l.disk, l.dir, 0); err != nil {
		return err
	}
	for len(batches) > 0 {
		n, err := l.fitting(batches)
		if err != nil {
			return err
		}
		if err := l.commit(batches[:n]); err != nil {
			return err
		}
		batches = batches[n:]
	}
	if err := l.syncNames(); err != nil {
		return err
	}
	return l.log.err()
}

// entryBytes is what badger counts for an entry beside its key and value, at
// most: a pointer, flags and a timestamp.
const entryBytes = 32

// fitting returns how many of the batches fit into one transaction.
func (l *library) fitting(batches [][]core.Write) (n int, err error) {
	const reserved = 2 // writes: badger's own mark at the end, and a limit that is exclusive
	count, size := int64(reserved), int64(reserved*entryBytes)
	for _, batch := range batches {
		for _, w := range batch {
			count++
			size += int64(len(w.Key)) + entryBytes
			if len(w.Value) < valueThreshold {
				size += int64(len(w.Value))
			}
		}
		if count > l.db.MaxBatchCount() || size > l.db.MaxBatchSize() {
			break
		}
		n++
	}
	if n == 0 {
		return 0, fmt.Errorf("a batch of %d writes takes %d bytes of a memtable; %d writes and %d bytes are the most",
			len(batches[0]), size, l.db.MaxBatchCount(), l.db.MaxBatchSize())
	}
	return n, nil
}

// commit carries out batches in one transaction.
func (l *library) commit(batches [][]core.Write) error {
	ts := l.clock.next()
	txn := l.db.NewTransactionAt(l.clock.now(), true)
	defer txn.Discard()
	for _, batch := range batches {
		for _, w := range batch {
			if err := write(txn, w); err != nil {
				return err
			}
			if w.Delete {
				l.marks.Add(1)
			}
		}
	}
	if err := txn.CommitAt(ts, nil); err != nil {
		return err
	}
	l.clock.advance(ts)
	return nil
}

// removed marks the entries of keys that are deleted. See "Deletions" in the
// package's documentation.
const removed = 1

func write(txn *badger.Txn, w core.Write) error {
	if w.Delete {
		return txn.SetEntry(badger.NewEntry(inner(w.Key), nil).WithMeta(removed))
	}
	return txn.Set(inner(w.Key), w.Value)
}

// syncNames makes durable that the newest logs exist.
func (l *library) syncNames() error {
	d, err := os.Open(l.dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }() // it was only read and synced
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	var logs [2]string
	for _, name := range names {
		switch filepath.Ext(name) {
		case memLog:
			logs[0] = max(logs[0], name)
		case valueLog:
			logs[1] = max(logs[1], name)
		}
	}
	if logs == l.logs {
		return nil
	}
	if err := d.Sync(); err != nil {
		return err
	}
	l.logs = logs
	return nil
}

// Snapshot implements grouped.Library.
func (l *library) Snapshot() (grouped.Snapshot, error) {
	ts := l.clock.hold()
	return &snapshot{library: l, ts: ts, txn: l.db.NewTransactionAt(ts, false)}, nil
}

// snapshot is a transaction that reads.
type snapshot struct {
	library *library
	ts      uint64
	txn     *badger.Txn
}

// Ascend implements grouped.Snapshot.
func (s *snapshot) Ascend(from []byte, f func(key, value []byte) bool) error {
	if _, err := ascend(s.txn, s.library.log, from, f); err != nil {
		return err
	}
	return s.library.log.err()
}

// ascend calls f with each pair from a key on, in order, until f returns false.
// Keys that are deleted are passed over. With an error, at is the key whose value
// could not be read.
func ascend(txn *badger.Txn, log *logger, from []byte, f func(key, value []byte) bool) (at []byte, err error) {
	o := badger.DefaultIteratorOptions
	o.PrefetchValues = false // most scans are short, and goroutines do not pay for them
	iter := txn.NewIterator(o)
	defer iter.Close()
	on := true
	for iter.Seek(inner(from)); on && iter.Valid(); iter.Next() {
		item := iter.Item()
		key, ok := bytes.CutPrefix(item.Key(), []byte{keyPrefix})
		if !ok {
			break
		}
		if item.UserMeta() == removed {
			continue
		}
		if err := item.Value(func(value []byte) error {
			if err := log.err(); err != nil {
				return err
			}
			on = f(key, value)
			return nil
		}); err != nil {
			return bytes.Clone(key), err
		}
	}
	return nil, nil
}

// Close implements grouped.Snapshot.
func (s *snapshot) Close() {
	s.txn.Discard()
	s.library.clock.release(s.ts)
}

// Stats implements grouped.Library. The memory is that of the block cache and
// the memtable: badger tells of the former only.
func (l *library) Stats() storage.Stats {
	s := storage.Stats{Keys: -1, MemoryBytes: l.db.Opts().MemTableSize}
	if m := l.db.BlockCacheMetrics(); m != nil {
		s.CacheHits, s.CacheMisses = m.Hits(), m.Misses()
		s.MemoryBytes += int64(m.CostAdded() - m.CostEvicted())
	}
	_ = filepath.WalkDir(l.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil //nolint:nilerr // a file that badger has removed meanwhile
		}
		if info, err := entry.Info(); err == nil {
			size := diskBytes(info)
			s.DiskBytes += size
			if strings.HasSuffix(path, memLog) {
				s.LogBytes += size
			}
		}
		return nil
	})
	return s
}

// Close implements grouped.Library.
func (l *library) Close() error {
	l.collector.close()
	if l.log.retrying.Load() {
		go func() { _ = l.db.Close() }() // it may never end; see the package's documentation
		return nil
	}
	return l.db.Close()
}
