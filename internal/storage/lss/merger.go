package lss

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// merger gives back the room of what was replaced.
type merger struct{ worker }

// mergePause is after how long a rate of 0 is asked for again.
const mergePause = 100 * time.Millisecond

// merge is one turn of the merger.
func (e *Engine) merge() {
	for {
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

// mergeable reports whether merging a segment gives back what it costs. The
// rest of a file that was not filled is garbage as well.
func (e *Engine) mergeable(s *segment) bool {
	return s.sealed && s.garbage()*100 >= s.fileBytes.Load()*mergeAt
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
	for len(records) > 0 {
		var writes []write
		var size int64
		writes, records, size = e.collectLive(victim, records)
		if !e.pace(size) || !e.move(victim, writes) {
			return false
		}
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
	if b, err := e.folder.read(hintName(s.id)); err == nil {
		if h, err := decodeHint(b); err == nil && h.salt == s.salt && h.end == s.size {
			return h.records, nil
		}
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

// collectLive takes the records off the front of the list that one step can
// move, and returns those that are needed, with their values.
func (e *Engine) collectLive(victim *segment, records []record) (writes []write, rest []record, size int64) {
	for i, r := range records {
		if size >= mergeBytes || len(writes) >= mergeRecords {
			return writes, records[i:], size
		}
		w := write{record: r}
		now, ok := e.needed(victim, r)
		if !ok {
			continue
		}
		switch {
		case r.kind == kindDelete:
		case now.damaged():
			w.kind = kindDamaged
		default:
			var err error
			if w.value, err = victim.read(now); err != nil {
				e.lost(now, err) // which leaves nothing to move
				continue
			}
		}
		writes = append(writes, w)
		size += recordBytes(len(r.key), uint32(len(w.value)))
	}
	return writes, nil, size
}

// needed reports whether a record must outlive its segment, and for a value
// what the index says of it.
func (e *Engine) needed(victim *segment, r record) (item, bool) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	now, ok := e.index.Get(item{key: r.key})
	if r.kind == kindDelete {
		return item{}, !ok && e.covers(victim, r)
	}
	return now, ok && now.seg == victim.id && now.off == r.off
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
		now, ok := e.index.Get(item{key: w.key})
		if w.kind == kindDelete && !ok || w.kind != kindDelete && ok && now.seg == victim.id && now.off == w.off {
			still = append(still, w)
		}
	}
	if len(still) > 0 {
		e.append(still, true)
	}
	return true
}

// pace waits until size bytes more may be copied. It reports false if the
// engine closes.
func (e *Engine) pace(size int64) bool {
	if size == 0 {
		select {
		case <-e.merger.quit:
			return false
		default:
			return e.failed() == nil
		}
	}
	for {
		rate := e.o.MergeRate()
		wait := mergePause
		if rate > 0 {
			wait = time.Duration(float64(size) / float64(rate) * float64(time.Second))
		}
		timer := time.NewTimer(wait)
		select {
		case <-e.merger.quit:
			timer.Stop()
			return false
		case <-timer.C:
		}
		if rate > 0 {
			return e.failed() == nil
		}
	}
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
