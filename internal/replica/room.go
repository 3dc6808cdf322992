package replica

import (
	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// recordOverhead is about what a record needs beside its key and its versions:
// a clock, and what the engine keeps of it.
const recordOverhead = 256

// room is what this shard may store.
type room struct {
	core.Room // as Control has told it; without one, any
	// spent has been stored since that was told, and earlier between the two
	// latest times: the measurement may not have seen it.
	spent, earlier uint64
	refused        uint64
}

// SetRoom goes by another measurement of the node's room, nil where nobody
// measures.
func (r *Replica) SetRoom(told *core.Room) {
	switch {
	case told == nil:
		r.room.Room = core.Room{Allowance: core.AnyRoom}
	case told.Measurement == r.room.Measurement:
	default:
		r.room.Room = *told
		r.room.spent, r.room.earlier = 0, r.room.spent
	}
}

// HasRoom says whether this node takes what needs room. Where it does not, it
// still takes what frees some.
func (r *Replica) HasRoom() bool { return r.room.has(0) }

// RoomRefusals counts what was refused for want of room, since the start.
func (r *Replica) RoomRefusals() uint64 { return r.room.refused }

func (r *room) has(bytes uint64) bool {
	switch {
	case r.Allowance == core.AnyRoom || bug.On(bug.StoreWhenFull):
		return true
	case r.State == core.RoomFull:
		return false
	}
	return r.spent+r.earlier+bytes <= r.Allowance
}

// take says whether there is room for a key's set to become another one, and
// takes it. What leaves fewer values, in no more bytes, always has: it frees
// room once the engine gives back what is no longer used, and there are only
// so many values to take away.
func (r *room) take(key []byte, before, after version.Siblings) bool {
	if r.Allowance == core.AnyRoom {
		return true
	}
	size := after.Size()
	need := uint64(len(key) + size + recordOverhead)
	frees := len(after.Live()) < len(before.Live()) && size <= before.Size()
	if !frees && !r.has(need) {
		r.refused++
		return false
	}
	r.spent += need
	return true
}
