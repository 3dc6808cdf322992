package lss

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sort"
	"strings"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Check looks at a store that is not open: at every byte of its files, and at
// the current value of every key. It changes nothing. It holds one segment at a
// time, and of every record what a start holds too.
//
// What it tells of as a fault is what a start would meet, and where nothing is
// lost, what would be missing at the next damage. The value of a record that a
// later one has replaced is a fault as well, unless the engine has noticed its
// damage: then it is mended, and waits for its segment to be merged.
func Check(files vfs.FS, dir string, x storage.Examiner) error {
	c := &checker{folder: folder{fs: files, path: dir}, x: x, durable: make(map[uint32]uint32)}
	m, ok, err := c.manifest()
	if err != nil || !ok {
		return err
	}
	if err := c.files(m); err != nil {
		return err
	}
	for _, u := range slices.Backward(m) { // a segment tells of those before it
		c.segment(u)
	}
	if !c.unknown {
		c.pairs()
	}
	return nil
}

type checker struct {
	folder  folder
	x       storage.Examiner
	durable map[uint32]uint32 // up to where segments were, as later ones say

	done, total int64
	fresh       bool // no file has been used twice, so what was not used is zero
	unknown     bool // which keys there are is not known for certain

	runs []run
	lost []lostValue
}

// lostValue is a record that had a value once.
type lostValue struct {
	record
	segment uint32
	why     string
	noticed bool // by an earlier start
	current bool // no later record has replaced it
}

func (c *checker) fault(cost storage.Cost, file string, off int64, what string) {
	c.x.Fault(storage.Fault{File: file, Offset: off, What: what, Cost: cost})
}

func (c *checker) progress(bytes int64) {
	c.done += bytes
	c.x.Progress(c.done, c.total)
}

// manifest reads the manifest; ok is false where nothing can be looked at
// without it.
func (c *checker) manifest() (m manifest, ok bool, err error) {
	b, err := c.folder.read(manifestName)
	if err != nil {
		c.fault(storage.CostStore, manifestName, -1, "it cannot be read: "+err.Error())
		return nil, false, nil //nolint:nilerr // it is reported as damage
	}
	m, damaged, err := decodeManifest(b)
	if errors.Is(err, storage.ErrForeign) {
		return nil, false, fmt.Errorf("lss: %s: %w", manifestName, err)
	}
	if err != nil {
		c.fault(storage.CostStore, manifestName, 0, "both of its copies are damaged")
		return nil, false, nil //nolint:nilerr // it is reported as damage
	}
	if damaged {
		c.fault(storage.CostNothing, manifestName, 0, "one of its two copies is damaged")
	}
	c.fresh = true
	for i, u := range m {
		c.fresh = c.fresh && int(u.id) == i+1 // a gap is a file that was given back
	}
	return m, true, nil
}

// files looks at what files there are, and at those that the manifest does not
// name: the next start removes them or uses them again.
func (c *checker) files(m manifest) error {
	names, err := c.folder.fs.List(c.folder.path)
	if err != nil {
		return fmt.Errorf("lss: %w", err)
	}
	slices.Sort(names)
	named := map[string]bool{manifestName: true}
	for _, u := range m {
		named[segmentName(u.id)], named[hintName(u.id)] = true, true
	}
	var others []string
	for _, name := range names {
		if info, err := c.folder.fs.Stat(c.folder.join(name)); err == nil {
			c.total += info.Size()
		}
		if !named[name] {
			others = append(others, name)
			c.fresh = false
		}
	}
	c.progress(int64(len(m.encode())))
	for _, name := range others {
		c.other(name)
	}
	return nil
}

