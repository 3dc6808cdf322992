package replica

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// A record that the disk has lost is none: it is minted under a fresh epoch,
// merged into, and the store goes on.
func TestALostRecordTakesAFreshEpoch(t *testing.T) {
	h := newHarness(t)
	before := h.put("k", "one", version.Clock{})
	h.flush()
	h.store.Damage(core.DataKey([]byte("k")))
	if set := h.read(); !set.IsEmpty() {
		t.Fatalf("a lost record reads %v", set)
	}
	after := h.put("k", "two", version.Clock{})
	if a, b := actorOf(t, before.Set, "one"), actorOf(t, after.Set, "two"); a == b {
		t.Errorf("the lost record's actor %v mints again", a)
	}
	if _, why := h.Apply([]byte("k"), before.Set, &h.out); why != 0 {
		t.Fatal("what another owner holds is refused")
	}
	h.flush()
	if set := h.read(); len(set.Versions) != 2 {
		t.Errorf("merged with what another owner holds, it reads %v", set.Versions)
	}
}

// lossy is a log that has lost a record.
type lossy struct {
	*log
	lost string
}

func (l lossy) Get(key []byte) ([]byte, error) {
	if string(key) == l.lost {
		return nil, core.ErrDamaged
	}
	return l.log.Get(key)
}

// The hash tree still counts a record that is lost, whether it was built or
// taken over, so it is built anew: else the other owners would never be asked.
func TestALostRecordLeavesItsTree(t *testing.T) {
	for _, saved := range []bool{false, true} {
		g := newGrove(t)
		keys := g.keys()
		g.plant(t, keys[:6]...)
		if saved {
			g.save()
			g.start()
		}
		lost := core.DataKey([]byte(keys[0]))
		delete(g.log.pairs, string(lost)) // scans pass over it
		g.store.base = lossy{g.log, string(lost)}
		if set, _ := g.Read([]byte(keys[0]), &g.out); !set.IsEmpty() || g.out.Failed != nil {
			t.Fatalf("a lost record reads %v, %v", set, g.out.Failed)
		}
		g.build(t)
		p := g.layout.Partition([]byte(keys[0]))
		if got, want := g.Tree(p).Root(), g.rescan(t, p).Root(); got != want {
			t.Errorf("saved %v: the tree still counts the record", saved)
		}
		built := g.Trees().Built
		g.Read([]byte(keys[0]), &g.out)
		g.build(t)
		if g.Trees().Built != built {
			t.Error("reading it again has the tree built again")
		}
	}
}

// A saved tree that counts a record which was found lost does not outlive a stop
// in order, however far the one in its place has come: the next start would trust
// it, and the other owners not be asked.
func TestALossIsRememberedOverAStop(t *testing.T) {
	for _, c := range []struct {
		name  string
		keys  int // in the partition
		built bool
	}{{"built", 3, true}, {"not built", 3, false}, {"nothing left", 1, true}} {
		t.Run(c.name, func(t *testing.T) {
			g := newGrove(t)
			keys := g.keys()
			p := g.layout.Partition([]byte(keys[0]))
			keys = slices.DeleteFunc(keys, func(k string) bool { return g.layout.Partition([]byte(k)) != p })[:c.keys]
			g.plant(t, keys...)
			g.save()
			g.start()
			g.build(t)
			lost := core.DataKey([]byte(keys[0]))
			delete(g.log.pairs, string(lost))
			g.store.base = lossy{g.log, string(lost)}
			g.Read([]byte(keys[0]), &g.out)
			if c.built {
				g.build(t)
			}
			g.save()
			g.start()
			g.build(t)
			if got, want := g.Tree(p).Root(), g.rescan(t, p).Root(); got != want {
				t.Error("after the stop the tree counts the record again")
			}
		})
	}
}

