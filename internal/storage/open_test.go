package storage_test

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/memory"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// durable returns a driver that makes a folder with one file, and finds it
// again: all that Open must know of a durable engine.
func durable(name string) storage.Driver {
	return storage.Driver{
		Name:    name,
		Durable: true,
		Open: func(dir string, create bool, o storage.Options) (storage.Engine, error) {
			path := o.FS.PathJoin(dir, "store")
			if !create {
				_, err := o.FS.Stat(path)
				return memory.New(), err
			}
			if _, err := o.FS.Stat(path); err == nil {
				return nil, errors.New("there is a store already")
			}
			if err := o.FS.MkdirAll(dir, 0o700); err != nil {
				return nil, err
			}
			f, err := o.FS.Create(path, "")
			if err != nil {
				return nil, err
			}
			if err := errors.Join(f.Sync(), f.Close(), syncDir(o.FS, dir)); err != nil {
				return nil, err
			}
			return memory.New(), nil
		},
	}
}

func syncDir(fs vfs.FS, dir string) error {
	d, err := fs.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// drivers are two durable engines and one that is not.
func drivers() []storage.Driver {
	return []storage.Driver{durable("red"), durable("blue"), memory.Driver()}
}

func open(o storage.Options) (storage.Engine, storage.Identity, error) {
	return storage.Open(o, drivers()...)
}

// start opens and closes a data directory, which must succeed.
func start(t *testing.T, o storage.Options) storage.Identity {
	t.Helper()
	e, identity, err := open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return identity
}

func TestOpen(t *testing.T) {
	o := storage.Options{Engine: "red", Node: "n1", Dir: filepath.Join(t.TempDir(), "deep", "down")}
	first := start(t, o)
	if want := (storage.Identity{Format: 1, Engine: "red", Node: "n1", Instance: first.Instance}); first != want {
		t.Errorf("the identity is %+v, want %+v", first, want)
	}
	if again := start(t, o); again != first {
		t.Errorf("the identity is %+v at the next start, and was %+v", again, first)
	}
	o.Dir = t.TempDir()
	if other := start(t, o); other.Instance == first.Instance {
		t.Error("two directories have the same instance")
	}
}

func TestOpenMemory(t *testing.T) {
	o := storage.Options{Engine: "memory", Node: "n1", Dir: filepath.Join(t.TempDir(), "unused")}
	if a, b := start(t, o), start(t, o); a.Instance == b.Instance {
		t.Error("an engine that starts empty has the instance of the one before")
	}
	if _, err := os.Stat(o.Dir); !os.IsNotExist(err) {
		t.Errorf("the directory of an engine that needs none: %v", err)
	}
}

// TestOptions has every fault reported, and all at once.
func TestOptions(t *testing.T) {
	_, _, err := open(storage.Options{Engine: "green", Node: "n~1", CacheBytes: -1})
	for _, want := range []string{`"green" is not known; there are: red, blue, memory`, `node ID "n~1"`, "cache of -1 bytes"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not say %q", err, want)
		}
	}
	_, _, err = open(storage.Options{Engine: "red", Node: "n1"})
	if err == nil || !strings.Contains(err.Error(), "needs a data directory") {
		t.Errorf("no directory: %v", err)
	}
}

// TestRefused opens directories that are not this node's. Nothing in them may
// change.
func TestRefused(t *testing.T) {
	const newer = `{"format": 2}`
	const red = `{"format": 1, "engine": "red", "node": "n1", "instance": "000000000000002a"}`
	for _, test := range []struct {
		name  string
		files map[string]string
		want  error
		says  string
	}{
		{"another engine", map[string]string{"identity.json": strings.Replace(red, "red", "blue", 1), "blue/store": ""}, storage.ErrForeign, `engine "blue", and "red" is configured`},
		{"an engine not known here", map[string]string{"identity.json": strings.Replace(red, "red", "green", 1), "green/x": ""}, storage.ErrForeign, `engine "green"`},
		{"another node", map[string]string{"identity.json": strings.Replace(red, "n1", "n2", 1), "red/store": ""}, storage.ErrForeign, `node "n2", and this is "n1"`},
		{"a newer format", map[string]string{"identity.json": newer, "red/store": ""}, storage.ErrForeign, "format 2"},
		{"other files", map[string]string{"thesis.txt": "all of it"}, storage.ErrForeign, `"thesis.txt"`},
		{"a store without an identity", map[string]string{"red/store": ""}, storage.ErrDamaged, "no identity.json"},
		{"an identity without a store", map[string]string{"identity.json": red}, storage.ErrDamaged, `"red" is missing`},
		{"a damaged identity", map[string]string{"identity.json": red[:40], "red/store": ""}, storage.ErrDamaged, "identity"},
		{"an empty identity", map[string]string{"identity.json": "", "red/store": ""}, storage.ErrDamaged, "identity"},
		{"an incomplete store", map[string]string{"identity.json": red, "red/other": ""}, nil, "store"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			fill(t, dir, test.files)
			e, _, err := open(storage.Options{Engine: "red", Node: "n1", Dir: dir})
			if err == nil {
				t.Fatalf("it opens; close: %v", e.Close())
			}
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), dir) {
				t.Errorf("%v: does not say %q, or where", err, test.says)
			}
			same(t, dir, test.files)
		})
	}
}

