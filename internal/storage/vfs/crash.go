package vfs

import (
	"cmp"
	"math/rand/v2"
	"os"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Disk is one machine's disk in memory. It remembers what has been synced, so
// that a power cut can be played on it: PowerCut returns the disk that the
// machine would find when it starts again.
type Disk struct {
	mem *vfs.MemFS
	// cut is held for writing by PowerCut, and for reading by the operations
	// that take the lock of mem twice, since a power cut that waits for it in
	// between would block both forever, and by those that change a directory.
	cut sync.RWMutex

	mu sync.Mutex // guards what follows
	// changes are those of directories since these were synced. mem undoes every
	// removal in a power cut; a disk may not.
	changes []change
}

// change is one of a directory, by the full names of what came and of what
// went; of a renaming, both. Either may be empty.
type change struct{ comes, goes string }

// NewDisk returns an empty disk.
func NewDisk() *Disk { return &Disk{mem: vfs.NewCrashableMem()} }

// FS returns the disk's file system.
func (d *Disk) FS() FS { return diskFS{d.mem, d} }

// PowerCut returns the disk as it is after a power cut at this moment: all
// that was synced, and each block of 4 KiB and each change of a directory that
// was not, with a probability of keepPercent. A removal takes place only if what
// was made in the directory before is there, since file systems keep the order
// of such changes, and pebble counts on it. The disk itself goes on unchanged, so whoever still writes
// to it writes to a machine that is gone. rng may be nil if keepPercent is 0.
func (d *Disk) PowerCut(rng *rand.Rand, keepPercent int) *Disk {
	d.cut.Lock()
	defer d.cut.Unlock()
	after := &Disk{mem: d.mem.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: keepPercent,
		RNG:                 rng,
	})}
	if keepPercent > 0 {
		d.drop(after.mem, rng, keepPercent)
	}
	return after
}

// drop has some of the removals that were not synced take place on the disk
// after a power cut.
func (d *Disk) drop(after *vfs.MemFS, rng *rand.Rand, percent int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, c := range d.changes {
		if c.goes == "" || rng.IntN(100) >= percent || !d.inOrder(after, i) {
			continue
		}
		// Neither fails in memory but for what is not there.
		_ = after.RemoveAll(c.goes)
		if dir, err := after.OpenDir(after.PathDir(c.goes)); err == nil {
			_ = dir.Sync()
			_ = dir.Close()
		}
	}
}

// inOrder reports whether the removal of change i may have taken place: its name
// has not come again, and what came before, unless it went again, is there.
func (d *Disk) inOrder(after *vfs.MemFS, i int) bool {
	removal := d.changes[i].goes
	for k, c := range d.changes {
		switch {
		case k > i && c.comes == removal:
			return false
		case k <= i && c.comes != "" && d.dir(c.comes) == d.dir(removal) && !d.goesAfter(k, c.comes):
			if _, err := after.Stat(c.comes); err != nil {
				return false
			}
		}
	}
	return true
}

func (d *Disk) goesAfter(i int, name string) bool {
	return slices.ContainsFunc(d.changes[i+1:], func(c change) bool { return c.goes == name })
}

func (d *Disk) dir(path string) string { return d.mem.PathDir(path) }

// change carries out a change of directories.
func (d *Disk) change(c change, do func() error) error {
	d.cut.RLock()
	defer d.cut.RUnlock()
	if err := do(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range []*string{&c.comes, &c.goes} {
		if *name != "" {
			*name = d.rooted(*name)
		}
	}
	d.changes = append(d.changes, c)
	return nil
}

// rooted gives a path the one form that stands in changes.
func (d *Disk) rooted(path string) string { return d.mem.PathJoin("/", path) }

// synced is told that a directory is.
func (d *Disk) synced(dir string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir = d.rooted(dir)
	d.changes = slices.DeleteFunc(d.changes, func(c change) bool {
		return d.dir(cmp.Or(c.goes, c.comes)) == dir
	})
}

type diskFS struct {
	vfs.FS
	disk *Disk
}

// Create implements FS.
func (f diskFS) Create(name string, c Category) (file File, err error) {
	err = f.disk.change(change{comes: name}, func() (err error) {
		file, err = f.FS.Create(name, c)
		return err
	})
	return file, err
}

// OpenReadWrite implements FS. It makes a file that is not there.
func (f diskFS) OpenReadWrite(name string, c Category, opts ...vfs.OpenOption) (file File, err error) {
	err = f.disk.change(change{comes: name}, func() (err error) {
		file, err = f.FS.OpenReadWrite(name, c, opts...)
		return err
	})
	return file, err
}

// Link implements FS.
func (f diskFS) Link(oldname, newname string) error {
	return f.disk.change(change{comes: newname}, func() error { return f.FS.Link(oldname, newname) })
}

// Rename implements FS.
func (f diskFS) Rename(oldname, newname string) error {
	return f.disk.change(change{comes: newname, goes: oldname}, func() error { return f.FS.Rename(oldname, newname) })
}

// Remove implements FS.
func (f diskFS) Remove(name string) error {
	return f.disk.change(change{goes: name}, func() error { return f.FS.Remove(name) })
}

// RemoveAll implements FS.
func (f diskFS) RemoveAll(name string) error {
	return f.disk.change(change{goes: name}, func() error { return f.FS.RemoveAll(name) })
}

// MkdirAll implements FS.
func (f diskFS) MkdirAll(name string, perm os.FileMode) error {
	return f.disk.change(change{comes: name}, func() error { return f.FS.MkdirAll(name, perm) })
}

// ReuseForWrite implements FS.
func (f diskFS) ReuseForWrite(oldname, newname string, c Category) (file File, err error) {
	err = f.disk.change(change{comes: newname, goes: oldname}, func() (err error) {
		file, err = f.FS.ReuseForWrite(oldname, newname, c)
		return err
	})
	return file, err
}

// OpenDir implements FS.
func (f diskFS) OpenDir(name string) (File, error) {
	dir, err := f.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return diskDir{File: dir, disk: f.disk, name: name}, nil
}

// Unwrap returns the file system below.
func (f diskFS) Unwrap() FS { return f.FS }

// diskDir is an open directory.
type diskDir struct {
	vfs.File
	disk *Disk
	name string
}

// Sync implements File. No power cut comes between the two halves.
func (d diskDir) Sync() error {
	d.disk.cut.RLock()
	defer d.disk.cut.RUnlock()
	err := d.File.Sync()
	if err == nil {
		d.disk.synced(d.name)
	}
	return err
}
