package antientropy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// A full node brings others what they lack, and fetches nothing itself until it
// has room.
func TestFullNodeFetchesNothing(t *testing.T) {
	c := newCluster(t, 16, 2, 1, 1)
	c.put(0, "key-1", "x")
	c.put(1, "key-2", "y")
	c.measured(core.Room{State: core.RoomFull, Measurement: 1})
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
	c.measured(core.Room{Allowance: core.AnyRoom, Measurement: 2})
	c.run(3 * interval)
	if !has(1, "key-1") {
		t.Error("with room again it still lacks a key")
	}
}

// What a full node alone has is fetched from it, and it is brought the deletes
// that free room. What it has no room for is offered now and then.
func TestFullNodeIsFetchedFrom(t *testing.T) {
	c := newCluster(t, 16, 2, 1, 1)
	const keys = 100 // of each kind, so that they stand in each other's way
	kind := func(i int) (lacks, has, deleted string) {
		return fmt.Sprint("lacks-", i), fmt.Sprint("has-", i), fmt.Sprint("deleted-", i)
	}
	for i := range keys {
		lacks, has, deleted := kind(i)
		c.put(0, lacks, strings.Repeat("x", 1000))
		c.put(1, has, "y")
		c.everywhere(deleted, strings.Repeat("z", 1000))
		set, _ := c.get(0, deleted).Put(c.get(0, deleted).Clock, actor("n1"), version.Write{Tombstone: true})
		c.apply(0, deleted, set)
	}
	c.measured(core.Room{State: core.RoomFull, Measurement: 1})
	c.run(3 * interval)
	for i := range keys {
		_, has, deleted := kind(i)
		if c.get(0, has).IsEmpty() {
			t.Errorf("%s is not fetched from the full node", has)
		}
		if !c.get(1, deleted).OnlyTombstones() {
			t.Errorf("%s lives at the full node", deleted)
		}
	}
	refused := 0
	c.seen = func(e *core.Envelope) {
		if _, ok := e.Msg.(*core.Refused); ok {
			refused++
		}
	}
	c.run(3 * interval)
	if refused == 0 || refused > 4*windowKeys { // a window each time
		t.Errorf("within three intervals the full node has refused %d keys", refused)
	}
	c.measured(core.Room{Allowance: core.AnyRoom, Measurement: 2})
	c.run(3 * interval)
	c.requireEqual(3 * keys)
}

// measured tells the second node of its room.
func (c *cluster) measured(r core.Room) {
	for _, s := range c.nodes[1].shards {
		s.replica.SetRoom(&r)
	}
}
