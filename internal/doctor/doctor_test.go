package doctor_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/doctor"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
	"github.com/dynamo-kv/dynamo/internal/version"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// store is what a node has stored, by the store's keys.
type store map[string][]byte

const (
	partitionBits = 3
	self          = id.Node("n1")
)

// The store's records, as the machines encode them; docs/lss.md and the
// packages have the formats.

func record(set version.Siblings, owners ...core.HintOwner) []byte {
	b := []byte{1, 0, 0}
	if len(owners) > 0 {
		b[2] = 2
		b = binary.AppendUvarint(b, uint64(len(owners)))
	}
	for _, o := range owners {
		b = append(append(b, byte(len(o.Node))), o.Node...)
		if o.Data {
			b = append(b, 1)
			continue
		}
		b = binary.BigEndian.AppendUint64(append(b, 2), uint64(o.Since))
	}
	return set.AppendBinary(b)
}

// written returns a set that so many clients have written to without looking.
func written(values ...string) (set version.Siblings) {
	actor := version.Actor{Node: self, Epoch: version.Epoch{Start: 7, Seq: 1}}
	for i, v := range values {
		set, _ = set.Put(version.Clock{}, actor, version.Write{Timestamp: int64(i), Data: []byte(v), Tombstone: v == ""})
	}
	return set
}

func (s store) data(key string, set version.Siblings) {
	s[string(core.DataKey([]byte(key)))] = record(set)
}

func (s store) control(name string, parts ...any) {
	b := []byte{1}
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			b = binary.AppendUvarint(b, uint64(p))
		case string:
			b = append(binary.AppendUvarint(b, uint64(len(p))), p...)
		case byte:
			b = append(b, p)
		}
	}
	s[string(core.ControlKey(name))] = b
}

func partitionOf(key string) ring.Partition {
	return ring.Partition(ring.Hash([]byte(key)) >> (64 - partitionBits))
}

// settle writes what is kept beside the data: the hash tree of each partition,
// and the tallies of the hints.
func (s store) settle() {
	trees := make(map[ring.Partition]*merkle.Tree)
	tallies := make(map[ring.Partition][2]uint64)
	for _, k := range slices.Sorted(maps.Keys(s)) {
		key := []byte(k)
		switch {
		case core.IsDataKey(key):
			p := partitionOf(string(core.ClientKey(key)))
			if trees[p] == nil {
				trees[p] = new(merkle.Tree)
			}
			set, err := replica.StoredSet(s[k])
			if err != nil {
				panic(err)
			}
			h := merkle.Of(replica.HashInput(nil, core.ClientKey(key), set))
			trees[p].Change(merkle.LeafAt(uint64(core.DataPosition(key)), partitionBits), merkle.Hash{}, h)
		case core.IsHintKey(key):
			p := partitionOf(string(core.ClientKey(key)))
			t := tallies[p]
			tallies[p] = [2]uint64{t[0] + uint64(len(k)+len(s[k])), t[1] + 1}
		}
	}
	for p, t := range trees {
		s[string(core.TreeKey(p))] = t.AppendBinary([]byte{1, partitionBits})
	}
	for p, t := range tallies {
		b := binary.AppendUvarint(binary.AppendUvarint([]byte{1}, t[0]), t[1])
		s[string(core.HintTallyKey(p))] = append(b, 0)
	}
}