// other looks at a file that the manifest does not name.
func (c *checker) other(name string) {
	b, err := c.folder.read(name)
	if err != nil {
		c.fault(storage.CostNothing, name, -1, "it cannot be read, and nothing reads it: "+err.Error())
		return
	}
	defer c.progress(int64(len(b)))
	switch {
	case strings.HasSuffix(name, ".free"), strings.HasSuffix(name, ".seg"):
		c.unusedFile(name, b)
	case strings.HasSuffix(name, ".hint"), strings.HasSuffix(name, ".tmp"):
		c.x.Note(name, "a crash has left it; the next start removes it")
	default:
		c.x.Note(name, "it is no file of this engine")
	}
}

// segment looks at one segment and its hint file.
func (c *checker) segment(u use) {
	name := segmentName(u.id)
	b, err := c.folder.read(name)
	if err != nil {
		c.fault(storage.CostStore, name, -1, "it cannot be read: "+err.Error())
		c.unknown = true
		return
	}
	defer c.progress(int64(len(b)))
	if !segmentHeadWhole(b, u.id, u.salt) {
		c.fault(storage.CostNothing, name, 0, "its head is damaged; the manifest has all that it says")
	}
	found, told := spans(b, newSalt(u.salt), u.end)
	for _, p := range told {
		c.durable[p.segment] = max(c.durable[p.segment], p.off)
	}
	durable := max(u.end, c.durable[u.id])
	if n := len(found); u.end == 0 && n > 0 && found[n-1].gap && found[n-1].start < durable {
		found, _ = spans(b, newSalt(u.salt), durable)
	}
	s := c.spans(u, found, durable)
	c.hint(u, &s)
	if len(s.records) > 0 {
		slices.SortFunc(s.records, byKey)
		c.runs = append(c.runs, run{segment: &segment{use: u}, records: s.records})
	}
	c.space(space{name: name, b: b, at: max(s.end, u.end), salt: newSalt(u.salt)})
}

// stretch is what the spans of a segment have come to.
type stretch struct {
	contents
	whole   bool // nothing is damaged
	unknown bool // the keys of a part of it are lost
}

// spans looks at the stretches of a segment, as judge does at a start, and goes
// on where that would give up.
func (c *checker) spans(u use, found []span, durable uint32) stretch {
	s := stretch{contents: contents{end: segmentHeadBytes}, whole: true}
	for i := range found {
		f := &found[i]
		switch {
		case f.end > durable && (f.gap || !f.whole):
			return s // torn, or nothing
		case f.gap || !f.known:
			s.whole, s.unknown = false, true
			c.fault(storage.CostNothing, segmentName(u.id), int64(f.start), fmt.Sprintf("the bytes up to %d cannot be read", f.end))
		default:
			c.frame(u, f, &s)
		}
		s.end = f.end
	}
	return s
}

// frame looks at one frame whose records are known.
func (c *checker) frame(u use, f *span, s *stretch) {
	lost := false
	for _, r := range f.records {
		if r.kind == kindDamaged && r.size > 0 {
			lost = true
			c.lost = append(c.lost, lostValue{record: r, segment: u.id, why: "its value is not what was written"})
		}
	}
	if !f.whole {
		s.whole = false
	}
	if !f.whole && !lost {
		c.fault(storage.CostNothing, segmentName(u.id), int64(f.start), "what surrounds the values of a batch is damaged; the values are whole")
	}
	s.records = append(s.records, f.records...)
}

// hint looks at the hint file of a segment. Where the segment cannot be read in
// part, what there was is taken from it.
func (c *checker) hint(u use, s *stretch) {
	h, why := c.readHint(u)
	if why != "" {
		c.fault(storage.CostNothing, hintName(u.id), 0, why+"; its segment is read instead")
	}
	switch {
	case h == nil && s.unknown:
		c.fault(storage.CostStore, segmentName(u.id), -1, "which keys were written there is not known")
		c.unknown = true
	case h == nil:
	case s.unknown:
		s.records = h.records
	case s.whole:
		own := newHint(u.id, u.salt, u.end, s.records)
		if !bytes.Equal(own.encode(), h.encode()) {
			c.fault(storage.CostStore, hintName(u.id), 0, "it does not say what its segment does, and neither is damaged: a bug")
		}
	default:
		c.notice(u.id, h)
	}
}

