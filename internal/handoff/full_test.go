package handoff

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// A full node pulls nothing, and goes on when there is room.
func TestFullNodePullsNothing(t *testing.T) {
	old, next := layouts(t)
	b := newBench(t, "d")
	b.replica.SetRoom(&core.Room{State: core.RoomFull, Measurement: 1})
	b.view(core.PhaseCopy, old, next)
	b.tick(roomPause)
	if len(b.sent) != 0 {
		t.Errorf("a full node asks for %d chunks", len(b.sent))
	}
	b.replica.SetRoom(&core.Room{Allowance: core.AnyRoom, Measurement: 2})
	b.tick(roomPause)
	b.answerAll(func(core.Envelope) core.Message { return &core.PullReply{Done: true} })
	for range 8 {
		b.tick(roomPause)
		b.answerAll(func(core.Envelope) core.Message { return &core.PullReply{Done: true} })
	}
	if r := b.last(); r.PullsLeft != 0 || r.Synced != next.Name() {
		t.Errorf("with room again: %+v", r)
	}
}

// A chunk that does not fit any more is asked for again when there is room.
func TestPullGoesOnWhenThereIsRoom(t *testing.T) {
	old, next := layouts(t)
	b := newBench(t, "d")
	b.view(core.PhaseCopy, old, next)
	p := gained(t, next)
	key := keysIn(old, p, 1)[0]
	chunk := func(e core.Envelope) core.Message {
		reply := &core.PullReply{Done: true}
		if e.Partition == p {
			reply.Items = []core.Item{{Key: key, Set: setOf("a", "v")}}
		}
		return reply
	}
	b.replica.SetRoom(&core.Room{State: core.RoomFull, Measurement: 1})
	b.answerAll(chunk)
	if r := b.last(); r.PullsLeft == 0 || b.store.Len() != 0 {
		t.Errorf("a full node has stored %d keys: %+v", b.store.Len(), r)
	}
	b.replica.SetRoom(&core.Room{Allowance: core.AnyRoom, Measurement: 2})
	for range 8 {
		b.tick(roomPause)
		b.answerAll(chunk)
	}
	if r := b.last(); r.PullsLeft != 0 || b.store.Len() != 1 {
		t.Errorf("with room again it has %d keys: %+v", b.store.Len(), r)
	}
}

// What a fallback keeps for owners of which it is one by now stays a hint until
// it has room for its own copy.
func TestHintForOneselfWaitsForRoom(t *testing.T) {
	f := newFallback(t)
	_, next := layouts(t)
	f.becomes("a", core.Dead)
	var here []byte
	for i := 0; here == nil; i++ {
		if next.Owns("d", next.Partition(f.key(i))) && !next.Owns("a", next.Partition(f.key(i))) {
			here = f.key(i)
		}
	}
	f.keep(here, setOf("c", "1"), "a")
	f.replica.SetRoom(&core.Room{State: core.RoomFull, Measurement: 1})
	f.show(next)
	pass := func() {
		for range 20 {
			f.run(time.Second)
			f.answerAll(func(e core.Envelope) core.Message {
				if _, ok := e.Msg.(*core.Apply); ok {
					return applied(e)
				}
				return nil
			})
		}
	}
	pass()
	if set, _ := f.replica.Read(here, &f.out); f.kept() == 0 || !set.IsEmpty() {
		t.Errorf("a full node keeps %d hints, and %v as its own", f.kept(), set.Versions)
	}
	f.replica.SetRoom(&core.Room{Allowance: core.AnyRoom, Measurement: 2})
	pass()
	if set, _ := f.replica.Read(here, &f.out); f.kept() != 0 || !set.Equal(setOf("c", "1")) {
		t.Errorf("with room again it keeps %d hints, and %v as its own", f.kept(), set.Versions)
	}
}
