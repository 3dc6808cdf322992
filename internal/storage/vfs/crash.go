package vfs

import (
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Disk is one machine's disk in memory. It remembers what has been synced, so
// that a power cut can be played on it: PowerCut returns the disk that the
// machine would find when it starts again.
type Disk struct {
	mem *vfs.MemFS
}

// NewDisk returns an empty disk.
func NewDisk() *Disk { return &Disk{mem: vfs.NewCrashableMem()} }

// FS returns the disk's file system.
func (d *Disk) FS() FS { return d.mem }

// PowerCut returns the disk as it is after a power cut at this moment: all
// that was synced, and each block of 4 KiB and each directory entry that was
// not, with a probability of keepPercent. The disk itself goes on unchanged,
// so whoever still writes to it writes to a machine that is gone.
func (d *Disk) PowerCut(rng *rand.Rand, keepPercent int) *Disk {
	return &Disk{mem: d.mem.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: keepPercent,
		RNG:                 rng,
	})}
}
