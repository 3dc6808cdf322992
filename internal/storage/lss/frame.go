package lss

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// kind is what a record says of its key.
type kind uint8

const (
	kindSet kind = iota
	kindDelete
	// kindDamaged: the value is lost. It takes the place of a record that
	// could not be read when its segment was merged, so that no older one is
	// taken for current.
	kindDamaged
	kinds
)

// record is what is known of one write without its value.
type record struct {
	key       string
	seq       uint64 // a later write to any key has a larger one
	off, size uint32 // where the value is in its segment
	sum       uint32 // checksum of the value
	kind      kind
}

const (
	// alignment of frames, so that a search for one has fewer places to look.
	alignment = 8
	headBytes = 40
	footBytes = 24
	// maxFrameBytes bounds a batch. Offsets in a segment are 32 bits, and a
	// segment may be full but for one byte when a frame is put to it.
	maxFrameBytes = 2 << 30

	frameMagic = 0x4d46534c // "LSFM"
)

//nolint:gochecknoglobals // a constant table
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// salt makes checksums of one use of a segment file invalid in every other.
// It is a partial checksum, of the salt itself.
type salt uint32

func newSalt(s uint64) salt {
	return salt(crc32.Update(0, castagnoli, binary.LittleEndian.AppendUint64(nil, s)))
}

// sum returns the checksum of what stands at off. The four bytes of off are
// taken by hand: crc32.Update would have them on the heap, and costs more for
// so few.
func (s salt) sum(off uint32, b []byte) uint32 {
	sum := ^uint32(s)
	for range 4 {
		sum = castagnoli[byte(sum)^byte(off)] ^ sum>>8
		off >>= 8
	}
	return crc32.Update(^sum, castagnoli, b)
}

// position is a place in the log.
type position struct{ segment, off uint32 }

// write is a record that is to be put to a frame.
type write struct {
	record
	value []byte
}

// A frame is one batch:
//
//	head    40: magic, checksum of the rest, sequence number, bytes of the
//	            table, bytes of the values, checksum of the table, padding,
//	            and how far the log was durable when the frame was made
//	table       for each record: sequence number less that of the frame, bytes
//	            of key, kind, bytes of value, checksum of value, key
//	values      one after the other
//	table       once more
//	padding     to a multiple of 8
//	foot    24: sequence number, where the frame begins, bytes of the table,
//	            checksum of the table, checksum of the foot
//
// The second table and the foot let a frame be read from its end. So whatever
// one byte is damaged, the keys of the frame are known, and what is lost is
// one value at most.
func appendFrame(b []byte, s salt, off uint32, writes []write) []byte {
	start := len(b)
	base := writes[0].seq
	for i := range writes {
		base = min(base, writes[i].seq)
	}
	b = append(b, make([]byte, headBytes)...)
	sums := len(b) // the table is written when its size is known
	tableBytes := 0
	for i := range writes {
		writes[i].size = uint32(len(writes[i].value))
		tableBytes += entryBytes(&writes[i].record, base)
	}
	valueBytes := 0
	at := off + headBytes + uint32(tableBytes)
	for i := range writes {
		w := &writes[i]
		w.off = at
		w.sum = s.sum(at, w.value)
		b = appendEntry(b, &w.record, base)
		at += w.size
		valueBytes += len(w.value)
	}
	table := b[sums:]
	tableSum := s.sum(off, table)
	for i := range writes {
		b = append(b, writes[i].value...)
	}
	b = append(b, b[sums:sums+tableBytes]...)
	for (len(b)-start+footBytes)%alignment != 0 {
		b = append(b, 0)
	}
	foot := len(b)
	b = binary.LittleEndian.AppendUint64(b, base)
	b = binary.LittleEndian.AppendUint32(b, off)
	b = binary.LittleEndian.AppendUint32(b, uint32(tableBytes))
	b = binary.LittleEndian.AppendUint32(b, tableSum)
	b = binary.LittleEndian.AppendUint32(b, s.sum(off+uint32(foot-start), b[foot:]))

	h := b[start : start+headBytes]
	binary.LittleEndian.PutUint32(h[0:], frameMagic)
	binary.LittleEndian.PutUint64(h[8:], base)
	binary.LittleEndian.PutUint32(h[16:], uint32(tableBytes))
	binary.LittleEndian.PutUint32(h[20:], uint32(valueBytes))
	binary.LittleEndian.PutUint32(h[24:], tableSum)
	stamp(h, s, off, position{})
	return b
}