// readHint returns the hint of a segment, nil if there is none, and what is
// wrong with it.
func (c *checker) readHint(u use) (*hint, string) {
	b, err := c.folder.read(hintName(u.id))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, "" // it is made again
	case err != nil:
		return nil, "it cannot be read: " + err.Error()
	case u.end == 0:
		return nil, "" // a crash came before the manifest; it is written again
	}
	c.progress(int64(len(b)))
	h, err := decodeHint(b)
	if err != nil || h.segment != u.id || h.salt != u.salt || h.end != u.end {
		return nil, "it is damaged"
	}
	return &h, ""
}

// notice marks the lost values of a segment of which its hint knows: they were
// lost already when it was written.
func (c *checker) notice(segment uint32, h *hint) {
	for i := range c.lost {
		l := &c.lost[i]
		if l.segment != segment {
			continue
		}
		for _, r := range ofKey(h.records, l.key) {
			l.noticed = l.noticed || r.seq == l.seq && r.kind == kindDamaged
		}
	}
}

// ofKey returns the records of a key out of sorted ones.
func ofKey(records []record, key string) []record {
	from := sort.Search(len(records), func(i int) bool { return records[i].key >= key })
	to := from
	for to < len(records) && records[to].key == key {
		to++
	}
	return records[from:to]
}

// pairs shows the current value of each key, and tells which of the lost ones
// are current.
func (c *checker) pairs() {
	files := reader{folder: c.folder, open: make(map[uint32]*segment)}
	defer files.close()
	for i := range c.lost {
		l := &c.lost[i]
		for _, r := range c.runs {
			for _, later := range ofKey(r.records, l.key) {
				l.noticed = l.noticed || later.seq > l.seq && later.kind == kindDamaged
			}
		}
	}
	known := make(map[position]int, len(c.lost))
	for i, l := range c.lost {
		known[position{l.segment, l.off}] = i
	}
	merged(slices.Clone(c.runs), func(r record, s *segment, _ int) {
		at := position{s.id, r.off}
		i, isKnown := known[at]
		switch {
		case r.kind == kindDelete:
		case r.kind == kindDamaged && isKnown && r.seq == c.lost[i].seq:
			c.lost[i].current = true
		case r.kind == kindDamaged:
			c.lost = append(c.lost, lostValue{record: r, segment: s.id, current: true, why: "its value was lost before, and no other node has brought it back yet"})
		default:
			value, err := files.read(s.use, r)
			if err != nil {
				c.lost = append(c.lost, lostValue{record: r, segment: s.id, current: true, why: err.Error()})
				return
			}
			c.x.Pair([]byte(r.key), value)
		}
	})
	c.tellLost()
}

func (c *checker) tellLost() {
	for _, l := range c.lost {
		name := segmentName(l.segment)
		switch {
		case l.current:
			c.x.Fault(storage.Fault{File: name, Offset: int64(l.off), Key: []byte(l.key), What: l.why, Cost: storage.CostRecord})
		case l.noticed:
			c.x.Note(name, fmt.Sprintf("at %d stands a value that was lost and has been written anew since", l.off))
		default:
			c.fault(storage.CostNothing, name, int64(l.off), "a value is damaged that a later one has replaced")
		}
	}
}

// reader reads values of segments whose files it keeps open.
type reader struct {
	folder folder
	open   map[uint32]*segment
}

func (r reader) read(u use, rec record) ([]byte, error) {
	s, ok := r.open[u.id]
	if !ok {
		f, err := r.folder.fs.Open(r.folder.join(segmentName(u.id)))
		if err != nil {
			return nil, err
		}
		s = &segment{use: u, seed: newSalt(u.salt), file: f}
		r.open[u.id] = s
	}
	return s.read(placeOf(rec, u.id))
}

func (r reader) close() {
	for _, s := range r.open {
		_ = s.close() // they were only read
	}
}
