package replica

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// hintPartitions is Q in these tests.
const hintPartitions = 16

// ample is more room than any of these tests needs.
const ample = 1 << 20

// newHints returns a replica that may keep so many bytes of hints.
func newHints(t *testing.T, limit uint64) *harness {
	h := &harness{t: t, store: coretest.NewStore()}
	h.restartHints(1, limit)
	return h
}

func (h *harness) restartHints(start, limit uint64) {
	h.out.Reset()
	h.Replica = New(Config{Self: "f", Start: start, Shard: 0, Shards: 1, MaxHintBytes: limit}, h.store)
	h.OpenHints(hintPartitions, &h.out)
	if h.out.Failed != nil {
		h.t.Fatal(h.out.Failed)
	}
}

// setOf returns a set of one version, minted elsewhere.
func setOf(node id.Node, data string) version.Siblings {
	a := version.Actor{Node: node, Epoch: version.Epoch{Start: 9, Seq: 1}}
	set, _ := version.Siblings{}.Put(version.Clock{}, a, version.Write{Data: []byte(data)})
	return set
}

func (h *harness) hint(key string, set version.Siblings, owner id.Node) (uint64, core.Refusal) {
	return h.Hint(core.Now{Wall: 5}, &core.Hint{Key: []byte(key), Set: set, Owner: owner}, false, &h.out)
}

// mustHint keeps a hint that is not refused.
func (h *harness) mustHint(key string, set version.Siblings, owner id.Node) {
	h.t.Helper()
	if _, why := h.hint(key, set, owner); why != 0 {
		h.t.Fatalf("the hint of %s for %s is refused: %v", key, owner, why)
	}
}

// fallbackPut mints into the hints.
func (h *harness) fallbackPut(key, value string, owners ...id.Node) core.LocalResult {
	h.ids++
	return h.Write(core.LocalWrite{
		Key: []byte(key), For: owners, Write: version.Write{ID: version.WriteID{h.ids}, Data: []byte(value)},
	}, &h.out)
}

// hinted returns the one hint that there must be.
func (h *harness) hinted() core.HintItem {
	h.t.Helper()
	items := h.allHints()
	if len(items) != 1 {
		h.t.Fatalf("%d hints, want one", len(items))
	}
	return items[0]
}

func (h *harness) allHints() []core.HintItem {
	h.t.Helper()
	items, next := h.HintChunk(0, ^ring.Position(0), nil, core.Limit{Keys: 1000, Bytes: 1 << 20}, &h.out)
	if next != nil || h.out.Failed != nil {
		h.t.Fatalf("the hints are not read to their end: %v", h.out.Failed)
	}
	return items
}

func TestHintIsDurableBeforeItCounts(t *testing.T) {
	h := newHints(t, ample)
	set := setOf("a", "1")
	first, why := h.hint("k", set, "b")
	if first == 0 || why != 0 {
		t.Fatalf("flush %d, refused %v", first, why)
	}
	if again, _ := h.hint("k", set, "b"); again != first {
		t.Errorf("the same hint again waits for flush %d, its first one for %d", again, first)
	}
	if _, flush := h.ReadHint([]byte("k"), &h.out); flush != first {
		t.Errorf("a read of it waits for flush %d", flush)
	}
	h.flush()
	if again, _ := h.hint("k", set, "b"); again != 0 {
		t.Errorf("a durable hint waits for flush %d", again)
	}
	if got, flush := h.ReadHint([]byte("k"), &h.out); !got.Equal(set) || flush != 0 {
		t.Errorf("read %v, flush %d", got, flush)
	}
}

func TestOneRecordAKeyWithItsOwners(t *testing.T) {
	h := newHints(t, ample)
	h.mustHint("k", setOf("a", "1"), "c")
	h.mustHint("k", setOf("b", "2"), "a")
	h.mustHint("k", setOf("b", "2"), "c")
	item := h.hinted()
	if len(item.Owners) != 2 || item.Owners[0].Node != "a" || item.Owners[1].Node != "c" {
		t.Errorf("for %v", item.Owners)
	}
	if len(item.Set.Versions) != 2 {
		t.Errorf("the hints are not merged: %v", item.Set.Versions)
	}
	if r := h.Hints(); r.Records != 1 || len(r.Pending) != 2 || r.Pending[0] != (core.HintsPending{Target: "a", Keys: 1}) {
		t.Errorf("counted as %+v", r)
	}
}

