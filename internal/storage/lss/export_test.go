package lss

import (
	"errors"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Unseal leaves a store that was closed as if every segment of it had been in
// use when the power was cut: they have no hint files, and where they end
// stands nowhere but in the next one.
func Unseal(t testing.TB, fs vfs.FS, dir string) (segments int) {
	t.Helper()
	d := folder{fs: fs, path: dir}
	b, err := d.read(manifestName)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := decodeManifest(b)
	if err != nil {
		t.Fatal(err)
	}
	for i := range m {
		if m[i].end != 0 {
			segments++
			err = errors.Join(err, fs.Remove(d.join(hintName(m[i].id))))
		}
		m[i].end = 0
	}
	if err := errors.Join(err, d.replace(manifestName, m.encode())); err != nil {
		t.Fatal(err)
	}
	return segments
}
