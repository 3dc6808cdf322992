package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// The files of a data directory that are not an engine's.
const (
	identityName = "identity.json"
	// unfinishedName is the identity of a directory that is being made.
	unfinishedName = "identity.json.tmp"
	lockName       = "LOCK"
	// lostName is in the root of a file system that a data directory may be.
	lostName = "lost+found"
)

// maxIdentityBytes bounds what is read of an identity: a node's ID is at most
// 64 characters, and the rest is short.
const maxIdentityBytes = 4 << 10

// directory is a data directory.
type directory struct {
	fs   vfs.FS
	path string
}

// contents is what inspect found in a data directory.
type contents struct {
	// complete says that the directory has an identity, which is then here.
	complete bool
	identity Identity
	folder   map[string]bool // which engines have a folder
	// half is of data that was being set aside, nil where none was.
	half *Identity
	// migration is one that has not ended, nil where there is none.
	migration *Migration
}

func (d directory) join(name string) string { return d.fs.PathJoin(d.path, name) }

// make makes the directory, with those above it, and makes that durable.
func (d directory) make() error {
	var missing []string // deepest first
	for path := d.path; ; path = d.fs.PathDir(path) {
		info, err := d.fs.Stat(path)
		if err == nil {
			if !info.IsDir() {
				return fmt.Errorf("data directory: %s is not a directory", path)
			}
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("data directory: %w", err)
		}
		missing = append(missing, path)
		if path == d.fs.PathDir(path) {
			break
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if err := d.fs.MkdirAll(d.path, 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	for _, path := range missing {
		if err := d.sync(d.fs.PathDir(path)); err != nil {
			return err
		}
	}
	return nil
}

// inspect returns what the directory holds, ErrForeign for what is not of
// this system, ErrDamaged for an identity that cannot be read.
func (d directory) inspect(drivers []Driver) (contents, error) {
	names, err := d.fs.List(d.path)
	if err != nil {
		return contents{}, fmt.Errorf("data directory: %w", err)
	}
	found := contents{folder: make(map[string]bool)}
	var unfinished, migrating bool
	var other, aside []string
	for _, name := range names {
		switch {
		case name == identityName:
			found.complete = true
		case name == unfinishedName:
			unfinished = true
		case name == migrationName:
			migrating = true
		case name == lockName, name == lostName, name == migrationUnfinished:
		case strings.HasPrefix(name, asidePrefix):
			aside = append(aside, name)
		case known(name, drivers):
			found.folder[name] = true
		default:
			other = append(other, name)
		}
	}
	if found.complete {
		found.identity, err = d.read(identityName)
		if err == nil && migrating {
			found.migration, err = d.migration()
		}
		return found, err
	}
	if migrating {
		other = append(other, migrationName)
	}
	if len(other) > 0 {
		return contents{}, fmt.Errorf("%w: it has no %s and is not empty: it holds %q; give the node an empty directory, or one that does not exist", ErrForeign, identityName, other[0])
	}
	found.half = d.half(aside, found.folder)
	if found.half != nil || len(found.folder) == 0 || unfinished && d.begun(found.folder) {
		return found, nil
	}
	return contents{}, fmt.Errorf("%w: it holds an engine's folder, but no %s; put that back, or give the node another directory", ErrDamaged, identityName)
}

// begun reports whether folders are what an unfinished start has begun: the one
// of the engine that it has announced, before it made anything. The file may also
// be that of a switch to another engine which a crash has interrupted, and lie
// beside data.
func (d directory) begun(folders map[string]bool) bool {
	i, err := d.read(unfinishedName)
	return err == nil && len(folders) == 1 && folders[i.Engine]
}

func known(name string, drivers []Driver) bool {
	_, err := pick(name, drivers)
	return err == nil
}

// lock locks the directory.
func (d directory) lock() (io.Closer, error) {
	lock, err := d.fs.Lock(d.join(lockName))
	if err == nil {
		return lock, nil
	}
	// The lock file is made first, and a failure of that names its path; who
	// cannot get the lock then gets a bare error.
	if path := (*fs.PathError)(nil); errors.As(err, &path) {
		return nil, fmt.Errorf("data directory cannot be written to: %w", err)
	}
	return nil, fmt.Errorf("%w by another process or node; stop that, or give this one another directory: %w", ErrInUse, err)
}

// read reads the identity in the file of that name.
func (d directory) read(name string) (Identity, error) {
	b, err := d.readFile(name)
	if err != nil {
		return Identity{}, fmt.Errorf("identity of the data directory: %w", err)
	}
	return decodeIdentity(b)
}

// readFile reads one of the directory's own files, which are small.
func (d directory) readFile(name string) ([]byte, error) {
	f, err := d.fs.Open(d.join(name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	return io.ReadAll(io.LimitReader(f, maxIdentityBytes))
}

// announce removes what an unfinished attempt has left, and then makes durable
// that the directory is being made, with what identity. The order matters: a
// folder without either file beside it is taken for damage.
func (d directory) announce(found contents, i Identity) error {
	for name := range found.folder {
		if err := d.fs.RemoveAll(d.join(name)); err != nil {
			return fmt.Errorf("data directory: remains of an unfinished start: %w", err)
		}
	}
	if len(found.folder) > 0 {
		if err := d.sync(d.path); err != nil {
			return err
		}
	}
	if err := d.write(unfinishedName, i.encode()); err != nil {
		return err
	}
	return d.sync(d.path)
}

// complete gives the directory its identity. The engine's folder is made
// durable first: a file system may keep either entry without the other.
func (d directory) complete() error {
	if err := d.sync(d.path); err != nil {
		return err
	}
	if err := d.fs.Rename(d.join(unfinishedName), d.join(identityName)); err != nil {
		return fmt.Errorf("identity of the data directory: %w", err)
	}
	return d.sync(d.path)
}

// write writes a file and makes its contents durable, not its name.
func (d directory) write(name string, b []byte) error {
	f, err := d.fs.Create(d.join(name), "")
	if err != nil {
		return fmt.Errorf("data directory cannot be written to: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("identity of the data directory: %w", err)
	}
	return nil
}

// sync makes durable which entries a directory has.
func (d directory) sync(path string) error {
	f, err := d.fs.OpenDir(path)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	err = f.Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("data directory: sync %s: %w", path, err)
	}
	return nil
}
