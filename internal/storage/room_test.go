package storage_test

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/memory"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// measured is a file system that tells how much of it is free.
type measured struct {
	vfs.FS
	usage pebblevfs.DiskUsage
	err   error
}

func (m measured) GetDiskUsage(string) (pebblevfs.DiskUsage, error) { return m.usage, m.err }

func TestRoomOnADisk(t *testing.T) {
	driver := storage.Driver{Name: "some", Durable: true, Need: 7}
	room := func(fs vfs.FS) (core.RoomReport, error) {
		return storage.Room(storage.Options{Engine: "some", Dir: t.TempDir(), FS: fs}, nil, driver)
	}
	got, err := room(measured{usage: pebblevfs.DiskUsage{AvailBytes: 30, TotalBytes: 100, UsedBytes: 60}})
	if want := (core.RoomReport{Left: 30, Total: 100, Need: 7}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if got, err := room(nil); err != nil || got.Left > got.Total || got.Total == 0 {
		t.Errorf("this machine's disk: %+v, %v", got, err)
	}
	for _, unknown := range []measured{{}, {err: pebblevfs.ErrUnsupported}} {
		if _, err := room(unknown); !errors.Is(err, storage.ErrRoomUnknown) {
			t.Errorf("a file system that tells nothing: %v", err)
		}
	}
	if _, err := room(measured{err: fs.ErrPermission}); !errors.Is(err, fs.ErrPermission) || errors.Is(err, storage.ErrRoomUnknown) {
		t.Errorf("one that fails: %v", err)
	}
}

func TestRoomInMemory(t *testing.T) {
	o := storage.Options{Engine: memory.Name, Node: "n1", MemoryBytes: 1000}
	e, _, err := storage.Open(o, memory.Driver())
	if err != nil {
		t.Fatal(err)
	}
	e.Commit([]core.Write{{Key: []byte("k"), Value: make([]byte, 99)}}, core.Sync, func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	got, err := storage.Room(o, e, memory.Driver())
	if taken := uint64(e.Stats().MemoryBytes); err != nil || got != (core.RoomReport{Left: 1000 - taken, Total: 1000}) {
		t.Errorf("%+v, %v with %d taken", got, err, taken)
	}
	o.MemoryBytes = 0
	if _, err := storage.Room(o, e, memory.Driver()); !errors.Is(err, storage.ErrRoomUnknown) {
		t.Errorf("without a limit: %v", err)
	}
	o.MemoryBytes = -1
	if _, _, err := storage.Open(o, memory.Driver()); err == nil || !strings.Contains(err.Error(), "memory limit of -1 bytes") {
		t.Errorf("a limit below 0: %v", err)
	}
}
