package lss

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Name is the engine's name in a configuration.
const Name = "lss"

const (
	// DefaultSegmentBytes is where a segment is full. A crash has at most two
	// of them replayed, which takes some tens of milliseconds, and a merge
	// moves at most this much before it gives room back.
	DefaultSegmentBytes = 32 << 20

	// diskNeed is the next segment, which is filled with zeros before it is
	// used, and the one into which merging copies what it keeps of others.
	diskNeed = 2 * DefaultSegmentBytes

	// flushBytes is how much is gathered of what nobody waits for, before it
	// is written.
	flushBytes = 128 << 10
	// maxBuffered is at how much that is not written yet commits wait for the
	// flusher: as much as the largest sibling set, twice.
	maxBuffered = 64 << 20
	// groupBytes is where a group is full and the next one is begun.
	groupBytes = 1 << 20
	// keptBuffer and keptBuffers bound the buffers that are kept for the next
	// groups.
	keptBuffer  = 2 * groupBytes
	keptBuffers = 4
	// maxFree is how many segment files are kept for reuse.
	maxFree = 3
	// zeroBytes is the unit in which a new file is filled.
	zeroBytes = 256 << 10

	// mergeAt is the share of garbage, in percent, from which a segment is
	// merged: what is copied is then never more than what is given back.
	mergeAt = 50
	// mergeBytes and mergeRecords bound what is copied in one step, and so for
	// how long a commit may have to wait for it.
	mergeBytes   = 128 << 10
	mergeRecords = 256
	// scrubBytes is how much scrubbing reads at once, and so what it holds in memory.
	scrubBytes = 128 << 10
	// mergeGap is how much garbage between two values is read with them, since
	// that costs less than to read each by itself.
	mergeGap = 4 << 10
)

// Options of one engine. Dir, FS and Logger are required.
type Options struct {
	Dir       string // the engine's own folder
	Create    bool   // it does not exist, else it must hold a store
	FS        vfs.FS
	Logger    *slog.Logger
	OnFailure func(error)
	// OnDamage and ScrubInterval are those of storage.Options.
	OnDamage      func(key []byte)
	ScrubInterval time.Duration
	// Buckets are the bounds by which the durations of syncs are counted.
	Buckets []time.Duration
	// SegmentBytes is where a segment is full; 0 is DefaultSegmentBytes.
	SegmentBytes int
	// Background admits every step of merging and scrubbing; nil is
	// storage.DefaultBackgroundBytes a second. What needs no copying is given
	// back all the same.
	Background storage.Background
}

const (
	minSegmentBytes = 4 << 10
	maxSegmentBytes = 1 << 30
)

func (o Options) withDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.Background == nil {
		o.Background = storage.AtRate(storage.DefaultBackgroundBytes)
	}
	if o.OnDamage == nil {
		o.OnDamage = func([]byte) {}
	}
	return o
}

func (o Options) validate() error {
	if o.SegmentBytes < minSegmentBytes || o.SegmentBytes > maxSegmentBytes {
		return fmt.Errorf("segments of %d bytes; %d to %d are allowed", o.SegmentBytes, minSegmentBytes, maxSegmentBytes)
	}
	return nil
}

// Driver returns what storage.Open must know of this engine.
func Driver() storage.Driver {
	return storage.Driver{
		Name:     Name,
		Durable:  true,
		CopyRoom: copyRoom,
		Check: func(dir string, o storage.CheckOptions, x storage.Examiner) error {
			return Check(o.FS, dir, x)
		},
		Need: diskNeed,
		Open: func(dir string, create bool, o storage.Options) (storage.Engine, error) {
			return Open(Options{
				Dir:           dir,
				Create:        create,
				FS:            o.FS,
				Logger:        o.Logger,
				OnFailure:     o.OnFailure,
				OnDamage:      o.OnDamage,
				ScrubInterval: o.ScrubInterval,
				Buckets:       o.Buckets,
				Background:    o.Background,
			})
		},
	}
}

// copyRoom is what the store takes at most while it is filled in order: each key
// stands in its frame twice, and once in a hint file, and some segments are ready.
func copyRoom(keys, bytes uint64) uint64 {
	return bytes + bytes/4 + 128*keys + (maxFree+1)*DefaultSegmentBytes
}
