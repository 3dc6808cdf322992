package replica

import (
	"bytes"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// measured tells a replica of another measurement.
func (h *harness) measured(state core.RoomState, allowance uint64) {
	h.SetRoom(&core.Room{State: state, Allowance: allowance, Measurement: h.room.Measurement + 1})
}

// write asks for a write that may be refused.
func (h *harness) write(value string, ctx version.Clock, tombstone bool) core.Code {
	h.ids++
	w := version.Write{ID: version.WriteID{h.ids}, Tombstone: tombstone}
	if !tombstone {
		w.Data = []byte(value)
	}
	return h.Write(core.LocalWrite{Key: []byte("k"), Context: ctx, Write: w}, &h.out).Code
}

// TestFullReplicaTakesWhatFreesRoom has a full replica refuse what it would
// have to keep, and nothing else.
func TestFullReplicaTakesWhatFreesRoom(t *testing.T) {
	h := newHarness(t)
	first := h.put("k", strings.Repeat("v", 100), version.Clock{})
	h.flush()
	h.measured(core.RoomFull, 0)
	if h.HasRoom() {
		t.Error("it has room")
	}
	if code := h.write("w", first.Context, false); code != core.CodeStorageFull {
		t.Errorf("an overwrite with less: %v", code)
	}
	if _, why := h.Apply([]byte("k"), first.Set, &h.out); why != 0 {
		t.Errorf("what it holds already: %v", why)
	}
	more, _ := first.Set.Put(version.Clock{}, version.Actor{Node: "b", Epoch: version.Epoch{Start: 7, Seq: 1}}, version.Write{Data: []byte("x")})
	if _, why := h.Apply([]byte("k"), more, &h.out); why != core.RefusedStorageFull {
		t.Errorf("a sibling: %v", why)
	}
	if set, _ := h.Read([]byte("k"), &h.out); !set.Equal(first.Set) || len(h.out.Writes) != 0 {
		t.Fatalf("after refusals it holds %v and has %d writes", set, len(h.out.Writes))
	}
	if code := h.write("", version.Clock{}, true); code != core.CodeStorageFull {
		t.Errorf("a tombstone that takes nothing away: %v", code)
	}
	if code := h.write("", first.Context, true); code != core.CodeOK {
		t.Errorf("a delete: %v", code)
	}
	h.flush()
	stone := h.read()
	if !h.Remove([]byte("k"), stone, &h.out) {
		t.Error("the tombstone is not removed")
	}
	if got := h.RoomRefusals(); got != 3 {
		t.Errorf("%d refusals are counted, want 3", got)
	}
	h.measured(core.RoomPlenty, 1<<20)
	if code := h.write("w", version.Clock{}, false); code != core.CodeOK {
		t.Errorf("with room again: %v", code)
	}
}

// TestFullReplicaTakesNoHints has a full replica keep what hints it has, let go
// of them, and take no more.
func TestFullReplicaTakesNoHints(t *testing.T) {
	h := newHints(t, ample)
	set := setOf("c", "one")
	h.mustHint("k", set, "a")
	h.flush()
	h.measured(core.RoomFull, 0)
	if _, why := h.hint("k", set, "a"); why != 0 {
		t.Errorf("the hint that it has: %v", why)
	}
	if _, why := h.hint("k", set, "b"); why != core.RefusedStorageFull {
		t.Errorf("the hint for another owner: %v", why)
	}
	if _, why := h.hint("l", set, "a"); why != core.RefusedStorageFull {
		t.Errorf("another hint: %v", why)
	}
	if h.HintRoom(1) || h.Hints().Refused != 0 {
		t.Errorf("room for a hint: %v, %d refused for the limit of hints", h.HintRoom(1), h.Hints().Refused)
	}
	res := h.Write(core.LocalWrite{Key: []byte("l"), For: []id.Node{"a"}, Write: version.Write{ID: version.WriteID{9}, Data: []byte("v")}}, &h.out)
	if res.Code != core.CodeStorageFull {
		t.Errorf("minting into the hints: %v", res.Code)
	}
	h.Mark(core.Now{Wall: 5}, []byte("m"), []id.Node{"b"}, &h.out)
	if _, ok := h.TakeDirty(); !ok || len(h.out.Writes) != 0 {
		t.Errorf("a marker is stored (%d writes), or its partition is not noted", len(h.out.Writes))
	}
	if !h.Settle([]byte("k"), "a", set, &h.out) || h.Hints().Records != 0 {
		t.Errorf("a delivered hint stays: %+v", h.Hints())
	}
}

// TestAllowanceHoldsBetweenMeasurements has a replica store no more than it may
// before it hears of the next measurement, however much it is asked to.
func TestAllowanceHoldsBetweenMeasurements(t *testing.T) {
	h := newHarness(t)
	const allowance = 10_000
	h.measured(core.RoomLow, allowance)
	stored := 0
	ctx := version.Clock{}
	for h.write(strings.Repeat("v", 1000), ctx, false) == core.CodeOK {
		stored++
		set, _ := h.Read([]byte("k"), &h.out)
		ctx = set.Clock
	}
	if stored < 5 || stored > 10 {
		t.Errorf("%d values of 1000 bytes fit into %d", stored, allowance)
	}
	h.SetRoom(&core.Room{State: core.RoomLow, Allowance: 2 * allowance, Measurement: h.room.Measurement})
	if code := h.write(strings.Repeat("v", 1000), ctx, false); code != core.CodeStorageFull {
		t.Errorf("the same measurement gives its allowance twice: %v", code)
	}
	h.measured(core.RoomLow, allowance) // which may not have seen what was stored just now
	if code := h.write(strings.Repeat("v", 1000), ctx, false); code != core.CodeStorageFull {
		t.Errorf("what was stored before the measurement came is spent twice: %v", code)
	}
	h.measured(core.RoomLow, allowance)
	if code := h.write(strings.Repeat("v", 1000), ctx, false); code != core.CodeOK {
		t.Errorf("a new allowance: %v", code)
	}
	h.SetRoom(nil)
	if code := h.write(string(bytes.Repeat([]byte("v"), 1<<20)), ctx, false); code != core.CodeOK {
		t.Errorf("where nobody measures: %v", code)
	}
}
