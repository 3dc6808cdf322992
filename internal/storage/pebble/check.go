package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/sstable"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// checkCacheBytes is for the blocks that a look at a store comes by: each
// once, so that more is of no use.
const checkCacheBytes = 8 << 20

// Check looks at a store that is not open: at the checksum of each block of
// each table, at all of the manifest and the logs, and at every pair. It changes
// nothing. Of the logs, it holds in memory what is in no table yet.
//
// Pebble takes a log or a manifest that ends in what is no record for one that a
// crash has torn. Of a log, this says so in a note; of the manifest, as damage,
// since a start drops the tables that stand behind it, and manifests are written
// so seldom that a crash hardly ever comes upon one. The files OPTIONS and the
// names of markers have no checksum.
func Check(dir string, o storage.CheckOptions, x storage.Examiner) error {
	c := checker{dir: dir, fs: o.FS, x: x}
	names, err := c.files()
	if err != nil {
		return fmt.Errorf("pebble: %w", err)
	}
	library := c.options()
	defer library.Cache.Unref()
	c.tables(names, library)
	if err := c.journals(names); err != nil {
		return fmt.Errorf("pebble: %w", err)
	}
	db, err := pebble.Open(dir, library)
	if err == nil {
		err = errors.Join(c.pairs(db), db.Close())
	}
	if err = stopped(c.disk, err); err != nil {
		x.Fault(storage.Fault{File: ".", Offset: -1, What: "the store cannot be read to its end: " + err.Error(), Cost: storage.CostStore})
	}
	return nil
}

type checker struct {
	dir         string
	fs          vfs.FS
	disk        *vfs.FailStop // takes what pebble would end the process for
	x           storage.Examiner
	done, total int64
}

// options are those of a store that is only read.
func (c *checker) options() *pebble.Options {
	c.disk = vfs.NewFailStop(c.fs, nil)
	o := Options{Dir: c.dir, FS: c.fs, Logger: slog.New(slog.DiscardHandler)}
	library := o.library(c.disk, pebble.NewCache(checkCacheBytes), new(stalls))
	library.FS = c.fs
	library.ReadOnly = true
	return library
}

// files returns the names of the store's files, in order.
func (c *checker) files() ([]string, error) {
	names, err := c.fs.List(c.dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		if info, err := c.fs.Stat(c.fs.PathJoin(c.dir, name)); err == nil {
			c.total += info.Size()
		}
	}
	return names, nil
}

// tables looks at every block of every table.
func (c *checker) tables(names []string, o *pebble.Options) {
	for _, name := range names {
		if !strings.HasSuffix(name, ".sst") {
			continue
		}
		if err := c.table(name, o); err != nil {
			c.x.Fault(storage.Fault{File: name, Offset: -1, What: err.Error(), Cost: storage.CostStore})
		}
		if info, err := c.fs.Stat(c.fs.PathJoin(c.dir, name)); err == nil {
			c.done += info.Size()
			c.x.Progress(c.done, c.total)
		}
	}
}

func (c *checker) table(name string, o *pebble.Options) error {
	f, err := c.fs.Open(c.fs.PathJoin(c.dir, name))
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(context.Background(), readable, o.MakeReaderOptions())
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}

// journals looks at the records of the logs and manifests.
func (c *checker) journals(names []string) error {
	current := ""
	for _, name := range names { // the last one counts
		if rest, ok := strings.CutPrefix(name, markerPrefix+"manifest."); ok {
			_, current, _ = strings.Cut(rest, ".")
		}
	}
	for _, name := range names {
		manifest := strings.HasPrefix(name, "MANIFEST-")
		if !manifest && !strings.HasSuffix(name, ".log") {
			continue
		}
		off, whole, err := c.journal(name)
		switch {
		case err != nil:
			return err
		case whole:
		case manifest && name == current:
			c.x.Fault(storage.Fault{
				File: name, Offset: off, Cost: storage.CostStore,
				What: "it ends in what is no record, so that a start would drop tables: it is damaged, or a crash has torn it",
			})
		default:
			c.x.Note(name, fmt.Sprintf("at %d, behind the last record, stands something that is no record: a write that a crash has torn, an earlier use of the file, or damage", off))
		}
	}
	return nil
}

// journal reads a log or manifest, and returns where its last record ends;
// whole says that nothing follows.
func (c *checker) journal(name string) (off int64, whole bool, err error) {
	f, err := c.fs.Open(c.fs.PathJoin(c.dir, name))
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	number := uint64(0) // of a log, whose records have it
	if log, ok := strings.CutSuffix(name, ".log"); ok {
		digits, _, _ := strings.Cut(log, "-")
		if number, err = strconv.ParseUint(digits, 10, 64); err != nil {
			return 0, false, fmt.Errorf("%s is no name of a log: %w", name, err)
		}
	}
	r := numbered(record.NewReader, f, number)
	for {
		off = r.Offset()
		one, err := r.Next()
		if err == nil {
			_, err = io.Copy(io.Discard, one)
		}
		if errors.Is(err, io.EOF) {
			return off, true, nil
		}
		if err != nil {
			whole, err = zeros(f, off)
			return off, whole, err
		}
	}
}

// numbered makes a reader of a log. The type of its number has a name in the
// library only.
func numbered[N ~uint64](reader func(io.Reader, N) *record.Reader, f io.Reader, number uint64) *record.Reader {
	return reader(f, N(number))
}

// zeros says whether a file has nothing but zeros from off on.
func zeros(f vfs.File, off int64) (bool, error) {
	b := make([]byte, 64<<10)
	for {
		n, err := f.ReadAt(b, off)
		if len(bytes.Trim(b[:n], "\x00")) > 0 {
			return false, nil
		}
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		off += int64(n)
	}
}

// pairs shows what is stored.
func (c *checker) pairs(db *pebble.DB) error {
	iter, err := db.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := iter.First(); ok; ok = iter.Next() {
		value, err := iter.ValueAndErr()
		if err != nil {
			return errors.Join(err, iter.Close())
		}
		c.x.Pair(iter.Key(), value)
	}
	if err := iter.Close(); err != nil {
		return err
	}
	c.x.Progress(c.total, c.total)
	return nil
}
