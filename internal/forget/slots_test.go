package forget

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// TestRoundsHoldASlot: nothing is looked for and nobody is asked without a slot,
// which is held while answers are awaited.
func TestRoundsHoldASlot(t *testing.T) {
	c := newDeleted(t)
	slots := func(n int) {
		for _, m := range c.members {
			m.gate.Limit(c.now.Mono, n, 0)
		}
	}
	slots(0)
	c.run(2 * (ttl + interval))
	if len(c.seen) > 0 {
		t.Fatalf("%d messages without a slot", len(c.seen))
	}
	c.expect("without a slot", "ooo")
	c.drop = func(e *core.Envelope) bool {
		if from := c.member(e.From); !e.Reply && from.gate.Held() != 1 {
			t.Errorf("%s asks %s with %d slots", e.From, e.To, from.gate.Held())
		}
		return false
	}
	slots(1)
	c.run(2 * (ttl + interval))
	c.expect("with one", "---")
	for _, m := range c.members {
		if m.gate.Held() != 0 {
			t.Errorf("%s holds %d slots afterwards", m.id, m.gate.Held())
		}
	}
}
