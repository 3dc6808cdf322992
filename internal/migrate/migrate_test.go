package migrate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/migrate"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

func sorted(d data) []string { return slices.Sorted(maps.Keys(d)) }

// osNode returns a node on the machine's disk.
func osNode(t testing.TB) *node {
	return &node{dir: t.TempDir(), drivers: engines.Drivers(), data: make(data)}
}

// memNode returns a node of some hundred keys on a disk in memory.
func memNode(t testing.TB, fs vfs.FS, engine string) (*node, storage.Identity) {
	t.Helper()
	n := &node{dir: "var/data", fs: fs, drivers: small(), data: make(data)}
	rng := rand.New(rand.NewPCG(1, 2))
	return n, n.commit(t, engine, n.data.change(rng, 40), n.data.change(rng, 40), n.data.change(rng, 40))
}

// TestEveryPair moves a node's data along a way over the engines on which each
// goes to each of the others once.
func TestEveryPair(t *testing.T) {
	for _, from := range durable() {
		for _, to := range durable() {
			if from == to {
				continue
			}
			t.Run(from+"-"+to, func(t *testing.T) {
				n := osNode(t)
				rng := rand.New(rand.NewPCG(3, 4))
				identity := n.commit(t, from, n.data.change(rng, 100), n.data.odd(), n.data.change(rng, 100))
				result, err := migrate.Run(t.Context(), migrate.Options{Dir: n.dir, From: from, To: to}, n.drivers...)
				if err != nil {
					t.Fatal(err)
				}
				identity.Engine = to
				if result.Identity != identity || result.Keys != uint64(len(n.data)) || result.Written != result.Keys || result.From != from {
					t.Errorf("%+v, want %d keys of %+v", result, len(n.data), identity)
				}
				if got, want := n.names(t), strings.Join(sorted(data{"LOCK": "", "identity.json": "", to: ""}), " "); got != want {
					t.Errorf("the directory has %s, want %s", got, want)
				}
				if err := n.check(to, identity); err != nil {
					t.Error(err)
				}
				if _, _, err := n.open(from); !errors.Is(err, storage.ErrForeign) {
					t.Errorf("with the old engine: %v, want ErrForeign", err)
				}
			})
		}
	}
}

// TestKeep keeps the old engine's files, there and back, and refuses to keep
// them over those that were kept before. What was set aside stays as it is.
func TestKeep(t *testing.T) {
	n := osNode(t)
	n.commit(t, "lss", n.data.odd())
	if _, err := engines.SetAside(storage.Options{Engine: "lss", Dir: n.dir, Node: "n1"}); err != nil {
		t.Fatal(err)
	}
	aside := n.names(t)
	n.data = make(data)
	identity := n.commit(t, "lss", n.data.odd())
	kept := func(engine string) string {
		return filepath.Join(n.dir, fmt.Sprintf("aside-%016x-%s-migrated", identity.Instance, engine))
	}
	for _, way := range [][2]string{{"lss", "pebble"}, {"pebble", "lss"}} {
		result, err := migrate.Run(t.Context(), migrate.Options{Dir: n.dir, To: way[1], Keep: true}, n.drivers...)
		if err != nil {
			t.Fatal(err)
		}
		if result.Kept != kept(way[0]) {
			t.Errorf("kept in %q, want %q", result.Kept, kept(way[0]))
		}
		if files, err := os.ReadDir(result.Kept); err != nil || len(files) == 0 {
			t.Errorf("what is kept has %d files, %v", len(files), err)
		}
		if err := n.check(way[1], identity); err != nil {
			t.Error(err)
		}
	}
	for name := range strings.SplitSeq(aside, " ") {
		if !strings.Contains(n.names(t), name) {
			t.Errorf("%s is gone", name)
		}
	}
	_, err := migrate.Run(t.Context(), migrate.Options{Dir: n.dir, To: "pebble", Keep: true}, n.drivers...)
	if !errors.Is(err, storage.ErrForeign) || !strings.Contains(err.Error(), "an earlier migration has kept") {
		t.Errorf("kept a second time: %v", err)
	}
	if err := n.check("lss", identity); err != nil {
		t.Error(err)
	}
	// Without --keep it goes.
	if _, err := migrate.Run(t.Context(), migrate.Options{Dir: n.dir, To: "pebble"}, n.drivers...); err != nil {
		t.Fatal(err)
	}
	if err := n.check("pebble", identity); err != nil {
		t.Error(err)
	}
	// A disk that is set aside after that has its own place.
	if _, err := engines.SetAside(storage.Options{Engine: "pebble", Dir: n.dir, Node: "n1"}); err != nil {
		t.Fatal(err)
	}
	if fresh := n.commit(t, "pebble"); fresh.Instance == identity.Instance {
		t.Error("after it was set aside the data is still the node's")
	}
}

