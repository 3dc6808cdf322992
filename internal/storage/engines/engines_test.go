package engines_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// TestMain lets pass what badger itself leaves behind where its Open fails.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreTopFunction("github.com/dgraph-io/badger/v4.(*DB).monitorCache"),
		goleak.IgnoreTopFunction("github.com/dgraph-io/ristretto/v2/z.(*AllocatorPool).freeupAllocators"))
}

// put commits one pair, durably.
func put(t *testing.T, e storage.Engine, key, value string) {
	t.Helper()
	done := make(chan error, 1)
	e.Commit([]core.Write{{Key: []byte(key), Value: []byte(value)}}, core.Sync, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestRestart stores with each engine, and looks what is left at the next
// start: all of it, or nothing and a new instance.
func TestRestart(t *testing.T) {
	for _, driver := range engines.Drivers() {
		t.Run(driver.Name, func(t *testing.T) {
			o := storage.Options{Engine: driver.Name, Dir: t.TempDir(), Node: "n1"}
			var last storage.Identity
			for life := range 3 {
				e, identity, err := engines.Open(o)
				if err != nil {
					t.Fatal(err)
				}
				if same := identity == last; life > 0 && same != driver.Durable {
					t.Errorf("life %d: the identity is %+v, and was %+v", life, identity, last)
				}
				last = identity
				for before := range life {
					_, err := e.Get([]byte(fmt.Sprint(before)))
					if driver.Durable && err != nil || !driver.Durable && !errors.Is(err, core.ErrNotFound) {
						t.Errorf("life %d: what was stored in life %d: %v", life, before, err)
					}
				}
				put(t, e, fmt.Sprint(life), "value")
				if err := e.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func TestUnknownEngine(t *testing.T) {
	_, _, err := engines.Open(storage.Options{Engine: "papyrus", Dir: "unused", Node: "n1"})
	if err == nil || !strings.Contains(err.Error(), `"papyrus" is not known; there are: pebble, lss, bolt, badger, memory`) {
		t.Errorf("%v: does not name the engines that there are", err)
	}
}

// TestStoreIsMissing removes the engine's files from under the identity, in
// part and altogether: that is a loss, and no reason to begin anew.
func TestStoreIsMissing(t *testing.T) {
	for _, lost := range []string{"data/pebble", "data/pebble/*"} {
		fs := vfs.NewDisk().FS()
		o := storage.Options{Engine: "pebble", Dir: "data", Node: "n1", FS: fs}
		e, _, err := engines.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		put(t, e, "key", "value")
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if err := fs.RemoveAll("data/pebble"); err != nil {
			t.Fatal(err)
		}
		if lost == "data/pebble/*" {
			if err := fs.MkdirAll("data/pebble", 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if e, _, err := engines.Open(o); err == nil {
			t.Errorf("without %s it opens; close: %v", lost, e.Close())
		}
	}
}

// TestFailureIsTold has the disk fail under a running engine.
func TestFailureIsTold(t *testing.T) {
	var broken atomic.Bool
	told := make(chan error, 1)
	o := storage.Options{
		Engine: "pebble", Dir: "data", Node: "n1",
		FS: vfs.Watch(vfs.NewDisk().FS(), func(op vfs.Op) error {
			if broken.Load() && vfs.Syncs(op) {
				return vfs.ErrInjected
			}
			return nil
		}),
		OnFailure: func(err error) { told <- err },
	}
	e, _, err := engines.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	put(t, e, "key", "value")
	broken.Store(true)
	done := make(chan error, 1)
	e.Commit([]core.Write{{Key: []byte("key"), Value: []byte("new")}}, core.Sync, func(err error) { done <- err })
	for _, err := range []error{<-done, <-told, e.Close()} {
		if !errors.Is(err, storage.ErrFailed) || !errors.Is(err, vfs.ErrInjected) {
			t.Errorf("told of %v, want ErrFailed and its cause", err)
		}
	}
	broken.Store(false)
	if e, _, err = engines.Open(o); err != nil {
		t.Fatalf("at the next start: %v", err)
	}
	if v, err := e.Get([]byte("key")); err != nil || string(v) != "value" && string(v) != "new" {
		t.Errorf("after the failure the key reads %q, %v", v, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOnlyLSSScrubs: the other engines take what there is for scrubbing, and do
// nothing with it; an interval that makes no sense is refused for all.
func TestOnlyLSSScrubs(t *testing.T) {
	for _, driver := range engines.Drivers() {
		o := storage.Options{
			Engine: driver.Name, Dir: t.TempDir(), Node: "n1", ScrubInterval: time.Nanosecond,
			OnDamage: func(key []byte) { t.Errorf("%s tells that %q is lost", driver.Name, key) },
		}
		e, _, err := engines.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		put(t, e, "key", "value")
		if s := e.Stats().Scrub; driver.Name != "lss" && s != (storage.Scrub{}) {
			t.Errorf("%s scrubs: %+v", driver.Name, s)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		o.ScrubInterval = -1
		if e, _, err := engines.Open(o); err == nil || !strings.Contains(err.Error(), "scrub interval of -1ns") {
			t.Errorf("%s opens with a negative interval: %v, %v", driver.Name, e, err)
		}
	}
}
