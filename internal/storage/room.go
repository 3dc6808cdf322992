package storage

import (
	"errors"
	"fmt"
	"syscall"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// ErrRoomUnknown is what Room returns where nothing bounds the storage, or
// nothing tells by how much: it never will.
var ErrRoomUnknown = errors.New("the room that is left cannot be measured")

// Room measures how much room the engine has left, which Open has opened with
// these options: on the file system of the data directory, or in the memory
// that an engine without one may take.
func Room(o Options, e Engine, drivers ...Driver) (core.RoomReport, error) {
	driver, err := pick(o.Engine, drivers)
	if err != nil {
		return core.RoomReport{}, err
	}
	if !driver.Durable {
		if o.MemoryBytes == 0 {
			return core.RoomReport{}, ErrRoomUnknown
		}
		limit, taken := uint64(o.MemoryBytes), uint64(e.Stats().MemoryBytes)
		return core.RoomReport{Left: limit - min(taken, limit), Total: limit}, nil
	}
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	usage, err := o.FS.GetDiskUsage(o.Dir)
	switch {
	case errors.Is(err, pebblevfs.ErrUnsupported), errors.Is(err, syscall.ENOSYS), err == nil && usage.TotalBytes == 0:
		return core.RoomReport{}, ErrRoomUnknown
	case err != nil:
		return core.RoomReport{}, fmt.Errorf("measuring the room on the disk of %s: %w", o.Dir, err)
	}
	return core.RoomReport{Left: usage.AvailBytes, Total: usage.TotalBytes, Need: driver.Need}, nil
}
