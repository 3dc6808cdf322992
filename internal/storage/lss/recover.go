package lss

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Open opens the engine in its folder.
func Open(o Options) (*Engine, error) {
	o = o.withDefaults()
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("lss: %w", err)
	}
	e := &Engine{o: o, index: newIndex(), flushed: make(chan struct{})}
	e.disk = vfs.NewFailStop(o.FS, e.onFailure, o.Buckets...)
	e.folder = folder{fs: e.disk, path: o.Dir}
	e.work.L, e.room.L = &e.mu, &e.mu
	e.keeper.worker, e.merger.worker = newWorker(), newWorker()
	if err := e.start(); err != nil {
		e.letGo()
		if first := e.failed(); first != nil {
			err = first // of which the rest are consequences: a file that could not be made is not there
		}
		return nil, fmt.Errorf("lss: %w", err)
	}
	go e.flush()
	go e.keeper.run(e.keep)
	go e.merger.run(e.clean)
	e.keeper.signal()
	e.merger.signal()
	e.close = sync.OnceValue(e.shutDown)
	return e, nil
}

// onFailure is called once, by whoever met the failure.
func (e *Engine) onFailure(err error) {
	e.o.Logger.Error("storage engine has failed; nothing more is written to its disk", "error", err)
	if e.o.OnFailure != nil {
		e.o.OnFailure(failure(err))
	}
	// Whoever waits for the disk waits for nothing now. The failure may have
	// been met under the lock, hence the goroutine.
	go func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.room.Broadcast()
	}()
}

// start makes an empty store or reads the one that there is, and readies the
// segment that is written to.
func (e *Engine) start() error {
	var err error
	if e.o.Create {
		err = e.create()
	} else {
		err = e.load()
	}
	if err != nil {
		return err
	}
	id := e.nextID
	e.nextID++
	active, err := e.makeSegment(id)
	if err != nil {
		return err
	}
	e.active = active
	e.swap(e.current.with(e.active))
	e.writeManifest(nil)
	e.collect()
	return e.failed()
}

// letGo closes the files of a store that could not be opened. It takes none of
// them back: what was found empty may still be in the manifest.
func (e *Engine) letGo() {
	if e.current != nil {
		e.current.release()
		e.closeUnused()
	}
}

func (e *Engine) create() error {
	if _, err := e.folder.fs.Stat(e.folder.join(manifestName)); err == nil {
		return fmt.Errorf("%s: there is a store already", e.o.Dir)
	}
	if err := e.folder.fs.MkdirAll(e.o.Dir, 0o700); err != nil {
		return err
	}
	e.nextID = 1
	e.swap(map[uint32]*segment{})
	return syncDir(e.folder.fs, e.folder.fs.PathDir(e.o.Dir))
}

// load reads the store.
func (e *Engine) load() error {
	b, err := e.folder.read(manifestName)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s is missing", storage.ErrDamaged, manifestName)
	}
	if err != nil {
		return err
	}
	m, damaged, err := decodeManifest(b)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", storage.ErrDamaged, manifestName, err)
	}
	if damaged {
		e.o.Logger.Error("one of the two copies in the manifest is damaged; the other is used")
	}
	if err := e.tidy(m); err != nil {
		return err
	}
	loaded, err := e.loadSegments(m)
	if err != nil {
		return err
	}
	e.build(loaded)
	return e.failed()
}

// tidy removes what a crash has left over: files that the manifest does not
// name. Those of segments are kept for use.
func (e *Engine) tidy(m manifest) error {
	names, err := e.folder.fs.List(e.o.Dir)
	if err != nil {
		return err
	}
	known := map[string]bool{manifestName: true}
	for _, u := range m {
		known[segmentName(u.id)], known[hintName(u.id)] = true, true
		e.nextID = u.id
	}
	e.nextID++
	slices.Sort(names)
	for _, name := range names {
		switch {
		case known[name]:
		case strings.HasSuffix(name, ".free") && len(e.keeper.free) < maxFree:
			e.keeper.free = append(e.keeper.free, name)
		case strings.HasSuffix(name, ".free"), strings.HasSuffix(name, ".seg"),
			strings.HasSuffix(name, ".hint"), strings.HasSuffix(name, ".tmp"):
			e.remove(name)
		}
	}
	return nil
}

// loaded is a segment as it was found.
type loaded struct {
	segment *segment
	hint    hint // of a sealed one
	hinted  bool
	spans   []span // of any other
	bytes   []byte // of one that was not sealed
	durable []position
}

// leastLoaders is how many segments are read at once at least: while one waits for
// the disk, another is taken apart.
const leastLoaders = 4

