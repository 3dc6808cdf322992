package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Offline is the data directory of a node that is stopped, held by a program
// that is no node. While it is held no node starts on it. Its methods may be
// called by one goroutine at a time.
type Offline struct {
	dir     directory
	o       Options
	drivers []Driver
	found   contents
	lock    io.Closer
}

// HoldOffline holds the data directory that the options name. Which engine and
// which node it belongs to it says itself; what the options say of them does
// not count. A directory that is not there, or that no node has finished making,
// is an error, and nothing is made in it; others are ErrInUse, ErrForeign and
// ErrDamaged.
func HoldOffline(o Options, drivers ...Driver) (*Offline, error) {
	o = o.withDefaults()
	if o.Dir == "" {
		return nil, errors.New("no data directory is named")
	}
	if o.FS == nil {
		o.FS = vfs.OS()
		var err error
		if o.Dir, err = realPath(o.Dir); err != nil {
			return nil, err
		}
	}
	h := &Offline{dir: directory{fs: o.FS, path: o.Dir}, o: o, drivers: drivers}
	if err := h.hold(); err != nil {
		return nil, fmt.Errorf("%s: %w%s", o.Dir, err, advice(err))
	}
	return h, nil
}

// hold looks into the directory once before it takes the lock, so that not even
// a lock file is left in one that is not a node's, and once under it.
func (h *Offline) hold() error {
	if err := h.inspect(); err != nil {
		return err
	}
	lock, err := h.dir.lock()
	if err != nil {
		return err
	}
	if err := h.inspect(); err != nil {
		return errors.Join(err, lock.Close())
	}
	h.lock = lock
	return nil
}

func (h *Offline) inspect() error {
	info, err := h.dir.fs.Stat(h.dir.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no such data directory: %w", err)
	case err != nil:
		return fmt.Errorf("data directory: %w", err)
	case !info.IsDir():
		return fmt.Errorf("%w: it is not a directory", ErrForeign)
	}
	if h.found, err = h.dir.inspect(h.drivers); err != nil {
		return err
	}
	if !h.found.complete {
		return fmt.Errorf("%w: it has no %s: no node has finished making it, or its data was set aside; start the node once", ErrForeign, identityName)
	}
	name := h.found.identity.Engine
	if driver, err := pick(name, h.drivers); err != nil || !driver.Durable {
		return fmt.Errorf("%w: it says that it was written by the engine %q, which is not known here; use the program that wrote it", ErrForeign, name)
	}
	if !h.found.folder[name] {
		return fmt.Errorf("%w: the engine's folder %q is missing", ErrDamaged, name)
	}
	return nil
}

// Identity returns whose directory it is.
func (h *Offline) Identity() Identity { return h.found.identity }

// Path returns where the directory is, without symbolic links.
func (h *Offline) Path() string { return h.dir.path }

// Open opens the engine that the directory belongs to. It is the caller's, who
// closes it before the directory.
func (h *Offline) Open() (Engine, error) { return h.open(h.found.identity.Engine, false) }

// open opens or makes the folder of one engine.
func (h *Offline) open(name string, create bool) (Engine, error) {
	driver, err := pick(name, h.drivers)
	if err != nil {
		return nil, err
	}
	o := h.o
	o.Engine, o.Node = name, h.found.identity.Node
	return driver.Open(h.dir.join(name), create, o)
}

// Available returns how many bytes may be written to the disk; ok is false
// where the system does not tell.
func (h *Offline) Available() (bytes uint64, ok bool) {
	usage, err := h.dir.fs.GetDiskUsage(h.dir.path)
	return usage.AvailBytes, err == nil
}

// Close lets go of the directory.
func (h *Offline) Close() error { return h.lock.Close() }
