package bolt

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Check looks at a store that is not open: at both meta pages, at the whole tree
// of pages and the list of the free ones, and at the checksum of every pair. It
// changes nothing.
//
// It reads the file by itself. The library can only be asked of a file that it
// has mapped, and what it meets there leads it out of the map, in circles, or to
// gather what a damaged number says that there is.
func Check(dir string, o storage.CheckOptions, x storage.Examiner) error {
	f, size, err := openToRead(o.FS, o.FS.PathJoin(dir, fileName))
	c := checker{x: x, file: f, size: size}
	if err != nil {
		c.fault(storage.CostStore, -1, "it cannot be read: "+err.Error())
		return nil
	}
	defer func() { _ = f.Close() }() // it was only read
	if !c.metas() {
		return nil
	}
	if err := c.look(); err != nil {
		return fmt.Errorf("bolt: %w", err)
	}
	x.Progress(c.size, c.size)
	return nil
}

// openToRead opens a file, and returns its size.
func openToRead(fs vfs.FS, path string) (f vfs.File, size int64, err error) {
	if f, err = fs.Open(path); err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

type checker struct {
	x    storage.Examiner
	file vfs.File
	size int64
	meta meta
	used []uint64 // a bit for each page that has been come by
	done int64    // bytes of them
}

func (c *checker) fault(cost storage.Cost, off int64, what string) {
	c.x.Fault(storage.Fault{File: fileName, Offset: off, What: what, Cost: cost})
}

// metas looks at the meta pages, of which the library is content with one, and
// says whether there is that one.
func (c *checker) metas() bool {
	if c.size == 0 { // which bbolt would make a store of
		c.fault(storage.CostStore, 0, "it is empty")
		return false
	}
	first, whole := c.readMeta(0)
	if whole {
		c.meta = first
	}
	found, second := false, meta{}
	// The size of pages is that of the machine which made the file.
	for size := int64(minPageBytes); size <= maxPageBytes && !found; size *= 2 {
		if whole && size != first.pageBytes {
			continue
		}
		second, found = c.readMeta(size)
	}
	if found && (!whole || second.transaction > first.transaction) {
		c.meta = second
	}
	switch {
	case !whole && !found:
		c.fault(storage.CostStore, 0, "both meta pages are damaged")
	case !whole:
		c.lostMeta(0)
	case !found:
		c.lostMeta(first.pageBytes)
	}
	return whole || found
}

// lostMeta tells of the damage of one meta page. They are written in turns: the
// older one is of no use, and without the newer one the library goes by the older.
func (c *checker) lostMeta(off int64) {
	if m, _ := c.readMeta(off); m.transaction == c.meta.transaction-1 {
		c.fault(storage.CostNothing, off, "the older one of the two meta pages is damaged")
		return
	}
	c.fault(storage.CostRecord, off, "one of the two meta pages is damaged, and not the older one for certain: a start goes by the other, and then what was committed last before the stop is lost")
}

// tellMetas logs what is damaged of the meta pages of a store that is about to be
// opened: the library does not say it.
func tellMetas(path string, log *slog.Logger) error {
	f, size, err := openToRead(vfs.OS(), path)
	if err != nil {
		return err
	}
	c := checker{x: faultLog{log: log}, file: f, size: size}
	_ = c.metas() // without any the store does not open
	return f.Close()
}

// faultLog is an examiner that only faults are told to.
type faultLog struct {
	storage.Examiner
	log *slog.Logger
}

// Fault implements storage.Examiner.
func (l faultLog) Fault(f storage.Fault) {
	l.log.Error("the store is damaged", "file", f.File, "offset", f.Offset, "what", f.What)
}

func (c *checker) readMeta(off int64) (m meta, whole bool) {
	b := make([]byte, headBytes+metaBytes)
	if _, err := c.file.ReadAt(b, off); err != nil {
		return meta{}, false
	}
	return decodeMeta(b[headBytes:])
}

// look goes through all that the meta page leads to.
func (c *checker) look() error {
	if there := uint64(c.size / c.meta.pageBytes); c.meta.pages > there {
		c.fault(storage.CostStore, c.size, fmt.Sprintf("it ends after %d pages of %d", there, c.meta.pages))
		c.meta.pages = there
	}
	c.used = make([]uint64, c.meta.pages/64+1)
	for n := range uint64(metaPages) {
		_ = c.take(n, 1) // they are the first
	}
	if err := c.buckets(); err != nil {
		return err
	}
	c.free()
	return nil
}

// take notes that pages have been come by.
func (c *checker) take(first, pages uint64) error {
	for n := first; n < first+pages; n++ {
		if c.taken(n) {
			return fmt.Errorf("page %d is there twice", n)
		}
		c.used[n/64] |= 1 << (n % 64)
	}
	c.done += int64(pages) * c.meta.pageBytes
	c.x.Progress(min(c.done, c.size), c.size)
	return nil
}

func (c *checker) taken(n uint64) bool { return c.used[n/64]&(1<<(n%64)) != 0 }

// head reads the head of a page, and takes the page.
func (c *checker) head(n uint64) (p page, off int64, err error) {
	if n < metaPages || n >= c.meta.pages {
		return page{}, -1, fmt.Errorf("something says that it is page %d, of %d", n, c.meta.pages)
	}
	off = int64(n) * c.meta.pageBytes
	p, err = readHead(c.file, off, c.meta.pageBytes, int64(c.meta.pages)*c.meta.pageBytes-off)
	if err == nil && p.number != n {
		err = fmt.Errorf("it says that it is page %d", p.number)
	}
	if err == nil {
		err = c.take(n, uint64(p.extent/c.meta.pageBytes))
	}
	return p, off, err
}

// maxDepth is more than a tree of any disk has: each level is of two pages or more.
const maxDepth = 64

// walk goes through the tree of a page, and calls f with each element of a leaf
// and where its page is. The keys are to be from low on and below high, nil
// being the end.
func (c *checker) walk(n uint64, low, high []byte, depth int, f func(off int64, e element)) {
	p, off, err := c.head(n)
	if err == nil && depth > maxDepth {
		err = errors.New("the tree is deeper than there are pages for")
	}
	if err == nil {
		err = p.readElements(c.file, off)
	}
	if err == nil {
		err = inOrder(p.elements, low, high)
	}
	if err != nil {
		c.fault(storage.CostStore, off, fmt.Sprintf("page %d, of which all is lost that it leads to: %v", n, err))
		return
	}
	for i, e := range p.elements {
		if p.kind == leafPage {
			f(off, e)
			continue
		}
		end := high
		if i+1 < len(p.elements) {
			end = p.elements[i+1].key
		}
		c.walk(e.child, e.key, end, depth+1, f)
	}
}

// inOrder says what is wrong with the order of keys.
func inOrder(elements []element, low, high []byte) error {
	for i, e := range elements {
		if i > 0 && bytes.Compare(e.key, elements[i-1].key) <= 0 ||
			low != nil && bytes.Compare(e.key, low) < 0 ||
			high != nil && bytes.Compare(e.key, high) >= 0 {
			return fmt.Errorf("the key %.40q stands at a wrong place", e.key)
		}
	}
	return nil
}

// buckets looks for the one that has everything, and goes through it. The error
// is for a store of another format.
func (c *checker) buckets() error {
	var bucket []byte
	var names [][]byte
	c.walk(c.meta.root, nil, nil, 0, func(off int64, e element) {
		switch {
		case e.flags != bucketElement || len(e.value) < bucketBytes:
			c.fault(storage.CostStore, off, fmt.Sprintf("%.40q is no bucket", e.key))
		case bytes.Equal(e.key, bucketName):
			bucket = e.value
		default:
			names = append(names, e.key)
		}
	})
	if bucket == nil {
		err := missing(names)
		if errors.Is(err, storage.ErrForeign) {
			return err
		}
		c.fault(storage.CostStore, -1, err.Error())
		return nil
	}
	if root := binary.NativeEndian.Uint64(bucket); root != 0 {
		c.walk(root, nil, nil, 0, c.pair)
		return nil
	}
	c.inline(bucket[bucketBytes:])
	return nil
}

// inline goes through a tree that is so small that it stands in its bucket's
// element.
func (c *checker) inline(b []byte) {
	p, err := readHead(bytes.NewReader(b), 0, int64(len(b)), int64(len(b)))
	if err == nil {
		err = p.readElements(bytes.NewReader(b), 0)
	}
	if err == nil && p.kind != leafPage {
		err = errors.New("it is no leaf")
	}
	if err == nil {
		err = inOrder(p.elements, nil, nil)
	}
	if err != nil {
		c.fault(storage.CostStore, -1, "the page of all pairs: "+err.Error())
		return
	}
	for _, e := range p.elements {
		c.pair(-1, e)
	}
}

// pair looks at what is stored under a key.
func (c *checker) pair(off int64, e element) {
	err := verify(e.key, e.value)
	if err == nil && e.flags != 0 {
		err = fmt.Errorf("it has the flags %#x, which no record has", e.flags)
	}
	if err != nil {
		c.x.Fault(storage.Fault{File: fileName, Offset: off, Key: bytes.Clone(e.key[1:]), What: err.Error(), Cost: storage.CostStore})
		return
	}
	c.x.Pair(e.key[1:], e.value[sumBytes:])
}

// free looks at the list of free pages, and for pages that are neither used nor
// on it.
func (c *checker) free() {
	p, off, err := c.head(c.meta.free)
	if err == nil {
		err = c.list(p, off)
	}
	if err != nil {
		c.fault(storage.CostStore, off, fmt.Sprintf("the list of free pages: %v", err))
		return
	}
	lost, first := 0, uint64(0)
	for n := range c.meta.pages {
		if !c.taken(n) {
			if lost++; lost == 1 {
				first = n
			}
		}
	}
	if lost > 0 {
		c.fault(storage.CostNothing, int64(first)*c.meta.pageBytes,
			fmt.Sprintf("%d pages are neither used nor free, the first of them page %d: their room is lost", lost, first))
	}
}

// list takes the pages that a list of free ones names.
func (c *checker) list(p page, off int64) error {
	if p.kind != freePage {
		return fmt.Errorf("page %d is of the kind %#x, and no such list", p.number, p.kind)
	}
	room := p.extent - headBytes
	r := bufio.NewReader(io.NewSectionReader(c.file, off+headBytes, room))
	var b [numberBytes]byte
	next := func() (uint64, error) {
		_, err := io.ReadFull(r, b[:])
		return binary.NativeEndian.Uint64(b[:]), err
	}
	count := uint64(p.count)
	if p.count == manyFree {
		var err error
		if count, err = next(); err != nil {
			return err
		}
	}
	if count > uint64(room)/numberBytes {
		return fmt.Errorf("it says that it has %d, and has no room for them", count)
	}
	for range count {
		n, err := next()
		if err != nil {
			return err
		}
		if n >= c.meta.pages {
			return fmt.Errorf("it has page %d, of %d", n, c.meta.pages)
		}
		if err := c.take(n, 1); err != nil {
			return err
		}
	}
	return nil
}
