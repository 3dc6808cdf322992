package engines_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// eachDurable runs a test for every durable engine.
func eachDurable(t *testing.T, test func(t *testing.T, d storage.Driver)) {
	for _, driver := range engines.Drivers() {
		if driver.Durable {
			t.Run(driver.Name, func(t *testing.T) { test(t, driver) })
		}
	}
}

// filled makes a data directory with one pair in it, and closes it.
func filled(t *testing.T, engine string) storage.Options {
	t.Helper()
	o := storage.Options{Engine: engine, Dir: t.TempDir(), Node: "n1"}
	e, _, err := engines.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	put(t, e, "key", "value")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return o
}

// holds opens a directory that filled made, and checks that the pair is there.
func holds(t *testing.T, o storage.Options) {
	t.Helper()
	e, _, err := engines.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := e.Get([]byte("key")); err != nil || string(v) != "value" {
		t.Errorf("the key reads %q, %v", v, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// digests returns the hashes of all files in a directory but the lock.
func digests(t *testing.T, dir string) map[string][sha256.Size]byte {
	t.Helper()
	found := make(map[string][sha256.Size]byte)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || entry.Name() == "LOCK" && filepath.Dir(path) == dir {
			return err
		}
		b, err := os.ReadFile(path)
		found[path] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// refused checks that a directory does not open, that the error is the one
// that is wanted and says all that it should, and that nothing has changed.
func refused(t *testing.T, o storage.Options, want error, says ...string) {
	t.Helper()
	before := digests(t, o.Dir)
	e, _, err := engines.Open(o)
	if err == nil {
		t.Fatalf("it opens; close: %v", e.Close())
	}
	if !errors.Is(err, want) {
		t.Errorf("%v, want %v", err, want)
	}
	for _, text := range append(says, o.Dir) {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%v: does not say %q", err, text)
		}
	}
	if after := digests(t, o.Dir); !maps.Equal(before, after) {
		t.Errorf("%v: and yet its files have changed", err)
	}
}

// TestRefused opens the directories of each engine as what they are not.
func TestRefused(t *testing.T) {
	eachDurable(t, func(t *testing.T, d storage.Driver) {
		o := filled(t, d.Name)
		eachDurable(t, func(t *testing.T, other storage.Driver) {
			if other.Name == d.Name {
				return
			}
			wrong := o
			wrong.Engine = other.Name
			refused(t, wrong, storage.ErrForeign,
				fmt.Sprintf("written by the engine %q, and %q is configured; configure that engine, or another directory", d.Name, other.Name))
		})
		wrong := o
		wrong.Node = "n2"
		refused(t, wrong, storage.ErrForeign, `belongs to the node "n1", and this is "n2"; start the node under that ID, or give it another directory`)
		path := filepath.Join(o.Dir, "identity.json")
		identity, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		newer := strings.Replace(string(identity), `"format": 1`, `"format": 2`, 1)
		if err := os.WriteFile(path, []byte(newer), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, o, storage.ErrForeign, "format 2, and this program knows up to 1; use the newer program")
		if err := os.WriteFile(path, identity, 0o600); err != nil {
			t.Fatal(err)
		}
		holds(t, o)
	})
}

// TestLost removes what an engine needs from its folder: an error, and no new
// store in its place.
func TestLost(t *testing.T) {
	eachDurable(t, func(t *testing.T, d storage.Driver) {
		o := filled(t, d.Name)
		folder := filepath.Join(o.Dir, d.Name)
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		refused(t, o, storage.ErrDamaged, fmt.Sprintf("the engine's folder %q is missing; put it back", d.Name))
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if e, _, err := engines.Open(o); err == nil {
				t.Fatalf("with an empty folder it opens; close: %v", e.Close())
			}
		}
	})
}

// inUseDir and inUseEngine make TestInUse the second process.
const (
	inUseDir    = "DYNAMO_ENGINES_TEST_DIR"
	inUseEngine = "DYNAMO_ENGINES_TEST_ENGINE"
)

// TestInUse opens a directory that is open, from this process and from
// another.
func TestInUse(t *testing.T) {
	if dir := os.Getenv(inUseDir); dir != "" {
		_, _, err := engines.Open(storage.Options{Engine: os.Getenv(inUseEngine), Dir: dir, Node: "n1"})
		fmt.Printf("in use: %v: %v\n", errors.Is(err, storage.ErrInUse), err)
		return
	}
	eachDurable(t, func(t *testing.T, d storage.Driver) {
		o := filled(t, d.Name)
		e, _, err := engines.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if second, _, err := engines.Open(o); !errors.Is(err, storage.ErrInUse) {
			t.Errorf("opened a second time: %v, %v, want ErrInUse", second, err)
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestInUse$")
		cmd.Env = append(os.Environ(), inUseDir+"="+o.Dir, inUseEngine+"="+d.Name)
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("the second process: %v", err)
		}
		if !strings.Contains(string(out), "in use: true") || !strings.Contains(string(out), "stop that, or give this one another directory") {
			t.Errorf("the second process says %q", out)
		}
		put(t, e, "after", "that")
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		holds(t, o)
	})
}

// TestFullDisk has the disk be full from each operation of a first start on.
// The start says so, and the next one, with room, makes the directory anew.
// The tests of lss have its operations fail, since each start of it in this one
// would fill whole segments.
func TestFullDisk(t *testing.T) {
	for at := 1; ; at++ {
		disk := vfs.NewDisk()
		var fault counter
		o := storage.Options{Engine: "pebble", Dir: "data", Node: "n1", FS: fault.from(disk.FS(), at, syscall.ENOSPC)}
		e, _, err := engines.Open(o)
		if !fault.reached(at) {
			if err != nil {
				t.Fatalf("nothing failed, and yet: %v", err)
			}
			_ = e.Close() // which meets the full disk, and may fail
			t.Logf("full from each of %d operations on", at-1)
			return
		}
		switch {
		case err == nil: // what failed was in the background, and later
			if err = e.Close(); err == nil {
				t.Errorf("operation %d: the disk is full, and nobody was told", at)
			}
		case !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the disk is full: make room on it"):
			t.Errorf("operation %d: %v, want an error that says what to do", at, err)
		}
		o.FS = disk.FS()
		e, _, err = engines.Open(o)
		if err != nil {
			t.Fatalf("operation %d: with room again: %v", at, err)
		}
		put(t, e, "key", "value")
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestReadOnlyDisk starts on a disk that takes nothing, with a store on it.
func TestReadOnlyDisk(t *testing.T) {
	for _, engine := range []string{"pebble", "lss"} {
		t.Run(engine, func(t *testing.T) {
			disk := vfs.NewDisk()
			o := storage.Options{Engine: engine, Dir: "data", Node: "n1", FS: disk.FS()}
			e, _, err := engines.Open(o)
			if err != nil {
				t.Fatal(err)
			}
			put(t, e, "key", "value")
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			var fault counter
			o.FS = fault.from(disk.FS(), 1, syscall.EROFS)
			if e, _, err := engines.Open(o); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), "read-only: mount it for writing") {
				t.Errorf("%v, %v, want an error that says what to do", e, err)
			}
			o.FS = disk.FS()
			holds(t, o)
		})
	}
}

// TestOwnFileSystem has the engines that cannot run on a disk in memory say so.
func TestOwnFileSystem(t *testing.T) {
	for _, engine := range []string{"bolt", "badger"} {
		o := storage.Options{Engine: engine, Dir: "data", Node: "n1", FS: vfs.NewDisk().FS()}
		if e, _, err := engines.Open(o); err == nil || !strings.Contains(err.Error(), "the machine's own file system only") {
			t.Errorf("%s: %v, %v, want an error that says so", engine, e, err)
		}
	}
}
