package antientropy

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// A full node brings others what they lack, and fetches nothing itself until it
// has room.
func TestFullNodeFetchesNothing(t *testing.T) {
	c := newCluster(t, 16, 2, 1, 1)
	c.put(0, "key-1", "x")
	c.put(1, "key-2", "y")
	measurement := uint64(0)
	fill := func(r core.Room) {
		measurement++
		r.Measurement = measurement
		c.nodes[1].shards[0].replica.SetRoom(&r)
	}
	fill(core.Room{State: core.RoomFull})
	fetched := 0
	c.seen = func(e *core.Envelope) {
		if _, ok := e.Msg.(*core.Read); ok && e.From == c.nodes[1].id {
			fetched++
		}
	}
	c.run(3 * interval)
	has := func(n int, key string) bool {
		set, _ := c.nodes[n].shards[0].replica.Read([]byte(key), &core.Out{})
		return !set.IsEmpty()
	}
	if fetched > 0 || has(1, "key-1") {
		t.Errorf("the full node has asked for %d keys, and has the other's: %v", fetched, has(1, "key-1"))
	}
	if !has(0, "key-2") {
		t.Error("the full node has not brought the other what it lacks")
	}
	fill(core.Room{Allowance: core.AnyRoom})
	c.run(3 * interval)
	if !has(1, "key-1") {
		t.Error("with room again it still lacks a key")
	}
}
