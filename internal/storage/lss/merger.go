package lss

import (
	"cmp"
	"slices"
	"strings"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// merger gives back the room of what was replaced, and scrubs when it has
// nothing to give back: one goroutine, since one at a time is admitted.
type merger struct{ worker }

// clean is one turn of the merger.
func (e *Engine) clean() {
	defer e.o.Background.Done()
	for again := true; again; {
		e.merge()
		again = e.scrub()
	}
}

// merge empties segments until none is worth it.
func (e *Engine) merge() {
	for !e.merger.stopping() {
		victim, held := e.victim()
		if victim == nil {
			return
		}
		ok := e.empty(victim)
		held.release()
		if !ok {
			return
		}
		e.retire(victim)
		e.merges.Add(1)
	}
}

// mergeable reports whether merging a segment gives back what it costs, or mends
// what is damaged beside its values. The rest of a file that was not filled is
// garbage as well.
func (e *Engine) mergeable(s *segment) bool {
	return s.sealed && (s.suspect || s.garbage()*100 >= s.fileBytes.Load()*mergeAt)
}

// victim returns the sealed segment with the largest share of garbage, and the
// set that has it, if it is worth it.
func (e *Engine) victim() (*segment, *set) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var worst *segment
	var share float64
	for _, s := range e.current.segments {
		if !e.mergeable(s) {
			continue
		}
		if x := float64(s.garbage()) / float64(s.fileBytes.Load()); worst == nil || x > share {
			worst, share = s, x
		}
	}
	if worst == nil {
		return nil, nil
	}
	return worst, e.current.hold()
}

// empty copies what is current in a segment to the end of the log, and makes
// that durable. It reports false if the engine has failed or closes.
func (e *Engine) empty(victim *segment) bool {
	records, err := e.recordsOf(victim)
	if err != nil {
		e.o.Logger.Error("a segment cannot be merged", "segment", segmentName(victim.id), "error", err)
		e.disk.Fail(err)
		return false
	}
	var buf []byte
	for live := e.needed(victim, records); len(live) > 0; {
		n, size := stepOf(live)
		if e.merger.stopping() || !e.o.Background.Step(int(size), e.merger.quit) || e.failed() != nil {
			return false
		}
		var writes []write
		writes, buf = e.readLive(victim, live[:n], buf)
		if !e.move(victim, writes) {
			return false
		}
		live = live[n:]
	}
	done := make(chan error, 1)
	if now, err := e.put(nil, core.Sync, func(err error) { done <- err }); now {
		done <- err
	}
	return <-done == nil
}

// recordsOf returns the records of a sealed segment, from its hint file or, if
// that is damaged, from itself.
func (e *Engine) recordsOf(s *segment) ([]record, error) {
	if h, ok := e.hintOf(s); ok {
		return h.records, nil
	}
	e.o.Logger.Warn("a hint file is damaged; its segment is read instead", "segment", segmentName(s.id))
	b, err := e.folder.read(segmentName(s.id))
	if err != nil {
		return nil, err
	}
	found, _ := spans(b, s.seed, s.size)
	c, err := judge(found, s.size)
	return c.records, err
}

// hintOf returns what the hint file of a sealed segment says, if it is whole.
func (e *Engine) hintOf(s *segment) (hint, bool) {
	b, err := e.folder.read(hintName(s.id))
	if err != nil {
		return hint{}, false
	}
	h, err := decodeHint(b)
	return h, err == nil && h.segment == s.id && h.salt == s.salt && h.end == s.size
}

// needed returns those of the records that must outlive their segment, in the
// order in which they stand in it. They come by key, which keeps the looks into
// the index close together. The slice is used again.
func (e *Engine) needed(victim *segment, records []record) []record {
	live := records[:0]
	for some := range slices.Chunk(records, mergeRecords) {
		e.mu.RLock()
		for _, r := range some {
			if e.isNeeded(victim, &r) {
				live = append(live, r)
			}
		}
		e.mu.RUnlock()
	}
	slices.SortFunc(live, func(a, b record) int { return cmp.Compare(a.off, b.off) })
	return live
}

