package coordinator

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// pendingCopy is a local copy whose set waits for flush 1.
type pendingCopy struct {
	Local
	set version.Siblings
}

func (p pendingCopy) Read([]byte, *core.Out) (version.Siblings, uint64) { return p.set, 1 }

// Scenario lost-observed-read: the coordinator's own copy has a version that
// is not durable, and other owners make up the quorum before it is.
func TestReadDoesNotShowItsOwnCopyBeforeItIsDurable(t *testing.T) {
	l, err := ring.Form(1, 3, []ring.Member{{ID: "a", Weight: 1}, {ID: "b", Weight: 1}, {ID: "c", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	a := version.Actor{Node: "a", Epoch: version.Epoch{Start: 1, Seq: 1}}
	set, dot := version.Siblings{}.Put(version.Clock{}, a, version.Write{ID: version.WriteID{1}, Data: []byte("v")})
	for _, durable := range []bool{false, true} {
		c := New(Config{Self: "a", Start: 1, R: 2, W: 2, PeerTimeout: 300 * time.Millisecond, Retry: backoff.Default(), Reads: Reads{Hedge: true}}, pendingCopy{set: set})
		out := &core.Out{}
		c.SetView(core.Now{}, &core.View{
			Self: "a", Cluster: 1, Layouts: core.LayoutState{Live: []*ring.Layout{l}, Phase: core.PhaseDone},
			Peers: []core.Peer{{ID: "b", Status: core.Alive}, {ID: "c", Status: core.Alive}},
		}, out)
		c.Submit(core.Now{}, &core.Request{Req: 7, Op: core.OpGet, Key: []byte("k"), Deadline: time.Second}, out)
		if durable {
			c.Durable(core.Now{}, 1, out)
		}
		now := core.Now{Mono: 100 * time.Millisecond} // past the hedge: everybody has been asked
		c.Tick(now, out)
		for _, e := range out.Sends {
			c.Deliver(now, &core.Envelope{From: e.To, To: "a", Req: e.Req, Reply: true, Msg: &core.ReadReply{}}, out)
		}
		if len(out.Replies) != 1 {
			t.Fatalf("%d replies after every other owner has answered", len(out.Replies))
		}
		if r := out.Replies[0].Result; r.Context.Covers(dot) != durable {
			t.Errorf("a read's context covers a version: %v; the version is durable: %v", r.Context.Covers(dot), durable)
		}
	}
}
