package storage_test

import (
	"bytes"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// hold holds a directory that a node is to have left.
func hold(t *testing.T, o storage.Options) *storage.Offline {
	t.Helper()
	h, err := storage.HoldOffline(o, drivers()...)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// half begins a migration of the directory from red to blue, and leaves it.
func half(t *testing.T, o storage.Options) {
	t.Helper()
	h := hold(t, o)
	e, err := h.Begin("blue", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(e.Close(), h.Close()); err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, o storage.Options) []string {
	t.Helper()
	names, err := o.FS.List(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// TestOffline: what is held is what a node has left, and nobody else has it.
func TestOffline(t *testing.T) {
	o := storage.Options{Engine: "red", Node: "n1", Dir: "data", FS: vfs.NewDisk().FS()}
	identity := start(t, o)
	h := hold(t, storage.Options{Dir: "data", FS: o.FS})
	if h.Identity() != identity || h.Path() != "data" {
		t.Errorf("it is %+v in %s, want %+v", h.Identity(), h.Path(), identity)
	}
	for range 2 { // one after the other, under one lock
		e, err := h.Open()
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := open(o); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("a node while it is held: %v, want ErrInUse", err)
	}
	if _, err := storage.HoldOffline(o, drivers()...); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("held twice: %v, want ErrInUse", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	start(t, o)
}

// TestOfflineRefused: what is no node's directory, and nothing is left in it.
func TestOfflineRefused(t *testing.T) {
	fs := vfs.NewDisk().FS()
	o := storage.Options{Engine: "red", Node: "n1", Dir: "lost", FS: fs}
	start(t, o)
	if err := errors.Join(fs.RemoveAll("lost/red"), fs.MkdirAll("empty", 0o700), fs.MkdirAll("other/things", 0o700)); err != nil {
		t.Fatal(err)
	}
	green := storage.Options{Engine: "green", Node: "n1", Dir: "green", FS: fs}
	e, _, err := storage.Open(green, durable("green"))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		"":      "no data directory is named",
		"none":  "no such data directory",
		"empty": "it has no identity.json",
		"other": `it holds "things"`,
		"lost":  `folder "red" is missing`,
		"green": `the engine "green", which is not known here`,
	} {
		h, err := storage.HoldOffline(storage.Options{Dir: dir, FS: fs}, drivers()...)
		if err == nil {
			t.Fatalf("%q is held; close: %v", dir, h.Close())
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", dir, err, want)
		}
	}
	for _, dir := range []string{"empty", "other"} {
		if names, err := fs.List(dir); err != nil || slices.Contains(names, "LOCK") {
			t.Errorf("%s has %q, %v", dir, names, err)
		}
	}
}

// TestHalfMigrated: a node goes on with the engine that has the data, is told of
// what takes room on its disk, and is not started with the other one.
func TestHalfMigrated(t *testing.T) {
	var log bytes.Buffer
	o := storage.Options{Engine: "red", Node: "n1", Dir: "data", FS: vfs.NewDisk().FS(), Logger: slog.New(slog.NewTextHandler(&log, nil))}
	identity := start(t, o)
	half(t, o)
	log.Reset()
	if got := start(t, o); got != identity {
		t.Errorf("the identity is %+v, and was %+v", got, identity)
	}
	if !strings.Contains(log.String(), "a migration to another engine is half done") {
		t.Errorf("the log says %q", &log)
	}
	blue := o
	blue.Engine = "blue"
	if _, _, err := open(blue); !errors.Is(err, storage.ErrForeign) || !strings.Contains(err.Error(), `configure "red" until then`) {
		t.Errorf("with the engine to come: %v", err)
	}
	if want := []string{"LOCK", "blue", "identity.json", "migration.json", "red"}; !slices.Equal(list(t, o), want) {
		t.Errorf("the directory has %q, want %q", list(t, o), want)
	}
}

// TestStrayMigration: a migration that is not of this data is damage, whoever
// meets it.
func TestStrayMigration(t *testing.T) {
	o := storage.Options{Engine: "blue", Node: "n1", Dir: "data", FS: vfs.NewDisk().FS()}
	start(t, o)
	f, err := o.FS.Create("data/migration.json", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write([]byte(`{"format": 1, "from": "red", "to": "green"}`))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := open(o); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("a node: %v, want ErrDamaged", err)
	}
	if _, err := setAside(o); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("set aside: %v, want ErrDamaged", err)
	}
	h := hold(t, o)
	if _, err := h.Resume(); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("resumed: %v, want ErrDamaged", err)
	}
	if _, err := h.Begin("red", false); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("begun: %v, want ErrDamaged", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestMigrationIsInterrupted has each operation fail of a migration, of one that is
// abandoned, and of one that is half done when the data is set aside; and crashes.
// The start after that finds the data with the engine that the identity names, and
// what is left of the migration ends there.
func TestMigrationIsInterrupted(t *testing.T) {
	for name, act := range map[string]func(o storage.Options) error{
		"switch": func(o storage.Options) error { return migrateOn(o, false) },
		"keep":   func(o storage.Options) error { return migrateOn(o, true) },
		"abandon": func(o storage.Options) error {
			h, err := storage.HoldOffline(o, drivers()...)
			if err != nil {
				return err
			}
			return errors.Join(h.Abandon(), h.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			for at := int64(1); ; at++ {
				disk := vfs.NewDisk()
				o := storage.Options{Engine: "red", Node: "n1", Dir: "data", FS: disk.FS()}
				before := start(t, o)
				half(t, o)
				var count atomic.Int64
				o.FS = vfs.SplitWrites(vfs.Watch(disk.FS(), func(op vfs.Op) error {
					if vfs.Mutates(op) && count.Add(1) == at {
						return vfs.ErrInjected
					}
					return nil
				}))
				err := act(o)
				if count.Load() < at {
					if err != nil {
						t.Fatalf("nothing failed, and yet: %v", err)
					}
					t.Logf("%d operations failed in turn", at-1)
					return
				}
				if !errors.Is(err, vfs.ErrInjected) {
					t.Errorf("operation %d failed, and it returns %v", at, err)
				}
				for _, keep := range []int{0, 50, 100} {
					o.FS = disk.PowerCut(rand.New(rand.NewPCG(uint64(at), 9)), keep).FS()
					afterInterruption(t, o, before)
				}
			}
		})
	}
}

// migrateOn completes a migration from red to blue.
func migrateOn(o storage.Options, keep bool) (err error) {
	h, err := storage.HoldOffline(o, drivers()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	e, err := h.Begin("blue", keep)
	if err != nil {
		return err
	}
	if err := e.Close(); err != nil {
		return err
	}
	_, err = h.Switch()
	return err
}

func afterInterruption(t *testing.T, o storage.Options, before storage.Identity) {
	t.Helper()
	h := hold(t, o)
	o.Engine = h.Identity().Engine
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	want := before
	want.Engine = o.Engine
	if got := start(t, o); got != want {
		t.Errorf("the identity is %+v, want %+v", got, want)
	}
	names := list(t, o)
	if o.Engine == "blue" && (slices.Contains(names, "red") || slices.Contains(names, "migration.json")) {
		t.Errorf("after a start with the new engine there are %q", names)
	}
	if _, err := setAside(o); err != nil {
		t.Errorf("set aside: %v", err)
	}
	if fresh := start(t, o); fresh.Instance == before.Instance {
		t.Error("after it was set aside the data is still the node's")
	}
	wantAside(t, o.FS, o.Dir, want)
}

// TestLostIdentityBesideRemains: a switch that a crash interrupts leaves the
// identity that it was about to give, and a migration that is given up then
// leaves it there. Where later the true identity is lost, the data must not be
// taken for what an unfinished first start has left, which is removed.
func TestLostIdentityBesideRemains(t *testing.T) {
	disk := vfs.NewDisk()
	o := storage.Options{Engine: "red", Node: "n1", Dir: "data", FS: disk.FS()}
	start(t, o)
	failing := o
	failing.FS = vfs.Watch(disk.FS(), func(op vfs.Op) error {
		if op.Kind == errorfs.OpRename && strings.HasSuffix(op.Path, "identity.json.tmp") {
			return vfs.ErrInjected
		}
		return nil
	})
	h := hold(t, failing)
	e, err := h.Begin("blue", false)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Switch(); !errors.Is(err, vfs.ErrInjected) {
		t.Fatalf("the switch: %v, want the error of its renaming", err)
	}
	if err := errors.Join(h.Abandon(), h.Close()); err != nil {
		t.Fatal(err)
	}
	if err := o.FS.Remove("data/identity.json"); err != nil {
		t.Fatal(err)
	}
	for _, engine := range []string{"red", "blue"} {
		o.Engine = engine
		if e, _, err := open(o); !errors.Is(err, storage.ErrDamaged) {
			t.Errorf("%s: %v, %v, want ErrDamaged", engine, e, err)
		}
	}
	if _, err := o.FS.Stat("data/red/store"); err != nil {
		t.Errorf("the data: %v", err)
	}
}
