package replica

import (
	"fmt"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// scenarios are counterexamples of the design, which rules of this package close.
func scenarios() []coretest.Scenario {
	return []coretest.Scenario{
		{Name: "two-hint-records", Bug: bug.TwoHintRecords, Run: twoHintRecords},
		{Name: "epoch-from-hint", Bug: bug.EpochFromMerge, Run: epochFromHint},
		{Name: "expired-hint", Bug: bug.HintsExpire, Run: expiredHint},
		{Name: "stale-hint-ack", Bug: bug.StaleHintAck, Run: staleHintAck},
		{Name: "restored-disk-mints", Bug: bug.ContinueEpoch, Run: restoredDiskMints},
		{Name: "pruned-own-entry", Bug: bug.PruneKeepsActor, Run: prunedOwnEntry},
		{Name: "noop-acknowledged", Bug: bug.NoopAtOnce, Run: noopAcknowledged},
		{Name: "context-not-joined", Bug: bug.ContextNotJoined, Run: contextNotJoined},
		{Name: "overwrite-context", Bug: bug.OverwriteOwnDot, Run: overwriteContext},
		{Name: "lost-observed-read", Bug: bug.ReadUndurable, Run: lostObservedRead},
	}
}

func TestScenarios(t *testing.T) { coretest.Hold(t, scenarios()) }

// F holds a hint for two owners; one is settled; F mints again: with a record
// for each owner, its counter would fall.
func twoHintRecords(t *testing.T) string {
	h := newHints(t, ample)
	h.fallbackPut("k", "1", "a", "b")
	first := h.fallbackPut("k", "2", "a", "b")
	h.Settle([]byte("k"), "a", first.Set, &h.out)
	again := h.fallbackPut("k", "3", "a", "b")
	return sameDots(first.Set, again.Set)
}

// A mints e:1 and e:2 and drops its copy, since ownership has moved; an old
// hint brings e:1 back, the key counts as found, and A mints once more.
func epochFromHint(t *testing.T) string {
	h := newHarness(t)
	old := h.put("k", "1", version.Clock{})
	both := h.put("k", "2", old.Context)
	h.flush()
	if !h.Remove([]byte("k"), both.Set, &h.out) {
		t.Fatal("the copy is not dropped")
	}
	h.flush()
	h.Apply([]byte("k"), old.Set, &h.out)
	again := h.put("k", "3", version.Clock{})
	return sameDots(both.Set, again.Set)
}

// W=1 was met by F alone; long after that, hints are looked at.
func expiredHint(t *testing.T) string {
	h := newHints(t, ample)
	res := h.fallbackPut("k", "1", "a", "b")
	h.flush()
	h.ExpireMarkers([]byte("k"), 1<<62, &h.out)
	if set, _ := h.ReadHint([]byte("k"), &h.out); !set.Equal(res.Set) {
		return "the only copy of a write has expired"
	}
	return ""
}

// An owner acknowledges the set that it was sent, after F has taken a newer
// one for it.
func staleHintAck(t *testing.T) string {
	h := newHints(t, ample)
	older := setOf("b", "1")
	h.mustHint("k", older, "a")
	sent := h.hinted().Set
	h.mustHint("k", setOf("c", "2"), "a")
	h.Settle([]byte("k"), "a", sent, &h.out)
	if set, _ := h.ReadHint([]byte("k"), &h.out); len(set.Versions) != 2 {
		return "an acknowledgement of the older set has removed the newer one"
	}
	return ""
}

// A stops in order after a mint; its disk is copied; A mints again; the copy is
// put back, and A mints once more.
func restoredDiskMints(t *testing.T) string {
	h := newHarness(t)
	h.put("k", "0", version.Clock{})
	h.flush()
	old := h.store.Clone()
	after := h.put("k", "1", version.Clock{})
	h.flush()
	h.store = old
	h.restart(2)
	again := h.put("k", "2", version.Clock{})
	return sameDots(after.Set, again.Set)
}

// A's version is replaced by another node's, A prunes its own entry, and mints
// again.
func prunedOwnEntry(t *testing.T) string {
	h := newHarness(t)
	first := h.put("k", "1", version.Clock{})
	h.flush()
	b := version.Actor{Node: "b", Epoch: version.Epoch{Start: 7, Seq: 1}}
	newer, _ := first.Set.Put(first.Context, b, version.Write{ID: version.WriteID{50}, Data: []byte("b")})
	h.Apply([]byte("k"), newer, &h.out)
	h.flush()
	if h.Prune([]byte("k"), newer, &h.out) != 1 {
		t.Fatal("the entry is not pruned")
	}
	h.flush()
	again := h.put("k", "2", version.Clock{})
	return sameDots(first.Set, again.Set)
}

// An apply is not durable yet when its duplicate comes and changes nothing; the
// process crashes when the duplicate is acknowledged.
func noopAcknowledged(t *testing.T) string {
	h := newHarness(t)
	set := setOf("b", "1")
	first, _ := h.Apply([]byte("k"), set, &h.out)
	second, _ := h.Apply([]byte("k"), set, &h.out)
	if second != first {
		return "a duplicate is acknowledged before what it found is durable"
	}
	return ""
}

// A delete comes to a node that lacks what it deletes, which comes later.
func contextNotJoined(t *testing.T) string {
	h := newHarness(t)
	deleted := setOf("b", "1")
	h.Write(core.LocalWrite{Key: []byte("k"), Context: deleted.Clock, Write: version.Write{ID: version.WriteID{2}, Tombstone: true}}, &h.out)
	h.flush()
	h.Apply([]byte("k"), deleted, &h.out)
	if len(h.read().Live()) > 0 {
		return "a version lives after its delete"
	}
	return ""
}

// A's disk dies after an Overwrite; a delete with its context comes to a node
// that holds what the Overwrite had replaced.
func overwriteContext(t *testing.T) string {
	a, b := newHarness(t), newHarness(t)
	replaced := setOf("c", "1")
	for _, h := range []*harness{a, b} {
		h.Apply([]byte("k"), replaced, &h.out)
	}
	over := a.Write(core.LocalWrite{Key: []byte("k"), Overwrite: true, Write: version.Write{ID: version.WriteID{3}, Data: []byte("2")}}, &a.out)
	b.Write(core.LocalWrite{Key: []byte("k"), Context: over.Context, Write: version.Write{ID: version.WriteID{4}, Tombstone: true}}, &b.out)
	if len(b.read().Live()) > 0 {
		return "what an Overwrite had replaced outlives the delete of it"
	}
	return ""
}

// A version that is not durable is read, and lost in a crash.
func lostObservedRead(t *testing.T) string {
	h := newHarness(t)
	h.put("k", "1", version.Clock{})
	if _, flush := h.Read([]byte("k"), &h.out); flush != 0 {
		return "" // the answer waits
	}
	h.restart(2)
	if h.read().IsEmpty() {
		return "what a read has shown is gone"
	}
	return ""
}

// sameDots says that two sets have one dot with other bytes.
func sameDots(a, b version.Siblings) string {
	if _, err := version.Merge(a, b); err != nil {
		return fmt.Sprintf("a counter is used twice: %v", err)
	}
	return ""
}

// A context that a read from hints has given can be used at an owner later.
func TestContextOfAHintReplacesItAtAnOwner(t *testing.T) {
	f := newHints(t, ample)
	f.fallbackPut("k", "1", "a")
	shown, _ := f.ReadHint([]byte("k"), &f.out)
	a := newHarness(t)
	res := a.put("k", "2", shown.Clock) // before the hint has come
	a.Apply([]byte("k"), shown, &a.out)
	if set := a.read(); len(set.Versions) != 1 || !set.Equal(res.Set) {
		t.Errorf("the hint came back as a sibling: %v", set.Versions)
	}
}
