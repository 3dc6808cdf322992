package doctor

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/dynamo-kv/dynamo/internal/membership"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Progress tells how far a check is. It is called often, by the goroutine that
// checks.
type Progress struct {
	Bytes, TotalBytes int64 // of the engine's files
	Records           uint64
}

// Options of a check.
type Options struct {
	// Dir is the data directory.
	Dir string
	// FS is its file system; nil is the machine's own.
	FS vfs.FS
	// Progress, if not nil, is told how far the check is.
	Progress func(Progress)
}

// Check looks at a data directory. The error says why it could not, of the kinds
// that package storage has: the directory is in use, not a node's, of another
// format. Damage is no error, and stands in the report.
func Check(o Options) (*Report, error) {
	c := newCheck(o)
	found, err := storage.Check(o.FS, o.Dir, c, engines.Drivers()...)
	if err != nil {
		return nil, err
	}
	c.identify(found)
	c.compare()
	return &c.report, nil
}

// check is one under way.
type check struct {
	report   Report
	progress func(Progress)
	at       Progress

	stored  membership.Stored
	control map[string]bool // the control records that there are
	damage  []found         // until the layout is known
	slots   [slots]slot
	lost    map[uint16]bool // slots with keys that are lost, whose trees cannot be right
	trees   map[ring.Partition]savedTree
	tallies map[ring.Partition]savedTally
	pending map[string]*Pending
	sizes   [len(siblingSizes)]uint64
	scratch []byte
}

// found is damage as it was found.
type found struct {
	Damage
	position *ring.Position // of its key
}

// slots are the finest partitions that there can be.
const slots = 1 << slotBits

const slotBits = 16 // of id.MaxPartitions

// slot is what is kept of the records in one of them.
type slot struct {
	sum       merkle.Hash
	keys      uint64
	hints     uint64
	hintBytes uint64
}

// savedTree is the root of a saved hash tree, for 1<<bits partitions.
type savedTree struct {
	root merkle.Hash
	bits uint8
}

// savedTally is what a partition's hints should be.
type savedTally struct{ records, bytes uint64 }

func newCheck(o Options) *check {
	c := &check{
		progress: o.Progress,
		control:  make(map[string]bool),
		lost:     make(map[uint16]bool),
		trees:    make(map[ring.Partition]savedTree),
		tallies:  make(map[ring.Partition]savedTally),
		pending:  make(map[string]*Pending),
	}
	if c.progress == nil {
		c.progress = func(Progress) {}
	}
	c.report.Worst = CostNothing
	c.report.Dir = o.Dir
	return c
}

// Progress implements storage.Examiner.
func (c *check) Progress(done, total int64) {
	c.at.Bytes, c.at.TotalBytes = done, total
	c.progress(c.at)
}

// Note implements storage.Examiner.
func (c *check) Note(file, what string) { c.note("%s: %s", file, what) }

func (c *check) note(format string, args ...any) {
	if len(c.report.Notes) == MaxNotes {
		c.report.MoreNotes++
		return
	}
	c.report.Notes = append(c.report.Notes, fmt.Sprintf(format, args...))
}

// Fault implements storage.Examiner.
func (c *check) Fault(f storage.Fault) {
	d := Damage{File: f.File, What: f.What, Cost: costOf(f.Cost)}
	if f.Offset >= 0 {
		d.Offset = &f.Offset
	}
	if f.Key == nil {
		c.add(found{Damage: d})
		return
	}
	c.loss(f.Key, d)
}

// costOf returns the name of a cost.
func costOf(c storage.Cost) Cost {
	switch c {
	case storage.CostRecord:
		return CostRecord
	case storage.CostStore:
		return CostStore
	case storage.CostNothing:
	}
	return CostNothing
}

// worse says that c costs more than o.
func (c Cost) worse(o Cost) bool {
	order := []Cost{CostNothing, CostRecord, CostStore}
	return slices.Index(order, c) > slices.Index(order, o)
}

// add keeps damage for the report.
func (c *check) add(f found) {
	if f.Cost.worse(c.report.Worst) {
		c.report.Worst = f.Cost
	}
	if len(c.damage) == MaxDamage {
		c.report.MoreDamage++
		return
	}
	c.damage = append(c.damage, f)
}

// identify says whose directory it is.
func (c *check) identify(d storage.Directory) {
	r := &c.report
	r.Engine, r.Format = d.Identity.Engine, d.Identity.Format
	r.Node, r.Instance = string(d.Identity.Node), fmt.Sprintf("%016x", d.Identity.Instance)
	r.Aside = d.Aside
	if len(r.Aside) > 0 {
		c.note("%d files and folders of data that was set aside: nobody reads them; look into them or remove them", len(r.Aside))
	}
	switch m := d.Migration; {
	case m == nil:
	case m.From == r.Engine:
		c.note("its migration from %s to %s is half done: complete it with dynamo migrate, or give it up with --abort", m.From, m.To)
	default:
		c.note("its migration from %s to %s has come to its end but for what is left of %s: the next start removes that, or keeps it aside", m.From, m.To, m.From)
	}
	if d.Unlocked {
		c.note("there is no lock file, as in a copy: nothing has kept a node from starting meanwhile")
	}
	for i := range c.damage {
		f := &c.damage[i]
		if f.File != "" {
			f.File = filepath.ToSlash(filepath.Join(r.Engine, f.File))
		}
	}
}

// finish puts the damage into the report, the worst first.
func (c *check) finish() {
	r := &c.report
	slices.SortStableFunc(c.damage, func(a, b found) int {
		switch {
		case a.Cost.worse(b.Cost):
			return -1
		case b.Cost.worse(a.Cost):
			return 1
		}
		return cmp.Compare(a.File, b.File)
	})
	for _, f := range c.damage {
		if f.position != nil {
			p := c.partition(*f.position)
			f.Partition = p
		}
		r.Damage = append(r.Damage, f.Damage)
	}
	r.Healthy = len(r.Damage) == 0
	if r.Healthy {
		r.Worst = ""
	}
}
