package bolt

import (
	"errors"
	"log/slog"
	"time"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Name is the engine's name in a configuration.
const Name = "bolt"

const (
	// fileName is the file in the engine's folder.
	fileName = "data.bolt"
	// mapBytes is how much address space is reserved for the file: a file that
	// outgrows it is mapped anew, by the gigabyte.
	mapBytes = 1 << 30
	// growBytes is by how much the file grows, and is synced for that: small
	// beside any disk, and thousands of small writes.
	growBytes = 16 << 20
)

// Options of one engine. Dir and Logger are required.
type Options struct {
	Dir       string // the engine's own folder
	Create    bool   // it does not exist, else it must hold a store
	Logger    *slog.Logger
	OnFailure func(error)
	// Buckets are the bounds by which the durations of transactions are
	// counted.
	Buckets []time.Duration
	// MaxBytes is how large the file may grow: a commit that needs more stops
	// the engine. 0: as large as the disk.
	MaxBytes int
}

// Driver returns what storage.Open must know of this engine.
func Driver() storage.Driver {
	return storage.Driver{
		Name:     Name,
		Durable:  true,
		CopyRoom: copyRoom,
		Check:    Check,
		Need:     growBytes,
		Open: func(dir string, create bool, o storage.Options) (storage.Engine, error) {
			if o.FS != vfs.OS() {
				return nil, errors.New("bolt: it runs on the machine's own file system only; use another engine on this one")
			}
			return Open(Options{
				Dir:       dir,
				Create:    create,
				Logger:    o.Logger,
				OnFailure: o.OnFailure,
				Buckets:   o.Buckets,
			})
		},
	}
}

// copyRoom is what the store takes at most while it is filled in order: pages split
// into halves of which one is not filled again, and a pair that is larger than a
// page wastes the rest of its last one.
func copyRoom(keys, bytes uint64) uint64 {
	const page = 4 << 10
	return min(bytes*5/2, bytes+2*page*keys) + 96*keys + 4*growBytes
}
