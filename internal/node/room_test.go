package node_test

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/room"
)

const mib = 1 << 20

// tenths are marks at 10 and 20 of 100 MiB.
func tenths(o *node.Options) {
	o.Room = room.Marks{Low: room.Mark{Bytes: 20 * mib, Share: 0.5}, Full: room.Mark{Bytes: 10 * mib, Share: 0.5}}
}

func left(c *node.Control, bytes uint64) *core.View {
	c.Room(core.Now{}, core.RoomReport{Left: bytes, Total: 100 * mib})
	return c.View()
}

// TestRoomReachesTheShards follows the room from plenty to none and back.
func TestRoomReachesTheShards(t *testing.T) {
	c, v := loaded(t, tenths)
	if v.Room != nil || c.Status().Room.Measured {
		t.Errorf("room %+v before anybody has measured", v.Room)
	}
	revision := v.Revision
	for _, step := range []struct {
		left      uint64
		state     core.RoomState
		allowance uint64
	}{
		{60 * mib, core.RoomPlenty, 25 * mib}, // two shards
		{15 * mib, core.RoomLow, 5 * mib / 2},
		{9 * mib, core.RoomFull, 0},
		{11 * mib, core.RoomFull, 0}, // not yet
		{90 * mib, core.RoomPlenty, 40 * mib},
	} {
		if got := left(c, step.left); got != nil {
			v = got
		}
		if v.Room.State != step.state || v.Room.Allowance != step.allowance || v.Revision != revision {
			t.Errorf("%d left: %+v in revision %d, want %v and %d in %d", step.left, v.Room, v.Revision, step.state, step.allowance, revision)
		}
		s := c.Status().Room
		if !s.Measured || s.State != step.state || s.Left != step.left || s.Total != 100*mib || s.Low != 20*mib || s.Full != 10*mib {
			t.Errorf("%d left: status %+v", step.left, s)
		}
	}
}

// TestAmpleRoomMakesNoViews has a node with more room than it can use tell its
// shards once.
func TestAmpleRoomMakesNoViews(t *testing.T) {
	c, _ := loaded(t, func(*node.Options) {})
	ample := core.RoomReport{Left: 1 << 40, Total: 1 << 41}
	c.Room(core.Now{}, ample)
	if v := c.View(); v == nil || v.Room.Allowance != core.AnyRoom || v.Room.State != core.RoomPlenty {
		t.Fatalf("%+v", v)
	}
	ample.Left--
	c.Room(core.Now{}, ample)
	if v := c.View(); v != nil {
		t.Errorf("another view: %+v", v.Room)
	}
	if got := c.Status().Room.Left; got != ample.Left {
		t.Errorf("status shows %d left, want %d", got, ample.Left)
	}
}

// TestFullNode has a shard refuse what peers ask it to store, and serve reads.
func TestFullNode(t *testing.T) {
	s := newFallback(t, 1<<20)
	ask := func(m core.Message) core.Message {
		t.Helper()
		sent, held := s.ask("k", m)
		answer := append(sent, held...)[0].Msg
		s.flush()
		return answer
	}
	fill := func(measurement uint64, r core.Room) {
		r.Measurement = measurement
		v := stable("f", s.layout)
		v.Room = &r
		s.SetView(s.now, v, &s.out)
	}
	key := []byte("k")
	if m, ok := ask(&core.Hint{Key: key, Set: someSet("v"), Owner: "b"}).(*core.Hinted); !ok {
		t.Fatalf("a hint while there is room: %+v", m)
	}
	fill(1, core.Room{State: core.RoomFull})
	for _, m := range []core.Message{
		&core.Apply{Key: key, Set: someSet("v")},
		&core.Hint{Key: key, Set: someSet("v"), Owner: "c"},
	} {
		if r, ok := ask(m).(*core.Refused); !ok || r.Why != core.RefusedStorageFull {
			t.Errorf("%T is answered %+v", m, r)
		}
	}
	if m, ok := ask(&core.Read{Key: key, Hints: true}).(*core.ReadReply); !ok || len(m.Set.Versions) != 1 {
		t.Errorf("a read: %+v", m)
	}
	var counted core.Counters
	s.Count(&counted)
	if got := counted.Limits[core.LimitStorage]; got != 2 {
		t.Errorf("%d refusals are counted, want 2", got)
	}
	if s.Stop(&core.Out{}) {
		t.Error("it has something to save for which there is no room")
	}
	fill(2, core.Room{Allowance: core.AnyRoom})
	if m, ok := ask(&core.Apply{Key: key, Set: someSet("v")}).(*core.Applied); !ok {
		t.Errorf("with room again: %+v", m)
	}
}