// loadSegments reads all segments, several at once.
func (e *Engine) loadSegments(m manifest) ([]*loaded, error) {
	e.swap(map[uint32]*segment{})
	all := make([]*loaded, len(m))
	var group errgroup.Group
	group.SetLimit(max(leastLoaders, runtime.GOMAXPROCS(0)))
	progress := newProgress(e.o.Logger, "segments", len(m))
	for i, u := range m {
		group.Go(func() (err error) {
			all[i], err = e.loadSegment(u)
			progress.add(1)
			return err
		})
	}
	err := group.Wait()
	segments := make(map[uint32]*segment)
	for _, l := range all {
		if l != nil {
			segments[l.segment.id] = l.segment
		}
	}
	e.swap(segments)
	if err != nil {
		return nil, err
	}
	return all, e.judge(all)
}

// loadSegment reads one segment: its hint file if it has one that can be read,
// else all of it.
func (e *Engine) loadSegment(u use) (*loaded, error) {
	name := segmentName(u.id)
	f, err := e.openSegment(name, u.end != 0)
	if err != nil {
		return nil, err
	}
	l := &loaded{segment: &segment{use: u, seed: newSalt(u.salt), file: f}}
	info, err := f.Stat()
	if err != nil {
		return l, err
	}
	l.segment.fileBytes.Store(info.Size())
	if u.end != 0 {
		if l.hint, l.hinted = e.loadHint(u); l.hinted {
			l.segment.filter = newFilter(l.hint.records)
			return l, nil
		}
	}
	b, err := e.folder.read(name)
	if err != nil {
		return l, fmt.Errorf("%s: %w", name, err)
	}
	if !segmentHeadWhole(b, u.id, u.salt) {
		e.o.Logger.Error("the head of a segment is damaged; the manifest has all that it says", "segment", name)
	}
	l.spans, l.durable = spans(b, l.segment.seed, u.end)
	if u.end == 0 {
		l.bytes = b
	}
	return l, nil
}

