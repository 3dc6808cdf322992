package lss

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Engine implements storage.Engine.
type Engine struct {
	o       Options
	disk    *vfs.FailStop
	folder  folder
	gate    storage.Gate
	commits atomic.Uint64
	merges  atomic.Uint64
	close   func() error

	mu       sync.RWMutex // guards what follows, and what segments say that it does
	index    *index
	keyBytes int64 // of all keys in the index
	seq      uint64
	current  *set     // all segments but next
	active   *segment // the one that is written to
	next     *segment // the one after it, nil while it is being made
	nextID   uint32
	queue    []*group // what the flusher has to do, oldest first
	buffered int      // bytes in the queue
	spare    [][]byte // buffers that are not in use
	closing  bool
	damaged  uint64 // records that were found damaged
	scrubbed storage.Scrub
	stalls   uint64
	stalled  time.Duration
	work     sync.Cond // the flusher waits here
	room     sync.Cond // commits wait here

	// outstanding counts completions in the queue whose done has not returned.
	// It is raised under mu.
	outstanding atomic.Int64
	flushed     chan struct{} // closed when the flusher has ended

	keeper   keeper
	merger   merger
	scrubber scrubber
}

var _ storage.Engine = (*Engine)(nil)

// Commit implements storage.Engine.
func (e *Engine) Commit(batch []core.Write, d core.Durability, done func(error)) {
	if err := e.gate.Enter(); err != nil {
		done(err)
		return
	}
	defer e.gate.Leave()
	e.commits.Add(1)
	var few [4]write // most batches are small, and these need no memory
	writes := few[:0]
	for _, w := range batch {
		x := write{record: record{key: string(w.Key)}, value: w.Value}
		if w.Delete {
			x.kind, x.value = kindDelete, nil
		}
		writes = append(writes, x)
	}
	if n := frameBytes(writes); n > maxFrameBytes {
		e.disk.Fail(fmt.Errorf("a batch takes %d bytes in the log; %d are the most", n, maxFrameBytes))
	}
	if now, err := e.put(writes, d, done); now {
		done(err)
	}
}

// put appends the writes to the log and has done called, unless it may be
// called at once, by the caller.
func (e *Engine) put(writes []write, d core.Durability, done func(error)) (now bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err = e.makeRoom(frameBytes(writes)); err == nil && len(writes) > 0 {
		for i := range writes {
			e.seq++
			writes[i].seq = e.seq
		}
		e.append(writes, false)
	}
	if d == core.NoSync && e.outstanding.Load() == 0 {
		return true, err
	}
	g := e.tail()
	g.done = append(g.done, completion{done: done, err: err})
	g.sync = g.sync || d == core.Sync
	e.outstanding.Add(1)
	e.work.Signal()
	return false, nil
}

// makeRoom returns when size bytes more fit into the buffers and the active
// segment, or with the engine's failure.
func (e *Engine) makeRoom(size int) error {
	var since time.Time
	for {
		err := e.failed()
		if err != nil || e.hasRoom(size) {
			if !since.IsZero() {
				e.stalled += time.Since(since)
			}
			return err
		}
		if since.IsZero() {
			since = time.Now()
			e.stalls++
		}
		e.room.Wait()
	}
}

// hasRoom reports whether size bytes more fit, perhaps into a new segment. If
// not, somebody is at work to change that.
func (e *Engine) hasRoom(size int) bool {
	if e.buffered > 0 && e.buffered+size > maxBuffered {
		e.queue[len(e.queue)-1].now = true
		e.work.Signal()
		return false
	}
	if int(e.active.size)+size <= e.o.SegmentBytes || e.active.size == segmentHeadBytes {
		return true // it fits, or is larger than a segment and gets one of its own
	}
	if e.next == nil {
		e.keeper.signal()
		return false
	}
	e.rotate()
	return true
}

// rotate goes on to the next segment. The flusher syncs the old one before it
// writes to the new one.
func (e *Engine) rotate() {
	e.tail().last = true
	likely := len(e.active.records) * 9 / 8 // as many as in the last one, and some
	e.active, e.next = e.next, nil
	e.active.records = make([]record, 0, likely)
	e.swap(e.current.with(e.active))
	e.work.Signal()
	e.keeper.signal()
}

