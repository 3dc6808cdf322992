package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dynamo-kv/dynamo/internal/histogram"
)

// FailStop is a file system that stops at the first failure. Once a write, a
// sync or a change of a directory has failed, nothing more reaches the disk,
// and what would have gone there is dropped as if it had succeeded.
//
// After a failed fsync nobody knows what the disk holds, so nothing may be
// built on it: the disk keeps the state of that moment, as in a crash, and the
// next start recovers from it. The engine's own code is told nothing, because
// there it would end in a panic or an exit of the whole process (pebble has
// both); the engine asks Err before it reports anything as durable.
//
// The failure is recorded before the failing call returns. So whoever sees an
// operation end, and then finds Err nil, knows that it took place.
type FailStop struct {
	vfs.FS
	onFail func(error)
	err    atomic.Pointer[error]
	syncs  atomic.Uint64
	times  times
}

// times is how long syncs took. Any goroutine may sync.
type times struct {
	mu        sync.Mutex // guards what follows
	histogram histogram.Histogram
}

func (t *times) observe(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.histogram.Observe(d)
}

// NewFailStop returns base as a FailStop. onFail, if not nil, is called once,
// at the first failure, by the goroutine that met it: it must not block and
// must not use the file system. buckets are the bounds by which the durations
// of syncs are counted; without any they are not.
func NewFailStop(base FS, onFail func(error), buckets ...time.Duration) *FailStop {
	return &FailStop{FS: base, onFail: onFail, times: times{histogram: histogram.New(buckets)}}
}

// Err returns the first failure, nil as long as there is none.
func (s *FailStop) Err() error {
	if p := s.err.Load(); p != nil {
		return *p
	}
	return nil
}

// Fail stops the file system for a failure that was met elsewhere, such as
// damage that was found by reading.
func (s *FailStop) Fail(err error) {
	if s.err.CompareAndSwap(nil, &err) && s.onFail != nil {
		s.onFail(err)
	}
}

// Syncs returns how many files and directories have been synced.
func (s *FailStop) Syncs() uint64 { return s.syncs.Load() }

// SyncTimes returns how long these took.
func (s *FailStop) SyncTimes() histogram.Histogram {
	s.times.mu.Lock()
	defer s.times.mu.Unlock()
	return s.times.histogram
}

// sync carries out one sync of a file, and takes its time.
func (s *FailStop) sync(name string, sync func() error) {
	s.do("sync", name, func() error {
		s.syncs.Add(1)
		began := time.Now()
		err := sync()
		s.times.observe(time.Since(began))
		return err
	})
}

// Unwrap returns the file system below.
func (s *FailStop) Unwrap() FS { return s.FS }

// do carries out one change, unless the file system has stopped.
func (s *FailStop) do(op, name string, change func() error) {
	if s.Err() != nil {
		return
	}
	if err := change(); err != nil {
		s.Fail(fmt.Errorf("%s %s: %w", op, name, err))
	}
}

// open carries out a change that yields a file for writing. A stopped file
// system yields one that drops everything.
func (s *FailStop) open(op, name string, change func() (File, error)) (File, error) {
	var f File
	s.do(op, name, func() (err error) {
		f, err = change()
		return err
	})
	if f == nil {
		f = dropped{name: s.PathBase(name)}
	}
	return &failStopFile{File: f, fs: s, name: name}, nil
}

// Create implements FS.
func (s *FailStop) Create(name string, c Category) (File, error) {
	return s.open("create", name, func() (File, error) { return s.FS.Create(name, c) })
}

// OpenReadWrite implements FS.
func (s *FailStop) OpenReadWrite(name string, c Category, opts ...vfs.OpenOption) (File, error) {
	return s.open("open", name, func() (File, error) { return s.FS.OpenReadWrite(name, c, opts...) })
}

// ReuseForWrite implements FS.
func (s *FailStop) ReuseForWrite(oldname, newname string, c Category) (File, error) {
	return s.open("reuse", newname, func() (File, error) { return s.FS.ReuseForWrite(oldname, newname, c) })
}

// OpenDir implements FS.
func (s *FailStop) OpenDir(name string) (File, error) {
	f, err := s.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &failStopFile{File: f, fs: s, name: name}, nil
}

