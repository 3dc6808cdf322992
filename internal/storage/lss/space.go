package lss

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

// What stands in a segment file behind the last frame that counts is read by
// nobody: zeros where the file was never used, the frames of earlier uses where
// it was, and between them what a crash has torn. Check looks at it all the
// same, since a disk that changes a byte here may change another elsewhere.
//
// The salt of an earlier use is not known any more. But a checksum can be
// computed backward, so the head of an old frame tells the salt that it was
// made with, and its foot and tables confirm it.

// tornBytes is how far behind the last whole frame a crash may have torn
// writes: a group of the flusher. A single frame that is larger says so in its
// head.
const tornBytes = groupBytes

// space is the part of a file that is not in use.
type space struct {
	name string
	b    []byte // the file
	at   uint32 // where the space begins
	salt salt   // of the use that ends there
}

// unusedFile looks at a segment file that is of no use now.
func (c *checker) unusedFile(name string, b []byte) {
	if len(b) < segmentHeadBytes {
		if len(b) > 0 {
			c.x.Note(name, "a crash has left it; the next start removes it")
		}
		return
	}
	id := binary.LittleEndian.Uint32(b[len(segmentMagic)+4:])
	salt := binary.LittleEndian.Uint64(b[len(segmentMagic)+8:])
	if !segmentHeadWhole(b, id, salt) && firstNonzero(b[:segmentHeadBytes]) < segmentHeadBytes {
		c.x.Note(name, "the head of a file that waits for its next use is damaged; nothing reads it")
	}
	c.space(space{name: name, b: b, at: segmentHeadBytes, salt: newSalt(salt)})
}

// space looks at what nothing reads.
func (c *checker) space(s space) {
	end := s.at
	for {
		torn := uint64(end) + tornBytes
		if h, ok := readHead(s.b, s.salt, end); ok {
			torn += h.bytes()
		}
		next, found, ok := oldFrame(s.b, end)
		if c.fresh || !ok {
			next = uint32(min(uint64(len(s.b)), 1<<32-1))
		}
		c.rest(s, end, next, torn, found)
		if c.fresh || !ok {
			return
		}
		end, s.salt = max(c.layer(s, next, found), next+alignment), found // it always goes on
	}
}

// rest looks at what lies between the end of one use and the first whole frame
// of an earlier one, whose salt is then known, or the end of the file: the end
// of a frame that the later use has cut, what a crash has torn, or zeros.
func (c *checker) rest(s space, from, to uint32, torn uint64, old salt) {
	gap := s.b[from:to]
	first := firstNonzero(gap)
	if first == len(gap) || !c.fresh && cut(s.b, old, from, to) {
		return
	}
	at := uint64(from) + uint64(first)
	if at < torn {
		c.x.Note(s.name, fmt.Sprintf("at %d, behind the last record, stands something that is no record: a write that a crash has torn, or damage; nothing reads it", at))
		beyond := gap[min(uint64(len(gap)), torn-uint64(from)):]
		if first = firstNonzero(beyond); first == len(beyond) {
			return
		}
		at = uint64(to) - uint64(len(beyond)) + uint64(first)
	}
	c.fault(storage.CostNothing, s.name, int64(at), "a byte is damaged where nothing is stored")
}

// cut reports whether the bytes are the end of a frame whose beginning a later
// use has overwritten, as far as that can be told: its foot, its second table,
// and the values that are there in full.
func cut(b []byte, s salt, from, to uint32) bool {
	if to == uint32(len(b)) {
		to = from + uint32(lastNonzero(b[from:]))
		to = (to + alignment - 1) / alignment * alignment
		if to < from+footBytes {
			return true // the cut goes through the foot
		}
		if to > uint32(len(b)) {
			return false
		}
		foot := b[to-footBytes : to]
		s = saltBefore(binary.LittleEndian.Uint32(foot[20:]), to-footBytes, foot[:20])
	}
	if to < from+footBytes {
		return true
	}
	ft, ok := readFoot(b, s, to)
	if !ok || ft.start >= from {
		return false
	}
	for padding := range uint32(alignment) {
		end := uint64(to) - footBytes - uint64(padding)
		if end < uint64(from)+uint64(ft.tableBytes) {
			break
		}
		table := b[end-uint64(ft.tableBytes) : end]
		if s.sum(ft.start, table) == ft.tableSum {
			return valuesWhole(b, s, table, ft, from)
		}
	}
	return uint64(to-from) < footBytes+alignment+uint64(ft.tableBytes) // the cut goes through the table
}