// stamp writes into the head of a frame how far the log is durable. The first
// frame of each group of the flusher has it.
func stamp(h []byte, s salt, off uint32, durable position) {
	h = h[:headBytes]
	binary.LittleEndian.PutUint32(h[32:], durable.segment)
	binary.LittleEndian.PutUint32(h[36:], durable.off)
	binary.LittleEndian.PutUint32(h[4:], s.sum(off, h[8:]))
}

// frameBytes is at most what appendFrame needs for the writes.
func frameBytes(writes []write) int {
	n := headBytes + footBytes + alignment
	for i := range writes {
		n += 2*(len(writes[i].key)+maxEntryBytes) + len(writes[i].value)
	}
	return n
}

// maxEntryBytes is what an entry of a table takes beside the key.
const maxEntryBytes = binary.MaxVarintLen64 + 2*binary.MaxVarintLen32 + 1 + 4

func entryBytes(r *record, base uint64) int {
	return uvarintBytes(r.seq-base) + uvarintBytes(uint64(len(r.key))) + len(r.key) +
		1 + uvarintBytes(uint64(r.size)) + 4
}

func uvarintBytes(x uint64) int {
	n := 1
	for ; x >= 0x80; x >>= 7 {
		n++
	}
	return n
}

func appendEntry(b []byte, r *record, base uint64) []byte {
	b = binary.AppendUvarint(b, r.seq-base)
	b = binary.AppendUvarint(b, uint64(len(r.key)))
	b = append(b, byte(r.kind))
	b = binary.AppendUvarint(b, uint64(r.size))
	b = binary.LittleEndian.AppendUint32(b, r.sum)
	return append(b, r.key...)
}

var (
	errTable = errors.New("a table of records that is not well formed")
	errHint  = errors.New("a hint file that is not well formed")
)

// readEntry takes one entry off b. The key shares the memory of text, which
// ends where b ends.
func readEntry(b []byte, text string, base uint64) (r record, rest []byte, err error) {
	delta, n := binary.Uvarint(b)
	if n <= 0 {
		return record{}, nil, errTable
	}
	b = b[n:]
	keyBytes, n := binary.Uvarint(b)
	if n <= 0 || len(b) < n+1 {
		return record{}, nil, errTable
	}
	r.kind = kind(b[n])
	b = b[n+1:]
	size, n := binary.Uvarint(b)
	if n <= 0 || size > maxFrameBytes || r.kind >= kinds {
		return record{}, nil, errTable
	}
	b = b[n:]
	if len(b) < 4 || uint64(len(b)-4) < keyBytes {
		return record{}, nil, errTable
	}
	r.sum = binary.LittleEndian.Uint32(b)
	key := len(text) - len(b) + 4
	r.key = text[key : key+int(keyBytes)]
	r.seq = base + delta
	r.size = uint32(size)
	return r, b[4+keyBytes:], nil
}

// readTable returns the records of a table whose first value stands at off,
// and how many bytes the values have together.
func readTable(b []byte, base uint64, off uint32) (records []record, valueBytes uint64, err error) {
	text := string(b)
	for len(b) > 0 {
		r, rest, err := readEntry(b, text, base)
		if err != nil {
			return nil, 0, err
		}
		r.off = off + uint32(valueBytes)
		valueBytes += uint64(r.size)
		if uint64(off)+valueBytes > maxFrameBytes*2-1 {
			return nil, 0, errTable
		}
		records = append(records, r)
		b = rest
	}
	return records, valueBytes, nil
}

// head is the fixed part at the beginning of a frame.
type head struct {
	base                   uint64
	tableBytes, valueBytes uint32
	tableSum               uint32
	durable                position
}

// readHead returns the head of the frame at off, if there is one.
func readHead(b []byte, s salt, off uint32) (head, bool) {
	if uint64(off)+headBytes > uint64(len(b)) {
		return head{}, false
	}
	return parseHead(b[off:off+headBytes], s, off)
}

// parseHead reads the head of a frame that stands at off.
func parseHead(h []byte, s salt, off uint32) (head, bool) {
	if binary.LittleEndian.Uint32(h) != frameMagic || binary.LittleEndian.Uint32(h[4:]) != s.sum(off, h[8:]) {
		return head{}, false
	}
	return head{
		base:       binary.LittleEndian.Uint64(h[8:]),
		tableBytes: binary.LittleEndian.Uint32(h[16:]),
		valueBytes: binary.LittleEndian.Uint32(h[20:]),
		tableSum:   binary.LittleEndian.Uint32(h[24:]),
		durable: position{
			segment: binary.LittleEndian.Uint32(h[32:]),
			off:     binary.LittleEndian.Uint32(h[36:]),
		},
	}, true
}

