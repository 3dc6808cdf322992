package lss_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/lss"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// report is what a check has found.
type report struct {
	faults      []storage.Fault
	notes       []string
	pairs       map[string]string
	done, total int64
}

func (r *report) Fault(f storage.Fault)      { r.faults = append(r.faults, f) }
func (r *report) Note(file, what string)     { r.notes = append(r.notes, file+": "+what) }
func (r *report) Progress(done, total int64) { r.done, r.total = done, total }

func (r *report) Pair(key, value []byte) {
	if _, ok := r.pairs[string(key)]; ok {
		panic(fmt.Sprintf("%q is shown twice", key))
	}
	r.pairs[string(key)] = string(value)
}

// lost returns the keys whose values are lost.
func (r *report) lost() (keys []string) {
	for _, f := range r.faults {
		if f.Cost == storage.CostRecord {
			keys = append(keys, string(f.Key))
		}
	}
	return keys
}

// found says that the report tells of anything that another does not.
func (r *report) found(than *report) bool {
	return len(r.faults) != len(than.faults) || !slices.Equal(r.notes, than.notes)
}

func check(t testing.TB, fs vfs.FS) *report {
	t.Helper()
	r := &report{pairs: make(map[string]string)}
	if err := lss.Check(vfs.ReadOnly(fs), "data", r); err != nil {
		t.Fatal(err)
	}
	return r
}

// shown returns what a store shows that is opened.
func shown(t testing.TB, fs vfs.FS) map[string]string {
	t.Helper()
	e := mustOpen(t, options(fs, false))
	pairs := make(map[string]string)
	for from := []byte{}; from != nil; {
		next, err := e.Scan(from, nil, core.Limit{Keys: 1 << 20, Bytes: 1 << 30}, func(k, v []byte) bool {
			pairs[string(k)] = string(v)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		from = next
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return pairs
}

// files returns all that is in a folder.
func files(t testing.TB, fs vfs.FS) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, name := range names(t, fs) {
		all[name] = string(read(t, fs, "data/"+name))
	}
	return all
}

// copied returns a folder of the same files.
func copied(t testing.TB, from vfs.FS) vfs.FS {
	t.Helper()
	fs := vfs.NewDisk().FS()
	if err := fs.MkdirAll("data", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, b := range files(t, from) {
		write(t, fs, "data/"+name, []byte(b))
	}
	return fs
}

// used returns a store that has been through merges, and whose files have been
// used more than once, as a clean stop leaves it.
func used(t testing.TB) vfs.FS {
	t.Helper()
	fs := vfs.NewDisk().FS()
	o := options(fs, true)
	for life := range 3 {
		o.Create = life == 0
		e := mustOpen(t, o)
		for i := range 150 + 70*life {
			value := strings.Repeat(fmt.Sprintf("%d %d ", life, i), 40+i%60)
			mustCommit(t, e, set(fmt.Sprintf("key %d", i%20), value), set(fmt.Sprintf("and %d", i%7), "small"))
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// TestCheckShowsTheStore: of stores that are whole, nothing is said, and what is
// shown is what the store would show; nothing is changed by looking. Where files
// have been used before, a piece of an old frame that later ones have cut may be
// noted, which is no damage.
func TestCheckShowsTheStore(t *testing.T) {
	crashed, closed := stores(t)
	_, unsealed := stores(t)
	lss.Unseal(t, unsealed.fs, "data")
	for name, fs := range map[string]vfs.FS{"crashed": crashed.fs, "closed": closed.fs, "unsealed": unsealed.fs, "used": used(t)} {
		t.Run(name, func(t *testing.T) {
			before := files(t, fs)
			r := check(t, fs)
			if !maps.Equal(files(t, fs), before) {
				t.Error("looking has changed the store")
			}
			if len(r.faults) != 0 || len(r.notes) != 0 && name != "used" {
				t.Errorf("it is whole, and is said to have %+v, %q", r.faults, r.notes)
			}
			if r.done != r.total || r.total == 0 {
				t.Errorf("%d of %d bytes looked at", r.done, r.total)
			}
			if want := shown(t, copied(t, fs)); !maps.Equal(r.pairs, want) || len(want) == 0 {
				t.Errorf("%d pairs are shown, and the store shows %d others", len(r.pairs), len(want))
			}
		})
	}
}

// TestCheckFindsEveryByte flips each byte of stores in turn: whatever the byte
// is for, something is said of it. One that is of use, or is in room that was
// never used, is damage; behind the last record it may be a torn write.
func TestCheckFindsEveryByte(t *testing.T) {
	crashed, closed := stores(t)
	for name, fs := range map[string]vfs.FS{"crashed": crashed.fs, "closed": closed.fs} {
		t.Run(name, func(t *testing.T) {
			whole := check(t, fs)
			flips := everyByte(t, fs, func(file string, at int) {
				switch r := check(t, fs); {
				case !r.found(whole):
					t.Errorf("byte %d of %s flipped, and nothing is said", at, file)
				case len(r.lost()) > 1:
					t.Errorf("byte %d of %s flipped: %q are lost; want one at most", at, file, r.lost())
				case len(r.pairs)+len(r.lost()) < len(whole.pairs) && name == "closed":
					t.Errorf("byte %d of %s flipped: %d pairs and %d lost, of %d", at, file, len(r.pairs), len(r.lost()), len(whole.pairs))
				}
			})
			t.Logf("%d bytes flipped", flips)
		})
	}
}

// everyByte calls f with each byte of a store flipped in turn.
func everyByte(t *testing.T, fs vfs.FS, f func(file string, at int)) (flips int) {
	t.Helper()
	for _, file := range names(t, fs) {
		whole := read(t, fs, "data/"+file)
		for at := 0; at < len(whole); at += stride(whole, at) {
			b := append([]byte(nil), whole...)
			b[at] ^= 0x55
			write(t, fs, "data/"+file, b)
			f(file, at)
			flips++
		}
		write(t, fs, "data/"+file, whole)
	}
	return flips
}

// TestCheckFindsBytesOfUsedFiles flips bytes all over a store whose files have
// been used before. In what an earlier use has left, there are pieces of frames
// that nothing tells of any more, each shorter than a frame: of the flips that
// are not found, every one is there.
func TestCheckFindsBytesOfUsedFiles(t *testing.T) {
	fs := used(t)
	whole := check(t, fs)
	ends := make(map[string]int)
	for _, file := range names(t, fs) {
		if ends[file] = len(read(t, fs, "data/"+file)); strings.HasSuffix(file, ".seg") {
			ends[file] = lss.End(t, fs, "data", file)
		}
	}
	missed := 0
	n := 0
	for _, file := range names(t, fs) {
		b := read(t, fs, "data/"+file)
		for at := n % 31; at < len(b); at += 31 {
			b[at] ^= 0x10
			write(t, fs, "data/"+file, b)
			b[at] ^= 0x10
			n++
			if check(t, fs).found(whole) {
				continue
			}
			missed++
			if at < ends[file] && !strings.HasSuffix(file, ".free") {
				t.Errorf("byte %d of %s flipped, which counts, and nothing is said", at, file)
			}
		}
		write(t, fs, "data/"+file, b)
	}
	t.Logf("%d bytes flipped, of which %d are in pieces that nothing tells of", n, missed)
	if most := n / 50; missed > most {
		t.Errorf("%d of %d flips are not found; want %d at most", missed, n, most)
	}
}