func TestSettleForgetsExactlyWhatWasAcknowledged(t *testing.T) {
	h := newHints(t, ample)
	older := setOf("a", "1")
	h.mustHint("k", older, "b")
	h.mustHint("k", older, "c")
	if !h.Settle([]byte("k"), "b", older, &h.out) || len(h.hinted().Owners) != 1 {
		t.Errorf("an acknowledged hint stays: %v", h.hinted().Owners)
	}
	if !h.Settle([]byte("k"), "b", older, &h.out) {
		t.Error("settling twice is no success")
	}
	if !h.Settle([]byte("k"), "c", older, &h.out) {
		t.Error("the last owner is not settled")
	}
	if r := h.Hints(); r.Bytes != 0 || r.Records != 0 || len(r.Pending) != 0 || r.Delivered != 2 || r.Stored != 2 {
		t.Errorf("nothing is kept, and counted is %+v", r)
	}
	h.flush()
	if n := h.store.Len(); n != 0 {
		t.Errorf("%d keys are left in the store", n)
	}
}

func TestMarkersStandForTheOwnCopy(t *testing.T) {
	h := newHints(t, ample)
	mine := h.put("k", "1", version.Clock{})
	h.Mark(core.Now{Wall: 7}, []byte("k"), []id.Node{"b", "c"}, &h.out)
	h.Mark(core.Now{Wall: 9}, []byte("k"), []id.Node{"b"}, &h.out)
	item := h.hinted()
	if !item.Set.Equal(mine.Set) || len(item.Owners) != 2 || item.Owners[0] != (core.HintOwner{Node: "b", Since: 7}) {
		t.Errorf("%+v", item)
	}
	if held, _ := h.HoldsHint([]byte("k"), &h.out); !held {
		t.Error("a marked key is free to be forgotten")
	}
	if set, _ := h.ReadHint([]byte("k"), &h.out); !set.IsEmpty() {
		t.Errorf("a marker holds no data, and a read of hints shows %v", set)
	}
	newer := h.put("k", "2", mine.Context)
	if h.Settle([]byte("k"), "b", mine.Set, &h.out) {
		t.Error("an acknowledgement of the older copy settles a marker")
	}
	if !h.Settle([]byte("k"), "b", newer.Set, &h.out) || !h.Settle([]byte("k"), "c", newer.Set, &h.out) {
		t.Error("an acknowledgement of the current copy does not")
	}
	if len(h.allHints()) != 0 {
		t.Error("a settled marker stays")
	}
}

func TestMarkerOfAKeyThatIsGoneHasNothingToDeliver(t *testing.T) {
	h := newHints(t, ample)
	mine := h.put("k", "1", version.Clock{})
	h.Mark(core.Now{Wall: 7}, []byte("k"), []id.Node{"b"}, &h.out)
	h.flush()
	h.Remove([]byte("k"), mine.Set, &h.out)
	if item := h.hinted(); !item.Set.IsEmpty() || !h.Settle(item.Key, "b", item.Set, &h.out) {
		t.Errorf("%+v", item)
	}
}

func TestMarkersExpireAndLeaveTheirPartitionDirty(t *testing.T) {
	h := newHints(t, ample)
	h.put("k", "1", version.Clock{})
	h.Mark(core.Now{Wall: 7}, []byte("k"), []id.Node{"b"}, &h.out)
	h.Mark(core.Now{Wall: 9}, []byte("k"), []id.Node{"c"}, &h.out)
	h.ExpireMarkers([]byte("k"), 8, &h.out)
	if item := h.hinted(); len(item.Owners) != 1 || item.Owners[0].Node != "c" {
		t.Errorf("left are %v", item.Owners)
	}
	if h.Hints().Expired != 1 {
		t.Errorf("%d expired", h.Hints().Expired)
	}
	if p, ok := h.TakeDirty(); !ok || p != h.hints.partition([]byte("k")) {
		t.Errorf("partition %d is dirty: %v", p, ok)
	}
	if p, ok := h.TakeDirty(); ok {
		t.Errorf("partition %d is dirty as well", p)
	}
}

func TestAHintAtAnOwnerIsAMarkerOfItsOwnCopy(t *testing.T) {
	h := newHints(t, ample)
	set := setOf("a", "1")
	m := &core.Hint{Key: []byte("k"), Set: set, Owner: "b"}
	flush, why := h.Hint(core.Now{Wall: 5}, m, true, &h.out)
	if flush == 0 || why != 0 {
		t.Fatalf("flush %d, refused %v", flush, why)
	}
	if !h.read().Equal(set) {
		t.Errorf("the own copy is %v", h.read())
	}
	if item := h.hinted(); item.Owners[0].Data || item.Owners[0].Since != 5 || !item.Set.Equal(set) {
		t.Errorf("%+v", item)
	}
}

func TestHintsAreLimitedInBytesAndNeverEvicted(t *testing.T) {
	h := newHints(t, 400)
	kept := 0
	var full core.Refusal
	for i := range 20 {
		if _, why := h.hint(fmt.Sprintf("key-%d", i), setOf("a", "0123456789"), "b"); why != 0 {
			full = why
			break
		}
		kept++
	}
	if full != core.RefusedHintsFull || kept < 2 || h.Hints().Refused != 1 {
		t.Fatalf("%d kept, then %v; %+v", kept, full, h.Hints())
	}
	if n := len(h.allHints()); n != kept || h.Hints().Bytes > 400 {
		t.Errorf("%d of %d are there, %d bytes", n, kept, h.Hints().Bytes)
	}
	if res := h.fallbackPut("other", "0123456789012345678901234567890123456789", "a", "b"); res.Code != core.CodeOverloaded {
		t.Errorf("a version is minted into full hints: %v", res.Code)
	}
	h.put("other", "own", version.Clock{})
	h.Mark(core.Now{Wall: 1}, []byte("other"), []id.Node{"a-long-name-of-an-owner-that-needs-some-room", "another-long-name-of-an-owner-that-needs-some-room"}, &h.out)
	if _, ok := h.TakeDirty(); !ok {
		t.Error("a marker that finds no room leaves its partition clean")
	}
	if h.HintRoom(200) {
		t.Error("there is room for more")
	}
	if !h.Settle([]byte("key-0"), "b", setOf("a", "0123456789"), &h.out) {
		t.Error("full hints cannot be settled")
	}
}

// What is kept is known at once after a restart, to the byte.
func TestHintsAreCountedAfterARestart(t *testing.T) {
	h := newHints(t, ample)
	for i := range 40 {
		h.mustHint(fmt.Sprintf("key-%d", i), setOf("a", fmt.Sprint(i)), id.Node([]string{"b", "c"}[i%2]))
	}
	h.Settle([]byte("key-3"), "c", setOf("a", "3"), &h.out)
	before := h.Hints()
	h.flush()
	h.restartHints(2, ample)
	after := h.Hints()
	if after.Bytes != before.Bytes || after.Records != 39 || !slices.Equal(after.Pending, before.Pending) {
		t.Errorf("%+v, and after a restart %+v", before, after)
	}
	if p, pending, ok := h.NextHinted(0); !ok || len(pending) == 0 {
		t.Errorf("partition %d has %v, %v", p, pending, ok)
	}
}

func TestFallbackMintsForTheOwners(t *testing.T) {
	h := newHints(t, ample)
	first := h.fallbackPut("k", "1", "b", "a", "c")
	if first.Code != core.CodeOK || first.Flush == 0 || len(first.Set.Versions) != 1 {
		t.Fatalf("%+v", first)
	}
	again := h.Write(core.LocalWrite{Key: []byte("k"), For: []id.Node{"a"}, Write: version.Write{ID: version.WriteID{1}, Data: []byte("1")}}, &h.out)
	if len(again.Set.Versions) != 1 || !again.Context.Equal(first.Context) {
		t.Errorf("a write that is repeated is minted again: %+v", again)
	}
	second := h.Write(core.LocalWrite{
		Key: []byte("k"), For: []id.Node{"a"}, Context: first.Context, Write: version.Write{ID: version.WriteID{2}, Data: []byte("2")},
	}, &h.out)
	if actorOf(t, second.Set, "2") != actorOf(t, first.Set, "1") || len(second.Set.Versions) != 1 {
		t.Errorf("%v", second.Set.Versions)
	}
	if item := h.hinted(); len(item.Owners) != 3 || !item.Owners[0].Data {
		t.Errorf("kept for %v", item.Owners)
	}
	own := h.put("k", "own", version.Clock{})
	if actorOf(t, own.Set, "own") == actorOf(t, first.Set, "1") {
		t.Error("the own copy and the hints have one actor")
	}
}

// dumbHints is a twin that keeps sets of what is owed, and counts by looking.
type dumbHints map[string]map[id.Node]version.Siblings

// Whatever is done to hints, the tallies say what there is, also after a
// restart.
func TestTalliesAgreeWithACount(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		h := newHints(outer, ample)
		twin := dumbHints{}
		key := rapid.SampledFrom([]string{"k1", "k2", "k3", "k4"})
		owner := rapid.SampledFrom([]id.Node{"a", "b", "c"})
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			k, o := key.Draw(t, "key"), owner.Draw(t, "owner")
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				h.mustHint(k, setOf(owner.Draw(t, "writer"), "v"), o)
				if twin[k] == nil {
					twin[k] = map[id.Node]version.Siblings{}
				}
				twin[k][o] = version.Siblings{}
			case 1:
				set, _ := h.ReadHint([]byte(k), &h.out)
				if !h.Settle([]byte(k), o, set, &h.out) {
					t.Fatalf("the hint of %s for %s is not settled by what it is", k, o)
				}
				delete(twin[k], o)
			case 2:
				h.flush()
			case 3:
				h.flush()
				h.restartHints(2, ample)
			}
		}
		h.agrees(t, twin)
	})
}

func (h *harness) agrees(t *rapid.T, twin dumbHints) {
	pending := map[id.Node]uint64{}
	records := uint64(0)
	for _, owners := range twin {
		if len(owners) > 0 {
			records++
		}
		for o := range owners {
			pending[o]++
		}
	}
	got := h.Hints()
	var size uint64
	for _, item := range h.allHints() {
		rec, _, _ := h.getHint(item.Key, &h.out)
		b, _ := rec.encode()
		size += uint64(len(core.HintKey(item.Key)) + len(b))
	}
	if got.Records != records || len(got.Pending) != len(pending) || got.Bytes != size {
		t.Fatalf("%+v; there are %d records of %d bytes for %v", got, records, size, pending)
	}
	for _, p := range got.Pending {
		if p.Keys != pending[p.Target] {
			t.Fatalf("%d keys for %s; there are %d", p.Keys, p.Target, pending[p.Target])
		}
	}
}

func TestBrokenTallyStopsTheNode(t *testing.T) {
	h := newHints(t, ample)
	h.store.Commit([]core.Write{{Key: core.HintTallyKey(3), Value: []byte("nonsense")}})
	h.Replica = New(Config{Self: "f", Start: 2, Shard: 0, Shards: 1}, h.store)
	h.OpenHints(hintPartitions, &h.out)
	if h.out.Failed == nil {
		t.Error("a tally that cannot be read is taken for none")
	}
}

func TestConflictingHintIsRefused(t *testing.T) {
	h := newHints(t, ample)
	h.mustHint("k", setOf("a", "1"), "b")
	if _, why := h.hint("k", setOf("a", "forged"), "b"); why != core.RefusedInvalid || h.Alarms().Conflicts != 1 {
		t.Errorf("refused %v, %+v", why, h.Alarms())
	}
	if !bytes.Equal(h.hinted().Set.Versions[0].Data, []byte("1")) {
		t.Error("the forged bytes are kept")
	}
}

// A chunk may be empty, where what it read is settled and not yet flushed: it
// must not be read for ever.
func TestChunksGoOnPastWhatIsSettled(t *testing.T) {
	h := newHints(t, ample)
	for i := range 20 {
		h.mustHint(fmt.Sprintf("key-%d", i), setOf("a", "1"), "b")
	}
	h.flush()
	keys := h.allHints()
	for _, item := range keys[:15] {
		h.Settle(item.Key, "b", item.Set, &h.out)
	}
	var at []byte
	seen := 0
	for chunks := 0; ; chunks++ {
		items, next := h.HintChunk(0, ^ring.Position(0), at, core.Limit{Keys: 4, Bytes: 1 << 20}, &h.out)
		seen += len(items)
		if at = next; at == nil {
			break
		}
		if chunks > 20 {
			t.Fatal("the chunks do not end")
		}
	}
	if seen != 5 {
		t.Errorf("saw %d hints of 5", seen)
	}
}

// A chunk is bounded by what is delivered, and a marker stands for an own copy
// that may be large.
func TestChunksAreBoundedByWhatIsOwed(t *testing.T) {
	h := newHints(t, ample)
	for i := range 10 {
		key := fmt.Sprint("key-", i)
		h.put(key, strings.Repeat("v", 1000), version.Clock{})
		h.Mark(core.Now{Wall: 7}, []byte(key), []id.Node{"b"}, &h.out)
	}
	var at []byte
	seen, chunks := 0, 0
	for ok := true; ok; ok = at != nil {
		var items []core.HintItem
		items, at = h.HintChunk(0, ^ring.Position(0), at, core.Limit{Keys: 100, Bytes: 1500}, &h.out)
		if len(items) > 2 {
			t.Errorf("a chunk of %d sets of 1000 bytes; 1500 are allowed", len(items))
		}
		seen += len(items)
		chunks++
	}
	if seen != 10 || chunks != 5 {
		t.Errorf("%d hints in %d chunks, want 10 in 5", seen, chunks)
	}
}

// What forgets keys asks whether anything is kept of them, and is told of each
// change of that.
func TestForgettingSeesHints(t *testing.T) {
	h := newHints(t, ample)
	var seen watcher
	h.Replica = New(Config{Self: "f", Start: 1, Shard: 0, Shards: 1, MaxHintBytes: ample, Watch: &seen}, h.store)
	h.OpenHints(hintPartitions, &h.out)
	key, set := []byte("k"), setOf("b", "v")
	step := func(what string, held bool, f func()) {
		t.Helper()
		seen = nil
		f()
		if want := []ring.Position{ring.Hash(key)}; !slices.Equal(seen, want) {
			t.Errorf("%s: the watcher was told of %v, not of %v", what, seen, want)
		}
		one, flush := h.HoldsHint(key, &h.out)
		all, flushAll := h.HoldsHints(0, ^ring.Position(0), &h.out)
		if one != held || all != held || flush == 0 || flush != flushAll {
			t.Errorf("%s: held %v after flush %d, in all %v after %d", what, one, flush, all, flushAll)
		}
	}
	step("kept", true, func() { h.mustHint("k", set, "b") })
	step("marked", true, func() { h.Mark(core.Now{Wall: 5}, key, []id.Node{"c"}, &h.out) })
	step("settled for one", true, func() { h.Settle(key, "b", set, &h.out) })
	step("settled for all", false, func() { h.Settle(key, "c", version.Siblings{}, &h.out) })
	step("minted", true, func() { h.fallbackPut("k", "w", "b") })
	h.flush()
	if held, flush := h.HoldsHint(key, &h.out); !held || flush != 0 {
		t.Errorf("on the disk: held %v after flush %d", held, flush)
	}
	if held, flush := h.HoldsHint([]byte("other"), &h.out); held || flush != 0 {
		t.Errorf("another key: held %v after flush %d", held, flush)
	}
}

// A fallback that holds a write for one owner, and is asked to stand in for two
// with the same write, keeps it for both: each place that it fills counts.
func TestRepeatedFallbackWriteIsForAllItsOwners(t *testing.T) {
	h := newHints(t, ample)
	w := core.LocalWrite{Key: []byte("k"), Write: version.Write{ID: version.WriteID{7}, Data: []byte("v")}, For: []id.Node{"a"}}
	h.Write(w, &h.out)
	h.flush()
	w.For = []id.Node{"a", "b"}
	again := h.Write(w, &h.out)
	if again.Code != core.CodeOK || again.Flush == 0 || len(again.Set.Versions) != 1 {
		t.Errorf("%+v", again)
	}
	h.flush()
	h.Settle([]byte("k"), "a", again.Set, &h.out)
	if set, _ := h.ReadHint([]byte("k"), &h.out); !set.Equal(again.Set) {
		t.Error("the hint has gone with the owner that it was for first")
	}
	if third := h.Write(w, &h.out); third.Code != core.CodeOK {
		t.Errorf("%+v", third)
	}
}
