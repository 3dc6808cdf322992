package bolt_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/bolt"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// report is what a check has found.
type report struct {
	faults      []storage.Fault
	pairs       map[string]string
	done, total int64
}

func (r *report) Fault(f storage.Fault)      { r.faults = append(r.faults, f) }
func (r *report) Note(_, _ string)           {}
func (r *report) Progress(done, total int64) { r.done, r.total = done, total }
func (r *report) Pair(key, value []byte)     { r.pairs[string(key)] = string(value) }

func check(dir string) (*report, error) { return checkOn(vfs.OS(), dir) }

func checkOn(fs vfs.FS, dir string) (*report, error) {
	r := &report{pairs: make(map[string]string)}
	return r, bolt.Check(dir, storage.CheckOptions{FS: vfs.ReadOnly(fs)}, r)
}

// stocked makes a store of a few levels, with values of all kinds of sizes, some
// of them replaced and some deleted, closes it and returns what is in it.
func stocked(t testing.TB) (dir string, pairs map[string]string) {
	t.Helper()
	dir, pairs = filepath.Join(t.TempDir(), "bolt"), make(map[string]string)
	e := mustOpen(t, options(dir, true))
	for round := range 2 {
		var batch []core.Write
		for i := range 30 {
			key := fmt.Sprintf("key %d", i)
			if i%7 == 6 && round == 1 {
				batch = append(batch, core.Write{Key: []byte(key), Delete: true})
				delete(pairs, key)
				continue
			}
			value := strings.Repeat(fmt.Sprintf("%d/%d,", round, i), 1+i*i/12)
			batch = append(batch, core.Write{Key: []byte(key), Value: []byte(value)})
			pairs[key] = value
		}
		batch = append(batch, core.Write{Key: []byte("large"), Value: bytes.Repeat([]byte("l"), 10_000)}, core.Write{Key: []byte{}})
		if err := commit(e, batch...); err != nil {
			t.Fatal(err)
		}
	}
	pairs["large"], pairs[""] = strings.Repeat("l", 10_000), ""
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, pairs
}

