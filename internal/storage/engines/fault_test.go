package engines_test

import (
	"os"
	"strings"
	"sync/atomic"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// counter counts the operations that change a disk.
type counter struct{ n atomic.Int64 }

// from returns fs with an error for every change of it from number at on. To
// lock a file is a change: it is made for that.
func (c *counter) from(fs vfs.FS, at int, err error) vfs.FS {
	return vfs.Watch(fs, func(op vfs.Op) error {
		changes := vfs.Mutates(op) || strings.HasSuffix(op.Path, "LOCK")
		if !changes || c.n.Add(1) < int64(at) {
			return nil
		}
		return &os.PathError{Op: "write", Path: op.Path, Err: err}
	})
}

// reached reports whether that many operations were seen.
func (c *counter) reached(at int) bool { return c.n.Load() >= int64(at) }
