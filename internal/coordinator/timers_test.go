package coordinator

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// A loop is woken when Next is due: for what is over that would be in vain, once
// for each request.
func TestNothingWakesForARequestThatIsOver(t *testing.T) {
	b := newBench(t, "a", 3)
	b.submit(core.Request{Op: core.OpGet, Key: b.key(true)})
	if _, ok := b.Next(); !ok {
		t.Fatal("a request under way has no time limit")
	}
	b.flush()
	b.answer(b.take(b.targets()[0]), &core.ReadReply{})
	b.result()
	if b.Active() != 0 {
		t.Fatal("the read is not over")
	}
	if at, ok := b.Next(); ok {
		t.Errorf("something is due at %v, though nothing is under way", at)
	}

	b.submit(b.put(true))
	b.flush()
	b.answer(b.take("b"), &core.Applied{})
	b.answer(b.take("c"), &core.Applied{})
	b.result()
	if at, ok := b.Next(); ok {
		t.Errorf("something is due at %v, though nothing is under way", at)
	}
}

// The heap against a list that is searched.
func TestTimersAreThoseOfAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			h     timers
			slots [8]slot
			list  []*slot // armed, in the order of arming
		)
		forget := func(s *slot) {
			for i := range list {
				if list[i] == s {
					list = append(list[:i], list[i+1:]...)
					return
				}
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			s := &slots[rapid.IntRange(0, len(slots)-1).Draw(t, "slot")]
			at := time.Duration(rapid.IntRange(0, 9).Draw(t, "at"))
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				h.arm(s, at)
				forget(s)
				list = append(list, s)
			case 1:
				h.disarm(s)
				forget(s)
			case 2:
				var first *slot
				for _, one := range list {
					if one.armed <= at && (first == nil || one.armed < first.armed) {
						first = one
					}
				}
				if got := h.pop(at); got != first {
					t.Fatalf("popped %p at %v, want %p of %d", got, at, first, len(list))
				}
				forget(first)
			}
		}
		if len(h.heap) != len(list) {
			t.Fatalf("%d are armed, want %d", len(h.heap), len(list))
		}
	})
}
