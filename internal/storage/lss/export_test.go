package lss

import (
	"errors"
	stdfs "io/fs"
	"slices"
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

// End returns where what counts of a segment file ends.
func End(t testing.TB, fs vfs.FS, dir, file string) int {
	t.Helper()
	b, err := folder{fs: fs, path: dir}.read(manifestName)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := decodeManifest(b)
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range m {
		if segmentName(u.id) == file {
			return int(max(u.end, segmentHeadBytes))
		}
	}
	return 0 // not one of the store
}

// Names reports whether the manifest names a segment file. Where there is no
// manifest it names none.
func Names(t testing.TB, fs vfs.FS, dir, file string) bool {
	t.Helper()
	b, err := folder{fs: fs, path: dir}.read(manifestName)
	if errors.Is(err, stdfs.ErrNotExist) {
		return false
	}
	if err != nil {
		t.Error(err)
		return false
	}
	m, _, err := decodeManifest(b)
	if err != nil {
		t.Error(err)
	}
	return slices.ContainsFunc(m, func(u use) bool { return segmentName(u.id) == file })
}

// Settle waits until what is full is sealed, and nothing of that is half done.
func Settle(e *Engine) { e.keeper.settle() }

// settleMerged is Settle, and waits also until what is worth it is merged. All
// background work must be admitted.
func settleMerged(e *Engine) {
	for merges := ^uint64(0); merges != e.merges.Load(); {
		merges = e.merges.Load()
		e.keeper.settle()
		e.merger.settle()
	}
}

// settle waits until the worker has taken two whole turns that began after the
// call: a second signal is taken in when the turn of the first has begun, and a
// third one when that has ended.
func (w *worker) settle() {
	for range 4 {
		w.wake <- struct{}{}
	}
}
