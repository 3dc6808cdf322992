package node

import (
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/room"
)

// ampleRoom is how much a shard may store until the next measurement when that
// is no matter: more than it takes in from anywhere in some such intervals.
const ampleRoom = 1 << 30

// gauge is Control's part of the room that the storage has left: its state, and
// what each shard may store before the next measurement.
type gauge struct {
	room    *room.Gauge
	shards  uint64
	shown   *core.Room // what the shards go by; nil: nobody has measured
	count   uint64     // of measurements
	changed bool       // the shards do not know it yet
}

func newGauge(o *Options) gauge {
	marks := o.Room
	if marks == (room.Marks{}) {
		marks = room.DefaultMarks()
	}
	return gauge{room: room.NewGauge(marks), shards: uint64(o.Shards)}
}

// measure takes what the shell has measured.
func (g *gauge) measure(m core.RoomReport) {
	g.room.Measure(room.Measurement{Left: m.Left, Total: m.Total, Need: m.Need})
	next := core.Room{State: stateOf(g.room.State()), Allowance: g.room.Spare() / g.shards}
	if next.Allowance > ampleRoom {
		next.Allowance = core.AnyRoom
	}
	if g.shown != nil && next.Allowance == core.AnyRoom && g.shown.Allowance == core.AnyRoom && next.State == g.shown.State {
		return // nothing that a shard would do otherwise
	}
	if g.shown != nil && next.State == core.RoomFull && g.shown.State == core.RoomFull {
		return
	}
	g.count++
	next.Measurement = g.count
	g.shown, g.changed = &next, true
}

func stateOf(s room.State) core.RoomState {
	switch s {
	case room.Low:
		return core.RoomLow
	case room.Full:
		return core.RoomFull
	case room.Plenty:
	}
	return core.RoomPlenty
}

// status is for people.
func (g *gauge) status() core.RoomStatus {
	if g.shown == nil {
		return core.RoomStatus{}
	}
	low, full := g.room.Marks()
	last := g.room.Last()
	return core.RoomStatus{
		Measured: true, State: g.shown.State, Left: last.Left, Total: last.Total, Low: low, Full: full,
	}
}
