package handoff

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// slots gives the shard so many.
func (b *bench) slots(n int) { b.gate.Limit(b.now.Mono, n, 0) }

// wants fails unless so many messages are under way, and so many slots are held.
func (b *bench) wants(when string, sent, held int) {
	b.t.Helper()
	if len(b.sent) != sent || b.gate.Held() != held {
		b.t.Fatalf("%s %d messages are sent with %d slots; want %d with %d", when, len(b.sent), b.gate.Held(), sent, held)
	}
}

// TestHintsHoldASlot: they are delivered with a slot, and it is given back when
// they are settled.
func TestHintsHoldASlot(t *testing.T) {
	f := newFallback(t)
	f.becomes("b", core.Dead)
	f.keep(f.key(0), setOf("a", "1"), "b")
	f.slots(0)
	f.becomes("b", core.Alive)
	f.run(time.Minute)
	f.wants("without a slot", 0, 0)
	f.slots(1)
	f.tick(0)
	f.wants("with one", 1, 1)
	f.answerAll(applied)
	f.tick(0)
	f.wants("afterwards", 0, 0)
	if f.kept() != 0 {
		t.Errorf("%d hints are kept", f.kept())
	}
}

// TestPullsHoldASlotEach: as many partitions are pulled at a time as there are
// slots.
func TestPullsHoldASlotEach(t *testing.T) {
	old, next := layouts(t)
	b := newBench(t, "d")
	b.slots(0)
	b.view(core.PhaseCopy, old, next)
	b.tick(time.Minute)
	b.wants("without a slot", 0, 0)
	b.slots(1)
	for steps := 0; len(b.pulls) > 0 && steps < 100; steps++ {
		b.tick(0)
		b.wants("with one", 1, 1)
		b.answerAll(func(core.Envelope) core.Message {
			if len(b.sent) > 0 {
				t.Errorf("%d more are asked for with one slot", len(b.sent))
			}
			return &core.PullReply{Done: true}
		})
	}
	b.wants("afterwards", 0, 0)
	if r := b.last(); r.PullsLeft != 0 || r.Synced != next.Name() {
		t.Errorf("at the end: %+v", r)
	}
}

// TestPushesHoldASlot: leftovers are pushed with a slot; where others wait for it
// they have their turn before an owner is asked again.
func TestPushesHoldASlot(t *testing.T) {
	old, _ := layouts(t)
	b := newBench(t, "d")
	key := keysIn(old, ring.Partition(3), 1)[0]
	b.replica.Apply(key, setOf("d", "left over"), &b.out)
	b.collect()
	b.slots(0)
	b.view(core.PhaseDone, old)
	b.tick(time.Minute)
	b.wants("without a slot", 0, 0)
	b.slots(1)
	b.tick(0)
	b.wants("with one", 3, 1)
	b.sent = nil // nobody answers
	other := new(admission.Slot)
	if b.gate.Go(b.now.Mono, other) {
		t.Fatal("the slot is free while answers are awaited")
	}
	b.tick(chunkTimeout)
	b.wants("while another one waits", 0, 1)
	if !b.gate.Go(b.now.Mono, other) {
		t.Fatal("the slot was not given on")
	}
	b.gate.Done(b.now.Mono, other)
	b.tick(0)
	b.wants("afterwards", 3, 1)
	for b.store.Len() > 0 && len(b.sent) > 0 {
		b.answerAll(applied)
		b.tick(0)
	}
	b.wants("at the end", 0, 0)
	if b.store.Len() != 0 {
		t.Errorf("%d keys stay", b.store.Len())
	}
}
