package migrate

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// The errors of Run and Abort, for errors.Is, beside those of package storage:
// ErrInUse, ErrForeign and ErrDamaged for the directory.
var (
	// ErrInvalid: what was asked for cannot be.
	ErrInvalid = errors.New("invalid migration")
	// ErrOther: another migration of the directory is half done.
	ErrOther = errors.New("another migration is half done")
	// ErrNoRoom: the disk has no room for the copy.
	ErrNoRoom = errors.New("the disk has no room for the copy")
	// ErrDiffers: the copy is not what the old engine holds. The old engine
	// keeps the data.
	ErrDiffers = errors.New("the copy differs")
)

// Options say what to move where.
type Options struct {
	// Dir is the data directory of a node that is stopped.
	Dir string
	// From is the engine that the directory must belong to; empty: whichever.
	From string
	// To is the engine that takes over.
	To string
	// Keep keeps the files of the old engine, under another name.
	Keep bool
	// Progress, if not nil, is called now and then, at the beginning of every
	// phase and at its end, by the goroutine of Run.
	Progress func(Progress)
	// Logger gets what the engines have to say; nil drops it.
	Logger *slog.Logger
	// FS is the file system of the directory; nil is the machine's own.
	FS vfs.FS

	limits limits // zero: the default ones
}

// Phase is what a migration is at.
type Phase uint8

// The phases, in their order.
const (
	Counting Phase = iota
	Copying
	Verifying
)

// String returns the phase's name.
func (p Phase) String() string {
	switch p {
	case Counting:
		return "counting"
	case Copying:
		return "copying"
	case Verifying:
		return "verifying"
	}
	return "unknown"
}

// Progress is how far a phase has come.
type Progress struct {
	Phase                 Phase
	Keys, Bytes           uint64
	TotalKeys, TotalBytes uint64 // zero while counting, which finds them
}

// Result is what a migration has done.
type Result struct {
	Identity storage.Identity // after it
	From     string
	// Nothing was left to do: the data was with the engine before.
	Nothing bool
	// Keys and Bytes (of keys and values) is what the node's data is, and Hash
	// its SHA-256, over all keys and values with their lengths.
	Keys, Bytes uint64
	Hash        string
	// Written and Deleted count the keys that the copy lacked, and those that it
	// had too much: in a migration that was resumed, what the earlier run had
	// not done.
	Written, Deleted uint64
	// Kept is where the old engine's files are, if they are kept.
	Kept string
}

// run is one migration.
type run struct {
	o        Options
	limits   limits
	drivers  []storage.Driver
	hold     *storage.Offline
	from, to string
}

// Run moves the data of a directory to another engine. If it is interrupted, by
// ctx, an error or a crash, the data is where it was, or it is moved; calling it
// again does what is left. Only after ErrDiffers there is reason to Abort.
func Run(ctx context.Context, o Options, drivers ...storage.Driver) (Result, error) {
	r := &run{o: o, limits: o.limits, drivers: drivers, to: o.To}
	if r.limits == (limits{}) {
		r.limits = defaultLimits()
	}
	if err := r.validate(); err != nil {
		return Result{}, err
	}
	hold, err := storage.HoldOffline(storage.Options{Dir: o.Dir, FS: o.FS, Logger: o.Logger}, drivers...)
	if err != nil {
		return Result{}, err
	}
	r.hold, r.from = hold, hold.Identity().Engine
	result, err := r.run(ctx)
	if closeErr := hold.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", hold.Path(), r.full(err))
	}
	result.Identity = hold.Identity()
	return result, nil
}

// validate finds what is wrong with the request alone.
func (r *run) validate() error {
	err := r.known(r.o.To)
	if r.o.From != "" {
		err = errors.Join(r.known(r.o.From), err)
	}
	if err == nil && r.o.From == r.o.To {
		err = fmt.Errorf("%w: from and to are both %q", ErrInvalid, r.o.To)
	}
	return err
}

// known is an error unless there is a durable engine of that name.
func (r *run) known(name string) error {
	var names []string
	for _, d := range r.drivers {
		switch {
		case d.Name == name && d.Durable:
			return nil
		case d.Name == name:
			return fmt.Errorf("%w: the engine %q keeps nothing on a disk", ErrInvalid, name)
		case d.Durable:
			names = append(names, d.Name)
		}
	}
	return fmt.Errorf("%w: the engine %q is not known; there are: %s", ErrInvalid, name, strings.Join(names, ", "))
}