// A saved tree that the disk has lost is built anew, and the next one that is
// saved takes its place, whether the partition is written to or not.
func TestALostSavedTreeIsBuiltAnew(t *testing.T) {
	for _, written := range []bool{false, true} {
		g := newGrove(t)
		key := g.keys()[0]
		g.plant(t, key)
		g.save()
		g.start()
		p := g.trees.partitionOf(core.DataPosition(core.DataKey([]byte(key))))
		treeKey := string(core.TreeKey(p))
		if _, ok := g.log.pairs[treeKey]; !ok {
			t.Fatal("no tree is saved")
		}
		g.store.base = lossy{g.log, treeKey}
		if written {
			g.put(t, key)
			g.flush(true)
			if _, ok := g.log.pairs[treeKey]; ok {
				t.Error("the lost tree outlives a write to its partition")
			}
		}
		g.build(t)
		delete(g.log.pairs, treeKey)
		g.save()
		if _, ok := g.log.pairs[treeKey]; !ok || g.out.Failed != nil {
			t.Errorf("written to: %v: the tree is not saved again: %v", written, g.out.Failed)
		}
	}
}

// lose has the disk of a grove lose a record, and tells the replica of it.
func (g *grove) lose(storeKey []byte) {
	delete(g.log.pairs, string(storeKey)) // scans pass over it
	g.store.base = lossy{g.log, string(storeKey)}
	g.Damaged(core.Damage{Keys: [][]byte{storeKey}}, &g.out)
}

// What the store has found leaves its tree though nobody reads it, and a stop in
// order before the tree is right again keeps none for the next start, not even
// where no write has removed the one that was saved.
func TestALostRecordThatNobodyReadsLeavesItsTree(t *testing.T) {
	for _, built := range []bool{false, true} {
		g := newGrove(t)
		keys := g.keys()
		for _, k := range keys[:6] {
			g.put(t, k)
		}
		g.flush(true)
		g.build(t)
		g.SaveTrees(&g.out)
		g.flush(true)
		g.start()
		g.build(t) // it takes over what was saved
		p := g.layout.Partition([]byte(keys[0]))
		whole := g.Tree(p).Root()
		g.lose(core.DataKey([]byte(keys[0])))
		if built {
			g.build(t)
			if got, want := g.Tree(p).Root(), g.rescan(t, p).Root(); got != want || got == whole {
				t.Error("the tree still counts the record")
			}
		}
		g.SaveTrees(&g.out)
		g.flush(true)
		g.start() // what the disk has lost is still lost, and nothing says so
		g.build(t)
		if g.out.Failed != nil {
			t.Fatal(g.out.Failed)
		}
		if got := g.Tree(p).Root(); got == whole {
			t.Errorf("built anew %v: the next start takes over a tree that counts the record", built)
		}
	}
}

// A record that is lost, written anew and lost again leaves its tree again; one
// that was written since it was found leaves nothing, and neither does one of
// another shard.
func TestWhatIsLostMayBeLostAgain(t *testing.T) {
	g := newGrove(t)
	key := g.keys()[0]
	g.put(t, key)
	g.flush(true)
	g.build(t)
	dataKey := core.DataKey([]byte(key))
	for range 2 {
		built := g.Trees().Built
		g.lose(dataKey)
		g.build(t)
		if g.Trees().Built != built+1 {
			t.Fatalf("%d trees are built, want one", g.Trees().Built-built)
		}
		g.put(t, key)
		g.flush(true)
		g.store.base = g.log
	}
	built := g.Trees().Built
	other := key
	for i := 0; int(g.layout.Partition([]byte(other)))%g.shards == g.shard; i++ {
		other = fmt.Sprint("other-", i)
	}
	g.Damaged(core.Damage{Keys: [][]byte{dataKey, core.DataKey([]byte(other)), core.ControlKey("x"), core.TreeKey(0)}}, &g.out)
	g.build(t)
	if g.Trees().Built != built || g.out.Failed != nil {
		t.Errorf("%d trees are built, want none; %v", g.Trees().Built-built, g.out.Failed)
	}
}

