package replica

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// sharing returns keys of one partition of hintPartitions.
func (h *harness) sharing(n int) (keys []string) {
	for i := 0; len(keys) < n; i++ {
		k := fmt.Sprint("key-", i)
		if len(keys) == 0 || h.hints.partition([]byte(k)) == h.hints.partition([]byte(keys[0])) {
			keys = append(keys, k)
		}
	}
	return keys
}

// A sweep passes over a hint that the disk has lost: its partition is dirty, what
// else is kept there is counted exactly, and another hint may take its place.
func TestASweepNoticesALostHint(t *testing.T) {
	h := newHints(t, ample)
	keys := h.sharing(2)
	h.mustHint(keys[0], setOf("a", "1"), "b")
	h.mustHint(keys[1], setOf("a", "2"), "d")
	h.flush()
	h.store.Damage(core.HintKey([]byte(keys[0])))
	first, last := h.hints.span(h.hints.partition([]byte(keys[0])))
	items, next := h.HintChunk(first, last, nil, core.Limit{Keys: 64, Bytes: 1 << 16}, &h.out)
	if len(items) != 1 || next != nil || h.out.Failed != nil {
		t.Fatalf("%d hints and more at %q; %v", len(items), next, h.out.Failed)
	}
	if _, dirty := h.TakeDirty(); !dirty {
		t.Error("the partition is clean")
	}
	h.counts(t, 1, "d")
	h.flush()
	h.restartHints(2, ample)
	h.counts(t, 1, "d")
	h.mustHint(keys[0], setOf("a", "3"), "b")
	h.Settle([]byte(keys[1]), "d", setOf("a", "2"), &h.out)
	h.counts(t, 1, "b")
	h.Settle([]byte(keys[0]), "b", setOf("a", "3"), &h.out)
	h.counts(t, 0)
	h.flush()
	if n := h.store.Len(); n != 0 {
		t.Errorf("%d keys are left in the store", n)
	}
}

// counts holds the report to what there is.
func (h *harness) counts(t *testing.T, records uint64, owners ...id.Node) {
	t.Helper()
	r := h.Hints()
	var pending []id.Node
	for _, p := range r.Pending {
		pending = append(pending, p.Target)
	}
	if r.Records != records || (r.Bytes > 0) != (records > 0) || !slices.Equal(pending, owners) {
		t.Errorf("%d hints for %v are counted as %+v", records, owners, r)
	}
}

// A lost hint is counted once, and not with every look at it.
func TestALostHintIsNewsOnce(t *testing.T) {
	h := newHints(t, ample)
	keys := h.sharing(2)
	h.mustHint(keys[0], setOf("a", "1"), "b")
	h.mustHint(keys[1], setOf("a", "2"), "b")
	h.flush()
	h.store.Damage(core.HintKey([]byte(keys[0])))
	h.ReadHint([]byte(keys[0]), &h.out)
	h.flush()
	h.ReadHint([]byte(keys[0]), &h.out)
	if n := len(h.out.Writes); n > 0 {
		t.Errorf("the second look writes %d records", n)
	}
}

// Hints whose tally the disk has lost are counted at the start: nobody would
// deliver them, and a tombstone would be forgotten that they wait for.
func TestHintsWithoutATallyAreCounted(t *testing.T) {
	h := newHints(t, ample)
	for i := range 40 {
		h.mustHint(fmt.Sprint("key-", i), setOf("a", "1"), "b")
	}
	h.flush()
	before := h.Hints()
	lost := h.hints.tallies
	for _, i := range []int{0, len(lost) / 2, len(lost) - 1} {
		h.store.Damage(core.HintTallyKey(lost[i].partition))
	}
	h.restartHints(2, ample)
	if after := h.Hints(); after.Bytes != before.Bytes || after.Records != 40 || !slices.Equal(after.Pending, before.Pending) {
		t.Errorf("%+v before and %+v after the loss", before, after)
	}
	h.flush()
	for _, tally := range lost {
		if _, err := h.store.Get(core.HintTallyKey(tally.partition)); err != nil {
			t.Errorf("the tally of partition %d: %v", tally.partition, err)
		}
	}
}

// Each shard counts the hints of its own partitions only.
func TestShardsCountTheirOwnHints(t *testing.T) {
	h := newHints(t, ample)
	for i := range 40 {
		h.mustHint(fmt.Sprint("key-", i), setOf("a", "1"), "b")
	}
	h.flush()
	var records uint64
	for _, tally := range h.hints.tallies {
		h.store.Damage(core.HintTallyKey(tally.partition))
	}
	for shard := range 2 {
		h.Replica = New(Config{Self: "f", Start: 2, Shard: shard, Shards: 2, MaxHintBytes: ample}, h.store)
		h.OpenHints(hintPartitions, &h.out)
		h.flush()
		if n := h.Hints().Records; n == 0 || n == 40 {
			t.Errorf("shard %d counts %d hints", shard, n)
		} else {
			records += n
		}
	}
	if records != 40 {
		t.Errorf("the shards count %d hints of 40", records)
	}
}

// Somebody who makes up owners gets no more of them kept than a cluster can
// have: what is stored would else be unreadable, and the node stop for good.
func TestMadeUpOwnersAreLimited(t *testing.T) {
	for name, key := range map[string]func(keys []string, i int) string{
		"of one key":       func(keys []string, _ int) string { return keys[0] },
		"of one partition": func(keys []string, i int) string { return keys[i%2] },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHints(t, ample)
			keys := h.sharing(2)
			set := setOf("a", "1")
			for i := range maxOwners {
				h.mustHint(key(keys, i), set, id.Node(fmt.Sprint("n", i)))
			}
			if _, why := h.hint(keys[0], set, "one-more"); why != core.RefusedHintsFull {
				t.Errorf("one owner more: %v", why)
			}
			if _, why := h.hint(keys[1], set, "n0"); why != 0 {
				t.Errorf("an owner that is known: %v", why)
			}
			h.flush()
			h.restartHints(2, ample)
			if set, _ := h.ReadHint([]byte(keys[0]), &h.out); set.IsEmpty() || h.out.Failed != nil {
				t.Errorf("after a restart it reads %v, %v", set, h.out.Failed)
			}
			if !h.Settle([]byte(keys[1]), "n0", set, &h.out) {
				t.Error("what is kept cannot be settled")
			}
		})
	}
}