// run goes through the phases that are left.
func (r *run) run(ctx context.Context) (Result, error) {
	ended, err := r.hold.Resume()
	if err != nil {
		return Result{}, err
	}
	if r.from == r.to {
		return Result{From: r.o.From, Nothing: !ended}, nil
	}
	if r.o.From != "" && r.o.From != r.from {
		return Result{}, fmt.Errorf("%w: the directory belongs to the engine %q, not to %q", ErrInvalid, r.from, r.o.From)
	}
	if m, ok := r.hold.Migration(); ok && (m.From != r.from || m.To != r.to) {
		return Result{}, fmt.Errorf("%w: to the engine %q; complete that one with dynamo migrate %s --to %s, or give it up with dynamo migrate %s --abort",
			ErrOther, m.To, r.hold.Path(), m.To, r.hold.Path())
	}
	result, err := r.move(ctx)
	if err != nil {
		return Result{}, err
	}
	result.From = r.from
	result.Kept, err = r.hold.Switch()
	return result, err
}

// move makes the copy, and holds it to the old engine's data.
func (r *run) move(ctx context.Context) (result Result, err error) {
	old, err := r.hold.Open()
	if err != nil {
		return Result{}, r.reading(r.from, err)
	}
	defer func() { err = closed(err, old) }()
	total, err := r.count(ctx, old)
	if err != nil {
		return Result{}, err
	}
	w, err := r.fill(ctx, old, total)
	if err != nil {
		return Result{}, err
	}
	copied, err := r.hold.OpenCopy()
	if err != nil {
		return Result{}, r.reading(r.to, err)
	}
	defer func() { err = closed(err, copied) }()
	if err := r.verify(ctx, old, copied, total); err != nil {
		if errors.Is(err, ErrDiffers) {
			err = fmt.Errorf("%w; nothing was switched, and the data is with %q as before: %s", err, r.from, r.startOver())
		}
		return Result{}, err
	}
	return Result{
		Keys: total.keys, Bytes: total.bytes, Hash: hex.EncodeToString(total.sum[:]),
		Written: w.written, Deleted: w.deleted,
	}, nil
}

// fill makes or opens the copy, and gives it all that it lacks.
func (r *run) fill(ctx context.Context, old storage.Engine, total digest) (w *writer, err error) {
	m, resumed := r.hold.Migration()
	if resumed = resumed && m.Made; !resumed {
		if err := r.room(total, 0); err != nil { // before anything is made
			return nil, err
		}
	}
	copied, err := r.hold.Begin(r.to, r.o.Keep)
	if err != nil {
		return nil, r.writing(err)
	}
	// It is closed so that what is verified then is what a start would find.
	defer func() { err = closed(err, copied) }()
	if resumed {
		if err := r.room(total, copied.Stats().DiskBytes); err != nil {
			return nil, err
		}
	}
	return r.copy(ctx, old, copied, total)
}

// closed closes an engine, and returns err or, without one, the engine's.
func closed(err error, e storage.Engine) error {
	if closeErr := e.Close(); err == nil {
		return closeErr
	}
	return err
}

// startOver says how to make the copy anew.
func (r *run) startOver() string {
	return fmt.Sprintf("give this copy up with dynamo migrate %s --abort, and begin again", r.hold.Path())
}

// full adds to the error of a disk that is full what to do.
func (r *run) full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w; make room on the disk and run the same again, or give the copy up with dynamo migrate %s --abort",
			err, r.hold.Path())
	}
	return err
}

// Abort gives up the migration of a directory that has not come to its switch,
// removes the copy, and returns what it was. The old engine has all the data
// then, as before.
func Abort(o Options, drivers ...storage.Driver) (m storage.Migration, err error) {
	hold, err := storage.HoldOffline(storage.Options{Dir: o.Dir, FS: o.FS, Logger: o.Logger}, drivers...)
	if err != nil {
		return storage.Migration{}, err
	}
	defer func() {
		if err = errors.Join(err, hold.Close()); err != nil {
			err = fmt.Errorf("%s: %w", hold.Path(), err)
		}
	}()
	m, found := hold.Migration()
	if !found {
		return m, fmt.Errorf("%w: no migration of it is under way; its data is with the engine %q", ErrInvalid, hold.Identity().Engine)
	}
	ended, err := hold.Resume()
	switch {
	case err != nil:
		return m, err
	case ended:
		return m, fmt.Errorf("%w: the data is with the engine %q already; to go back is a migration to %q", ErrInvalid, m.To, m.From)
	}
	return m, hold.Abandon()
}