// openSegment opens the file of a segment, for reading alone if it is sealed.
// The others are to be synced.
func (e *Engine) openSegment(name string, sealed bool) (vfs.File, error) {
	f, err := e.folder.fs.Open(e.folder.join(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s is missing", storage.ErrDamaged, name)
	case err != nil || sealed:
		return f, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	return e.folder.fs.OpenReadWrite(e.folder.join(name), "")
}

// loadHint returns what the hint file says of a sealed segment.
func (e *Engine) loadHint(u use) (hint, bool) {
	b, err := e.folder.read(hintName(u.id))
	if err == nil {
		var h hint
		if h, err = decodeHint(b); err == nil && h.segment == u.id && h.salt == u.salt && h.end == u.end {
			return h, true
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		e.o.Logger.Error("a hint file is damaged; its segment is read instead", "segment", segmentName(u.id), "error", err)
	}
	return hint{}, false
}

// judge decides what of the segments without hint files counts, and seals
// them. What is empty is no segment any more.
func (e *Engine) judge(all []*loaded) error {
	durable := make(map[uint32]uint32)
	for _, l := range all {
		for _, p := range l.durable {
			durable[p.segment] = max(durable[p.segment], p.off)
		}
		if l.segment.end != 0 {
			durable[l.segment.id] = l.segment.end
		}
	}
	for _, l := range all {
		s := l.segment
		if l.hinted {
			s.size = s.end
		} else if err := e.replay(l, durable[s.id]); err != nil {
			return fmt.Errorf("%s: %w", segmentName(s.id), err)
		}
		if s.retired {
			continue
		}
		s.minSeq = l.hint.minSeq
		s.flushed, s.sealed = true, true
		s.written.Store(s.size)
	}
	return e.failed()
}

// replay takes what counts out of a segment without a hint file, and writes
// one. What is replayed is durable from then on, even if the machine has it in
// its memory only, because it was the process alone that crashed. A sync alone
// would not do: where one has failed, the system may take what it could not write
// for written. So all that is not known to be durable is written again.
func (e *Engine) replay(l *loaded, durable uint32) error {
	s := l.segment
	if n := len(l.spans); n > 0 && l.spans[n-1].gap && l.spans[n-1].start < durable && l.bytes != nil {
		// The last frames cannot be found from their heads, and where they end
		// is known from elsewhere.
		l.spans, _ = spans(l.bytes, s.seed, durable)
	}
	c, err := judge(l.spans, durable)
	if err != nil {
		return err
	}
	bytes := l.bytes
	l.spans, l.bytes = nil, nil
	if c.damaged > 0 {
		e.damaged += uint64(c.damaged)
		e.o.Logger.Error("stored records are damaged; their keys have no value until they are written again",
			"segment", segmentName(s.id), "records", c.damaged)
	}
	if len(c.records) == 0 {
		s.retired = true
		return nil
	}
	if s.end == 0 {
		if from := max(durable, segmentHeadBytes); from < c.end {
			_, _ = s.file.WriteAt(bytes[from:c.end], int64(from)) // the disk tells of its failure itself
		}
		_ = s.file.SyncData() // likewise
	}
	s.size = c.end
	l.hint = newHint(s.id, s.salt, s.size, c.records)
	s.filter = newFilter(l.hint.records)
	return e.folder.replace(hintName(s.id), l.hint.encode())
}

// build makes the index out of the latest record of each key.
func (e *Engine) build(all []*loaded) {
	segments := make(map[uint32]*segment)
	var runs []run
	total := 0
	for _, l := range all {
		if l.segment.retired {
			continue
		}
		segments[l.segment.id] = l.segment
		e.seq = max(e.seq, l.hint.maxSeq)
		runs = append(runs, run{segment: l.segment, records: l.hint.records})
		total += len(l.hint.records)
	}
	e.swap(segments)
	var keys arena
	progress := newProgress(e.o.Logger, "records", total)
	merged(runs, func(r record, s *segment, taken int) {
		progress.add(taken)
		if r.kind == kindDelete {
			return
		}
		key, p := keys.add(r.key), placeOf(r, s.id)
		if p.damaged() {
			e.o.OnDamage([]byte(key))
		}
		e.index.Load(key, p)
		e.keyBytes += int64(len(key))
		s.live += recordBytes(len(key), p.valueBytes())
	})
}

// run is the records of one segment that are still to be taken, by key.
type run struct {
	segment *segment
	records []record
}

// less orders runs by their first record: by key, and of one key the newest
// first. A record that was copied is taken from where it was copied to.
func (r run) less(other run) bool {
	a, b := &r.records[0], &other.records[0]
	if a.key != b.key {
		return a.key < b.key
	}
	if a.seq != b.seq {
		return a.seq > b.seq
	}
	return r.segment.id > other.segment.id
}

// newest drops the records of a run that a later one of the same key follows.
func (r *run) newest() bool {
	for len(r.records) > 1 && r.records[0].key == r.records[1].key {
		r.records = r.records[1:]
	}
	return len(r.records) > 0
}

// merged calls f with the latest record of each key, in their order, and with how
// many records were taken for it since the last call.
func merged(runs []run, f func(r record, s *segment, taken int)) {
	heap := runs[:0]
	for _, r := range runs {
		if r.newest() {
			heap = append(heap, r)
		}
	}
	for i := len(heap)/2 - 1; i >= 0; i-- {
		sink(heap, i)
	}
	first := true
	var last string
	taken := 0
	for len(heap) > 0 {
		top := &heap[0]
		taken++
		if r := top.records[0]; first || r.key != last {
			f(r, top.segment, taken)
			first, last, taken = false, r.key, 0
		}
		top.records = top.records[1:]
		if !top.newest() {
			heap[0] = heap[len(heap)-1]
			heap = heap[:len(heap)-1]
		}
		sink(heap, 0)
	}
}

func sink(heap []run, i int) {
	for {
		child := 2*i + 1
		if child >= len(heap) {
			return
		}
		if child+1 < len(heap) && heap[child+1].less(heap[child]) {
			child++
		}
		if !heap[child].less(heap[i]) {
			return
		}
		heap[i], heap[child] = heap[child], heap[i]
		i = child
	}
}

// progress tells how far an opening is that takes long.
type progress struct {
	log   *slog.Logger
	what  string
	total int

	mu      sync.Mutex // guards what follows
	done    int
	unasked int // done since the time was asked for
	last    time.Time
}

const (
	// progressEvery is how often it is told, and the time that is not long.
	progressEvery = time.Second
	// progressStep is after how much of many small things the time is asked for,
	// which costs more than one of them.
	progressStep = 4096
)

func newProgress(log *slog.Logger, what string, total int) *progress {
	return &progress{log: log, what: what, total: total, last: time.Now()}
}

func (p *progress) add(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
	if p.unasked += n; p.unasked < progressStep && p.total > progressStep {
		return
	}
	p.unasked = 0
	if now := time.Now(); now.Sub(p.last) >= progressEvery {
		p.last = now
		p.log.Info("opening the store", p.what, p.done, "of", p.total)
	}
}
