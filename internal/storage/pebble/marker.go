package pebble

import (
	"errors"
	"strings"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// markerPrefix begins the names of pebble's markers: empty files whose name
// says which manifest, or which format, is the one that counts.
const markerPrefix = "marker."

// markerFS syncs a directory before a marker is made in it.
//
// Pebble makes a new manifest, then the marker that names it, and then syncs
// the directory once for both. File systems that order the changes of a
// directory lose the marker whenever they lose the manifest. Where they do
// not, as the standard permits, a power cut in between may leave the marker
// alone, and the store would not open again. A new manifest is rare, and one
// sync more for it costs nothing.
type markerFS struct{ vfs.FS }

// Create implements vfs.FS.
func (m markerFS) Create(name string, c vfs.Category) (vfs.File, error) {
	if strings.HasPrefix(m.PathBase(name), markerPrefix) {
		if err := m.syncDir(m.PathDir(name)); err != nil {
			return nil, err
		}
	}
	return m.FS.Create(name, c)
}

func (m markerFS) syncDir(path string) error {
	d, err := m.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Unwrap returns the file system below.
func (m markerFS) Unwrap() vfs.FS { return m.FS }
