package lss

import (
	"cmp"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"time"
)

// Scrubbing reads every sealed segment once in an interval and holds it to its
// checksums, so that what the disk has changed is found while the other owners
// still have it, and not when somebody needs it.
//
// A value that is lost is marked as one that a read has found. All other damage
// costs nothing yet, since everything beside the values is there twice. It would at
// the next damage, so the segment is merged, whatever garbage it has: what is
// current in it then stands elsewhere, whole.
//
// Where scrubbing goes on after a restart the clock says: at the share of the
// segments that is the share of the interval that has passed by then. So nothing
// has to be kept of how far it came, and a node that is restarted often leaves
// nothing out. Frames are found from the head of their segment on, so it begins
// there and is late, by less than a segment.
type scrubber struct {
	// These belong to the merger's goroutine.

	at    position    // the segment that it is in, and the frame there; 0: its head
	probe probe       // of that segment
	found bool        // something is damaged in it
	due   time.Time   // when the next step is
	timer *time.Timer // wakes the merger then
	began time.Time   // of the pass, or of the first part of one
}

func (s *scrubber) stop() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

// scrub takes the next step, if it is time for that, and reports whether there may
// be another one at once.
func (e *Engine) scrub() (again bool) {
	k := &e.scrubber
	if e.o.ScrubInterval == 0 || e.merger.stopping() || e.failed() != nil {
		return false
	}
	now := time.Now()
	if k.due.IsZero() {
		k.began = now
		k.at, k.due = e.scrubFrom(now)
	}
	if wait := k.due.Sub(now); wait > 0 {
		k.stop()
		k.timer = time.AfterFunc(wait, e.merger.signal)
		return false
	}
	s, held, total := e.toScrub()
	if s == nil {
		k.due = now
		return false // sealing a segment wakes the merger
	}
	defer held.release()
	n, ok := e.scrubSome(s)
	if ok {
		e.scrubDone(n, total)
	}
	return ok
}

// scrubDone counts a step, and plans the next one: a step that was late does not
// put off those that come after it.
func (e *Engine) scrubDone(n, total int64) {
	k := &e.scrubber
	k.due = k.due.Add(e.scrubTime(n, total))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.scrubbed.Bytes += uint64(n)
	e.scrubbed.Done = e.scrubbedShare()
}

// sealedByAge returns the sealed segments, the oldest first, and their bytes. The
// caller holds the lock.
func (e *Engine) sealedByAge() (sealed []*segment, total int64) {
	for _, s := range e.current.segments {
		if s.sealed {
			sealed = append(sealed, s)
			total += int64(s.size)
		}
	}
	slices.SortFunc(sealed, func(a, b *segment) int { return cmp.Compare(a.id, b.id) })
	return sealed, total
}

// scrubFrom returns the segment at which scrubbing is by the clock, and when it
// would have come there.
func (e *Engine) scrubFrom(now time.Time) (position, time.Time) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	sealed, total := e.sealedByAge()
	passed := float64(now.UnixNano()%int64(e.o.ScrubInterval)) / float64(e.o.ScrubInterval)
	behind := int64(float64(total) * passed)
	for _, s := range sealed {
		if behind < int64(s.size) {
			return position{segment: s.id}, now.Add(-e.scrubTime(behind, total))
		}
		behind -= int64(s.size)
	}
	return position{}, now
}

// scrubTime returns how long scrubbing takes for so many bytes of all.
func (e *Engine) scrubTime(n, total int64) time.Duration {
	return time.Duration(float64(e.o.ScrubInterval) * float64(n) / float64(total))
}

// scrubbedShare returns the share of the segments that is behind the scrubber. The
// caller holds the lock.
func (e *Engine) scrubbedShare() float64 {
	sealed, total := e.sealedByAge()
	behind := int64(0)
	for _, s := range sealed {
		switch at := e.scrubber.at; {
		case s.id < at.segment:
			behind += int64(s.size)
		case s.id == at.segment:
			behind += int64(at.off)
		}
	}
	return float64(behind) / float64(max(1, total))
}