// isNeeded reports whether a record must outlive its segment. Whether its value
// is lost the index knows better than the record.
func (e *Engine) isNeeded(victim *segment, r *record) bool {
	now, ok := e.index.Get(r.key)
	if r.kind == kindDelete {
		return !ok && e.covers(victim, *r)
	}
	if !ok || now.seg != victim.id || now.off != r.off {
		return false
	}
	r.kind, r.size, r.sum = kindSet, now.valueBytes(), now.sum
	if now.damaged() {
		r.kind = kindDamaged
	}
	return true
}

// stepOf returns how many of the records are moved in one step, and what that
// costs.
func stepOf(live []record) (n int, size int64) {
	for n < len(live) && n < mergeRecords && size < mergeBytes {
		size += recordBytes(len(live[n].key), live[n].size)
		n++
	}
	return n, size
}

// readLive reads the values of records, which stand one after the other. What
// lies close together is read at once: a call of the system for each value is
// more work than all the rest of its move. The values are in the buffer that it
// returns. What cannot be read is marked as lost, which leaves nothing to move.
func (e *Engine) readLive(victim *segment, live []record, buf []byte) ([]write, []byte) {
	writes := make([]write, 0, len(live))
	buf = buf[:0]
	for len(live) > 0 {
		n, end := 1, live[0].off+live[0].size
		for n < len(live) && live[n].off <= end+mergeGap {
			end = max(end, live[n].off+live[n].size)
			n++
		}
		from := len(buf)
		buf = slices.Grow(buf, int(end-live[0].off))[:from+int(end-live[0].off)]
		stretch := buf[from:]
		read, _ := victim.file.ReadAt(stretch, int64(live[0].off)) // what is missing is read again by itself
		for _, r := range live[:n] {
			value := stretch[r.off-live[0].off:][:r.size]
			if whole := int(r.off-live[0].off)+len(value) <= read && victim.seed.sum(r.off, value) == r.sum; !whole && r.kind == kindSet {
				var ok bool
				if value, ok = e.readAgain(victim, r); !ok {
					continue
				}
			}
			// The index keeps the key, and must not keep the whole hint file
			// that it is part of.
			r.key = strings.Clone(r.key)
			writes = append(writes, write{record: r, value: value})
		}
		live = live[n:]
	}
	return writes, buf
}

// readAgain reads a value by itself which could not be read among others.
func (e *Engine) readAgain(victim *segment, r record) (value []byte, ok bool) {
	at := placeOf(r, victim.id)
	value, err := victim.read(at)
	if err != nil {
		e.lost(item{key: r.key, place: at}, err)
	}
	return value, err == nil
}

// covers reports whether an older segment may still have what a deletion has
// deleted. A newer one cannot: the record was gone from the index when the
// deletion was written, and only what is in the index is moved.
func (e *Engine) covers(victim *segment, r record) bool {
	for _, s := range e.current.segments {
		if s.id < victim.id && s.minSeq < r.seq && (s.filter == nil || s.filter.has(r.key)) {
			return true
		}
	}
	return false
}

// move appends those of the writes that are still current.
func (e *Engine) move(victim *segment, writes []write) bool {
	if len(writes) == 0 {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.makeRoom(frameBytes(writes)) != nil {
		return false
	}
	still := writes[:0]
	for _, w := range writes {
		now, ok := e.index.Get(w.key)
		if w.kind == kindDelete && !ok || w.kind != kindDelete && ok && now.seg == victim.id && now.off == w.off {
			still = append(still, w)
		}
	}
	if len(still) > 0 {
		e.append(still, true)
	}
	return true
}

// retire takes a segment without a current record out of the store. Its file
// is used again when the manifest does not name it any more and nobody reads
// it.
func (e *Engine) retire(victim *segment) {
	e.keeper.manifest.Lock()
	defer e.keeper.manifest.Unlock()
	e.mu.Lock()
	victim.retired = true
	held := e.current.hold()
	e.swap(e.current.without(victim.id))
	e.mu.Unlock()
	e.writeManifest(nil)
	held.release()
}