// bytes is what the whole frame takes.
func (h head) bytes() uint64 {
	n := uint64(headBytes) + 2*uint64(h.tableBytes) + uint64(h.valueBytes) + footBytes
	return (n + alignment - 1) / alignment * alignment
}

// foot is the fixed part at the end of a frame.
type foot struct {
	base                        uint64
	start, tableBytes, tableSum uint32
}

// readFoot returns the foot of the frame that ends at end, if there is one.
func readFoot(b []byte, s salt, end uint32) (foot, bool) {
	if end < segmentHeadBytes+headBytes+footBytes || uint64(end) > uint64(len(b)) {
		return foot{}, false
	}
	found, ok := parseFoot(b[end-footBytes:end], s, end)
	ok = ok && found.start >= segmentHeadBytes &&
		uint64(found.start)+headBytes+2*uint64(found.tableBytes)+footBytes <= uint64(end)
	return found, ok
}

// parseFoot reads the foot of a frame that ends at end.
func parseFoot(f []byte, s salt, end uint32) (foot, bool) {
	if binary.LittleEndian.Uint32(f[20:]) != s.sum(end-footBytes, f[:20]) {
		return foot{}, false
	}
	return foot{
		base:       binary.LittleEndian.Uint64(f),
		start:      binary.LittleEndian.Uint32(f[8:]),
		tableBytes: binary.LittleEndian.Uint32(f[12:]),
		tableSum:   binary.LittleEndian.Uint32(f[16:]),
	}, true
}

// frame is one batch as it was found in a segment.
type frame struct {
	start, end uint32
	records    []record
	known      bool // the records are; else both tables are lost
	whole      bool // every byte of it that counts is as it was written
}

// readFrame returns the frame with this head, whatever is left of it.
func readFrame(b []byte, s salt, off uint32, h head) frame {
	f := frame{start: off, end: off + uint32(h.bytes())}
	values := off + headBytes + h.tableBytes
	first := b[off+headBytes : values]
	second := b[values+h.valueBytes : values+h.valueBytes+h.tableBytes]
	a, b1 := s.sum(off, first) == h.tableSum, s.sum(off, second) == h.tableSum
	ft, ok := readFoot(b, s, f.end)
	padding := b[values+h.valueBytes+h.tableBytes : f.end-footBytes]
	f.whole = a && b1 && ok && ft.start == off && bytes.Count(padding, []byte{0}) == len(padding)
	table := first
	if !a {
		table = second
	}
	if a || b1 {
		f.fill(b, s, table, h.base, values, uint64(h.valueBytes))
	}
	return f
}

// readBackward returns the frame with this foot, whose head is lost.
func readBackward(b []byte, s salt, end uint32, ft foot) frame {
	f := frame{start: ft.start, end: end}
	values := ft.start + headBytes + ft.tableBytes
	first := b[ft.start+headBytes : values]
	for padding := uint32(0); padding < alignment && !f.known; padding++ {
		from := uint64(end) - footBytes - uint64(padding) - uint64(ft.tableBytes)
		if from < uint64(values) {
			break
		}
		table := b[from : from+uint64(ft.tableBytes)]
		if s.sum(ft.start, table) == ft.tableSum {
			f.fill(b, s, table, ft.base, values, from-uint64(values))
		}
	}
	if !f.known && s.sum(ft.start, first) == ft.tableSum {
		f.fill(b, s, first, ft.base, values, uint64(end)-footBytes-uint64(values))
	}
	f.whole = false
	return f
}

// fill reads the table of a frame and looks at the values. A record whose
// value is not what was written is one of a damaged key.
func (f *frame) fill(b []byte, s salt, table []byte, base uint64, values uint32, room uint64) {
	records, valueBytes, err := readTable(table, base, values)
	if err != nil || valueBytes > room {
		return
	}
	for i := range records {
		r := &records[i]
		if r.kind == kindSet && s.sum(r.off, b[r.off:r.off+r.size]) != r.sum {
			r.kind, f.whole = kindDamaged, false
		}
	}
	f.records, f.known = records, true
}
