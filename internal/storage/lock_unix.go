//go:build unix

package storage

import (
	"io"
	"os"
	"syscall"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// lockShared takes the lock of a data directory for reading: it is refused
// while a node has the directory, and refuses a node meanwhile. Unlike the
// lock of a node it makes no file and needs no right to write.
func lockShared(files vfs.FS, own bool, name string) (io.Closer, error) {
	if !own {
		return files.Lock(name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	whole := syscall.Flock_t{Type: syscall.F_RDLCK, Whence: io.SeekStart}
	if err := syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &whole); err != nil {
		_ = f.Close() // nothing was written to it
		return nil, err
	}
	return f, nil
}
