package lss

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// worker is a goroutine that does something whenever it is signalled.
type worker struct {
	wake  chan struct{}
	quit  chan struct{}
	ended chan struct{}
}

func newWorker() worker {
	return worker{wake: make(chan struct{}, 1), quit: make(chan struct{}), ended: make(chan struct{})}
}

// signal has the worker look what there is to do, at least once more.
func (w *worker) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) run(turn func()) {
	defer close(w.ended)
	for {
		select {
		case <-w.quit:
			return
		case <-w.wake:
			turn()
		}
	}
}

// stopping reports whether the worker is to end.
func (w *worker) stopping() bool {
	select {
	case <-w.quit:
		return true
	default:
		return false
	}
}

// stop ends the worker and waits for that.
func (w *worker) stop() {
	close(w.quit)
	<-w.ended
}

// keeper keeps the files: it makes the segment that is used next, seals those
// that are full, and takes back those that nobody reads any more.
type keeper struct {
	worker

	// free are names of segment files that can be used again. They belong to
	// the keeper's goroutine, and to Open and Close when that does not run.
	free []string

	// manifest is held while a manifest is written, and from its making until
	// what it says is so.
	manifest sync.Mutex

	mu   sync.Mutex // guards what follows
	sets []*set     // that nobody holds any more
}

// freed is called when nobody holds a set any more.
func (k *keeper) freed(s *set) {
	k.mu.Lock()
	k.sets = append(k.sets, s)
	k.mu.Unlock()
	k.signal()
}

func (k *keeper) takeFreed() []*set {
	k.mu.Lock()
	defer k.mu.Unlock()
	sets := k.sets
	k.sets = nil
	return sets
}

// keep is one turn of the keeper.
func (e *Engine) keep() {
	e.collect()
	e.prepare()
	e.seal()
}

// collect lets go of the files of segments that are in no set any more, and
// takes back those that are retired.
func (e *Engine) collect() {
	for _, s := range e.closeUnused() {
		if s.retired {
			e.recycle(s.id, s.fileBytes.Load())
		}
	}
}

// closeUnused closes the files of segments that are in no set any more, and
// returns these, oldest first.
func (e *Engine) closeUnused() []*segment {
	var unused []*segment
	e.mu.Lock()
	for _, s := range e.keeper.takeFreed() {
		for _, s := range s.segments {
			if s.holders--; s.holders == 0 {
				unused = append(unused, s)
			}
		}
	}
	e.mu.Unlock()
	slices.SortFunc(unused, func(a, b *segment) int { return int(a.id) - int(b.id) })
	for _, s := range unused {
		_ = s.file.Close() // the disk tells of its failure itself
	}
	return unused
}

// recycle takes back the files of a segment that the manifest does not name
// any more.
func (e *Engine) recycle(id uint32, fileBytes int64) {
	e.remove(hintName(id))
	if len(e.keeper.free) < maxFree && fileBytes <= 2*int64(e.o.SegmentBytes) {
		if err := e.folder.fs.Rename(e.folder.join(segmentName(id)), e.folder.join(freeName(id))); err == nil {
			e.keeper.free = append(e.keeper.free, freeName(id))
		}
		return
	}
	e.remove(segmentName(id))
}