// interrupted runs a migration until it has come to a number of keys of a phase.
func interrupted(t testing.TB, n *node, to string, at migrate.Phase, keys uint64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := n.options(to)
	o.Progress = func(p migrate.Progress) {
		if p.Phase == at && p.Keys >= keys {
			cancel()
		}
	}
	if _, err := migrate.Run(ctx, o, n.drivers...); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted: %v", err)
	}
}

// TestNodeInBetween has the node run while a migration is half done: it overwrites
// what was copied, deletes it and adds to it. Nothing of that is lost, and what it
// deleted does not come back.
func TestNodeInBetween(t *testing.T) {
	for _, way := range [][2]string{{"lss", "pebble"}, {"pebble", "lss"}} {
		t.Run(way[0]+"-"+way[1], func(t *testing.T) {
			n, identity := memNode(t, vfs.NewDisk().FS(), way[0])
			rng := rand.New(rand.NewPCG(5, 6))
			for i := range 4 {
				at := migrate.Copying
				if i == 2 {
					at = migrate.Verifying
				}
				interrupted(t, n, way[1], at, uint64(20*i))
				if _, _, err := n.open(way[1]); !errors.Is(err, storage.ErrForeign) || !strings.Contains(err.Error(), "complete it with dynamo migrate") {
					t.Errorf("a node of the engine to come: %v", err)
				}
				if err := n.check(way[0], identity); err != nil {
					t.Error(err)
				}
				n.commit(t, way[0], n.data.change(rng, 30))
			}
			result, err := migrate.Run(t.Context(), n.options(way[1]), n.drivers...)
			if err != nil {
				t.Fatal(err)
			}
			if result.Written == 0 || result.Deleted == 0 || result.Written >= result.Keys {
				t.Errorf("%d keys were copied and %d removed of %d: not what has changed alone", result.Written, result.Deleted, result.Keys)
			}
			if err := n.check(way[1], identity); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCopyIsBroken: a copy that cannot be opened is made anew.
func TestCopyIsBroken(t *testing.T) {
	for _, way := range ways() {
		n, identity := memNode(t, vfs.NewDisk().FS(), way[0])
		interrupted(t, n, way[1], migrate.Verifying, 1)
		names, err := n.fs.List(n.dir + "/" + way[1])
		if err != nil || len(names) == 0 {
			t.Fatalf("the copy has %q, %v", names, err)
		}
		for _, name := range names {
			if strings.HasPrefix(name, "MANIFEST") {
				if err := n.fs.Remove(n.dir + "/" + way[1] + "/" + name); err != nil {
					t.Fatal(err)
				}
			}
		}
		result, err := migrate.Run(t.Context(), n.options(way[1]), n.drivers...)
		if err != nil || result.Written != result.Keys {
			t.Errorf("%+v, %v; want all keys copied again", result, err)
		}
		if err := n.check(way[1], identity); err != nil {
			t.Error(err)
		}
	}
}

func TestAbort(t *testing.T) {
	n, identity := memNode(t, vfs.NewDisk().FS(), "lss")
	before := n.names(t)
	interrupted(t, n, "pebble", migrate.Copying, 20)
	m, err := migrate.Abort(n.options(""), n.drivers...)
	if err != nil || m.From != "lss" || m.To != "pebble" {
		t.Fatalf("%+v, %v", m, err)
	}
	if got := n.names(t); got != before {
		t.Errorf("the directory has %s, and had %s", got, before)
	}
	if err := n.check("lss", identity); err != nil {
		t.Error(err)
	}
	if _, err := migrate.Abort(n.options(""), n.drivers...); !errors.Is(err, migrate.ErrInvalid) {
		t.Errorf("given up a second time: %v", err)
	}
}

// TestSetAsideInBetween sets the data aside while a migration of it is half done:
// nothing of it is left, and the next start begins anew.
func TestSetAsideInBetween(t *testing.T) {
	n, identity := memNode(t, vfs.NewDisk().FS(), "lss")
	interrupted(t, n, "pebble", migrate.Copying, 20)
	if _, err := storage.SetAside(storage.Options{Engine: "lss", Dir: n.dir, Node: "n1", FS: n.fs}, n.drivers...); err != nil {
		t.Fatal(err)
	}
	n.data = make(data)
	if fresh := n.commit(t, "pebble"); fresh.Instance == identity.Instance {
		t.Error("the data is still the node's")
	}
	for _, name := range []string{"lss", "migration.json"} {
		if slices.Contains(strings.Split(n.names(t), " "), name) {
			t.Errorf("%s is left", name)
		}
	}
}

// liar is an engine whose scans show one thing otherwise than it was stored.
type liar struct {
	storage.Engine
	key string
	lie func(key, value []byte, show func(k, v []byte) bool) bool
}

func (l liar) Scan(from, to []byte, limit core.Limit, f func(key, value []byte) bool) ([]byte, error) {
	return l.Engine.Scan(from, to, limit, func(k, v []byte) bool {
		if string(k) == l.key {
			return l.lie(k, v, f)
		}
		return f(k, v)
	})
}

// TestCopyDiffers has the new engine lose a key, change one and make one up, and
// the old one read twice what is not the same: nothing is switched.
func TestCopyDiffers(t *testing.T) {
	for name, lie := range map[string]func(k, v []byte, show func(k, v []byte) bool) bool{
		"lacks the key": func(_, _ []byte, _ func(k, v []byte) bool) bool { return true },
		"bytes in the":  func(k, v []byte, show func(k, v []byte) bool) bool { return show(k, append(bytes.Clone(v), '!')) },
		"which the old": func(k, v []byte, show func(k, v []byte) bool) bool {
			return show(k, v) && show(append(bytes.Clone(k), '!'), v)
		},
		"were counted":   nil,
		"others in the ": func(k, v []byte, show func(k, v []byte) bool) bool { return show(k, bytes.ToUpper(v)) },
	} {
		t.Run(name, func(t *testing.T) {
			n, identity := memNode(t, vfs.NewDisk().FS(), "lss")
			honest := n.drivers
			key := sorted(n.data)[len(n.data)/2]
			opened := 0
			n.drivers = small()
			n.drivers[1].Open = func(dir string, create bool, o storage.Options) (storage.Engine, error) {
				e, err := honest[1].Open(dir, create, o)
				if opened++; lie != nil && opened == 2 {
					return liar{e, key, lie}, err
				}
				return e, err
			}
			if lie == nil { // what is counted is not what is there
				n.drivers[0].Open = func(dir string, create bool, o storage.Options) (storage.Engine, error) {
					e, err := honest[0].Open(dir, create, o)
					first := true
					return liar{e, key, func(k, v []byte, show func(k, v []byte) bool) bool {
						if first {
							first = false
							return show(k, append(bytes.Clone(v), '!'))
						}
						return show(k, v)
					}}, err
				}
			}
			_, err := migrate.Run(t.Context(), n.options("pebble"), n.drivers...)
			if !errors.Is(err, migrate.ErrDiffers) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "--abort") {
				t.Errorf("%v, want ErrDiffers that says %q and what to do", err, name)
			}
			n.drivers = honest
			if err := n.check("lss", identity); err != nil {
				t.Error(err)
			}
		})
	}
}

// counter counts what a migration writes at once.
type counter struct {
	storage.Engine
	keys, bytes, syncs *int
}

func (c counter) Commit(batch []core.Write, d core.Durability, done func(error)) {
	size := 0
	for _, w := range batch {
		size += len(w.Key) + len(w.Value)
	}
	*c.keys = max(*c.keys, len(batch))
	if len(batch) > 1 {
		*c.bytes = max(*c.bytes, size)
	}
	if d == core.Sync {
		*c.syncs++
	}
	c.Engine.Commit(batch, d, done)
}

// TestBounded moves more than fits into a batch, and into what is not synced.
func TestBounded(t *testing.T) {
	n := osNode(t)
	var batches [][]core.Write
	for i := range 160 {
		key, value := fmt.Sprintf("large/%03d", i), strings.Repeat(string(rune('a'+i%26)), 600_000)
		n.data[key] = value
		batch := []core.Write{{Key: []byte(key), Value: []byte(value)}}
		for j := range 100 {
			key := fmt.Sprintf("small/%03d/%03d", i, j)
			n.data[key] = "v"
			batch = append(batch, core.Write{Key: []byte(key), Value: []byte("v")})
		}
		batches = append(batches, batch)
	}
	identity := n.commit(t, "lss", batches...)
	var keys, size, syncs int
	drivers := slices.Clone(n.drivers)
	for i, d := range drivers {
		if d.Name == "pebble" {
			drivers[i].Open = func(dir string, create bool, o storage.Options) (storage.Engine, error) {
				e, err := d.Open(dir, create, o)
				return counter{e, &keys, &size, &syncs}, err
			}
		}
	}
	if _, err := migrate.Run(t.Context(), migrate.Options{Dir: n.dir, To: "pebble"}, drivers...); err != nil {
		t.Fatal(err)
	}
	if keys != migrate.BatchKeys() || size > migrate.BatchBytes() || size < migrate.BatchBytes()/2 || syncs != 2 {
		t.Errorf("batches of up to %d keys and %d bytes, %d of them synced; want %d keys, up to %d bytes, 2 of them",
			keys, size, syncs, migrate.BatchKeys(), migrate.BatchBytes())
	}
	if err := n.check("pebble", identity); err != nil {
		t.Error(err)
	}
}

// TestProgress: each phase begins with nothing, goes forward, and ends with all.
func TestProgress(t *testing.T) {
	n, _ := memNode(t, vfs.NewDisk().FS(), "lss")
	var told []migrate.Progress
	o := n.options("pebble")
	o.Progress = func(p migrate.Progress) { told = append(told, p) }
	result, err := migrate.Run(t.Context(), o, n.drivers...)
	if err != nil {
		t.Fatal(err)
	}
	phases := 0
	for i, p := range told {
		if i == 0 || told[i-1].Phase != p.Phase {
			phases++
			if p.Keys != 0 || p.Bytes != 0 {
				t.Errorf("%v begins with %+v", p.Phase, p)
			}
		} else if p.Keys < told[i-1].Keys || p.Bytes < told[i-1].Bytes {
			t.Errorf("%+v after %+v", p, told[i-1])
		}
		if p.Phase != migrate.Counting && (p.TotalKeys != result.Keys || p.TotalBytes != result.Bytes) {
			t.Errorf("%+v, and there are %d keys", p, result.Keys)
		}
		if last := i == len(told)-1 || told[i+1].Phase != p.Phase; last && (p.Keys != result.Keys || p.Bytes != result.Bytes) {
			t.Errorf("%v ends with %+v, and there are %d keys", p.Phase, p, result.Keys)
		}
	}
	if phases != 3 || len(told) < 30 {
		t.Errorf("%d phases, told of %d times", phases, len(told))
	}
}

// narrow is a file system of which little is free.
type narrow struct {
	vfs.FS
	free uint64
}

func (n narrow) GetDiskUsage(string) (pebblevfs.DiskUsage, error) {
	return pebblevfs.DiskUsage{AvailBytes: n.free}, nil
}

// TestNoRoom refuses before anything is made, says how much is missing, and in a
// migration that is resumed counts what is copied already.
func TestNoRoom(t *testing.T) {
	n, identity := memNode(t, vfs.NewDisk().FS(), "lss")
	before, wide := n.names(t), n.fs
	n.fs = narrow{wide, 10 << 20}
	_, err := migrate.Run(t.Context(), n.options("pebble"), n.drivers...)
	if !errors.Is(err, migrate.ErrNoRoom) || !strings.Contains(err.Error(), " MiB for ") || !strings.Contains(err.Error(), "10.0 MiB are free") {
		t.Errorf("%v, want ErrNoRoom that says how much", err)
	}
	if got := n.names(t); got != before {
		t.Errorf("the directory has %s, and had %s", got, before)
	}
	n.fs = wide
	interrupted(t, n, "pebble", migrate.Verifying, 0)
	n.fs = narrow{wide, 10 << 20}
	if _, err := migrate.Run(t.Context(), n.options("pebble"), n.drivers...); !errors.Is(err, migrate.ErrNoRoom) {
		t.Errorf("resumed: %v, want ErrNoRoom", err)
	}
	if err := n.check("lss", identity); err != nil {
		t.Error(err)
	}
	n.fs = narrow{wide, 1 << 40}
	if _, err := migrate.Run(t.Context(), n.options("pebble"), n.drivers...); err != nil {
		t.Error(err)
	}
}

// TestRefused: what cannot be, with what the error says. Nothing changes.
func TestRefused(t *testing.T) {
	n, identity := memNode(t, vfs.NewDisk().FS(), "lss")
	half, _ := memNode(t, vfs.NewDisk().FS(), "lss")
	three := func(name string) []storage.Driver {
		d := small()[1]
		d.Name = name
		return append(small(), d, storage.Driver{Name: "memory"})
	}
	n.drivers, half.drivers = three("bolt"), three("bolt")
	interrupted(t, half, "pebble", migrate.Copying, 10)
	if err := n.fs.MkdirAll("var/data/bolt", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := n.fs.MkdirAll("var/empty", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		node     *node
		dir      string
		from, to string
		want     error
		says     string
	}{
		{n, n.dir, "lss", "lss", migrate.ErrInvalid, `from and to are both "lss"`},
		{n, n.dir, "", "papyrus", migrate.ErrInvalid, `"papyrus" is not known; there are: lss, pebble, bolt`},
		{n, n.dir, "papyrus", "lss", migrate.ErrInvalid, `"papyrus" is not known`},
		{n, n.dir, "", "memory", migrate.ErrInvalid, "keeps nothing on a disk"},
		{n, n.dir, "", "", migrate.ErrInvalid, "is not known"},
		{n, n.dir, "pebble", "bolt", migrate.ErrInvalid, `belongs to the engine "lss", not to "pebble"`},
		{n, n.dir, "", "bolt", storage.ErrForeign, "no migration has made it"},
		{n, "var/empty", "", "pebble", storage.ErrForeign, "no identity.json"},
		{n, "var/none", "", "pebble", os.ErrNotExist, "no such data directory"},
		{n, "var/data/identity.json", "", "pebble", storage.ErrForeign, "not a directory"},
		{half, half.dir, "", "bolt", migrate.ErrOther, `complete that one with dynamo migrate var/data --to pebble, or give it up with dynamo migrate var/data --abort`},
	} {
		before := n.names(t)
		_, err := migrate.Run(t.Context(), migrate.Options{Dir: test.dir, From: test.from, To: test.to, FS: test.node.fs}, test.node.drivers...)
		if !errors.Is(err, test.want) || !strings.Contains(fmt.Sprint(err), test.says) {
			t.Errorf("%s from %q to %q: %v, want %v that says %q", test.dir, test.from, test.to, err, test.want, test.says)
		}
		if got := n.names(t); got != before {
			t.Errorf("%v: and the directory has %s, and had %s", err, got, before)
		}
	}
	if err := n.check("lss", identity); err != nil {
		t.Error(err)
	}
}

// TestNothingToDo: it was done before.
func TestNothingToDo(t *testing.T) {
	n, identity := memNode(t, vfs.NewDisk().FS(), "lss")
	for _, from := range []string{"", "pebble"} {
		result, err := migrate.Run(t.Context(), migrate.Options{Dir: n.dir, From: from, To: "lss", FS: n.fs}, n.drivers...)
		if err != nil || !result.Nothing || result.Identity != identity {
			t.Errorf("%+v, %v; want nothing to do", result, err)
		}
	}
}

// TestInUse runs both ways round: a node on a directory that is being migrated,
// and a migration of one that a node has.
func TestInUse(t *testing.T) {
	n := osNode(t)
	identity := n.commit(t, "lss", n.data.odd())
	e, _, err := n.open("lss")
	if err != nil {
		t.Fatal(err)
	}
	o := migrate.Options{Dir: n.dir, To: "pebble"}
	if _, err := migrate.Run(t.Context(), o, n.drivers...); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("while a node has it: %v, want ErrInUse", err)
	}
	if _, err := migrate.Abort(o, n.drivers...); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("given up while a node has it: %v, want ErrInUse", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	tried := 0
	o.Progress = func(migrate.Progress) {
		tried++
		if _, _, err := n.open("lss"); !errors.Is(err, storage.ErrInUse) {
			t.Errorf("a node during a migration: %v, want ErrInUse", err)
		}
	}
	if _, err := migrate.Run(t.Context(), o, n.drivers...); err != nil || tried == 0 {
		t.Fatalf("tried %d times: %v", tried, err)
	}
	if err := n.check("pebble", identity); err != nil {
		t.Error(err)
	}
}

// TestDamaged flips a byte of every file of lss in turn, somewhere in its middle:
// either what is copied is whole, or the migration is refused.
func TestDamaged(t *testing.T) {
	refused := 0
	for seed := range uint64(40) {
		disk := vfs.NewDisk()
		n, identity := memNode(t, disk.FS(), "lss")
		flip(t, n.fs, n.dir+"/lss", rand.New(rand.NewPCG(seed, 7)))
		_, err := migrate.Run(t.Context(), n.options("pebble"), n.drivers...)
		if err != nil {
			if refused++; !strings.Contains(err.Error(), "dynamo doctor") {
				t.Errorf("seed %d: %v, want an error that says what to do", seed, err)
			}
			continue
		}
		if err := n.check("pebble", identity); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	if refused == 0 || refused == 40 {
		t.Errorf("%d of 40 were refused: the test shows one thing only", refused)
	}
}

// flip flips a bit of a random byte of a random file.
func flip(t *testing.T, fs vfs.FS, dir string, rng *rand.Rand) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	f, err := fs.OpenReadWrite(fs.PathJoin(dir, names[rng.IntN(len(names))]), "")
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	at := rng.Int64N(max(1, info.Size()/4)) // the rest of a segment may be empty
	b := make([]byte, 1)
	_, err = f.ReadAt(b, at)
	if err == nil {
		_, err = f.WriteAt([]byte{b[0] ^ 0x10}, at)
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}
