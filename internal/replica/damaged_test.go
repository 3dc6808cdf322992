package replica

import (
	"slices"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
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
