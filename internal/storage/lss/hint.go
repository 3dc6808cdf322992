package lss

import (
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
)

const (
	hintMagic   = "lss hint\n\x00\x00\x00"
	hintVersion = 1
	// hintHeadBytes: magic, version, segment, its salt, where it ends, number of
	// records, smallest and largest sequence number.
	hintHeadBytes = len(hintMagic) + 4 + 4 + 8 + 4 + 4 + 8 + 8
	// hintEntryBytes is the least that a record takes.
	hintEntryBytes = 3 + 1 + 4 + 4
)

// hint describes a sealed segment: its records in the order of their keys, and
// the older of one key before the newer.
type hint struct {
	segment        uint32
	salt           uint64
	end            uint32
	minSeq, maxSeq uint64
	records        []record
}

// newHint returns the hint for the records, which it sorts.
func newHint(segment uint32, saltText uint64, end uint32, records []record) hint {
	h := hint{segment: segment, salt: saltText, end: end, records: records}
	for i, r := range records {
		if i == 0 {
			h.minSeq, h.maxSeq = r.seq, r.seq
		}
		h.minSeq, h.maxSeq = min(h.minSeq, r.seq), max(h.maxSeq, r.seq)
	}
	sortByKey(records)
	return h
}

// sortByKey sorts records as byKey orders them. Keys of one store begin alike,
// so it goes by the eight bytes that come after what all have in common, and
// looks at a key itself only where these are equal: comparing strings that lie
// all over memory is most of what sealing a segment costs.
func sortByKey(records []record) {
	type ref struct {
		head uint64
		at   uint32
	}
	common := commonBytes(records)
	refs := make([]ref, len(records))
	for i := range records {
		var head [8]byte
		copy(head[:], records[i].key[common:])
		refs[i] = ref{binary.BigEndian.Uint64(head[:]), uint32(i)}
	}
	slices.SortFunc(refs, func(a, b ref) int {
		if c := cmp.Compare(a.head, b.head); c != 0 {
			return c
		}
		return byKey(records[a.at], records[b.at])
	})
	sorted := make([]record, len(records))
	for i, r := range refs {
		sorted[i] = records[r.at]
	}
	copy(records, sorted)
}

// commonBytes returns how many bytes all keys begin with alike.
func commonBytes(records []record) int {
	if len(records) == 0 {
		return 0
	}
	first := records[0].key
	common := len(first)
	for i := range records {
		key := records[i].key
		common = min(common, len(key))
		for key[:common] != first[:common] {
			common--
		}
	}
	return common
}

// byKey orders records by key, and those of one key by age.
func byKey(a, b record) int {
	if c := strings.Compare(a.key, b.key); c != 0 {
		return c
	}
	switch {
	case a.seq < b.seq:
		return -1
	case a.seq > b.seq:
		return 1
	default:
		return 0
	}
}

func (h hint) encode() []byte {
	size := hintHeadBytes + 4
	for i := range h.records {
		size += len(h.records[i].key) + 2*binary.MaxVarintLen32 + binary.MaxVarintLen64 + 1 + 8
	}
	b := append(make([]byte, 0, size), hintMagic...)
	b = binary.LittleEndian.AppendUint32(b, hintVersion)
	b = binary.LittleEndian.AppendUint32(b, h.segment)
	b = binary.LittleEndian.AppendUint64(b, h.salt)
	b = binary.LittleEndian.AppendUint32(b, h.end)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(h.records)))
	b = binary.LittleEndian.AppendUint64(b, h.minSeq)
	b = binary.LittleEndian.AppendUint64(b, h.maxSeq)
	for i := range h.records {
		r := &h.records[i]
		b = appendEntry(b, r, h.minSeq)
		b = binary.LittleEndian.AppendUint32(b, r.off)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeHint reads a hint file. The keys share its memory, as one string.
func decodeHint(b []byte) (hint, error) {
	if len(b) < hintHeadBytes+4 || string(b[:len(hintMagic)]) != hintMagic {
		return hint{}, errHint
	}
	body := b[:len(b)-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(body):]) {
		return hint{}, errHint
	}
	f := body[len(hintMagic):]
	if binary.LittleEndian.Uint32(f) != hintVersion {
		return hint{}, errHint
	}
	h := hint{
		segment: binary.LittleEndian.Uint32(f[4:]),
		salt:    binary.LittleEndian.Uint64(f[8:]),
		end:     binary.LittleEndian.Uint32(f[16:]),
		minSeq:  binary.LittleEndian.Uint64(f[24:]),
		maxSeq:  binary.LittleEndian.Uint64(f[32:]),
	}
	count := binary.LittleEndian.Uint32(f[20:])
	rest := body[hintHeadBytes:]
	if uint64(count)*hintEntryBytes > uint64(len(rest)) {
		return hint{}, errHint
	}
	h.records = make([]record, 0, count)
	text := string(rest)
	for range count {
		r, after, err := readEntry(rest, text, h.minSeq)
		if err != nil || len(after) < 4 {
			return hint{}, errHint
		}
		r.off = binary.LittleEndian.Uint32(after)
		rest = after[4:]
		if r.seq > h.maxSeq || uint64(r.off)+uint64(r.size) > uint64(h.end) || r.off < segmentHeadBytes {
			return hint{}, errHint
		}
		h.records = append(h.records, r)
	}
	if len(rest) != 0 || !slices.IsSortedFunc(h.records, byKey) {
		return hint{}, errHint
	}
	return h, nil
}
