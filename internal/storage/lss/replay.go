package lss

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

// segmentHeadBytes is where the first frame of a segment begins. What stands
// before it says what the file is to whoever looks at it alone; the engine has
// all of it from the manifest.
const segmentHeadBytes = 64

const (
	segmentMagic = "lss segment\n"
	// segmentVersion is the format of the frames of a segment.
	segmentVersion = 1
)

// appendSegmentHead returns the first bytes of a segment.
func appendSegmentHead(b []byte, id uint32, saltText uint64) []byte {
	start := len(b)
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint32(b, segmentVersion)
	b = binary.LittleEndian.AppendUint32(b, id)
	b = binary.LittleEndian.AppendUint64(b, saltText)
	b = binary.LittleEndian.AppendUint32(b, newSalt(saltText).sum(0, b[start:]))
	return append(b, make([]byte, segmentHeadBytes-(len(b)-start))...)
}

// segmentHeadWhole reports whether the file begins as that segment must.
func segmentHeadWhole(b []byte, id uint32, saltText uint64) bool {
	return bytes.HasPrefix(b, appendSegmentHead(nil, id, saltText))
}

// span is a stretch of a segment: a frame, or what nobody can read.
type span struct {
	frame
	gap bool
}

// spans takes a segment apart, up to end, or to the last frame that there is
// if end is 0. durable is what the heads of its frames say of how far the log
// was durable.
func spans(b []byte, s salt, end uint32) (found []span, durable []position) {
	limit := uint32(min(uint64(len(b)), 1<<32-1))
	if end != 0 {
		limit = min(limit, end)
	}
	b = b[:limit]
	for off := uint32(segmentHeadBytes); off < limit; {
		if h, ok := frameAt(b, s, off); ok {
			f := readFrame(b, s, off, h)
			found = append(found, span{frame: f})
			durable = append(durable, h.durable)
			off = f.end
			continue
		}
		next, ok := search(b, s, off+alignment)
		if !ok {
			if end == 0 {
				found = append(found, span{gap: true, frame: frame{start: off, end: limit}})
				break
			}
			next = end
		}
		found = append(found, backward(b, s, off, next)...)
		off = next
	}
	return found, durable
}

// frameAt returns the head of a frame that ends within b.
func frameAt(b []byte, s salt, off uint32) (head, bool) {
	h, ok := readHead(b, s, off)
	return h, ok && uint64(off)+h.bytes() <= uint64(len(b))
}

// search looks for the next frame.
func search(b []byte, s salt, from uint32) (uint32, bool) {
	var magic [4]byte
	binary.LittleEndian.PutUint32(magic[:], frameMagic)
	for at := uint64(from); at < uint64(len(b)); {
		i := bytes.Index(b[at:], magic[:])
		if i < 0 {
			return 0, false
		}
		at += uint64(i)
		if at%alignment == 0 {
			if _, ok := frameAt(b, s, uint32(at)); ok {
				return uint32(at), true
			}
		}
		at++
	}
	return 0, false
}

// backward takes apart what lies between two frames, from its end, by the feet
// that are left.
func backward(b []byte, s salt, from, to uint32) []span {
	var found []span
	for to > from {
		ft, ok := readFoot(b, s, to)
		if !ok || ft.start < from {
			found = append([]span{{gap: true, frame: frame{start: from, end: to}}}, found...)
			break
		}
		found = append([]span{{frame: readBackward(b, s, to, ft)}}, found...)
		to = ft.start
	}
	return found
}

// contents is what a segment holds.
type contents struct {
	records []record
	end     uint32 // of the last frame that counts
	damaged int    // records whose value is lost
}

// judge decides what of a segment counts. Up to durable everything does, and
// what is not whole there is damage: of a record if its key is known, of the
// store if not. What comes after that may be torn: it counts up to the first
// frame that is not whole.
func judge(found []span, durable uint32) (contents, error) {
	c := contents{end: segmentHeadBytes}
	for i := range found {
		f := &found[i]
		certain := f.end <= durable
		switch {
		case !certain && (f.gap || !f.whole):
			return c, nil
		case f.gap || !f.known:
			return c, fmt.Errorf("%w: the bytes %d to %d cannot be read, and which keys were written there is not known",
				storage.ErrDamaged, f.start, f.end)
		}
		for _, r := range f.records {
			if r.kind == kindDamaged && r.size > 0 {
				c.damaged++
			}
		}
		c.records = append(c.records, f.records...)
		c.end = f.end
	}
	return c, nil
}
