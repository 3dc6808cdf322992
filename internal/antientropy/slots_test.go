package antientropy

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// give gives each shard so many slots.
func (c *cluster) give(slots int) {
	for _, h := range c.nodes {
		for _, s := range h.shards {
			s.gate.Limit(c.now, slots, slotRate)
		}
	}
}

// TestBuildingHoldsASlot: hash trees are built with a slot.
func TestBuildingHoldsASlot(t *testing.T) {
	const keys = 4 * 2 * buildKeys // two chunks for each tree
	c := newCluster(t, 4, 2, 1, 1)
	scatter(c, keys)
	c.run(2 * interval)
	h := c.nodes[0]
	c.start(h, 1) // after a crash
	c.give(0)
	before := h.shards[0].local.Trees().Building
	c.run(2 * interval)
	if left := h.shards[0].local.Trees().Building; left == 0 || left != before {
		t.Errorf("%d of %d trees are left to build, without a slot", left, before)
	}
	c.give(1)
	c.run(2 * interval)
	if left := h.shards[0].local.Trees().Building; left != 0 || h.shards[0].gate.Held() != 0 {
		t.Errorf("%d trees are left to build, and %d slots are held", left, h.shards[0].gate.Held())
	}
	c.requireEqual(keys)
}

// TestExchangesHoldASlot: nobody is asked without a slot, which is held until the
// exchange has ended.
func TestExchangesHoldASlot(t *testing.T) {
	c := newCluster(t, 4, 2, 1, 1)
	c.run(time.Second) // the trees are there
	c.put(0, "key", "x")
	c.give(0)
	asked := 0
	c.seen = func(e *core.Envelope) {
		if e.Reply {
			return
		}
		asked++
		if held := c.host(e.From).shards[0].gate.Held(); held != 1 {
			t.Errorf("%v asks with %d slots", e.From, held)
		}
	}
	c.run(2 * interval)
	if asked != 0 {
		t.Fatalf("%d questions without a slot", asked)
	}
	c.give(1)
	c.run(2 * interval)
	c.requireEqual(1)
	for _, h := range c.nodes {
		if held := h.shards[0].gate.Held(); asked == 0 || held != 0 {
			t.Errorf("%d questions, and %v holds %d slots afterwards", asked, h.id, held)
		}
	}
}
