package vfs

import (
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// ErrInjected is the error that tests make a file system return.
var ErrInjected = errors.New("injected disk error")

// Op is one operation on a file system or a file of it.
type Op = errorfs.Op

// Mutates reports whether op may change what a later start finds on the disk:
// every write and sync of a file, and every change of a directory.
func Mutates(op Op) bool {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpLink, errorfs.OpRemove, errorfs.OpRemoveAll, errorfs.OpRename,
		errorfs.OpReuseForWrite, errorfs.OpMkdirAll, errorfs.OpFileWrite, errorfs.OpFileWriteAt,
		errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		return true
	default:
		return false
	}
}

// Syncs reports whether op is the sync of a file or a directory.
func Syncs(op Op) bool {
	return op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData
}

// Reads reports whether op takes something from the disk: the bytes of a file,
// or what a directory has and what its files are like.
func Reads(op Op) bool {
	switch op.Kind {
	case errorfs.OpOpen, errorfs.OpOpenDir, errorfs.OpList, errorfs.OpStat,
		errorfs.OpFileRead, errorfs.OpFileReadAt, errorfs.OpFileStat:
		return true
	default:
		return false
	}
}

// Fills reports whether op takes room on the disk, and so cannot take place
// where there is none.
func Fills(op Op) bool {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpMkdirAll, errorfs.OpFileWrite, errorfs.OpFileWriteAt:
		return true
	default:
		return false
	}
}

// Watch returns fs with a hook that is called before every operation, from
// whatever goroutine carries it out. What the hook returns, if not nil, is the
// operation's outcome, and the operation does not take place.
func Watch(fs FS, hook func(Op) error) FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(hook))
}

// SplitWrites returns fs with every write of more than one byte carried out as
// two, so that a test that stands below it can crash or fail in the middle of
// a record: a torn write.
func SplitWrites(fs FS) FS { return splitFS{fs} }

type splitFS struct{ vfs.FS }

func (s splitFS) Create(name string, c Category) (File, error) {
	return split(s.FS.Create(name, c))
}

func (s splitFS) OpenReadWrite(name string, c Category, opts ...vfs.OpenOption) (File, error) {
	return split(s.FS.OpenReadWrite(name, c, opts...))
}

func (s splitFS) ReuseForWrite(oldname, newname string, c Category) (File, error) {
	return split(s.FS.ReuseForWrite(oldname, newname, c))
}

// Unwrap returns the file system below.
func (s splitFS) Unwrap() FS { return s.FS }

func split(f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return splitFile{f}, nil
}

type splitFile struct{ vfs.File }

func (f splitFile) Write(p []byte) (int, error) {
	half := len(p) / 2
	if half == 0 {
		return f.File.Write(p)
	}
	n, err := f.File.Write(p[:half])
	if err != nil {
		return n, err
	}
	m, err := f.File.Write(p[half:])
	return n + m, err
}

func (f splitFile) WriteAt(p []byte, off int64) (int, error) {
	half := len(p) / 2
	if half == 0 {
		return f.File.WriteAt(p, off)
	}
	n, err := f.File.WriteAt(p[:half], off)
	if err != nil {
		return n, err
	}
	m, err := f.File.WriteAt(p[half:], off+int64(n))
	return n + m, err
}

// LieAboutSyncs returns fs with syncs that do nothing and report success where
// lies says so, as a disk does that keeps what it was to make durable in a cache
// that loses its power.
func LieAboutSyncs(fs FS, lies func() bool) FS { return lieFS{fs, lies} }

type lieFS struct {
	vfs.FS
	lies func() bool
}

func (l lieFS) file(f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return lieFile{f, l.lies}, nil
}

func (l lieFS) Create(name string, c Category) (File, error) {
	return l.file(l.FS.Create(name, c))
}

func (l lieFS) OpenReadWrite(name string, c Category, opts ...vfs.OpenOption) (File, error) {
	return l.file(l.FS.OpenReadWrite(name, c, opts...))
}

func (l lieFS) ReuseForWrite(oldname, newname string, c Category) (File, error) {
	return l.file(l.FS.ReuseForWrite(oldname, newname, c))
}

func (l lieFS) OpenDir(name string) (File, error) { return l.file(l.FS.OpenDir(name)) }

// Unwrap returns the file system below.
func (l lieFS) Unwrap() FS { return l.FS }

type lieFile struct {
	vfs.File
	lies func() bool
}

func (f lieFile) Sync() error {
	if f.lies() {
		return nil
	}
	return f.File.Sync()
}

func (f lieFile) SyncData() error {
	if f.lies() {
		return nil
	}
	return f.File.SyncData()
}

// SyncTo is a hint where it does not report a full sync.
func (f lieFile) SyncTo(length int64) (fullSync bool, err error) {
	if f.lies() {
		return false, nil
	}
	return f.File.SyncTo(length)
}
