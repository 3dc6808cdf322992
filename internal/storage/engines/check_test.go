package engines_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
)

// looked is what a check has found.
type looked struct {
	pairs  map[string]string
	faults []storage.Fault
	notes  []string
}

func (l *looked) Fault(f storage.Fault)  { l.faults = append(l.faults, f) }
func (l *looked) Note(file, what string) { l.notes = append(l.notes, file+": "+what) }
func (l *looked) Progress(int64, int64)  {}
func (l *looked) Pair(key, value []byte) { l.pairs[string(key)] = string(value) }
func (l *looked) damaged() bool          { return len(l.faults) > 0 || len(l.notes) > 0 }
func (l *looked) shows(o *looked) bool   { return maps.Equal(l.pairs, o.pairs) }
func look(dir string) (l *looked, err error) {
	l = &looked{pairs: make(map[string]string)}
	_, err = storage.Check(nil, dir, l, engines.Drivers()...)
	return l, err
}

// contents returns every file of a directory, with when it was changed.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = fmt.Sprint(info.ModTime().UnixNano(), info.Mode(), string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// stocked makes a data directory with many pairs, some of them replaced and
// some of them deleted, and returns what is in it.
func stocked(t *testing.T, engine, dir string) map[string]string {
	t.Helper()
	pairs := make(map[string]string)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2 { // lives
		e, _, err := engines.Open(storage.Options{Engine: engine, Dir: dir, Node: "n1"})
		if err != nil {
			t.Fatal(err)
		}
		for range 150 {
			key := fmt.Sprintf("key %d", rng.IntN(60))
			value := make([]byte, rng.IntN(4000))
			for i := range value {
				value[i] = byte(rng.Uint32())
			}
			pairs[key] = string(value)
			put(t, e, key, string(value))
		}
		done := make(chan error, 1)
		e.Commit([]core.Write{{Key: []byte("key 7"), Delete: true}}, core.Sync, func(err error) { done <- err })
		delete(pairs, "key 7")
		if err := errors.Join(<-done, e.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return pairs
}

func durable() (names []string) {
	for _, d := range engines.Drivers() {
		if d.Durable {
			names = append(names, d.Name)
		}
	}
	return names
}

// TestCheck looks at a store of each engine: all that is in it is shown, nothing
// is said of one that is whole, and nothing has changed afterwards, not even
// when a file was changed last.
func TestCheck(t *testing.T) {
	for _, engine := range durable() {
		t.Run(engine, func(t *testing.T) {
			dir := t.TempDir()
			want := &looked{pairs: stocked(t, engine, dir)}
			before := contents(t, dir)
			got, err := look(dir)
			if err != nil {
				t.Fatal(err)
			}
			if got.damaged() {
				t.Errorf("it is whole, and is said to have %+v, %q", got.faults, got.notes)
			}
			if !got.shows(want) {
				t.Errorf("%d pairs are shown, and others than the %d that are there", len(got.pairs), len(want.pairs))
			}
			if !maps.Equal(contents(t, dir), before) {
				t.Error("looking has changed the directory")
			}
		})
	}
}

// unguarded says that an engine does not find a byte that is changed in a file,
// or not everywhere: nothing that counts stands there.
func unguarded(engine, file string) bool {
	switch engine {
	case "pebble":
		return strings.HasPrefix(file, "OPTIONS-")
	case "badger": // of the value log, what is not the value of a key any more
		return file == "DISCARD" || file == "KEYREGISTRY" || strings.HasSuffix(file, ".vlog")
	}
	return engine == "bolt" // in whose one file there are free pages
}

// TestCheckFindsFlippedBytes flips bytes all over the files of the engines on
// libraries. It is found, or it has changed nothing that is stored. And looking at
// what is damaged must not change it further.
func TestCheckFindsFlippedBytes(t *testing.T) {
	for _, engine := range []string{"pebble", "bolt", "badger"} {
		t.Run(engine, func(t *testing.T) {
			f := flipper{engine: engine, dir: t.TempDir()}
			stocked(t, engine, f.dir)
			var err error
			if f.whole, err = look(f.dir); err != nil {
				t.Fatal(err)
			}
			for file := range contents(t, filepath.Join(f.dir, engine)) {
				f.flip(t, file)
			}
			t.Logf("%d found, %d without an effect", f.found, f.silent)
			if f.found == 0 {
				t.Error("no flip is found")
			}
		})
	}
}

type flipper struct {
	engine, dir   string
	whole         *looked
	found, silent int
}

// flip flips some bytes of a file in turn.
func (f *flipper) flip(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(file)
	used := len(bytes.TrimRight(b, "\x00"))
	const flips = 10
	for i := range min(flips, used) {
		at := (used - 1) * i / min(flips, used)
		b[at] ^= 0x21
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		before := contents(t, f.dir)
		got, err := look(f.dir)
		if !maps.Equal(contents(t, f.dir), before) {
			t.Fatalf("byte %d of %s flipped: looking has changed the directory", at, name)
		}
		switch {
		case err != nil || got.damaged():
			f.found++
		case !unguarded(f.engine, name):
			t.Errorf("byte %d of %s flipped, and nothing is said", at, name)
		case got.shows(f.whole):
			f.silent++
		default:
			t.Errorf("byte %d of %s flipped, which has changed what is stored, and nothing is said", at, name)
		}
		b[at] ^= 0x21
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