// whole returns the store of a node that has everything.
func whole(t testing.TB) store {
	t.Helper()
	layout, err := ring.Form(1<<partitionBits, 1, []ring.Member{{ID: self, Weight: 1}, {ID: "n2", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	s := make(store)
	s.control("identity", 77, 3)
	s.control("members", 2,
		"n1", "here:1", "", "", 1, 5, 6, 3, byte(core.Active),
		"n2", "there:1", "", "", 1, 5, 6, 3, byte(core.Active))
	s.control("layouts", byte(core.PhaseDone), byte(1), string(layout.AppendBinary(nil)))
	s.control("stamps", 1_700_000_000_000_000_000, 0)
	for i := range 40 {
		s.data(fmt.Sprintf("key %d", i), written("a value"))
	}
	s.data("two", written("one", "another"))
	s.data("gone", written(""))
	kept, marked := core.HintOwner{Node: "n2", Data: true}, core.HintOwner{Node: "n3", Since: 5}
	s[string(core.HintKey([]byte("kept")))] = record(written("for n2"), kept, marked)
	s[string(core.HintKey([]byte("marked")))] = record(version.Siblings{}, marked)
	s.settle()
	return s
}

// directory makes a data directory with that in it.
func directory(t testing.TB, s store) vfs.FS {
	t.Helper()
	fs := vfs.NewDisk().FS()
	keep(t, s, storage.Options{Engine: "pebble", Dir: "data", Node: self, FS: fs})
	return fs
}

// keep has an engine keep what is in a store.
func keep(t testing.TB, s store, o storage.Options) {
	t.Helper()
	e, _, err := engines.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	var batch []core.Write
	for _, k := range slices.Sorted(maps.Keys(s)) {
		batch = append(batch, core.Write{Key: []byte(k), Value: s[k]})
	}
	done := make(chan error, 1)
	e.Commit(batch, core.Sync, func(err error) { done <- err })
	if err := errors.Join(<-done, e.Close()); err != nil {
		t.Fatal(err)
	}
}

func check(t testing.TB, s store) *doctor.Report {
	t.Helper()
	r, err := doctor.Check(doctor.Options{Dir: "data", FS: directory(t, s)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWhole(t *testing.T) {
	s := whole(t)
	r := check(t, s)
	if !r.Healthy || len(r.Damage) > 0 || r.Worst != "" {
		t.Fatalf("a whole store: %+v", r.Damage)
	}
	if r.Node != "n1" || r.Engine != "pebble" || r.Cluster != "000000000000004d" || len(r.Members) != 2 || r.Stamped == nil {
		t.Errorf("whose it is: %+v", r)
	}
	if l := r.Layout; l == nil || l.Partitions != 8 || l.Replicas != 1 || l.Owned != 4 || l.Phase != "stable" {
		t.Errorf("layout %+v", r.Layout)
	}
	d := r.Data
	if d.Keys != 41 || d.Deleted != 1 || d.Tombstones != 1 || d.Bytes == 0 || d.Leftovers == 0 || d.Leftovers == 42 {
		t.Errorf("data %+v", d)
	}
	if want := []doctor.Siblings{{From: 1, To: 1, Keys: 40}, {From: 2, To: 2, Keys: 1}}; !slices.Equal(d.Siblings, want) {
		t.Errorf("siblings %v, want %v", d.Siblings, want)
	}
	want := []doctor.Pending{{Target: "n2", Keys: 1}, {Target: "n3", Keys: 2, Marked: 2}}
	if h := r.Hints; h.Records != 2 || h.Bytes == 0 || !slices.Equal(h.Pending, want) {
		t.Errorf("hints %+v", h)
	}
	if r.Trees.Saved != 8 || r.Trees.Equal != 8 {
		t.Errorf("trees %+v", r.Trees)
	}
	if !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, "2 hints are for n3, which is no member") }) {
		t.Errorf("notes %q", r.Notes)
	}
}

// A node that was started once and has joined nothing.
func TestNothingStored(t *testing.T) {
	if r := check(t, store{}); !r.Healthy || r.Layout != nil || r.Cluster != "" || r.Data.Keys != 0 {
		t.Errorf("%+v", r)
	}
}

// TestDamage changes one record each, and looks what is said.
func TestDamage(t *testing.T) {
	key0 := string(core.DataKey([]byte("key 0")))
	kept := string(core.HintKey([]byte("kept")))
	tests := []struct {
		name   string
		change func(s store)
		record string
		what   string
		cost   doctor.Cost
	}{
		{"a record cut short", func(s store) { s[key0] = s[key0][:len(s[key0])-3] }, `the key "key 0"`, "stored record", doctor.CostStore},
		{"a newer record", func(s store) { s[key0][0] = 2 }, `the key "key 0"`, "format 2", doctor.CostStore},
		{"a key in another place", func(s store) {
			k := []byte(key0)
			k[4] ^= 1
			s[string(k)] = s[key0]
			delete(s, key0)
			s.settle()
		}, `the key "key 0"`, "where its key belongs", doctor.CostStore},
		{"a key cut short", func(s store) { s[key0[:5]] = s[key0] }, `the record "`, "5 bytes, and no room for a client's", doctor.CostStore},
		{"a hint's key cut short", func(s store) { s[kept[:1]] = s[kept] }, `the record "`, "1 bytes, and no room for a client's", doctor.CostStore},
		{"a hint among the data", func(s store) { s[key0] = s[kept] }, `the key "key 0"`, "is no hint", doctor.CostStore},
		{"a hint for nobody", func(s store) { s[kept] = record(written("x")); s.settle() }, `the hint of the key "kept"`, "for nobody", doctor.CostStore},
		{"a hint without what it keeps", func(s store) {
			s[kept] = record(version.Siblings{}, core.HintOwner{Node: "n2", Data: true})
			s.settle()
		}, `the hint of the key "kept"`, "what it keeps", doctor.CostStore},
		{"a hint that is missing", func(s store) { delete(s, kept) }, "the tally of hints", "and there are 0 of 0", doctor.CostStore},
		{"a tally that is missing", func(s store) { delete(s, string(core.HintTallyKey(partitionOf("kept")))) }, "the tally of hints", "it says 0 hints", doctor.CostStore},
		{"a key that is missing", func(s store) { delete(s, key0) }, fmt.Sprintf("the hash tree of partition %d", partitionOf("key 0")), "not that of the data", doctor.CostRecord},
		{"a key that has changed", func(s store) { s[key0] = record(written("a", "b")) }, fmt.Sprintf("the hash tree of partition %d", partitionOf("key 0")), "not that of the data", doctor.CostRecord},
		{"a broken tree", func(s store) { s[string(core.TreeKey(3))][9] ^= 1 }, "the hash tree of partition 3", "checksum", doctor.CostNothing},
		{"a tree of no partition", func(s store) { s[string(core.TreeKey(9))] = s[string(core.TreeKey(3))] }, "the hash tree of partition 9", "bits", doctor.CostRecord},
		{"no layouts", func(s store) { delete(s, string(core.ControlKey("layouts"))) }, `the control record "layouts"`, "missing", doctor.CostStore},
		{"no identity", func(s store) { delete(s, string(core.ControlKey("identity"))) }, `the control record "identity"`, "of which cluster", doctor.CostStore},
		{"broken members", func(s store) { s.control("members", 2, "n1") }, `the control record "members"`, "within a number", doctor.CostStore},
		{"an unknown control record", func(s store) { s.control("plans") }, `the control record "plans"`, "a newer one", doctor.CostStore},
		{"an unknown record", func(s store) { s["zebra"] = nil }, `the record "zebra"`, "a newer one", doctor.CostStore},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := whole(t)
			tt.change(s)
			r := check(t, s)
			if r.Healthy || r.Worst == "" {
				t.Fatal("it is said to be healthy")
			}
			if !slices.ContainsFunc(r.Damage, func(d doctor.Damage) bool {
				return strings.HasPrefix(d.Record, tt.record) && strings.Contains(d.What, tt.what) && d.Cost == tt.cost
			}) {
				t.Errorf("%+v; want %q, %q, %q", r.Damage, tt.record, tt.what, tt.cost)
			}
		})
	}
}

// Damaged keys come with the partition, escaped; and however many there are, the
// report is bounded.
func TestManyDamagedKeys(t *testing.T) {
	s := whole(t)
	const many = doctor.MaxDamage + 50
	for i := range many {
		s[string(core.DataKey(fmt.Appendf(nil, "\x00key\n%d", i)))] = []byte("nonsense")
	}
	r := check(t, s)
	if len(r.Damage) != doctor.MaxDamage || r.MoreDamage != 50 {
		t.Errorf("%d are listed and %d more; want %d and 50", len(r.Damage), r.MoreDamage, doctor.MaxDamage)
	}
	for _, d := range r.Damage {
		if d.Partition == nil || !strings.HasPrefix(d.Key, `"\x00key\n`) {
			t.Fatalf("%+v: no partition, or a key that is not escaped", d)
		}
	}
}

// TestLimits notes what merges have made too large, which is no damage.
func TestLimits(t *testing.T) {
	s := whole(t)
	s.data("key 1", written(slices.Repeat([]string{"v"}, id.MaxSiblings+1)...))
	s.settle()
	r := check(t, s)
	if !r.Healthy || !strings.Contains(strings.Join(r.Notes, "\n"), `the key "key 1" has 101 siblings`) {
		t.Errorf("healthy %v, notes %q", r.Healthy, r.Notes)
	}
}

// TestRefused: what is no directory to check says so, and is not written to.
func TestRefused(t *testing.T) {
	in := directory(t, whole(t))
	e, _, err := engines.Open(storage.Options{Engine: "pebble", Dir: "data", Node: self, FS: in})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := doctor.Check(doctor.Options{Dir: "data", FS: in}); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("of a directory that is in use: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	var told doctor.Progress
	if _, err := doctor.Check(doctor.Options{Dir: "data", FS: in, Progress: func(p doctor.Progress) { told = p }}); err != nil || told.TotalBytes == 0 || told.Bytes != told.TotalBytes {
		t.Errorf("after it was closed: %v, told of %+v", err, told)
	}
	if _, err := doctor.Check(doctor.Options{Dir: "nowhere", FS: in}); err == nil || !strings.Contains(err.Error(), "name the directory") {
		t.Errorf("of no directory: %v", err)
	}
	if err := in.RemoveAll("data/pebble"); err != nil {
		t.Fatal(err)
	}
	if _, err := doctor.Check(doctor.Options{Dir: "data", FS: in}); !errors.Is(err, storage.ErrDamaged) {
		t.Errorf("without the engine's folder: %v", err)
	}
}

// TestSetAside: data that was set aside is named, and not looked at.
func TestSetAside(t *testing.T) {
	fs := directory(t, whole(t))
	o := storage.Options{Engine: "pebble", Dir: "data", Node: self, FS: fs}
	if _, err := engines.SetAside(o); err != nil {
		t.Fatal(err)
	}
	e, _, err := engines.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := doctor.Check(doctor.Options{Dir: "data", FS: fs})
	if err != nil || !r.Healthy || len(r.Aside) != 2 || r.Data.Keys != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestHalfMigrated: what a directory says of a migration that has not ended is
// told, and damage where the node would not start for it.
func TestHalfMigrated(t *testing.T) {
	for _, test := range []struct {
		says, note, damage string
	}{
		{`{"format": 1, "from": "pebble", "to": "lss", "made": true, "keep": false}`, "its migration from pebble to lss is half done", ""},
		{`{"format": 1, "from": "lss", "to": "pebble", "made": true, "keep": false}`, "its migration from lss to pebble has come to its end but for what is left of lss", ""},
		{`{"format": 1, "from": "bolt", "to": "lss", "made": true, "keep": false}`, "", `tells of a migration from "bolt" to "lss", and its data is with the engine "pebble"`},
		{`{"format": 1, "from"`, "", "its migration.json is not JSON"},
	} {
		fs := directory(t, whole(t))
		f, err := fs.Create("data/migration.json", "")
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Write([]byte(test.says))
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		r, err := doctor.Check(doctor.Options{Dir: "data", FS: fs})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(strings.Join(r.Notes, "\n"), test.note) || r.Data.Keys != 41 {
			t.Errorf("%s: the notes %q do not have %q, or the %d keys are not 41", test.says, r.Notes, test.note, r.Data.Keys)
		}
		if r.Healthy != (test.damage == "") || !r.Healthy && (r.Worst != doctor.CostStore || !strings.Contains(r.Damage[0].What, test.damage)) {
			t.Errorf("%s: %+v, want %q", test.says, r.Damage, test.damage)
		}
		e, _, err := engines.Open(storage.Options{Engine: "pebble", Dir: "data", Node: self, FS: fs})
		if (err == nil) != r.Healthy {
			t.Errorf("%s: it is said to be healthy: %v, and a start says %v", test.says, r.Healthy, err)
		}
		if err == nil {
			err = e.Close()
		} else if errors.Is(err, storage.ErrDamaged) {
			err = nil
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// TestFlippedBytesOfBolt flips each byte of a stored value and of its key, which
// bbolt has no checksum of: it is found, and the record is named whose value it is.
func TestFlippedBytesOfBolt(t *testing.T) {
	s := whole(t)
	s.data("key 1", written("a value of its own"))
	s.settle()
	o := storage.Options{Engine: "bolt", Dir: t.TempDir(), Node: self}
	keep(t, s, o)
	path := filepath.Join(o.Dir, "bolt", "data.bolt")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	flip := func(at int) {
		whole[at] ^= 0x10
		if _, err := file.WriteAt(whole[at:at+1], int64(at)); err != nil {
			t.Fatal(err)
		}
	}
	key := core.DataKey([]byte("key 1"))
	for what, bytesOf := range map[string][]byte{"key": key, "value": s[string(key)]} {
		at := bytes.Index(whole, bytesOf)
		if at < 0 || bytes.Contains(whole[at+1:], bytesOf) {
			t.Fatalf("the %s is not there once", what)
		}
		for i := range bytesOf {
			flip(at + i)
			r, err := doctor.Check(doctor.Options{Dir: o.Dir})
			if err != nil {
				t.Fatal(err)
			}
			if r.Healthy || r.Worst != doctor.CostStore || what == "value" && r.Damage[0].Key != `"key 1"` {
				t.Errorf("byte %d of the %s is flipped: healthy %v, %+v", i, what, r.Healthy, r.Damage)
			}
			flip(at + i)
		}
	}
	if r, err := doctor.Check(doctor.Options{Dir: o.Dir}); err != nil || !r.Healthy {
		t.Errorf("with every byte as it was: %+v, %v", r, err)
	}
}