// valuesWhole looks at the values of a frame that stand behind from.
func valuesWhole(b []byte, s salt, table []byte, ft foot, from uint32) bool {
	records, _, err := readTable(table, ft.base, ft.start+headBytes+ft.tableBytes)
	if err != nil {
		return false
	}
	for _, r := range records {
		if uint64(r.off)+uint64(r.size) > uint64(len(b)) || r.off >= from && s.sum(r.off, b[r.off:r.off+r.size]) != r.sum {
			return false
		}
	}
	return true
}

// layer looks at the frames of an earlier use, from the first whole one on, and
// returns where they end.
func (c *checker) layer(s space, from uint32, old salt) (end uint32) {
	found, _ := spans(s.b[:min(len(s.b), 1<<32-1)], old, 0)
	end = from
	for i := range found {
		f := &found[i]
		switch {
		case f.start < from:
		case f.gap && f.end == uint32(len(s.b)): // what follows is of another use
			return end
		case f.gap || !f.whole:
			c.x.Note(s.name, fmt.Sprintf("at %d, in what an earlier use of the file has left, is something that is no whole record: a crash has torn it, or it is damaged; nothing reads it", f.start))
			end = f.end
		default:
			end = f.end
		}
	}
	return end
}

// oldFrame returns where the next frame of an earlier use begins, and the salt
// of that.
func oldFrame(b []byte, from uint32) (at uint32, s salt, ok bool) {
	var magic [4]byte
	binary.LittleEndian.PutUint32(magic[:], frameMagic)
	for next := uint64(from); next+headBytes <= uint64(len(b)); next++ {
		i := bytes.Index(b[next:], magic[:])
		if i < 0 {
			break
		}
		next += uint64(i)
		if next%alignment != 0 || next+headBytes > uint64(len(b)) || next > 1<<32-1 {
			continue
		}
		head := b[next : next+headBytes]
		s := saltBefore(binary.LittleEndian.Uint32(head[4:]), uint32(next), head[8:])
		h, ok := frameAt(b, s, uint32(next))
		if !ok {
			continue
		}
		if ft, ok := readFoot(b, s, uint32(next+h.bytes())); ok && ft.start == uint32(next) {
			return uint32(next), s, true
		}
	}
	return 0, 0, false
}

// saltBefore returns the salt with which the checksum of what stands at off is
// sum.
func saltBefore(sum, off uint32, b []byte) salt {
	var at [4]byte
	binary.LittleEndian.PutUint32(at[:], off)
	return salt(^unread(unread(^sum, b), at[:]))
}

// unread takes bytes off the end of what a register of CRC-32C has taken in.
func unread(register uint32, b []byte) uint32 {
	for _, c := range slices.Backward(b) {
		top := byte(register >> 24)
		at := uint32(0)
		for castagnoli[at]>>24 != uint32(top) { // the top bytes of the table are all different
			at++
		}
		register = (register^castagnoli[at])<<8 | (at ^ uint32(c))
	}
	return register
}

// firstNonzero returns the index of the first byte that is not zero, the length
// if there is none.
func firstNonzero(b []byte) int {
	at := 0
	for len(b)-at >= 8 && binary.LittleEndian.Uint64(b[at:]) == 0 {
		at += 8
	}
	for at < len(b) && b[at] == 0 {
		at++
	}
	return at
}

// lastNonzero returns the index behind the last byte that is not zero.
func lastNonzero(b []byte) int {
	for len(b) >= 8 && binary.LittleEndian.Uint64(b[len(b)-8:]) == 0 {
		b = b[:len(b)-8]
	}
	for len(b) > 0 && b[len(b)-1] == 0 {
		b = b[:len(b)-1]
	}
	return len(b)
}