// flips calls f with bytes of the file changed in turn, as far as it is used: of a
// run of equal ones, which are one like the other, with one for many. It says for
// how many a byte stands. The bytes of a page's head, whose numbers may be too
// large or too small, are changed in several ways.
func flips(t *testing.T, path string, f func(at, many int)) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	write := func(at int, is byte) {
		if _, err := file.WriteAt([]byte{is}, int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	used := len(bytes.TrimRight(b, "\x00"))
	for at, many := 0, 1; at < used; at += many {
		const run = 64
		if many = 1; at > 0 && at+2*run < used && bytes.Count(b[at-1:at+2*run], b[at:at+1]) == 2*run+1 {
			many = run
		}
		changed := []byte{b[at] - 1}
		if at%os.Getpagesize() < 32 && b[at] > 1 {
			changed = append(changed, 0, b[at]^0x55)
		}
		for _, is := range changed {
			write(at, is)
			f(at, many)
		}
		write(at, b[at])
	}
}

// TestCheckFindsEveryByte changes each byte of a store in turn: it is found, or it
// is one that nothing reads, so that all is there as it was.
func TestCheckFindsEveryByte(t *testing.T) {
	dir, pairs := stocked(t)
	whole, err := check(dir)
	if err != nil || len(whole.faults) > 0 || !maps.Equal(whole.pairs, pairs) || whole.done != whole.total {
		t.Fatalf("of a whole store: %v, %+v", err, whole.faults)
	}
	stored := 0
	for k, v := range pairs {
		stored += len(k) + len(v)
	}
	flipped, found, silent := 0, 0, 0
	flips(t, filepath.Join(dir, "data.bolt"), func(at, many int) {
		flipped++
		switch r, err := check(dir); {
		case err != nil || len(r.faults) > 0:
			found += many
		case maps.Equal(r.pairs, pairs):
			silent += many
		default:
			t.Errorf("byte %d flipped, which has changed what is stored, and nothing is said", at)
		}
	})
	t.Logf("%d flips, for %d bytes that are found and %d that nothing reads; %d bytes are stored", flipped, found, silent, stored)
	if found < stored {
		t.Errorf("%d bytes are found to be flipped, and %d are stored", found, stored)
	}
}

// TestCheckInline looks at a store that is so small that its pairs stand in the
// page of the buckets.
func TestCheckInline(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "bolt")
	e := mustOpen(t, options(dir, true))
	if err := errors.Join(commit(e, core.Write{Key: []byte("key"), Value: []byte("value")}), e.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := check(dir)
	if want := map[string]string{"key": "value"}; err != nil || len(r.faults) > 0 || !maps.Equal(r.pairs, want) {
		t.Errorf("%v, %+v, %q", err, r.faults, r.pairs)
	}
	overwrite(t, dir, "value", "worth")
	r, err = check(dir)
	if err != nil || len(r.faults) != 1 || string(r.faults[0].Key) != "key" || len(r.pairs) != 0 {
		t.Errorf("with another value: %v, %+v, %q; want the key to be damaged", err, r.faults, r.pairs)
	}
}

// overwrite replaces a text in a store's file, wherever it stands.
func overwrite(t *testing.T, dir, text, by string) {
	t.Helper()
	path := filepath.Join(dir, "data.bolt")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(text)) || len(text) != len(by) {
		t.Fatalf("%q cannot be replaced by %q", text, by)
	}
	if err := os.WriteFile(path, bytes.ReplaceAll(b, []byte(text), []byte(by)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestFormats opens and checks stores of other formats than that of this program,
// and one that has none: each is told what it is, and stays as it was.
func TestFormats(t *testing.T) {
	for _, test := range []struct {
		bucket, says string
		want         error
	}{
		{"data", "format 1, without checksums, and this program knows 2 only; move the data", storage.ErrForeign},
		{"data3", "format 3, and this program knows 2; use the newer program", storage.ErrForeign},
		{"papers", `it has no bucket "data2"`, storage.ErrDamaged},
	} {
		dir := filepath.Join(t.TempDir(), "bolt")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "data.bolt")
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket([]byte(test.bucket))
			return errors.Join(err, b.Put([]byte("kkey"), []byte("value")))
		}), db.Close()); err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := bolt.Open(options(dir, false)); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, %v", test.bucket, e, err)
		}
		r, err := check(dir)
		if errors.Is(test.want, storage.ErrDamaged) {
			if len(r.faults) != 1 || !strings.Contains(r.faults[0].What, test.says) {
				t.Errorf("%s: the check finds %+v, %v", test.bucket, r.faults, err)
			}
		} else if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: the check: %+v, %v", test.bucket, r.faults, err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%s: the file has changed, %v", test.bucket, err)
		}
	}
}

// FuzzCheck looks at a store of which something is overwritten: it ends, and what
// it shows is what was stored or less.
func FuzzCheck(f *testing.F) {
	if corpus, err := os.ReadDir(filepath.Join("testdata", "fuzz", "FuzzCheck")); err != nil || len(corpus) == 0 {
		f.Fatalf("no committed corpus: %v", err)
	}
	dir, pairs := stocked(f)
	whole, err := os.ReadFile(filepath.Join(dir, "data.bolt"))
	if err != nil {
		f.Fatal(err)
	}
	whole = bytes.TrimRight(whole, "\x00")
	whole = append(whole, make([]byte, os.Getpagesize()-len(whole)%os.Getpagesize())...)
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		b := bytes.Clone(whole)
		copy(b[int(at)%len(b):], patch)
		fs := vfs.NewDisk().FS()
		file, err := fs.Create("data.bolt", "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = file.Write(b)
		if err := errors.Join(err, file.Close()); err != nil {
			t.Fatal(err)
		}
		r, err := checkOn(fs, "")
		if err != nil && !errors.Is(err, storage.ErrForeign) {
			t.Errorf("the check: %v", err)
		}
		older := slices.ContainsFunc(r.faults, func(f storage.Fault) bool { return strings.Contains(f.What, "a start goes by the other") })
		for key, value := range r.pairs {
			if pairs[key] != value && !older {
				t.Errorf("it shows %q with %.40q, which was not stored", key, value)
			}
		}
		if len(r.pairs) < len(pairs) && len(r.faults) == 0 && err == nil {
			t.Errorf("%d of %d pairs are shown, and nothing is said", len(r.pairs), len(pairs))
		}
	})
}
