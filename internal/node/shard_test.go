package node_test

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

const cluster = 77

// threeOwners returns a view of n1 in which every node owns every partition.
func threeOwners(t *testing.T) *core.View {
	t.Helper()
	l, err := ring.Form(8, 3, []ring.Member{{ID: "n1", Weight: 1}, {ID: "n2", Weight: 1}, {ID: "n3", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return &core.View{
		Self: "n1", Cluster: cluster,
		Layouts: core.LayoutState{Live: []*ring.Layout{l}, Phase: core.PhaseDone},
		Peers:   []core.Peer{{ID: "n2", Status: core.Alive}, {ID: "n3", Status: core.Alive}},
	}
}

// putting returns a shard of that start of n1 which has just sent a blind put
// of "k" to its peers, and what it sent.
func putting(t *testing.T, start uint64, w int) (*node.Shard, []core.Envelope) {
	t.Helper()
	o := controlOptions("a:1")
	o.Start, o.Shards = start, 1
	s := node.NewShard(o, 0, disk{})
	var out core.Out
	s.SetView(core.Now{}, threeOwners(t), &out)
	s.Submit(core.Now{}, &core.Request{
		Req: 5, Op: core.OpPut, Key: []byte("k"), Value: []byte("v"), Deadline: time.Second,
		Options: core.Options{W: w, WriteID: version.WriteID{1}},
	}, &out)
	s.Durable(core.Now{}, s.Flush(), &out)
	if len(out.Replies)+len(out.RepliesHeld) > 0 {
		t.Fatalf("a put with W=%d is answered by its own copy: %+v", w, out.Replies)
	}
	return s, out.Sends
}

// TestReplyToAnEarlierStart: request IDs begin anew with each process, so an
// acknowledgement that comes late, after a crash, has the ID of another put.
func TestReplyToAnEarlierStart(t *testing.T) {
	_, before := putting(t, 7, 2)
	s, sends := putting(t, 8, 2)
	late, due := before[0], sends[0]
	if late.Req != due.Req {
		t.Fatalf("requests %v and %v differ; the test needs equal ones", late.Req, due.Req)
	}
	peer := &core.View{Self: due.To, Cluster: cluster, Layouts: threeOwners(t).Layouts}
	deliver := func(e core.Envelope) core.Out {
		var out core.Out
		answer := peer.Answer(&e, id.MaxMessageAge, &core.Applied{})
		s.Deliver(core.Now{}, &answer, &out)
		return out
	}
	if out := deliver(late); len(out.Replies) > 0 {
		t.Errorf("an acknowledgement for an earlier start counts: %+v", out.Replies)
	}
	if out := deliver(due); len(out.Replies) != 1 || out.Replies[0].Result.Code != core.CodeOK {
		t.Errorf("the acknowledgement is answered with %+v; want one ok", out.Replies)
	}
}