// swap makes these the segments that there are.
func (e *Engine) swap(segments map[uint32]*segment) {
	old := e.current
	e.current = newSet(segments, e.keeper.freed)
	if old != nil {
		old.release()
	}
}

// tail returns the group that takes what is committed now.
func (e *Engine) tail() *group {
	if n := len(e.queue); n > 0 && e.queue[n-1].open() {
		return e.queue[n-1]
	}
	g := &group{segment: e.active, start: e.active.size}
	if n := len(e.spare); n > 0 {
		g.buf = e.spare[n-1]
		e.spare = e.spare[:n-1]
	}
	e.queue = append(e.queue, g)
	return g
}

// append puts a frame to the log and has the index follow. Moved records keep
// their sequence numbers; a deletion among them counts as live, since it is
// still needed.
func (e *Engine) append(writes []write, moved bool) {
	s, g := e.active, e.tail()
	before := len(g.buf)
	g.buf = appendFrame(g.buf, s.seed, s.size, writes)
	n := len(g.buf) - before
	e.buffered += n
	s.size += uint32(n)
	for i := range writes {
		r := writes[i].record
		if len(s.records) == 0 {
			s.minSeq = r.seq
		}
		s.minSeq = min(s.minSeq, r.seq)
		s.records = append(s.records, r)
		if r.kind == kindDelete {
			if moved {
				s.live += recordBytes(len(r.key), 0)
				continue
			}
			if old, ok := e.index.Delete(r.key); ok {
				e.keyBytes -= int64(len(r.key))
				e.replaced(r.key, old)
			}
			continue
		}
		now := placeOf(r, s.id)
		s.live += recordBytes(len(r.key), now.valueBytes())
		if old, ok := e.index.Set(r.key, now); ok {
			e.replaced(r.key, old)
		} else {
			e.keyBytes += int64(len(r.key))
		}
	}
	if len(g.buf) >= flushBytes {
		e.work.Signal()
	}
}

// replaced counts what a key had before as garbage.
func (e *Engine) replaced(key string, old place) {
	s := e.current.segments[old.seg]
	s.live -= recordBytes(len(key), old.valueBytes())
	if s.sealed && e.mergeable(s) {
		e.merger.signal()
	}
}

// failed returns the engine's failure, nil as long as there is none.
func (e *Engine) failed() error {
	if err := e.disk.Err(); err != nil {
		return failure(err)
	}
	return nil
}

func failure(err error) error { return fmt.Errorf("%w: %w", storage.ErrFailed, err) }

// enter begins a call that reads.
func (e *Engine) enter() error {
	if err := e.gate.Enter(); err != nil {
		return err
	}
	if err := e.failed(); err != nil {
		e.gate.Leave()
		return err
	}
	return nil
}

// Get implements core.Store.
func (e *Engine) Get(key []byte) (value []byte, err error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.gate.Leave()
	for {
		value, err := e.get(key)
		if err == errReplaced { //nolint:errorlint // it is never wrapped
			continue // by something that was not there a moment ago, so this ends
		}
		return value, err
	}
}

// errReplaced: a record could not be read, and is not the current one of its
// key any more: it was moved, or there is a newer one.
var errReplaced = errors.New("replaced")

// get looks for a key once.
func (e *Engine) get(key []byte) ([]byte, error) {
	e.mu.RLock()
	found, ok := e.index.Get(view(key))
	if !ok {
		e.mu.RUnlock()
		return nil, core.ErrNotFound
	}
	if value, ok := e.unwritten(found); ok {
		e.mu.RUnlock()
		return value, nil
	}
	held := e.current.hold()
	e.mu.RUnlock()
	defer held.release()
	return e.read(held, item{key: view(key), place: found})
}

// unwritten returns a value that is not in its segment yet.
func (e *Engine) unwritten(i place) ([]byte, bool) {
	if i.damaged() || i.off < e.current.segments[i.seg].written.Load() {
		return nil, false
	}
	for _, g := range e.queue {
		if g.segment.id == i.seg && i.off >= g.start && int(i.off-g.start) < len(g.buf) {
			at := i.off - g.start
			return append(make([]byte, 0, i.size), g.buf[at:at+i.size]...), true
		}
	}
	panic("lss: a record is neither in its segment nor on the way there")
}