// remove removes a file that is not needed any more, if it is there. That it
// cannot be removed is no failure: the next start tries again.
func (e *Engine) remove(name string) {
	if err := e.folder.fs.Remove(e.folder.join(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.o.Logger.Warn("a file that is not needed any more cannot be removed", "file", name, "error", err)
	}
}

// prepare makes the segment that comes after the active one.
func (e *Engine) prepare() {
	e.mu.Lock()
	wanted := e.next == nil && e.failed() == nil
	id := e.nextID
	if wanted {
		e.nextID++
	}
	e.mu.Unlock()
	if !wanted {
		return
	}
	s, err := e.makeSegment(id)
	if err != nil {
		e.disk.Fail(err)
		return
	}
	e.keeper.manifest.Lock()
	defer e.keeper.manifest.Unlock()
	e.writeManifest(s)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next = s
	e.room.Broadcast()
}

// makeSegment makes a segment without frames, durably. It becomes one of the
// store with the next manifest.
func (e *Engine) makeSegment(id uint32) (*segment, error) {
	f, reused, err := e.segmentFile(e.folder.join(segmentName(id)))
	if err != nil {
		return nil, err
	}
	u := use{id: id, salt: rand.Uint64()}
	s := &segment{use: u, seed: newSalt(u.salt), file: f, size: segmentHeadBytes}
	s.written.Store(segmentHeadBytes)
	if err := e.ready(s, reused); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

// segmentFile gives a file that is free its new name, or makes one, and opens
// it.
func (e *Engine) segmentFile(name string) (f vfs.File, reused bool, err error) {
	if last := len(e.keeper.free) - 1; last >= 0 {
		if err := e.folder.fs.Rename(e.folder.join(e.keeper.free[last]), name); err != nil {
			return nil, false, err
		}
		e.keeper.free, reused = e.keeper.free[:last], true
	} else {
		f, err := e.folder.fs.Create(name, "")
		if err != nil {
			return nil, false, err
		}
		if err := f.Close(); err != nil {
			return nil, false, err
		}
	}
	f, err = e.folder.fs.OpenReadWrite(name, "")
	return f, reused, err
}

// ready has the file of a segment be as long as one is, with a head, durably.
func (e *Engine) ready(s *segment, reused bool) error {
	size := int64(e.o.SegmentBytes)
	if reused {
		if info, err := s.file.Stat(); err == nil {
			size = info.Size()
		}
	} else if err := fillZeros(s.file, size); err != nil {
		return err
	}
	s.fileBytes.Store(size)
	if _, err := s.file.WriteAt(appendSegmentHead(nil, s.id, s.salt), 0); err != nil {
		return err
	}
	if err := s.file.Sync(); err != nil {
		return err
	}
	return e.folder.sync()
}

func fillZeros(f interface {
	WriteAt(b []byte, off int64) (int, error)
}, size int64,
) error {
	zeros := make([]byte, min(size, zeroBytes))
	for off := int64(0); off < size; off += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-off)], off); err != nil {
			return err
		}
	}
	return nil
}

// writeManifest writes which segments there are, and one more if it is not
// nil. The caller holds the manifest's lock.
func (e *Engine) writeManifest(more *segment) {
	if err := e.folder.replace(manifestName, e.manifest(more).encode()); err != nil {
		e.disk.Fail(err)
	}
}

func (e *Engine) manifest(more *segment) manifest {
	e.mu.RLock()
	defer e.mu.RUnlock()
	m := make(manifest, 0, len(e.current.segments)+2)
	add := func(s *segment) {
		u := s.use
		if s.flushed {
			u.end = s.size
		}
		m = append(m, u)
	}
	for _, s := range e.current.segments {
		add(s)
	}
	if e.next != nil {
		add(e.next)
	}
	if more != nil {
		add(more)
	}
	slices.SortFunc(m, func(a, b use) int { return int(a.id) - int(b.id) })
	return m
}

// seal writes hint files for the segments that are full, and says in the
// manifest where they end.
func (e *Engine) seal() {
	full := e.full()
	if len(full) == 0 || e.failed() != nil {
		return
	}
	for _, s := range full {
		e.writeHint(s)
	}
	e.keeper.manifest.Lock()
	e.writeManifest(nil)
	e.keeper.manifest.Unlock()
	e.merger.signal()
}

// full returns the segments that are full and not sealed, oldest first.
func (e *Engine) full() []*segment {
	e.mu.RLock()
	defer e.mu.RUnlock()
	var full []*segment
	for _, s := range e.current.segments {
		if s.flushed && !s.sealed {
			full = append(full, s)
		}
	}
	slices.SortFunc(full, func(a, b *segment) int { return int(a.id) - int(b.id) })
	return full
}

// writeHint writes the hint file of a segment to which nothing is added any
// more.
func (e *Engine) writeHint(s *segment) {
	h := newHint(s.id, s.salt, s.size, s.records)
	f := newFilter(h.records)
	if err := e.folder.replace(hintName(s.id), h.encode()); err != nil {
		e.disk.Fail(err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	s.filter, s.records, s.sealed = f, nil, true
}

// finish seals what there is, and closes all files. No goroutine of the engine
// runs any more.
func (e *Engine) finish() {
	if len(e.active.records) > 0 {
		e.active.flushed = true
	}
	e.seal()
	_ = e.next.close()
	e.current.release()
	e.collect()
}