// What is in memory of a record that the disk has lost is not acknowledged as it is: a
// set that brings it back is durable when it is stored again.
func TestWhatIsCachedOfALostRecordIsNotKept(t *testing.T) {
	for _, d := range []core.Damage{{Keys: [][]byte{core.DataKey([]byte("k"))}}, {More: true}} {
		h := newHarness(t)
		h.Replica = New(Config{Self: "a", Start: 1, Shard: 0, Shards: 1, CacheBytes: 1 << 20}, h.store)
		l, err := ring.Form(8, 1, []ring.Member{{ID: "a", Weight: 1}})
		if err != nil {
			t.Fatal(err)
		}
		h.SetView(&core.View{Self: "a", Layouts: core.LayoutState{Live: []*ring.Layout{l}, Phase: core.PhaseCopy}})
		set := h.put("k", "1", version.Clock{}).Set
		h.flush()
		h.store.Damage(core.DataKey([]byte("k")))
		h.Damaged(d, &h.out)
		if flush, why := h.Apply([]byte("k"), set, &h.out); flush == 0 || why != 0 || h.out.Failed != nil {
			t.Errorf("%+v: a set that is on no disk is acknowledged as durable (%v, %v)", d, why, h.out.Failed)
		}
	}
}

// A record that the disk has lost and that is in memory is written again from there,
// with all that is its own, and its tree is right, also where a scan for it has passed
// over the record meanwhile. So is a hint, which may be the only copy.
func TestWhatIsCachedIsWrittenAgain(t *testing.T) {
	for _, building := range []bool{false, true} {
		g := newGrove(t)
		g.Replica = New(Config{Self: "a", Start: g.starts, Shard: g.shard, Shards: g.shards, MaxHintBytes: ample, CacheBytes: 1 << 20}, g.log)
		g.view(g.layout)
		g.OpenHints(g.layout.Partitions(), &g.out)
		key := g.keys()[0]
		g.put(t, key)
		if _, why := g.Hint(core.Now{Wall: 5}, &core.Hint{Key: []byte(key), Set: setOf("c", "kept"), Owner: "b"}, false, &g.out); why != 0 {
			t.Fatal(why)
		}
		g.flush(true)
		g.build(t)
		p := g.layout.Partition([]byte(key))
		for _, storeKey := range [][]byte{core.DataKey([]byte(key)), core.HintKey([]byte(key))} {
			was := g.log.pairs[string(storeKey)]
			delete(g.log.pairs, string(storeKey))
			g.store.base = lossy{g.log, string(storeKey)}
			if building {
				g.rebuildTree(p)
				g.BuildTrees(core.Limit{Keys: 1, Bytes: 1}, &g.out)
			}
			g.Damaged(core.Damage{Keys: [][]byte{storeKey}}, &g.out)
			g.flush(true)
			g.store.base = g.log
			if got := g.log.pairs[string(storeKey)]; !bytes.Equal(got, was) || g.out.Failed != nil {
				t.Errorf("building %v: what was stored at %q is %q after it was lost, %v", building, storeKey, got, g.out.Failed)
			}
			g.build(t)
			if g.Tree(p).Root() != g.rescan(t, p).Root() {
				t.Errorf("building %v: the tree is not that of the keys when %q is written again", building, storeKey)
			}
		}
		if h := g.Hints(); h.Lost != 0 || h.Records != 1 {
			t.Errorf("what is kept: %+v", h)
		}
	}
}

// A disk that has lost more than anybody can name has every tree built anew.
func TestManyLostRecordsHaveAllTreesBuilt(t *testing.T) {
	g := newGrove(t)
	for _, k := range g.keys() {
		g.put(t, k)
	}
	g.flush(true)
	g.build(t)
	built := g.Trees().Built
	g.Damaged(core.Damage{More: true}, &g.out)
	g.build(t)
	if n := g.Trees().Built - built; n != uint64(g.layout.Partitions()/g.shards) {
		t.Errorf("%d trees are built of %d", n, g.layout.Partitions()/g.shards)
	}
	g.requireRight(t)
}

