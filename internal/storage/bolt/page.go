package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// What bbolt's file is made of, in the order of bytes of the machine that made
// it: pages of one size, each with a head. The first two are meta pages; the
// others are branches and leaves of trees, the list of the free ones, and those
// that are free. A page that needs more room goes on over those behind it.
const (
	metaPages = 2
	metaBytes = 64
	metaMagic = 0xED0CDAED

	headBytes    = 16 // number, kind, elements, pages that it goes on over
	elementBytes = 16
	numberBytes  = 8
	bucketBytes  = 16 // of a bucket's element, before a tree that is kept in it

	branchPage = 0x01
	leafPage   = 0x02
	freePage   = 0x10

	// bucketElement is the flag of an element of a leaf that is a bucket.
	bucketElement = 0x01
	// manyFree is the number of elements of a list of free pages that has its
	// number in front of its elements, where there is more room.
	manyFree = 0xFFFF

	// Pages are as large as the machine's, within what bbolt looks for.
	minPageBytes = 1 << 10
	maxPageBytes = 1 << 24
)

// meta is what a meta page says.
type meta struct {
	pageBytes   int64
	root        uint64 // the page of the tree of buckets
	free        uint64 // the page of the list of free pages
	pages       uint64 // pages that have ever been used
	transaction uint64 // the newer one counts
}

// decodeMeta returns what a meta page says, by what follows its head.
func decodeMeta(b []byte) (m meta, whole bool) {
	h := fnv.New64a()
	_, _ = h.Write(b[:metaBytes-8]) // a hash takes everything
	number := binary.NativeEndian.Uint64
	m = meta{
		pageBytes: int64(binary.NativeEndian.Uint32(b[8:])),
		root:      number(b[16:]), free: number(b[32:]), pages: number(b[40:]), transaction: number(b[48:]),
	}
	whole = binary.NativeEndian.Uint32(b) == metaMagic && number(b[metaBytes-8:]) == h.Sum64() &&
		m.pageBytes >= minPageBytes
	return m, whole
}

// page is one that was read, with those that it goes on over.
type page struct {
	number   uint64
	kind     uint16
	count    int
	extent   int64 // bytes of all its pages
	elements []element
}

// element is one of a branch or a leaf.
type element struct {
	flags      uint32 // of a leaf
	child      uint64 // of a branch
	key, value []byte
}

// readHead reads the head of a page whose room ends after room bytes.
func readHead(r io.ReaderAt, off, pageBytes, room int64) (p page, err error) {
	var b [headBytes]byte
	if _, err := r.ReadAt(b[:], off); err != nil {
		return page{}, err
	}
	p.number = binary.NativeEndian.Uint64(b[:])
	p.kind = binary.NativeEndian.Uint16(b[8:])
	p.count = int(binary.NativeEndian.Uint16(b[10:]))
	p.extent = pageBytes * (1 + int64(binary.NativeEndian.Uint32(b[12:])))
	if p.extent > room {
		return page{}, fmt.Errorf("it goes on over %d pages, past the end of what there is", p.extent/pageBytes-1)
	}
	return p, nil
}

// readElements reads the elements of a branch or a leaf, and no more than they
// say that they have: what a page goes on over may be damaged too.
func (p *page) readElements(r io.ReaderAt, off int64) error {
	if p.kind != branchPage && p.kind != leafPage {
		return fmt.Errorf("it is of the kind %#x, and none of a tree", p.kind)
	}
	table := make([]byte, headBytes+p.count*elementBytes)
	end := int64(len(table))
	if end > p.extent {
		return fmt.Errorf("it has %d elements, and no room for them", p.count)
	}
	if _, err := r.ReadAt(table, off); err != nil {
		return err
	}
	places := make([]place, p.count)
	for i := range places {
		// They are written one behind the other, without room in between.
		places[i] = placeOf(table, i, p.kind)
		if e := &places[i]; e.key != end || e.value <= e.key || e.end > p.extent {
			return fmt.Errorf("its element %d stands at a wrong place", i)
		}
		end = places[i].end
	}
	if p.count == 0 {
		end = min(p.extent, minPageBytes)
	}
	data := make([]byte, end)
	if _, err := r.ReadAt(data, off); err != nil {
		return err
	}
	if rest := data[len(table):]; p.count == 0 && len(bytes.Trim(rest, "\x00")) > 0 {
		return errors.New("it says that it has no elements, and something stands there")
	}
	for _, e := range places {
		p.elements = append(p.elements, element{
			flags: e.flags, child: e.child, key: data[e.key:e.value], value: data[e.value:e.end],
		})
	}
	return nil
}

// place is where the key and value of an element stand in their page.
type place struct {
	flags           uint32
	child           uint64
	key, value, end int64
}

// placeOf reads an element of a page's table.
func placeOf(table []byte, i int, kind uint16) (e place) {
	at := headBytes + i*elementBytes
	field := func(n int) int64 { return int64(binary.NativeEndian.Uint32(table[at+4*n:])) }
	if kind == branchPage {
		e.key = int64(at) + field(0)
		e.value = e.key + field(1)
		e.end = e.value
		e.child = binary.NativeEndian.Uint64(table[at+8:])
		return e
	}
	e.flags = uint32(field(0))
	e.key = int64(at) + field(1)
	e.value = e.key + field(2)
	e.end = e.value + field(3)
	return e
}
