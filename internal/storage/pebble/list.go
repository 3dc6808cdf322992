package pebble

import (
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// listFS keeps from pebble that a directory cannot be listed, as vfs.FailStop
// does with what fails to be written, and for the same reason: where pebble's
// Open gives up after it has replayed a log, it lets go of its tables while a
// goroutine still looks at them, which ends in a panic. So the disk has failed,
// and pebble goes on in the void with an empty directory.
type listFS struct{ *vfs.FailStop }

// List implements vfs.FS.
func (l listFS) List(dir string) ([]string, error) {
	names, err := l.FailStop.List(dir)
	if err != nil {
		l.Fail(fmt.Errorf("list %s: %w", dir, err))
		return nil, nil
	}
	return names, nil
}

// Unwrap returns the file system below.
func (l listFS) Unwrap() vfs.FS { return l.FailStop }