// A hint that the disk has lost is none, however it is come upon: the node goes on,
// it is counted, the others of its partition are kept and delivered, and nothing
// waits for it any more.
func TestALostHintIsNone(t *testing.T) {
	set := setOf("c", "kept for b")
	finders := map[string]func(h *harness){
		"told":      func(h *harness) { h.Damaged(core.Damage{Keys: [][]byte{core.HintKey([]byte("k"))}}, &h.out) },
		"read":      func(h *harness) { h.ReadHint([]byte("k"), &h.out) },
		"held":      func(h *harness) { h.HoldsHint([]byte("k"), &h.out) },
		"settled":   func(h *harness) { h.Settle([]byte("k"), "b", set, &h.out) },
		"marked":    func(h *harness) { h.Mark(core.Now{Wall: 5}, []byte("k"), nil, &h.out) },
		"expired":   func(h *harness) { h.ExpireMarkers([]byte("k"), 5, &h.out) },
		"inspected": func(h *harness) { h.InspectHint([]byte("k"), &h.out) },
	}
	for name, find := range finders {
		t.Run(name, func(t *testing.T) {
			h := newHints(t, ample)
			beside := besideInPartition("k")
			h.mustHint("k", set, "b")
			h.mustHint(beside, setOf("c", "kept for d"), "d")
			h.flush()
			h.store.Damage(core.HintKey([]byte("k")))
			find(h)
			held, flush := h.HoldsHint([]byte("k"), &h.out)
			if h.out.Failed != nil || held || flush == 0 {
				t.Fatalf("the node stops (%v), or says that it holds it (%v), or that it does not before that is durable (flush %d)", h.out.Failed, held, flush)
			}
			h.flush()
			report := h.Hints()
			want := core.HintReport{Records: 1, Lost: 1, Stored: 2, Limit: ample, Bytes: report.Bytes, Pending: []core.HintsPending{{Target: "d", Keys: 1}}}
			if diff := cmp.Diff(want, report); diff != "" {
				t.Errorf("what is kept: %s", diff)
			}
			if item := h.hinted(); string(item.Key) != beside {
				t.Errorf("the hint that is left is of %q", item.Key)
			}
			h.restartHints(2, ample)
			after := h.Hints()
			if after.Bytes != report.Bytes || after.Records != 1 {
				t.Errorf("after a restart %+v are kept, want %+v", after, report)
			}
			if !h.Settle([]byte(beside), "d", setOf("c", "kept for d"), &h.out) {
				t.Error("the hint beside it is not settled")
			}
			if r := h.Hints(); r.Bytes != 0 || r.Records != 0 || len(r.Pending) != 0 {
				t.Errorf("when all is delivered, %+v are kept", r)
			}
			if _, dirty := h.TakeDirty(); dirty {
				t.Error("the restart knows of a dirty partition")
			}
		})
	}
}

// besideInPartition returns another key of a key's partition.
func besideInPartition(key string) string {
	of := func(key string) ring.Position { return ring.Hash([]byte(key)) / (1 << 60) }
	for i := 0; ; i++ {
		if k := fmt.Sprint("beside-", i); of(k) == of(key) {
			return k
		}
	}
}

// A lost hint's partition is compared first, if this node owns it: the hint may
// have been a marker.
func TestALostHintLeavesItsPartitionDirty(t *testing.T) {
	h := newHints(t, ample)
	h.mustHint("k", setOf("c", "1"), "b")
	h.flush()
	h.store.Damage(core.HintKey([]byte("k")))
	h.ReadHint([]byte("k"), &h.out)
	if p, ok := h.TakeDirty(); !ok || p != ring.Partition(ring.Hash([]byte("k"))>>60) {
		t.Errorf("partition %d is dirty: %v", p, ok)
	}
}

// A partition's tally that the disk has lost costs none of its hints: a start
// counts them, and a running node writes again what it knows.
func TestALostTallyCostsNoHint(t *testing.T) {
	p := ring.Partition(ring.Hash([]byte("k")) >> 60)
	for _, running := range []bool{false, true} {
		h := newHints(t, ample)
		h.mustHint("k", setOf("c", "1"), "b")
		h.mustHint("k", setOf("c", "1"), "d")
		h.flush()
		before := h.Hints()
		h.store.Damage(core.HintTallyKey(p))
		if running {
			h.Damaged(core.Damage{Keys: [][]byte{core.HintTallyKey(p)}}, &h.out)
			h.flush()
		}
		h.restartHints(2, ample)
		after := h.Hints()
		after.Stored = before.Stored
		if diff := cmp.Diff(before, after); diff != "" {
			t.Fatalf("running %v: what is kept has changed: %s", running, diff)
		}
		h.mustHint("k", setOf("e", "2"), "b")
		h.flush()
		if item := h.hinted(); len(item.Owners) != 2 || len(item.Set.Versions) != 2 {
			t.Errorf("running %v: what was kept is written over: %+v", running, item)
		}
	}
}
