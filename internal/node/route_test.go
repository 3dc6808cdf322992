package node_test

import (
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/node"
)

// Requests go to the shard of their partition, replies to the loop that waits.
func TestRoute(t *testing.T) {
	const shards = 4
	of := func(shard int) core.ReqID { return core.NewReqID(shard, core.MachineCoordinator, 1, 1) }
	for _, c := range []struct {
		name string
		e    core.Envelope
		want int
	}{
		{"a request", core.Envelope{Req: of(1), Partition: 10, Msg: &core.Read{}}, 2},
		{"a reply", core.Envelope{Req: of(3), Partition: 10, Reply: true, Msg: &core.ReadReply{}}, 3},
		{"a reply to more shards than there are", core.Envelope{Req: of(shards), Reply: true, Msg: &core.ReadReply{}}, -1},
		{"gossip", core.Envelope{Req: of(1), Partition: 10, Msg: &core.Gossip{}}, -1},
		{"its reply", core.Envelope{Req: of(1), Reply: true, Msg: &core.GossipReply{}}, -1},
	} {
		if got := node.Route(&c.e, shards); got != c.want {
			t.Errorf("%s goes to %d; want %d", c.name, got, c.want)
		}
	}
}