// toScrub returns the segment that the scrubber is in, or the next one where that
// has gone, and the first one after the last; nil if none is sealed. total is what
// all of them have.
func (e *Engine) toScrub() (s *segment, held *set, total int64) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	k := &e.scrubber
	sealed, total := e.sealedByAge()
	if len(sealed) == 0 {
		return nil, nil, 0
	}
	i, _ := slices.BinarySearchFunc(sealed, k.at.segment, func(s *segment, id uint32) int { return cmp.Compare(s.id, id) })
	s = sealed[i%len(sealed)]
	if s.id != k.at.segment {
		k.at, k.found = position{segment: s.id}, false
	}
	if k.probe.segment != s {
		k.probe = probe{segment: s, admit: func(bytes int) bool { return e.o.Background.Step(bytes, e.merger.quit) }}
	}
	return s, e.current.hold(), total
}

// scrubSome looks at the next frames of a segment, of scrubBytes together or one
// that is larger. It returns how far it has come; ok is false if the engine closes.
func (e *Engine) scrubSome(s *segment) (n int64, ok bool) {
	k := &e.scrubber
	p, from := &k.probe, k.at.off
	if k.at.off == 0 {
		e.scrubHead(s, p)
		k.at.off = segmentHeadBytes
	}
	for k.at.off < s.size && k.at.off-from < scrubBytes && !p.ended {
		end, err := e.scrubFrame(p, k.at.off)
		if p.ended {
			break
		}
		if err != nil {
			e.scrubFound(s, "what surrounds its values is damaged", k.at.off, err)
			end = s.size // what is current in the rest is looked at when it is copied
		}
		k.at.off = end
	}
	if p.ended {
		return 0, false
	}
	n = int64(k.at.off - from)
	if k.at.off >= s.size {
		e.scrubbedSegment(s)
	}
	return n, true
}

// scrubbedSegment ends with a segment, and with the pass if it is the last one.
func (e *Engine) scrubbedSegment(s *segment) {
	k := &e.scrubber
	e.mu.Lock()
	s.suspect = k.found
	sealed, _ := e.sealedByAge()
	last := s.id == sealed[len(sealed)-1].id
	if last {
		e.scrubbed.Passes++
	}
	stats := e.scrubbed
	e.mu.Unlock()
	k.at, k.probe, k.found = position{segment: s.id + 1}, probe{}, false
	if last {
		k.at.segment = 0
		e.o.Logger.Info("scrubbing has read all that is stored",
			"took", time.Since(k.began), "bytes_since_start", stats.Bytes, "damaged_since_start", stats.Found)
		k.began = time.Now()
		e.scrubManifest()
	}
}

// scrubFound counts damage that costs nothing, and says so.
func (e *Engine) scrubFound(s *segment, what string, off uint32, cause error) {
	e.scrubber.found = true
	e.mu.Lock()
	e.scrubbed.Found++
	e.mu.Unlock()
	e.o.Logger.Error("scrubbing has found damage that costs nothing yet; the segment is written anew",
		"segment", segmentName(s.id), "offset", off, "what", what, "error", cause)
}

var (
	errHead  = errors.New("the head of the segment is not as it was written")
	errFrame = errors.New("the head, a table or the foot of a batch is not as it was written")
)

// scrubHead looks at the head of a segment and at its hint file.
func (e *Engine) scrubHead(s *segment, p *probe) {
	if b, err := p.bytes(0, segmentHeadBytes); err != nil || !segmentHeadWhole(b, s.id, s.salt) {
		if !p.ended {
			e.scrubFound(s, "its head is damaged", 0, cmp.Or(err, errHead))
		}
	}
	h, ok := e.hintOf(s)
	if !ok {
		e.scrubFound(s, "its hint file is damaged", 0, errHint)
	}
	p.spend(len(h.records) * recordMemory)
}

// scrubManifest looks at the manifest, and writes it again if a copy in it is not
// as it was written.
func (e *Engine) scrubManifest() {
	e.keeper.manifest.Lock()
	defer e.keeper.manifest.Unlock()
	b, err := e.folder.read(manifestName)
	if err == nil {
		var damaged bool
		if _, damaged, err = decodeManifest(b); err == nil && !damaged {
			return
		}
	}
	e.mu.Lock()
	e.scrubbed.Found++
	e.mu.Unlock()
	e.o.Logger.Error("scrubbing has found that the manifest is damaged; it is written anew", "error", err)
	e.writeManifest(nil)
}

