package bolt_test

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/bolt"
)

// filled makes a store with some large values, closes it, and returns the path
// of its folder.
func filled(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bolt")
	e := mustOpen(t, options(dir, true))
	var batch []core.Write
	for i := range byte(100) {
		batch = append(batch, core.Write{Key: []byte{i}, Value: make([]byte, 10_000)})
	}
	if err := errors.Join(commit(e, batch...), e.Close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func commit(e storage.Engine, batch ...core.Write) error {
	done := make(chan error, 1)
	e.Commit(batch, core.Sync, func(err error) { done <- err })
	return <-done
}

// TestFull has a file that may not grow any further: the batch that needs more
// fails with the engine, and what was durable before is there at the next start.
func TestFull(t *testing.T) {
	dir := filled(t)
	o := options(dir, false)
	o.MaxBytes = 64 << 20
	e := mustOpen(t, o)
	durable := 0
	var err error
	for ; err == nil && durable < 20; durable++ {
		err = commit(e, core.Write{Key: []byte{200, byte(durable)}, Value: make([]byte, 10<<20)})
	}
	durable--
	if durable < 1 || !errors.Is(err, storage.ErrFailed) {
		t.Errorf("after %d batches: %v, want ErrFailed after some", durable, err)
	}
	if err := commit(e); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("the batch after that: %v, want ErrFailed", err)
	}
	if err := e.Close(); !errors.Is(err, storage.ErrFailed) {
		t.Errorf("close: %v, want ErrFailed", err)
	}
	e = mustOpen(t, options(dir, false))
	for i := range durable {
		if v, err := e.Get([]byte{200, byte(i)}); err != nil || len(v) != 10<<20 {
			t.Errorf("batch %d, which was durable, reads %d bytes, %v", i, len(v), err)
		}
	}
	if _, err := e.Get([]byte{200, byte(durable)}); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("the batch that failed: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// TestMissing opens folders without a complete store, in which bbolt would
// begin anew.
func TestMissing(t *testing.T) {
	dir := t.TempDir()
	if e, err := bolt.Open(options(filepath.Join(dir, "absent"), false)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that does not exist: %v, %v", e, err)
	}
	if e, err := bolt.Open(options(dir, false)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty folder: %v, %v", e, err)
	}
	if e, err := bolt.Open(options(dir, true)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a folder that is there and is to be made: %v, %v", e, err)
	}
	path := filepath.Join(dir, "data.bolt")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e, err := bolt.Open(options(dir, false)); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("an empty file: %v, %v", e, err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 0 {
		t.Errorf("the empty file was written to: %v, %v", info, err)
	}
}

// TestDamage overwrites pages, and cuts the file, from under a store: bbolt
// panics or faults, and the engine says that it has failed.
func TestDamage(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(t *testing.T, path string)
	}{
		{"overwritten", func(t *testing.T, path string) {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for i := 2 * os.Getpagesize(); i < len(b); i++ { // all but the two pages that bbolt starts from
				b[i] = 0xa5
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{"cut", func(t *testing.T, path string) {
			if err := os.Truncate(path, int64(4*os.Getpagesize())); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := filled(t)
			test.damage(t, filepath.Join(dir, "data.bolt"))
			e, err := bolt.Open(options(dir, false))
			if errors.Is(err, storage.ErrDamaged) {
				return // it is found when it is opened
			}
			if err != nil {
				t.Fatal(err)
			}
			_, err = e.Scan(nil, nil, core.Limit{Keys: 1000, Bytes: 1 << 30}, func(_, _ []byte) bool { return true })
			if !errors.Is(err, storage.ErrFailed) || !errors.Is(err, storage.ErrDamaged) {
				t.Errorf("scan: %v, want ErrFailed and ErrDamaged", err)
			}
			if err := e.Close(); !errors.Is(err, storage.ErrFailed) {
				t.Errorf("close: %v, want ErrFailed", err)
			}
		})
	}
}

// TestCutInUse cuts the file while it is open.
func TestCutInUse(t *testing.T) {
	for name, test := range map[string]struct {
		pages int
		use   func(e storage.Engine) error
	}{
		"get": {4, func(e storage.Engine) error {
			_, err := e.Get([]byte{50})
			return err
		}},
		"scan": {0, func(e storage.Engine) error {
			_, err := e.Scan(nil, nil, core.Limit{Keys: 1000, Bytes: 1 << 30}, func(_, _ []byte) bool { return true })
			return err
		}},
		"commit":      {0, func(e storage.Engine) error { return commit(e, core.Write{Key: []byte("key")}) }},
		"commit late": {2, func(e storage.Engine) error { return commit(e, core.Write{Key: []byte("key")}) }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			told := make(chan error, 1)
			o := options(dir, false)
			o.OnFailure = func(err error) { told <- err }
			e := mustOpen(t, o)
			if err := os.Truncate(filepath.Join(dir, "data.bolt"), int64(test.pages*os.Getpagesize())); err != nil {
				t.Fatal(err)
			}
			for _, err := range []error{test.use(e), <-told, e.Close()} {
				if !errors.Is(err, storage.ErrFailed) {
					t.Errorf("told of %v, want ErrFailed", err)
				}
			}
		})
	}
}

// TestDamagedValue reads records of which the disk has changed something: an
// error that stops the engine, never another value or a missing one.
func TestDamagedValue(t *testing.T) {
	const key, value = "the key", "a value that is not to change"
	for name, damage := range map[string]string{
		"value": value[:5] + "E" + value[6:],
		"ends":  value[:len(value)-1] + "\x00",
	} {
		t.Run(name, func(t *testing.T) {
			dir := filled(t)
			e := mustOpen(t, options(dir, false))
			if err := errors.Join(commit(e, core.Write{Key: []byte(key), Value: []byte(value)}), e.Close()); err != nil {
				t.Fatal(err)
			}
			overwrite(t, dir, value, damage)
			for what, read := range map[string]func(storage.Engine) error{
				"get": func(e storage.Engine) error {
					_, err := e.Get([]byte(key))
					return err
				},
				"scan": func(e storage.Engine) error {
					_, err := e.Scan(nil, nil, core.Limit{Keys: 1000, Bytes: 1 << 30}, func(_, _ []byte) bool { return true })
					return err
				},
			} {
				told := make(chan error, 1)
				o := options(dir, false)
				o.OnFailure = func(err error) { told <- err }
				e := mustOpen(t, o)
				if _, err := e.Get([]byte{50}); err != nil {
					t.Errorf("%s: the record beside it: %v", what, err)
				}
				err := read(e)
				if !errors.Is(err, storage.ErrFailed) || !errors.Is(err, storage.ErrDamaged) || !strings.Contains(err.Error(), `"the key"`) {
					t.Errorf("%s: %v, want ErrFailed, ErrDamaged and the key", what, err)
				}
				if err := <-told; !errors.Is(err, storage.ErrFailed) {
					t.Errorf("%s: told of %v, want ErrFailed", what, err)
				}
				if err := e.Close(); !errors.Is(err, storage.ErrFailed) {
					t.Errorf("close: %v, want ErrFailed", err)
				}
			}
		})
	}
}

// TestDamagedMeta opens stores of which one of the two meta pages is damaged. The
// library goes by the other one without a word, which is another store where the
// newer one is damaged; so it is told in the log.
func TestDamagedMeta(t *testing.T) {
	for page := range 2 {
		dir := filled(t)
		path := filepath.Join(dir, "data.bolt")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[page*os.Getpagesize()+20] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var log strings.Builder
		o := options(dir, false)
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		e := mustOpen(t, o)
		_, err = e.Get([]byte{50}) // written by the newest transaction
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		says := "the older one of the two meta pages is damaged"
		if err != nil {
			says = "what was committed last before the stop is lost"
		}
		if !strings.Contains(log.String(), says) {
			t.Errorf("meta page %d is damaged, the key reads %v, and the log %q; want %q", page, err, log.String(), says)
		}
	}
}
