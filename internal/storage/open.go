package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Open opens the engine that the options ask for out of those that there are.
// On an error nothing is left open, and nothing that was there is changed.
func Open(o Options, drivers ...Driver) (Engine, Identity, error) {
	o = o.withDefaults()
	driver, err := o.validate(drivers)
	if err != nil {
		return nil, Identity{}, err
	}
	if !driver.Durable {
		engine, err := driver.Open("", true, o)
		if err != nil {
			return nil, Identity{}, err
		}
		return engine, newIdentity(driver.Name, o.Node), nil
	}
	if o.FS == nil {
		o.FS = vfs.OS()
		// A lock is known by its path within a process, so one directory must
		// not be reached by two of them.
		if o.Dir, err = realPath(o.Dir); err != nil {
			return nil, Identity{}, err
		}
	}
	dir := directory{fs: o.FS, path: o.Dir}
	engine, identity, err := dir.open(driver, drivers, o)
	if err != nil {
		return nil, Identity{}, fmt.Errorf("%s: %w%s", o.Dir, err, advice(err))
	}
	return engine, identity, nil
}

// advice says what to do about an error of the system.
func advice(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "; the disk is full: make room on it, or give the node another directory"
	case errors.Is(err, syscall.EROFS):
		return "; the file system is read-only: mount it for writing, or give the node another directory"
	case errors.Is(err, fs.ErrPermission):
		return "; let this user write there, or give the node another directory"
	}
	return ""
}

// realPath returns the absolute path without symbolic links, as far as it
// exists.
func realPath(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("data directory: %w", err)
	}
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved, nil
	}
	parent := filepath.Dir(path)
	if parent == path {
		return path, nil
	}
	parent, err = realPath(parent)
	return filepath.Join(parent, filepath.Base(path)), err
}

// open locks the directory, and opens or makes what it holds.
func (d directory) open(driver Driver, drivers []Driver, o Options) (engine Engine, identity Identity, err error) {
	if err := d.make(); err != nil {
		return nil, Identity{}, err
	}
	// Once before the lock, so that not even a lock file is left in a
	// directory that is not ours, and once under it.
	if _, err := d.inspect(drivers); err != nil {
		return nil, Identity{}, err
	}
	lock, err := d.lock()
	if err != nil {
		return nil, Identity{}, err
	}
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()
	found, err := d.inspect(drivers)
	if err == nil && found.half != nil {
		if err = d.follow(*found.half); err == nil {
			found, err = d.inspect(drivers)
		}
	}
	if err != nil {
		return nil, Identity{}, err
	}
	if found.complete {
		engine, err = d.reopen(found, driver, o)
		identity = found.identity
	} else {
		identity = newIdentity(driver.Name, o.Node)
		engine, err = d.create(found, identity, driver, o)
	}
	if err != nil {
		return nil, Identity{}, err
	}
	return newLocked(engine, lock), identity, nil
}

// reopen opens the engine of a complete directory.
func (d directory) reopen(found contents, driver Driver, o Options) (Engine, error) {
	i := found.identity
	if m := found.migration; m != nil && i.Engine == m.From && m.To == driver.Name {
		return nil, fmt.Errorf("%w: its migration from the engine %q to %q is half done; complete it with dynamo migrate, or configure %q until then", ErrForeign, m.From, m.To, m.From)
	}
	if i.Engine != driver.Name {
		return nil, fmt.Errorf("%w: it was written by the engine %q, and %q is configured; configure that engine, or another directory", ErrForeign, i.Engine, driver.Name)
	}
	if i.Node != o.Node {
		return nil, fmt.Errorf("%w: it belongs to the node %q, and this is %q; start the node under that ID, or give it another directory", ErrForeign, i.Node, o.Node)
	}
	if !found.folder[driver.Name] {
		return nil, fmt.Errorf("%w: the engine's folder %q is missing; put it back, or start with another directory as a node whose disk was lost", ErrDamaged, driver.Name)
	}
	if err := d.resume(found, o.Logger); err != nil {
		return nil, err
	}
	return driver.Open(d.join(driver.Name), false, o)
}

// create makes the engine's folder in a directory without an identity, and
// then the identity.
func (d directory) create(found contents, identity Identity, driver Driver, o Options) (Engine, error) {
	if err := d.announce(found, identity); err != nil {
		return nil, err
	}
	engine, err := driver.Open(d.join(driver.Name), true, o)
	if err != nil {
		return nil, err
	}
	if err := d.complete(); err != nil {
		_ = engine.Close() // it is empty, and the next start makes it anew or opens it
		return nil, err
	}
	return engine, nil
}

// locked is an engine that holds the lock on its data directory.
type locked struct {
	Engine
	close func() error
}

func newLocked(e Engine, lock io.Closer) Engine {
	return &locked{Engine: e, close: sync.OnceValue(func() error {
		err := e.Close()
		if lockErr := lock.Close(); err == nil {
			err = lockErr
		}
		return err
	})}
}

// Close closes the engine, and then lets go of the directory.
func (l *locked) Close() error { return l.close() }
