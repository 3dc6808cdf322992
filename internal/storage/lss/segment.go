package lss

import (
	"errors"
	"io"
	"maps"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// segment is one use of a segment file.
type segment struct {
	use
	seed salt
	file vfs.File
	// fileBytes is how long the file is: what it was made with, or more if a
	// single batch is.
	fileBytes atomic.Int64
	// written is up to where the file has what was committed; the rest is in
	// the groups that wait for the flusher.
	written atomic.Uint32

	// What follows is guarded by the engine's lock.

	size    uint32   // where the next frame goes
	live    int64    // bytes of the records that are current
	records []record // in the order of the log, until it is sealed
	minSeq  uint64   // of its records
	filter  filter   // of its keys, once it is sealed
	flushed bool     // all of it is in the file, and durable
	sealed  bool     // and there is a hint file
	holders int      // sets that it is in
	retired bool     // nothing in it is current
	suspect bool     // scrubbing has found damage in it, or in its hint file
}

// grow notes that the file has been written up to end.
func (s *segment) grow(end int64) {
	if end > s.fileBytes.Load() {
		s.fileBytes.Store(end)
	}
}

// read reads a value. An error says that it could not be read as it was
// written.
func (s *segment) read(i place) ([]byte, error) {
	b := make([]byte, i.size)
	if i.size > 0 {
		if n, err := s.file.ReadAt(b, int64(i.off)); n < len(b) {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	if s.seed.sum(i.off, b) != i.sum {
		return nil, errSum
	}
	return b, nil
}

var errSum = errors.New("the checksum does not fit the value")

// close closes the file of a segment that is in no set, if there is one.
func (s *segment) close() error {
	if s == nil {
		return nil
	}
	return s.file.Close()
}

// garbage is what merging the segment would give back: all of its file but
// what is current.
func (s *segment) garbage() int64 { return s.fileBytes.Load() - s.live }

// recordBytes is what a record takes where merging copies it to, with many
// others in one frame. So garbage is what merging gives back, also where small
// batches have more around their records than in them.
func recordBytes(keyBytes int, size uint32) int64 {
	return int64(keyBytes)*2 + int64(size) + recordOverhead
}

// recordOverhead is two entries of a table, less their keys.
const recordOverhead = 2 * 10

// set is the segments that there are at one moment. A reader holds the set
// while it reads, and a file is let go of when no set with it is held.
type set struct {
	refs     atomic.Int64
	segments map[uint32]*segment
	onFree   func(*set)
}

func newSet(segments map[uint32]*segment, onFree func(*set)) *set {
	s := &set{segments: segments, onFree: onFree}
	s.refs.Store(1)
	for _, member := range segments {
		member.holders++
	}
	return s
}

// with returns the segments of s and one more.
func (s *set) with(more *segment) map[uint32]*segment {
	m := maps.Clone(s.segments)
	m[more.id] = more
	return m
}

// without returns the segments of s but one.
func (s *set) without(id uint32) map[uint32]*segment {
	m := maps.Clone(s.segments)
	delete(m, id)
	return m
}

func (s *set) hold() *set {
	s.refs.Add(1)
	return s
}

func (s *set) release() {
	if s.refs.Add(-1) == 0 {
		s.onFree(s)
	}
}

// filter tells of most keys that a segment has no record of them.
type filter []uint64

const (
	// filterBits a record and filterProbes a key let one of two thousand keys
	// that are not there pass.
	filterBits   = 16
	filterProbes = 8
)

func newFilter(records []record) filter {
	f := make(filter, (len(records)*filterBits+63)/64)
	for i := range records {
		f.probe(records[i].key, func(word int, bit uint64) bool {
			f[word] |= bit
			return true
		})
	}
	return f
}

// has reports whether there may be a record of key.
func (f filter) has(key string) bool {
	found := len(f) > 0
	f.probe(key, func(word int, bit uint64) bool {
		found = f[word]&bit != 0
		return found
	})
	return found
}

func (f filter) probe(key string, visit func(word int, bit uint64) bool) {
	if len(f) == 0 {
		return
	}
	h := xxhash.Sum64String(key)
	step := h>>33 | 1
	for range filterProbes {
		at := h % uint64(len(f)*64)
		if !visit(int(at/64), 1<<(at%64)) {
			return
		}
		h += step
	}
}
