package vfs

import (
	"math/rand/v2"
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
	// between would block both forever.
	cut sync.RWMutex
}

// NewDisk returns an empty disk.
func NewDisk() *Disk { return &Disk{mem: vfs.NewCrashableMem()} }

// FS returns the disk's file system.
func (d *Disk) FS() FS { return diskFS{d.mem, d} }

// PowerCut returns the disk as it is after a power cut at this moment: all
// that was synced, and each block of 4 KiB and each directory entry that was
// not, with a probability of keepPercent. The disk itself goes on unchanged,
// so whoever still writes to it writes to a machine that is gone. rng may be
// nil if keepPercent is 0.
func (d *Disk) PowerCut(rng *rand.Rand, keepPercent int) *Disk {
	d.cut.Lock()
	defer d.cut.Unlock()
	return &Disk{mem: d.mem.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: keepPercent,
		RNG:                 rng,
	})}
}

type diskFS struct {
	vfs.FS
	disk *Disk
}

// Link implements FS.
func (f diskFS) Link(oldname, newname string) error {
	f.disk.cut.RLock()
	defer f.disk.cut.RUnlock()
	return f.FS.Link(oldname, newname)
}

// ReuseForWrite implements FS.
func (f diskFS) ReuseForWrite(oldname, newname string, c Category) (File, error) {
	f.disk.cut.RLock()
	defer f.disk.cut.RUnlock()
	return f.FS.ReuseForWrite(oldname, newname, c)
}

// Unwrap returns the file system below.
func (f diskFS) Unwrap() FS { return f.FS }
