package badger

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"

	badger "github.com/dgraph-io/badger/v4"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

// checkCacheBytes is for the blocks that a look at a store comes by: each
// once, so that more is of no use.
const checkCacheBytes = 8 << 20

// Check looks at a store that is not open: at the checksum of each block of
// each table, at the manifest, and at every pair, with the checksum of each
// value that is in the value log. It changes nothing.
//
// badger reads a log that is not in its tables yet only while it writes: so
// what a kill has left cannot be looked at before a start and a clean stop. And
// what nothing reads any more in the value log is not looked at.
func Check(dir string, o storage.CheckOptions, x storage.Examiner) error {
	if !o.Own {
		return errors.New("badger: it runs on the machine's own file system only")
	}
	c := &checker{dir: dir, x: x, log: &logger{log: slog.New(slog.DiscardHandler)}}
	if err := c.files(); err != nil {
		return fmt.Errorf("badger: %w", err)
	}
	err := c.look()
	if err != nil && strings.Contains(err.Error(), badger.ErrTruncateNeeded.Error()) { // badger does not wrap it
		return errors.New("badger: the node was not stopped cleanly, and badger reads the log that this has left only while it writes; start the node, stop it, and check again")
	}
	if err != nil {
		x.Fault(storage.Fault{File: ".", Offset: -1, What: "the store cannot be read to its end: " + err.Error(), Cost: storage.CostStore})
	}
	return nil
}

type checker struct {
	dir   string
	x     storage.Examiner
	log   *logger
	total int64
}

// files looks at what badger would make if it were not there.
func (c *checker) files() error {
	info, err := os.Stat(filepath.Join(c.dir, badger.ManifestFilename))
	if err == nil && info.Size() == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		c.x.Fault(storage.Fault{File: badger.ManifestFilename, Offset: -1, What: "it cannot be read: " + err.Error(), Cost: storage.CostStore})
	}
	return filepath.WalkDir(c.dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			c.total += info.Size()
		}
		return err
	})
}

// linked returns a folder of links to the store's files. badger removes tables
// that the manifest does not name, also from a store that it was told to only
// read; so of a store with a damaged manifest it removes what is left. Here it
// removes links.
func (c *checker) linked() (dir string, err error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return "", err
	}
	if dir, err = os.MkdirTemp("", "dynamo-doctor-"); err != nil {
		return "", err
	}
	for _, e := range entries {
		if err := os.Symlink(filepath.Join(c.dir, e.Name()), filepath.Join(dir, e.Name())); err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// look reads the store through the library, and makes errors of the panics in
// which that ends where it meets damage.
func (c *checker) look() (err error) {
	dir, err := c.linked()
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", storage.ErrDamaged, p)
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	o := Options{Dir: dir, CacheBytes: checkCacheBytes}.library(c.log)
	if err := c.manifest(o); err != nil {
		return err
	}
	db, err := badger.OpenManaged(o.WithReadOnly(true).WithNumCompactors(0))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close(), c.log.err()) }()
	if err := db.VerifyChecksum(); err != nil {
		c.x.Fault(storage.Fault{File: ".", Offset: -1, What: "a table is damaged: " + err.Error(), Cost: storage.CostStore})
	}
	return c.pairs(db)
}

// manifest tells of tables that the manifest does not name.
func (c *checker) manifest(o badger.Options) error {
	m, err := readManifest(c.dir, o)
	if err != nil {
		return err
	}
	if m.end < m.size || m.tables > m.named {
		c.x.Fault(storage.Fault{
			File: badger.ManifestFilename, Offset: m.end, Cost: storage.CostStore,
			What: fmt.Sprintf("it names %d of %d tables; a start would remove the others", m.named, m.tables),
		})
	}
	return nil
}

// pairs shows what is stored. A value that cannot be read ends the node when it
// is read, and the others are looked at all the same.
func (c *checker) pairs(db *badger.DB) error {
	txn := db.NewTransactionAt(math.MaxUint64, false)
	defer txn.Discard()
	at, err := ascend(txn, c.log, nil, func(key, value []byte) bool {
		c.x.Pair(key, value)
		return true
	})
	if err != nil {
		c.x.Fault(storage.Fault{File: ".", Offset: -1, Key: at, What: "its value cannot be read: " + err.Error(), Cost: storage.CostStore})
		return nil
	}
	c.x.Progress(c.total, c.total)
	return nil
}
