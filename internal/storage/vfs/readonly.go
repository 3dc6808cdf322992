package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrReadOnly is what ReadOnly answers to whoever wants to change something.
var ErrReadOnly = errors.New("this file system is open for reading only")

// ReadOnly returns fs without anything that changes it: whoever only looks
// cannot write by mistake, whatever library does the looking. Locks are
// granted without being taken, since a lock is a file; who looks holds the
// data directory's.
func ReadOnly(fs FS) FS { return readOnlyFS{fs} }

type readOnlyFS struct{ vfs.FS }

func refuse(op, name string) error { return fmt.Errorf("%s %s: %w", op, name, ErrReadOnly) }

// Create implements FS.
func (readOnlyFS) Create(name string, _ Category) (File, error) {
	return nil, refuse("create", name)
}

// OpenReadWrite implements FS.
func (readOnlyFS) OpenReadWrite(name string, _ Category, _ ...vfs.OpenOption) (File, error) {
	return nil, refuse("open for writing", name)
}

// ReuseForWrite implements FS.
func (readOnlyFS) ReuseForWrite(oldname, _ string, _ Category) (File, error) {
	return nil, refuse("reuse", oldname)
}

// Link implements FS.
func (readOnlyFS) Link(oldname, _ string) error { return refuse("link", oldname) }

// Rename implements FS.
func (readOnlyFS) Rename(oldname, _ string) error { return refuse("rename", oldname) }

// Remove implements FS.
func (readOnlyFS) Remove(name string) error { return refuse("remove", name) }

// RemoveAll implements FS.
func (readOnlyFS) RemoveAll(name string) error { return refuse("remove", name) }

// MkdirAll implements FS.
func (readOnlyFS) MkdirAll(name string, _ os.FileMode) error { return refuse("mkdir", name) }

// Lock implements FS.
func (readOnlyFS) Lock(string) (io.Closer, error) { return noLock{}, nil }

// Unwrap returns the file system below.
func (r readOnlyFS) Unwrap() FS { return r.FS }

type noLock struct{}

func (noLock) Close() error { return nil }
