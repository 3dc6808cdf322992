package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Cost is what damage costs the node that starts from the directory.
type Cost uint8

const (
	// CostNothing is of what is there twice, or nothing reads. It is told
	// because a disk that changes one byte may change another.
	CostNothing Cost = iota
	// CostRecord is of one record that has no value: the node starts, and has
	// it from the other owners.
	CostRecord
	// CostStore is of what keeps the node from starting, or stops it when it
	// comes upon it.
	CostStore
)

// Fault is one place where a store is not as it was written.
type Fault struct {
	File   string // in the engine's folder; empty: it is not of the engine
	Offset int64  // -1: not known
	Key    []byte // the store's key whose value is lost; nil: none is, or which is not known
	What   string
	Cost   Cost
}

// Examiner gets what a look at a store that is not open finds. It is called by
// one goroutine, and what it is given is lent for the time of the call.
type Examiner interface {
	// Fault tells of damage.
	Fault(Fault)
	// Note tells of something that is no damage and worth knowing, such as a
	// write that a crash has torn.
	Note(file, what string)
	// Pair shows what is stored, each key once, in any order.
	Pair(key, value []byte)
	// Progress tells how many bytes of the store's files have been looked at,
	// and how many there are.
	Progress(done, total int64)
}

// Directory is what a data directory says of itself.
type Directory struct {
	Identity Identity
	Aside    []string // files and folders of data that was set aside
	Unlocked bool     // it has no lock file, and so is not kept from being opened meanwhile
	// Migration is one that has not ended, nil where there is none.
	Migration *Migration
}

// Check looks at a data directory that no node has open, and changes nothing in
// it. The error says why it could not look, or not to the end; damage is no
// error. files is nil for the machine's own file system; there the lock keeps
// other processes out, and not a node of this one.
func Check(files vfs.FS, path string, x Examiner, drivers ...Driver) (Directory, error) {
	own := files == nil
	if own {
		files = vfs.OS()
		var err error
		if path, err = realPath(path); err != nil {
			return Directory{}, err
		}
	}
	d := directory{fs: files, path: path}
	found, err := d.check(own, x, drivers)
	if err != nil {
		return found, fmt.Errorf("%s: %w", path, err)
	}
	return found, nil
}

func (d directory) check(own bool, x Examiner, drivers []Driver) (found Directory, err error) {
	driver, found, err := d.look(drivers)
	if err != nil {
		return found, err
	}
	found.Migration, err = d.underWay(found.Identity)
	switch {
	case errors.Is(err, ErrDamaged):
		x.Fault(Fault{Offset: -1, Cost: CostStore, What: fmt.Sprintf("%v; the data is with the engine %q, and a node starts on it when the file is removed", err, driver.Name)})
	case err != nil:
		return found, err
	}
	lock, err := d.lockToRead(own)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		found.Unlocked = true
	case err != nil:
		return found, err
	default:
		defer func() { err = errors.Join(err, lock.Close()) }()
	}
	return found, driver.Check(d.join(driver.Name), CheckOptions{FS: vfs.ReadOnly(d.fs), Own: own}, x)
}

// look reads whose directory it is.
func (d directory) look(drivers []Driver) (Driver, Directory, error) {
	const advice = "name the directory that the node was started with"
	info, err := d.fs.Stat(d.path)
	if err != nil {
		return Driver{}, Directory{}, fmt.Errorf("data directory: %w; %s", err, advice)
	}
	if !info.IsDir() {
		return Driver{}, Directory{}, fmt.Errorf("%w: it is not a directory; %s", ErrForeign, advice)
	}
	names, err := d.fs.List(d.path)
	if err != nil {
		return Driver{}, Directory{}, fmt.Errorf("data directory: %w", err)
	}
	var found Directory
	for _, name := range names {
		if strings.HasPrefix(name, asidePrefix) {
			found.Aside = append(found.Aside, name)
		}
	}
	slices.Sort(found.Aside)
	if !slices.Contains(names, identityName) {
		return Driver{}, found, d.nobody(names, advice)
	}
	if found.Identity, err = d.read(identityName); err != nil {
		return Driver{}, found, err
	}
	driver, err := pick(found.Identity.Engine, drivers)
	switch {
	case err != nil:
		return Driver{}, found, fmt.Errorf("%w: %w; use the program that wrote it", ErrForeign, err)
	case !driver.Durable:
		return Driver{}, found, fmt.Errorf("%w: the engine %q keeps nothing on a disk; there is nothing to check", ErrForeign, driver.Name)
	case !slices.Contains(names, driver.Name):
		return Driver{}, found, fmt.Errorf("%w: the engine's folder %q is missing; put it back, or start the node with another directory as one whose disk was lost", ErrDamaged, driver.Name)
	}
	return driver, found, nil
}

// nobody is the error for a directory without an identity.
func (d directory) nobody(names []string, advice string) error {
	if slices.Contains(names, unfinishedName) {
		return fmt.Errorf("%w: a node has begun to make it and was stopped before it had stored anything; start the node, which begins anew", ErrForeign)
	}
	if len(names) == 0 {
		return fmt.Errorf("%w: it is empty; %s", ErrForeign, advice)
	}
	return fmt.Errorf("%w: it has no %s; %s, which is the one with that file in it", ErrForeign, identityName, advice)
}

// lockToRead keeps nodes out of the directory, if none is in.
func (d directory) lockToRead(own bool) (io.Closer, error) {
	name := d.join(lockName)
	if _, err := d.fs.Stat(name); err != nil {
		return nil, err
	}
	lock, err := lockShared(d.fs, own, name)
	if err == nil {
		return lock, nil
	}
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return nil, fmt.Errorf("data directory cannot be read: %w", err) // who cannot get the lock gets a bare error
	}
	return nil, fmt.Errorf("%w by a node; stop that, and check again: %w", ErrInUse, err)
}

// CheckOptions are what a driver's Check needs beside the folder.
type CheckOptions struct {
	// FS is the file system, which refuses every change.
	FS vfs.FS
	// Own says that it is the machine's own.
	Own bool
}