// scrubFrame looks at the frame at off and returns where the next one begins. The
// error says that something beside the values is damaged.
func (e *Engine) scrubFrame(p *probe, off uint32) (end uint32, err error) {
	s := p.segment
	b, err := p.bytes(off, headBytes)
	if err != nil {
		return 0, err
	}
	h, ok := parseHead(b, s.seed, off)
	if !ok || uint64(off)+h.bytes() > uint64(s.size) {
		return 0, errFrame
	}
	end = off + uint32(h.bytes())
	values := off + headBytes + h.tableBytes
	if b, err = p.bytes(off+headBytes, h.tableBytes); err != nil {
		return 0, err
	}
	if s.seed.sum(off, b) != h.tableSum {
		return 0, errFrame
	}
	records, valueBytes, err := readTable(b, h.base, values)
	if err != nil || valueBytes != uint64(h.valueBytes) {
		return 0, errFrame
	}
	for i := range records {
		e.scrubValue(p, &records[i])
	}
	return end, scrubEnd(p, off, end, h)
}

// scrubValue looks at the value of a record.
func (e *Engine) scrubValue(p *probe, r *record) {
	if r.kind != kindSet || p.ended {
		return
	}
	sum, err := p.sum(r.off, r.size)
	if p.ended || err == nil && sum == r.sum {
		return
	}
	at := placeOf(*r, p.segment.id)
	if err = cmp.Or(err, errSum); e.isCurrent(r.key, at) {
		e.scrubber.found = true
		e.mu.Lock()
		e.scrubbed.Found++
		e.mu.Unlock()
		e.lost(item{key: r.key, place: at}, err)
		return
	}
	e.scrubFound(p.segment, "a value that was replaced is damaged", r.off, err)
}

func (e *Engine) isCurrent(key string, at place) bool {
	e.mu.RLock()
	defer e.mu.RUnlock()
	now, ok := e.index.Get(key)
	return ok && now == at
}

// scrubEnd looks at what stands behind the values of a frame.
func scrubEnd(p *probe, off, end uint32, h head) error {
	s := p.segment
	second := off + headBytes + h.tableBytes + h.valueBytes
	b, err := p.bytes(second, h.tableBytes)
	if err != nil {
		return err
	}
	if s.seed.sum(off, b) != h.tableSum {
		return errFrame
	}
	if b, err = p.bytes(second+h.tableBytes, end-second-h.tableBytes); err != nil {
		return err
	}
	padding, last := b[:len(b)-footBytes], b[len(b)-footBytes:]
	ft, ok := parseFoot(last, s.seed, end)
	if !ok || ft != (foot{base: h.base, start: off, tableBytes: h.tableBytes, tableSum: h.tableSum}) || firstNonzero(padding) < len(padding) {
		return errFrame
	}
	return nil
}

// probe reads a segment from one end to the other, a window at a time, as it is
// admitted.
type probe struct {
	segment *segment
	admit   func(bytes int) bool
	window  []byte
	from    uint32 // where the window begins
	ended   bool   // nothing is admitted any more
}

// spend asks for so many bytes to be admitted.
func (p *probe) spend(n int) bool {
	p.ended = p.ended || !p.admit(n)
	return !p.ended
}

var errEnded = errors.New("the engine closes")

// bytes returns what stands at off; it is valid until the next call.
func (p *probe) bytes(off, n uint32) ([]byte, error) {
	if off >= p.from && uint64(off)+uint64(n) <= uint64(p.from)+uint64(len(p.window)) {
		return p.window[off-p.from:][:n], nil
	}
	if uint64(off)+uint64(n) > uint64(p.segment.size) {
		return nil, io.ErrUnexpectedEOF
	}
	err := p.read(off, min(max(n, scrubBytes), p.segment.size-off))
	if err != nil && !p.ended && len(p.window) != int(n) {
		err = p.read(off, n) // what cannot be read may stand behind it
	}
	if err != nil {
		p.window = nil
		return nil, err
	}
	return p.window[:n], nil
}

func (p *probe) read(off, n uint32) error {
	if !p.spend(int(n)) {
		return errEnded
	}
	p.from = off
	p.window = slices.Grow(p.window[:0], int(n))[:n]
	got, err := p.segment.file.ReadAt(p.window, int64(off))
	if got == int(n) {
		return nil
	}
	return cmp.Or(err, io.ErrUnexpectedEOF)
}

// sum returns the checksum of a value.
func (p *probe) sum(off, n uint32) (uint32, error) {
	sum := p.segment.seed.sum(off, nil)
	for n > 0 {
		part := min(n, scrubBytes)
		b, err := p.bytes(off, part)
		if err != nil {
			return 0, err
		}
		sum = crc32.Update(sum, castagnoli, b)
		off, n = off+part, n-part
	}
	return sum, nil
}
