package storage_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

func setAside(o storage.Options) (string, error) { return storage.SetAside(o, drivers()...) }

// TestSetAside: what was set aside is a whole data directory of the instance
// that it was, and the next start begins with an empty one.
func TestSetAside(t *testing.T) {
	o := storage.Options{Engine: "red", Node: "n1", Dir: t.TempDir()}
	before := start(t, o)
	folder, err := setAside(o)
	if err != nil {
		t.Fatal(err)
	}
	after := start(t, o)
	if after.Instance == before.Instance {
		t.Errorf("the instance is still %x", after.Instance)
	}
	if want := filepath.Join(o.Dir, fmt.Sprintf("aside-%016x-red", before.Instance)); folder != want {
		t.Errorf("the data is in %s; want %s", folder, want)
	}
	wantAside(t, vfs.OS(), o.Dir, before)
}

// wantAside fails unless that instance's data is aside, and whole once it has
// its old names back.
func wantAside(t *testing.T, fs vfs.FS, dir string, want storage.Identity) {
	t.Helper()
	name := fs.PathJoin(dir, fmt.Sprintf("aside-%016x", want.Instance))
	back := fs.PathJoin(dir, "back")
	if err := errors.Join(
		fs.MkdirAll(back, 0o700),
		fs.Rename(name+".json", fs.PathJoin(back, "identity.json")),
		fs.Rename(name+"-"+want.Engine, fs.PathJoin(back, want.Engine)),
	); err != nil {
		t.Error(err)
		return
	}
	if got := start(t, storage.Options{Engine: want.Engine, Node: want.Node, Dir: back, FS: fs}); got != want {
		t.Errorf("set aside is %+v; it was %+v", got, want)
	}
}

func TestSetAsideOfNothing(t *testing.T) {
	for _, o := range []storage.Options{
		{Engine: "red", Node: "n1", Dir: t.TempDir()},
		{Engine: "memory", Node: "n1"},
	} {
		if folder, err := setAside(o); folder != "" || err != nil {
			t.Errorf("%s: %q, %v", o.Engine, folder, err)
		}
	}
}

func TestSetAsideInUse(t *testing.T) {
	o := storage.Options{Engine: "red", Node: "n1", Dir: t.TempDir()}
	e, _, err := open(o)
	if err != nil {
		t.Fatal(err)
	}
	if folder, err := setAside(o); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("set aside while it is open: %q, %v", folder, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestSetAsideIsInterrupted has each operation fail in turn, and crashes: the
// start after that opens the data as it was, or an empty store with the data
// whole beside it.
func TestSetAsideIsInterrupted(t *testing.T) {
	for at := int64(1); ; at++ {
		disk := vfs.NewDisk()
		o := storage.Options{Engine: "red", Node: "n1", Dir: "data", FS: disk.FS()}
		before := start(t, o)
		var count atomic.Int64
		o.FS = vfs.SplitWrites(vfs.Watch(disk.FS(), func(op vfs.Op) error {
			if vfs.Mutates(op) && count.Add(1) == at {
				return vfs.ErrInjected
			}
			return nil
		}))
		folder, err := setAside(o)
		if count.Load() < at {
			if err != nil {
				t.Fatalf("nothing failed, and yet: %v", err)
			}
			t.Logf("%d operations failed in turn", at-1)
			return
		}
		if !errors.Is(err, vfs.ErrInjected) {
			t.Errorf("operation %d failed, and it returns %q, %v", at, folder, err)
		}
		for _, keep := range []int{0, 50, 100} {
			o.FS = disk.PowerCut(rand.New(rand.NewPCG(uint64(at), 9)), keep).FS()
			// The model lets a rename leave both names, which is no single step.
			if _, err := o.FS.Stat(fmt.Sprintf("data/aside-%016x-red", before.Instance)); err == nil {
				if err := o.FS.RemoveAll("data/red"); err != nil {
					t.Fatal(err)
				}
			}
			if after := start(t, o); after == before {
				continue
			}
			wantAside(t, o.FS, o.Dir, before)
		}
	}
}