// Link implements FS.
func (s *FailStop) Link(oldname, newname string) error {
	s.do("link", newname, func() error { return s.FS.Link(oldname, newname) })
	return nil
}

// Rename implements FS.
func (s *FailStop) Rename(oldname, newname string) error {
	s.do("rename", newname, func() error { return s.FS.Rename(oldname, newname) })
	return nil
}

// MkdirAll implements FS.
func (s *FailStop) MkdirAll(name string, perm os.FileMode) error {
	s.do("mkdir", name, func() error { return s.FS.MkdirAll(name, perm) })
	return nil
}

// Remove implements FS. That a file could not be removed takes nothing away
// from what is stored, so the caller is told and the file system goes on.
func (s *FailStop) Remove(name string) error {
	if s.Err() != nil {
		return nil //nolint:nilerr // what failed before is told where it matters
	}
	return s.FS.Remove(name)
}

// RemoveAll implements FS, like Remove.
func (s *FailStop) RemoveAll(name string) error {
	if s.Err() != nil {
		return nil //nolint:nilerr // what failed before is told where it matters
	}
	return s.FS.RemoveAll(name)
}

// failStopFile is a file that is open for writing, or a directory.
type failStopFile struct {
	vfs.File
	fs   *FailStop
	name string
}

func (f *failStopFile) Write(p []byte) (int, error) {
	n := len(p)
	f.fs.do("write", f.name, func() error {
		_, err := f.File.Write(p)
		return err
	})
	return n, nil
}

func (f *failStopFile) WriteAt(p []byte, off int64) (int, error) {
	n := len(p)
	f.fs.do("write", f.name, func() error {
		_, err := f.File.WriteAt(p, off)
		return err
	})
	return n, nil
}

// Preallocate is a hint; that it failed is no failure of the disk.
func (f *failStopFile) Preallocate(off, length int64) error {
	if f.fs.Err() != nil {
		return nil //nolint:nilerr // as above: a hint
	}
	return f.File.Preallocate(off, length)
}

func (f *failStopFile) Sync() error {
	f.fs.sync(f.name, f.File.Sync)
	return nil
}

func (f *failStopFile) SyncData() error {
	f.fs.sync(f.name, f.File.SyncData)
	return nil
}

func (f *failStopFile) SyncTo(length int64) (fullSync bool, err error) {
	f.fs.do("sync", f.name, func() (err error) {
		fullSync, err = f.File.SyncTo(length)
		return err
	})
	return fullSync, nil
}

// Close always closes the file below, so that a stopped file system leaks
// none. Its failure may be that of a write that the system had put off.
func (f *failStopFile) Close() error {
	if err := f.File.Close(); err != nil {
		f.fs.Fail(fmt.Errorf("close %s: %w", f.name, err))
	}
	return nil
}

// dropped stands for a file that could not be created any more.
type dropped struct{ name string }

func (dropped) Read([]byte) (int, error)                { return 0, io.EOF }
func (dropped) ReadAt([]byte, int64) (int, error)       { return 0, io.EOF }
func (dropped) Write(p []byte) (int, error)             { return len(p), nil }
func (dropped) WriteAt(p []byte, _ int64) (int, error)  { return len(p), nil }
func (dropped) Preallocate(_, _ int64) error            { return nil }
func (dropped) Prefetch(_, _ int64) error               { return nil }
func (dropped) Sync() error                             { return nil }
func (dropped) SyncData() error                         { return nil }
func (dropped) SyncTo(int64) (fullSync bool, err error) { return false, nil }
func (dropped) Fd() uintptr                             { return vfs.InvalidFd }
func (dropped) Close() error                            { return nil }
func (d dropped) Stat() (vfs.FileInfo, error)           { return droppedInfo(d), nil }

// droppedInfo describes a dropped file: an empty one.
type droppedInfo struct{ name string }

func (i droppedInfo) Name() string         { return i.name }
func (droppedInfo) Size() int64            { return 0 }
func (droppedInfo) Mode() fs.FileMode      { return 0 }
func (droppedInfo) ModTime() time.Time     { return time.Time{} }
func (droppedInfo) IsDir() bool            { return false }
func (droppedInfo) Sys() any               { return nil }
func (droppedInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }
