package replica

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// harness is a replica whose flushes the test completes.
type harness struct {
	*Replica
	t     *testing.T
	store *coretest.Store
	out   core.Out
	ids   byte
}

func newHarness(t *testing.T) *harness {
	h := &harness{t: t, store: coretest.NewStore()}
	h.restart(1)
	return h
}

// restart starts the process anew on what is stored.
func (h *harness) restart(start uint64) {
	h.out.Reset()
	h.Replica = New(Config{Self: "a", Start: start, Shard: 0, Shards: 4}, h.store)
}

// flush makes everything durable.
func (h *harness) flush() {
	n := h.Flush()
	h.store.Commit(h.out.Writes)
	h.out.Reset()
	h.Durable(n)
}

func (h *harness) put(key, value string, ctx version.Clock) core.LocalResult {
	h.t.Helper()
	h.ids++
	res := h.Write(core.LocalWrite{Key: []byte(key), Context: ctx, Write: version.Write{ID: version.WriteID{h.ids}, Data: []byte(value)}}, &h.out)
	if res.Code != core.CodeOK {
		h.t.Fatalf("put %s=%s: %v", key, value, res.Code)
	}
	return res
}

func (h *harness) read() version.Siblings {
	h.t.Helper()
	set, _ := h.Read([]byte("k"), &h.out)
	if h.out.Failed != nil {
		h.t.Fatal(h.out.Failed)
	}
	return set
}

// actorOf returns the actor that minted the value.
func actorOf(t *testing.T, set version.Siblings, value string) version.Actor {
	t.Helper()
	for _, v := range set.Versions {
		if string(v.Data) == value {
			return v.Dot.Actor
		}
	}
	t.Fatalf("no version %q in %v", value, set.Versions)
	return version.Actor{}
}

func TestRecordGoesOnWithItsActorWithinAStart(t *testing.T) {
	h := newHarness(t)
	first := h.put("k", "1", version.Clock{})
	h.flush()
	second := h.put("k", "2", first.Context)
	if a, b := actorOf(t, first.Set, "1"), actorOf(t, second.Set, "2"); a != b {
		t.Errorf("the actor changed from %v to %v without cause", a, b)
	}
	if got := second.Set.Clock.Max(actorOf(t, second.Set, "2")); got != 2 {
		t.Errorf("counter is %d, want 2", got)
	}
}

// Each cause of a new epoch is one that a counter could otherwise be reused
// by (DESIGN section 4, "a counter is never reused").
func TestCausesOfANewEpoch(t *testing.T) {
	foreign := func(a version.Actor, counter uint64, value string) version.Siblings {
		d := version.Dot{Actor: a, Counter: counter}
		return version.Siblings{
			Clock:    version.Clock{}.With(d),
			Versions: []version.Version{{Dot: d, WriteID: version.WriteID{99}, Data: []byte(value)}},
		}
	}
	other := version.Actor{Node: "b", Epoch: version.Epoch{Start: 7, Seq: 1}}
	for _, c := range []struct {
		name  string
		cause func(h *harness, first version.Actor, ctx version.Clock)
	}{
		{"restart", func(h *harness, _ version.Actor, _ version.Clock) { h.restart(2) }},
		{"record made by a merge", func(h *harness, a version.Actor, _ version.Clock) {
			// The copy is dropped, and an old hint brings the node's own first
			// version back (scenario epoch-from-hint).
			set := h.read()
			if !h.Remove([]byte("k"), set, &h.out) {
				t.Fatal("Remove kept an unchanged key")
			}
			h.flush()
			h.Apply([]byte("k"), foreign(a, 1, "1"), &h.out)
			h.flush()
		}},
		{"pruned own entry", func(h *harness, a version.Actor, ctx version.Clock) {
			// Another node's version replaces this node's, whose entry then goes.
			set, _ := version.Siblings{Clock: ctx}.Put(ctx, other, version.Write{ID: version.WriteID{50}, Data: []byte("b")})
			h.Apply([]byte("k"), set, &h.out)
			h.flush()
			if n := h.Prune([]byte("k"), set, &h.out); n != 1 || h.read().Clock.Max(a) != 0 {
				t.Fatalf("Prune removed %d entries and left %v", n, h.read().Clock)
			}
			h.flush()
		}},
		{"higher incoming counter", func(h *harness, a version.Actor, _ version.Clock) {
			h.Apply([]byte("k"), foreign(a, 5, "from the future"), &h.out)
			h.flush()
			if h.Alarms().LostData != 1 {
				t.Errorf("LostData = %d, want 1", h.Alarms().LostData)
			}
		}},
		{"higher counter in a context", func(h *harness, a version.Actor, _ version.Clock) {
			h.put("k", "blind", version.DotClock(version.Dot{Actor: a, Counter: 9}))
			h.flush()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHarness(t)
			res := h.put("k", "1", version.Clock{})
			h.flush()
			first := actorOf(t, res.Set, "1")
			c.cause(h, first, res.Context)
			again := h.put("k", "2", version.Clock{})
			if second := actorOf(t, again.Set, "2"); second == first {
				t.Errorf("still minting as %v", first)
			}
		})
	}
	t.Run("new record", func(t *testing.T) {
		h := newHarness(t)
		a := actorOf(t, h.put("k", "1", version.Clock{}).Set, "1")
		b := actorOf(t, h.put("l", "1", version.Clock{}).Set, "1")
		if a == b {
			t.Errorf("two records mint as %v", a)
		}
	})
}

// A peer that knows this node's start can show counters of epochs that are yet to
// come, and leave none to mint with. Such an epoch is passed over.
func TestMadeUpEpochsArePassedOver(t *testing.T) {
	h := newHarness(t)
	next := func(seq uint64) version.Dot { // shard 0 of 4
		return version.Dot{Actor: version.Actor{Node: "a", Epoch: version.Epoch{Start: 1, Seq: seq}}, Counter: version.MaxCounter}
	}
	forged, err := version.NewClock([]version.Dot{next(4), next(8)}, []version.Dot{next(12)})
	if err != nil {
		t.Fatal(err)
	}
	if _, why := h.Apply([]byte("k"), version.Siblings{Clock: forged}, &h.out); why != 0 {
		t.Fatalf("refused: %v", why)
	}
	context, _ := version.NewClock([]version.Dot{next(16)}, nil)
	res := h.put("k", "1", context)
	want := version.Dot{Actor: next(20).Actor, Counter: 1}
	if got := res.Set.Versions[0].Dot; got != want {
		t.Errorf("minted %v, want %v", got, want)
	}
}

func TestPruneKeepsAnActorWithAVersion(t *testing.T) {
	h := newHarness(t)
	set := h.put("k", "1", version.Clock{}).Set
	h.flush()
	if n := h.Prune([]byte("k"), set, &h.out); n != 0 || !h.read().Equal(set) {
		t.Error("pruned the entry of a version that is present")
	}
}

// Scenario noop-acknowledged: a duplicate finds state that is not durable yet.
func TestNoOpWaitsForTheStateThatItFound(t *testing.T) {
	h := newHarness(t)
	set, _ := version.Siblings{}.Put(version.Clock{}, version.Actor{Node: "b", Epoch: version.Epoch{Start: 7, Seq: 1}}, version.Write{ID: version.WriteID{1}, Data: []byte("v")})
	first, _ := h.Apply([]byte("k"), set, &h.out)
	n := h.Flush()
	h.store.Commit(h.out.Writes)
	h.out.Reset()
	second, why := h.Apply([]byte("k"), set, &h.out)
	if why != 0 || first != n || second != n {
		t.Errorf("the applies wait for flushes %d and %d, want %d", first, second, n)
	}
	if len(h.out.Writes) != 0 {
		t.Errorf("a no-op wrote %d records", len(h.out.Writes))
	}
	if _, flush := h.Read([]byte("k"), &h.out); flush != n {
		t.Errorf("a read waits for flush %d, want %d", flush, n)
	}
	h.Durable(n)
	if flush, _ := h.Apply([]byte("k"), set, &h.out); flush != 0 {
		t.Errorf("a no-op on durable state waits for flush %d", flush)
	}
	if _, flush := h.Read([]byte("k"), &h.out); flush != 0 {
		t.Errorf("a read of durable state waits for flush %d", flush)
	}
}

// Scenario context-not-joined: a delete at a node that lacks what it deletes.
func TestDeleteOfAnUnseenVersionHoldsWhenItComes(t *testing.T) {
	h := newHarness(t)
	b := version.Actor{Node: "b", Epoch: version.Epoch{Start: 7, Seq: 1}}
	set, dot := version.Siblings{}.Put(version.Clock{}, b, version.Write{ID: version.WriteID{1}, Data: []byte("v")})
	h.Write(core.LocalWrite{Key: []byte("k"), Context: version.DotClock(dot), Write: version.Write{ID: version.WriteID{2}, Tombstone: true}}, &h.out)
	h.flush()
	h.Apply([]byte("k"), set, &h.out)
	if live := h.read().Live(); len(live) != 0 {
		t.Errorf("%q lives after its delete", live[0].Data)
	}
}

// Scenario overwrite-context, and its counterpart for a plain put.
func TestContextsAreExact(t *testing.T) {
	h := newHarness(t)
	unseen := h.put("k", "1", version.Clock{})
	h.flush()
	blind := h.put("k", "2", version.Clock{})
	if blind.Context.Dominates(unseen.Context) {
		t.Error("a blind put's context covers a sibling that its writer has not read")
	}
	overwrite := core.LocalWrite{Key: []byte("k"), Overwrite: true, Write: version.Write{ID: version.WriteID{77}, Data: []byte("3")}}
	over := h.Write(overwrite, &h.out)
	if !over.Context.Dominates(unseen.Context) || !over.Context.Dominates(blind.Context) {
		t.Error("an Overwrite's context does not cover the stored clock that it used")
	}
	if len(over.Set.Versions) != 1 {
		t.Errorf("an Overwrite left %d versions", len(over.Set.Versions))
	}
	if again := h.Write(overwrite, &h.out); !again.Context.Equal(over.Context) {
		t.Errorf("the same Overwrite again answers the context %v; it was %v", again.Context, over.Context)
	}
}

func TestWriteIDIsMintedOnce(t *testing.T) {
	h := newHarness(t)
	w := core.LocalWrite{Key: []byte("k"), Write: version.Write{ID: version.WriteID{5}, Data: []byte("v")}}
	first := h.Write(w, &h.out)
	second := h.Write(w, &h.out)
	if len(second.Set.Versions) != 1 || !second.Context.Equal(first.Context) || second.Flush != first.Flush {
		t.Errorf("a repeated write ID gave %d versions, context %v after %v", len(second.Set.Versions), second.Context, first.Context)
	}
}

// A retried Overwrite-delete that was executed before reads a quorum again,
// and finds what was written since. Its context must not cover that.
func TestRepeatedOverwriteHasNotSeenWhatCameAfterIt(t *testing.T) {
	h := newHarness(t)
	before := h.put("k", "1", version.Clock{})
	w := core.LocalWrite{Key: []byte("k"), Context: before.Context, Overwrite: true, Write: version.Write{ID: version.WriteID{9}, Tombstone: true}}
	first := h.Write(w, &h.out)
	if !first.Context.Dominates(before.Context) {
		t.Error("an Overwrite's context does not cover what a quorum has shown")
	}
	after := h.put("k", "2", version.Clock{})
	w.Context = after.Set.Clock
	second := h.Write(w, &h.out)
	if second.Context.Dominates(after.Context) {
		t.Error("the context of a repeated Overwrite covers a version that was written after it")
	}
	if len(second.Set.Live()) != 1 {
		t.Errorf("a repeated Overwrite-delete left %d live versions; it had not seen the one", len(second.Set.Live()))
	}
}

func TestClientPutsStopAtTheLimits(t *testing.T) {
	h := newHarness(t)
	for i := range id.MaxSiblings {
		h.put("k", fmt.Sprint(i), version.Clock{})
	}
	over := core.LocalWrite{Key: []byte("k"), Write: version.Write{ID: version.WriteID{200}, Data: []byte("one more")}}
	if got := h.Write(over, &h.out).Code; got != core.CodeTooManySiblings {
		t.Errorf("put number %d: %v", id.MaxSiblings+1, got)
	}
	b := version.Actor{Node: "b", Epoch: version.Epoch{Start: 7, Seq: 1}}
	set, _ := version.Siblings{}.Put(version.Clock{}, b, version.Write{ID: version.WriteID{201}, Data: []byte("merged")})
	if _, why := h.Apply([]byte("k"), set, &h.out); why != 0 || len(h.read().Versions) != id.MaxSiblings+1 {
		t.Error("a merge past the limit was refused")
	}
	if res := h.put("k", "resolved", h.read().Clock); len(res.Set.Versions) != 1 {
		t.Errorf("a resolving put past the limit left %d versions", len(res.Set.Versions))
	}
	big := core.LocalWrite{Key: []byte("big"), Write: version.Write{ID: version.WriteID{202}, Data: bytes.Repeat([]byte{1}, id.MaxSetBytes)}}
	if got := h.Write(big, &h.out).Code; got != core.CodeSetTooLarge {
		t.Errorf("a set above %d bytes: %v", id.MaxSetBytes, got)
	}
}

func TestEqualDotsWithOtherBytesAreRefused(t *testing.T) {
	h := newHarness(t)
	res := h.put("k", "v", version.Clock{})
	forged := version.Siblings{Clock: res.Set.Clock, Versions: []version.Version{res.Set.Versions[0]}}
	forged.Versions[0].Data = []byte("forged")
	if _, why := h.Apply([]byte("k"), forged, &h.out); why != core.RefusedInvalid {
		t.Error("applied")
	}
	if h.Alarms().Conflicts != 1 || string(h.read().Versions[0].Data) != "v" {
		t.Errorf("conflicts %d, value %q", h.Alarms().Conflicts, h.read().Versions[0].Data)
	}
}

