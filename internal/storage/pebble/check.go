package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
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
// A log's last record, if it is damaged, looks as one that a crash has torn,
// here as at a start. The files OPTIONS and the names of markers have no
// checksum.
func Check(dir string, o storage.CheckOptions, x storage.Examiner) error {
	c := checker{dir: dir, fs: o.FS, x: x}
	names, err := c.files()
	if err != nil {
		return fmt.Errorf("pebble: %w", err)
	}
	library := c.options()
	defer library.Cache.Unref()
	c.tables(names, library)
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
