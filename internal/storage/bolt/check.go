package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

// Check looks at a store that is not open: at both meta pages, at the whole tree
// of pages and the list of the free ones, and at every pair. It changes nothing.
//
// bbolt has checksums of its meta pages only. A value that the disk has changed
// shows only where what it says is not well formed any more.
func Check(dir string, o storage.CheckOptions, x storage.Examiner) error {
	if !o.Own {
		return errors.New("bolt: it runs on the machine's own file system only")
	}
	path := filepath.Join(dir, fileName)
	info, err := os.Stat(path)
	if err != nil {
		x.Fault(storage.Fault{File: fileName, Offset: -1, What: "it cannot be read: " + err.Error(), Cost: storage.CostStore})
		return nil //nolint:nilerr // it is reported as damage
	}
	c := checker{x: x, size: info.Size()}
	if c.size == 0 { // which bbolt would make a store of
		c.fault(storage.CostStore, 0, "it is empty")
		return nil
	}
	if err := c.metas(path); err != nil {
		return fmt.Errorf("bolt: %w", err)
	}
	err = guard(func() error { return c.look(path) })
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("bolt: %w: another program holds %s; stop that first", storage.ErrInUse, path)
	case err != nil:
		c.fault(storage.CostStore, -1, "the store cannot be read to its end: "+err.Error())
	}
	return nil
}

type checker struct {
	x    storage.Examiner
	size int64
}

func (c *checker) fault(cost storage.Cost, off int64, what string) {
	c.x.Fault(storage.Fault{File: fileName, Offset: off, What: what, Cost: cost})
}

// look reads the store through the library.
func (c *checker) look(path string) (err error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		Timeout:         time.Nanosecond,
		ReadOnly:        true,
		PreLoadFreelist: true, // its pages are looked at too
		FreelistType:    bbolt.FreelistMapType,
		NoStatistics:    true,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.Begin(false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tx.Rollback()) }()
	if err := c.pages(tx); err != nil {
		return err
	}
	b := tx.Bucket(bucketName)
	if b == nil {
		return fmt.Errorf("%w: it has no bucket %q", storage.ErrDamaged, bucketName)
	}
	cursor := b.Cursor()
	for k, v := cursor.First(); k != nil; k, v = cursor.Next() {
		if len(k) == 0 || k[0] != keyPrefix {
			c.fault(storage.CostStore, -1, fmt.Sprintf("the key %.40q is none of this engine", k))
			continue
		}
		c.x.Pair(k[1:], v)
	}
	c.x.Progress(c.size, c.size)
	return nil
}

// maxPageFaults bounds what is told of the pages: one that is wrong makes many
// others so.
const maxPageFaults = 20

// pages looks at the tree of pages. The library does so in a goroutine of its
// own, whose panics nobody could catch; so what it would panic at is read here
// first.
func (c *checker) pages(tx *bbolt.Tx) error {
	if err := walk(tx); err != nil {
		return err
	}
	n := 0
	for err := range tx.Check() {
		if n++; n <= maxPageFaults {
			c.fault(storage.CostStore, -1, err.Error())
		}
	}
	return nil
}

// walk reads every page that the tree has, in the caller's goroutine.
func walk(tx *bbolt.Tx) error {
	return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
		return b.ForEach(func(_, _ []byte) error { return nil })
	})
}

// What a meta page is made of: a page's head, then the fields, of which the
// last is a checksum of the others.
const (
	pageHeadBytes = 16
	metaBytes     = 64
	metaMagic     = 0xED0CDAED
	metaPages     = 2
)

// metas looks at the meta pages: the library is content with one of them.
func (c *checker) metas(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	page := int64(os.Getpagesize())
	bad := 0
	for i := range int64(metaPages) {
		b := make([]byte, pageHeadBytes+metaBytes)
		if _, err := f.ReadAt(b, i*page); err != nil || !metaWhole(b) {
			bad++
			c.fault(storage.CostNothing, i*page, "one of the two meta pages is damaged")
			continue
		}
		page = int64(binary.NativeEndian.Uint32(b[pageHeadBytes+8:])) // of the machine that made the file
	}
	if bad == metaPages {
		c.fault(storage.CostStore, 0, "both meta pages are damaged")
	}
	return nil
}

func metaWhole(b []byte) bool {
	meta := b[pageHeadBytes:]
	h := fnv.New64a()
	_, _ = h.Write(meta[:metaBytes-8])
	return binary.NativeEndian.Uint32(meta) == metaMagic && binary.NativeEndian.Uint64(meta[metaBytes-8:]) == h.Sum64()
}
