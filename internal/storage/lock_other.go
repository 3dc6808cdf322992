//go:build !unix

package storage

import (
	"io"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// lockShared takes the lock of a data directory, as a node does: this system
// has no locks for reading.
func lockShared(files vfs.FS, _ bool, name string) (io.Closer, error) {
	return files.Lock(name)
}