// read reads the value of a key that is in its segment.
func (e *Engine) read(held *set, i item) ([]byte, error) {
	if i.damaged() {
		return nil, fmt.Errorf("%w: its record in segment %08x could not be read before", core.ErrDamaged, i.seg)
	}
	value, err := held.segments[i.seg].read(i.place)
	if err != nil {
		if !e.lost(i, err) {
			return nil, errReplaced
		}
		if failed := e.failed(); failed != nil {
			return nil, failed // the mark may not be there
		}
		return nil, fmt.Errorf("%w: segment %08x, offset %d: %w", core.ErrDamaged, i.seg, i.off, err)
	}
	return value, nil
}

// lost marks the key of an item as damaged, if that is still its current one.
// The mark is a record of its own, so that a value which can be read again
// later does not come back when others have built on its loss. lost reports
// false if the key has another record by now.
func (e *Engine) lost(i item, cause error) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	mark := []write{{record: record{key: strings.Clone(i.key), kind: kindDamaged}}}
	if e.makeRoom(frameBytes(mark)) != nil {
		return true
	}
	if now, ok := e.index.Get(i.key); !ok || now != i.place {
		return ok && now.damaged()
	}
	e.damaged++
	e.seq++
	mark[0].seq = e.seq
	e.append(mark, false)
	e.o.OnDamage([]byte(i.key))
	e.o.Logger.Error("a stored record is damaged; its key has no value until it is written again",
		"key", fmt.Sprintf("%q", i.key), "segment", segmentName(i.seg), "offset", i.off, "error", cause)
	return true
}

// Scan implements core.Store. It passes over keys that are damaged. Where a
// record cannot be read that was moved or replaced since the scan began, it
// shows what its key has now: better than a key that is missing.
func (e *Engine) Scan(from, to []byte, limit core.Limit, f func(key, value []byte) bool) (next []byte, err error) {
	if err := e.enter(); err != nil {
		return nil, err
	}
	defer e.gate.Leave()
	if to != nil && bytes.Compare(from, to) >= 0 {
		return nil, nil
	}
	e.mu.Lock()
	index, held := e.index.Copy(), e.current.hold()
	e.mu.Unlock()
	defer held.release()
	budget := storage.NewBudget(limit)
	stopped := false
	index.Ascend(view(from), func(at string, p place) bool {
		i := item{key: at, place: p}
		switch {
		case to != nil && i.key >= view(to):
			return false
		case stopped, budget.Spent():
			next = []byte(i.key)
			return false
		}
		value, lost := e.readShared(held, i)
		if lost == errReplaced { //nolint:errorlint // it is never wrapped
			value, lost = e.Get([]byte(i.key))
		}
		if lost != nil {
			if errors.Is(lost, storage.ErrFailed) {
				err = lost
			}
			return err == nil
		}
		key := []byte(i.key)
		budget.Take(key, value)
		stopped = !f(key, value)
		return true
	})
	return next, err
}

// readShared reads the value of an item of a scan.
func (e *Engine) readShared(held *set, i item) ([]byte, error) {
	if s := held.segments[i.seg]; !i.damaged() && i.off >= s.written.Load() {
		e.mu.RLock()
		value, ok := e.unwritten(i.place)
		e.mu.RUnlock()
		if ok {
			return value, nil
		}
	}
	return e.read(held, i)
}

// Close implements storage.Engine.
func (e *Engine) Close() error { return e.close() }

func (e *Engine) shutDown() error {
	e.gate.Close()
	e.merger.stop()
	e.scrubber.stop()
	e.mu.Lock()
	e.tail().sync = true
	e.closing = true
	e.work.Signal()
	e.mu.Unlock()
	<-e.flushed
	e.keeper.stop()
	e.finish()
	if err := e.failed(); err != nil {
		return fmt.Errorf("lss: %w", err)
	}
	return nil
}
