package migrate_test

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/migrate"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
	"github.com/dynamo-kv/dynamo/internal/storage/lss"
	"github.com/dynamo-kv/dynamo/internal/storage/pebble"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small are the engines that run on a disk in memory, so small that tables are
// flushed and segments are sealed.
func small() []storage.Driver {
	l, p := lss.Driver(), pebble.Driver()
	l.Open = func(dir string, create bool, o storage.Options) (storage.Engine, error) {
		return lss.Open(lss.Options{
			Dir: dir, Create: create, FS: o.FS, Logger: o.Logger, OnFailure: o.OnFailure,
			SegmentBytes: 32 << 10,
			Background:   storage.AtRate(1 << 40),
		})
	}
	p.Open = func(dir string, create bool, o storage.Options) (storage.Engine, error) {
		return pebble.Open(pebble.Options{
			Dir: dir, Create: create, FS: o.FS, Logger: o.Logger, OnFailure: o.OnFailure,
			CacheBytes: 1 << 20, MemTableBytes: 64 << 10,
		})
	}
	return []storage.Driver{l, p}
}

// durable are the names of all engines that a migration can be of.
func durable() []string {
	var names []string
	for _, d := range engines.Drivers() {
		if d.Durable {
			names = append(names, d.Name)
		}
	}
	return names
}

// data is what a store holds.
type data map[string]string

// change returns writes that make up random changes, and has the data follow.
func (d data) change(rng *rand.Rand, keys int) []core.Write {
	var batch []core.Write
	for range keys {
		key := fmt.Sprintf("key/%03d", rng.IntN(4*keys))
		if rng.IntN(4) == 0 {
			delete(d, key)
			batch = append(batch, core.Write{Key: []byte(key), Delete: true})
			continue
		}
		value := strings.Repeat(fmt.Sprintf("%x,", rng.Uint64()), rng.IntN(60))
		d[key] = value
		batch = append(batch, core.Write{Key: []byte(key), Value: []byte(value)})
	}
	return batch
}

// odd are keys and values at the edges of what an engine takes.
func (d data) odd() []core.Write {
	maps.Copy(d, data{
		"empty value": "", "\x00": "\x00", "\xff\xff": "\xff", "\xff\xff\x00": "last",
		strings.Repeat("k", 4096): "a long key", "large": strings.Repeat("large ", 40_000),
	})
	var batch []core.Write
	for key, value := range d {
		batch = append(batch, core.Write{Key: []byte(key), Value: []byte(value)})
	}
	return batch
}

// node is a node's data directory.
type node struct {
	dir     string
	fs      vfs.FS
	drivers []storage.Driver
	data    data
}

// open opens the directory as a node does that is configured for an engine.
func (n *node) open(engine string) (storage.Engine, storage.Identity, error) {
	return storage.Open(storage.Options{Engine: engine, Dir: n.dir, Node: "n1", FS: n.fs, CacheBytes: 1 << 20}, n.drivers...)
}

// commit has the node run with an engine, and stop, having stored batches.
func (n *node) commit(t testing.TB, engine string, batches ...[]core.Write) storage.Identity {
	t.Helper()
	e, identity, err := n.open(engine)
	if err != nil {
		t.Fatal(err)
	}
	for _, batch := range batches {
		done := make(chan error, 1)
		e.Commit(batch, core.Sync, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return identity
}

// check opens the directory with an engine, and compares what it holds.
func (n *node) check(engine string, identity storage.Identity) error {
	e, got, err := n.open(engine)
	if err != nil {
		return err
	}
	identity.Engine = engine
	if got != identity {
		err = fmt.Errorf("the identity is %+v, want %+v", got, identity)
	}
	return errors.Join(err, n.data.equal(e), e.Close())
}

func (d data) equal(e storage.Engine) error {
	got := make(data)
	_, err := e.Scan(nil, nil, core.Limit{Keys: math.MaxInt, Bytes: math.MaxInt}, func(k, v []byte) bool {
		got[string(k)] = string(v)
		return true
	})
	if err != nil || maps.Equal(got, d) {
		return err
	}
	for key, want := range d {
		if value, ok := got[key]; !ok || value != want {
			return fmt.Errorf("key %.20q has %d bytes (%v), want %d", key, len(value), ok, len(want))
		}
	}
	return fmt.Errorf("it holds %d keys, want %d", len(got), len(d))
}

// options are those of a migration of the directory.
func (n *node) options(to string) migrate.Options {
	return migrate.Options{Dir: n.dir, To: to, FS: n.fs}.Small()
}

// names returns the entries of the directory.
func (n *node) names(t testing.TB) string {
	t.Helper()
	fs := n.fs
	if fs == nil {
		fs = vfs.OS()
	}
	names, err := fs.List(n.dir)
	if err != nil {
		t.Fatal(err)
	}
	found := make(data)
	for _, name := range names {
		found[name] = ""
	}
	return strings.Join(sorted(found), " ")
}
