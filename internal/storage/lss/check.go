package lss

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Report is what Check has found.
type Report struct {
	Segments int
	Records  int // in all of them, those that are not current included
	Faults   []Fault
}

// Fault is one place where the store is not as it was written.
type Fault struct {
	File   string
	Offset uint32
	Key    string // whose value is lost; empty where none is
	What   string
}

// Check reads all that counts in a store that is not open, and changes nothing.
// Its error says that it could not go on, and the store would not open either.
func Check(files vfs.FS, dir string) (Report, error) {
	c := checker{folder: folder{fs: files, path: dir}}
	b, err := c.folder.read(manifestName)
	if err != nil {
		return c.report, fmt.Errorf("lss: %w", err)
	}
	m, damaged, err := decodeManifest(b)
	if err != nil {
		return c.report, fmt.Errorf("lss: %s: %w", manifestName, err)
	}
	if damaged {
		c.fault(manifestName, 0, "", "one of its two copies is damaged")
	}
	durable := make(map[uint32]uint32)
	for _, u := range slices.Backward(m) { // a segment tells of those before it
		if err := c.segment(u, durable); err != nil {
			return c.report, fmt.Errorf("lss: %w", err)
		}
	}
	return c.report, nil
}

type checker struct {
	folder folder
	report Report
}

func (c *checker) fault(file string, off uint32, key, what string) {
	c.report.Faults = append(c.report.Faults, Fault{File: file, Offset: off, Key: key, What: what})
}

func (c *checker) segment(u use, durable map[uint32]uint32) error {
	name := segmentName(u.id)
	b, err := c.folder.read(name)
	if err != nil {
		return err
	}
	c.report.Segments++
	if !segmentHeadWhole(b, u.id, u.salt) {
		c.fault(name, 0, "", "its head is damaged")
	}
	found, told := spans(b, newSalt(u.salt), u.end)
	for _, p := range told {
		durable[p.segment] = max(durable[p.segment], p.off)
	}
	end := max(u.end, durable[u.id])
	if n := len(found); u.end == 0 && n > 0 && found[n-1].gap && found[n-1].start < end {
		found, _ = spans(b, newSalt(u.salt), end)
	}
	for i := range found {
		c.span(name, &found[i], end)
	}
	if u.end != 0 {
		return c.hint(u)
	}
	return nil
}

// span looks at one stretch of a segment. What comes after the end that is
// known, and is not whole, was torn by a crash.
func (c *checker) span(name string, s *span, end uint32) {
	c.report.Records += len(s.records)
	if s.end > end || !s.gap && s.whole {
		return
	}
	lost := false
	for _, r := range s.records {
		if r.kind == kindDamaged && r.size > 0 {
			c.fault(name, r.off, r.key, "the value is damaged")
			lost = true
		}
	}
	switch {
	case s.gap || !s.known:
		c.fault(name, s.start, "", fmt.Sprintf("the bytes up to %d cannot be read", s.end))
	case !lost:
		c.fault(name, s.start, "", "what surrounds its values is damaged; the values are whole")
	}
}

func (c *checker) hint(u use) error {
	b, err := c.folder.read(hintName(u.id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it is made again
	}
	if err != nil {
		return err
	}
	if h, err := decodeHint(b); err != nil || h.segment != u.id || h.salt != u.salt || h.end != u.end {
		c.fault(hintName(u.id), 0, "", "it is damaged; its segment is read instead")
	}
	return nil
}