func TestRemoveKeepsWhatChanged(t *testing.T) {
	h := newHarness(t)
	res := h.put("k", "1", version.Clock{})
	if h.Remove([]byte("k"), res.Set, &h.out) {
		t.Error("removed what is not durable")
	}
	h.flush()
	h.put("k", "2", version.Clock{})
	h.flush()
	if h.Remove([]byte("k"), res.Set, &h.out) {
		t.Error("removed what has changed since")
	}
	if !h.Remove([]byte("k"), h.read(), &h.out) {
		t.Error("kept what has not changed")
	}
	if !h.read().IsEmpty() {
		t.Error("still there")
	}
	h.flush()
	if h.store.Len() != 0 {
		t.Error("still stored")
	}
}

func TestChunksShowWhatIsNotFlushed(t *testing.T) {
	h := newHarness(t)
	want := map[string]bool{}
	for i := range 100 {
		key := fmt.Sprintf("key-%d", i)
		want[key] = true
		h.put(key, "v", version.Clock{})
		if i%3 == 0 {
			h.flush()
		}
	}
	var after []byte
	for done := false; !done; {
		var items []core.Item
		items, done, _ = h.Chunk(0, ^ring.Position(0), after, core.Limit{Keys: 7, Bytes: 1 << 20}, &h.out)
		for _, item := range items {
			if !want[string(item.Key)] {
				t.Fatalf("%s came twice or was never put", item.Key)
			}
			delete(want, string(item.Key))
			after = item.Key
		}
	}
	if len(want) != 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestBrokenStoreStopsTheNode(t *testing.T) {
	h := newHarness(t)
	h.store.Broken = errors.New("disk on fire")
	h.Read([]byte("k"), &h.out)
	if !errors.Is(h.out.Failed, h.store.Broken) {
		t.Errorf("Failed = %v", h.out.Failed)
	}
	h.out.Reset()
	if res := h.Write(core.LocalWrite{Key: []byte("k")}, &h.out); res.Code != core.CodeStopped || h.out.Failed == nil {
		t.Errorf("Write: %v, Failed = %v", res.Code, h.out.Failed)
	}
}

// Holds goes on behind keys whose removal is pending: they are not the last.
func TestHoldsBehindPendingRemovals(t *testing.T) {
	h := newHarness(t)
	first, last := ring.Position(0), ^ring.Position(0)
	if held, flush := h.Holds(first, last, &h.out); held || flush != 0 {
		t.Errorf("an empty store holds keys: %v, flush %d", held, flush)
	}
	for i := range 5 {
		h.put(fmt.Sprint(i), "v", version.Clock{})
	}
	h.flush()
	items, _, _ := h.Chunk(first, last, nil, core.Limit{Keys: 5, Bytes: 1 << 20}, &h.out)
	for i, item := range items {
		if held, _ := h.Holds(first, last, &h.out); !held {
			t.Fatalf("no key is held when %d of 5 are removed", i)
		}
		if !h.Remove(item.Key, item.Set, &h.out) {
			t.Fatal("Remove kept an unchanged key")
		}
	}
	if held, flush := h.Holds(first, last, &h.out); held || flush == 0 {
		t.Errorf("all are removed, and not durably: held %v, flush %d", held, flush)
	}
	h.flush()
	if held, flush := h.Holds(first, last, &h.out); held || flush != 0 {
		t.Errorf("held %v, flush %d at the end", held, flush)
	}
}

// Whoever watches is told of every change, and of nothing else.
func TestWatcherIsToldOfChanges(t *testing.T) {
	h := newHarness(t)
	var seen watcher
	h.Replica = New(Config{Self: "a", Start: 1, Shard: 0, Shards: 4, Watch: &seen}, h.store)
	at := ring.Hash([]byte("k"))
	told := func(what string, want bool) {
		t.Helper()
		if got := len(seen) > 0; got != want || got && seen[0] != at {
			t.Errorf("%s: told of %v", what, seen)
		}
		seen = nil
	}
	set := h.put("k", "v", version.Clock{}).Set
	told("a put", true)
	h.flush()
	h.Apply([]byte("k"), set, &h.out)
	h.read()
	told("an apply that changes nothing, and a read", false)
	other, _ := set.Put(set.Clock, version.Actor{Node: "b", Epoch: version.Epoch{Start: 7, Seq: 1}}, version.Write{ID: version.WriteID{9}})
	h.Apply([]byte("k"), other, &h.out)
	told("an apply", true)
	h.flush()
	h.Prune([]byte("k"), other, &h.out)
	told("pruning", true)
	h.flush()
	if !h.Remove([]byte("k"), h.read(), &h.out) {
		t.Error("Remove kept an unchanged key")
	}
	told("a removal", true)
}

type watcher []ring.Position

func (w *watcher) Changed(at ring.Position) { *w = append(*w, at) }