// fill makes files by their paths in dir.
func fill(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// same checks that dir has the files, and no others but a lock.
func same(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == "LOCK" {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		if want, ok := files[filepath.ToSlash(name)]; err != nil || !ok || string(b) != want {
			t.Errorf("%s has changed: %q, %v", name, b, err)
		}
		found++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found != len(files) {
		t.Errorf("%d files are left of %d", found, len(files))
	}
}

// TestForeignIsNotTouched has not even a lock file made in a directory that
// is not ours.
func TestForeignIsNotTouched(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, map[string]string{"thesis.txt": "all of it"})
	if _, _, err := open(storage.Options{Engine: "red", Node: "n1", Dir: dir}); !errors.Is(err, storage.ErrForeign) {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "LOCK")); !os.IsNotExist(err) {
		t.Errorf("a lock file: %v", err)
	}
}

func TestNotADirectory(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, map[string]string{"file": "text"})
	for _, path := range []string{"file", "file/below"} {
		_, _, err := open(storage.Options{Engine: "red", Node: "n1", Dir: filepath.Join(dir, path)})
		if err == nil || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("%s: %v, want an error that says so", path, err)
		}
	}
	same(t, dir, map[string]string{"file": "text"})
}

// TestRootOfFileSystem takes a directory in which the system has put its own.
func TestRootOfFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	start(t, storage.Options{Engine: "red", Node: "n1", Dir: dir})
}

// TestUnfinished starts with another engine where the first start did not come
// to its end.
func TestUnfinished(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, map[string]string{
		"identity.json.tmp": `{"format": 1, "engine": "red", "node": "n1", "instance": "000000000000002a"}`,
		"red/store":         "",
	})
	if i := start(t, storage.Options{Engine: "blue", Node: "n2", Dir: dir}); i.Engine != "blue" || i.Node != "n2" {
		t.Errorf("the identity is %+v", i)
	}
	if _, err := os.Stat(filepath.Join(dir, "red")); !os.IsNotExist(err) {
		t.Errorf("the folder of the unfinished start: %v", err)
	}
}

func TestInUse(t *testing.T) {
	dir := t.TempDir()
	o := storage.Options{Engine: "red", Node: "n1", Dir: filepath.Join(dir, "data")}
	e, _, err := open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(o.Dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"data", "data/../data/.", "link"} {
		o.Dir = dir + string(filepath.Separator) + filepath.FromSlash(path)
		if e, _, err := open(o); !errors.Is(err, storage.ErrInUse) {
			t.Errorf("opened a second time as %s: %v, %v, want ErrInUse", path, e, err)
		}
	}
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Fatal(err)
	}
	start(t, o)
}

// TestReadOnly has the system refuse every change.
func TestReadOnly(t *testing.T) {
	for _, refusal := range []error{syscall.EROFS, syscall.EACCES} {
		disk := vfs.NewDisk()
		o := storage.Options{Engine: "red", Node: "n1", Dir: "data", FS: disk.FS()}
		start(t, o)
		o.FS = vfs.Watch(disk.FS(), func(op vfs.Op) error {
			if vfs.Mutates(op) || strings.HasSuffix(op.Path, "LOCK") {
				return &os.PathError{Op: "open", Path: op.Path, Err: refusal}
			}
			return nil
		})
		_, _, err := open(o)
		if !errors.Is(err, refusal) || !strings.Contains(err.Error(), "cannot be written to") {
			t.Errorf("%v: %v, want an error that says so", refusal, err)
		}
		o.Dir = "fresh"
		if _, _, err := open(o); !errors.Is(err, refusal) {
			t.Errorf("%v, a directory that is to be made: %v", refusal, err)
		}
	}
}

// TestFailingStart has each operation fail in turn while a directory is made,
// and crashes: the start after that makes it anew or goes on with it, and
// never stands before something that it cannot use.
func TestFailingStart(t *testing.T) {
	for at := int64(1); ; at++ {
		disk := vfs.NewDisk()
		var count atomic.Int64
		o := storage.Options{Engine: "red", Node: "n1", Dir: "var/lib/data"}
		o.FS = vfs.SplitWrites(vfs.Watch(disk.FS(), func(op vfs.Op) error {
			if vfs.Mutates(op) && count.Add(1) == at {
				return vfs.ErrInjected
			}
			return nil
		}))
		e, _, err := open(o)
		if count.Load() < at {
			if err != nil {
				t.Fatalf("nothing failed, and yet: %v", err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			t.Logf("%d operations failed in turn", at-1)
			return
		}
		if !errors.Is(err, vfs.ErrInjected) {
			t.Errorf("operation %d failed, and the start returns %v", at, err)
		}
		for _, keep := range []int{0, 50, 100} {
			o.FS = disk.PowerCut(rand.New(rand.NewPCG(uint64(at), 9)), keep).FS()
			first := start(t, o)
			if again := start(t, o); again != first {
				t.Errorf("operation %d failed: the identity is %+v, and was %+v", at, again, first)
			}
		}
	}
}
