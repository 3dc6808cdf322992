package node_test

import (
	"fmt"
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

// TestReadGapStamp is the scenario read-gap-stamp: a put that began under the
// old layout is not stored by a node whose reads have moved on, since its
// quorum would not meet that of a read under the new one. The same holds for
// reads (scenario read-gap-retire), and the caller is told which layout to
// fetch.
func TestReadGapStamp(t *testing.T) {
	if bad := readGapStamp(t); bad != "" {
		t.Error(bad)
	}
}

// readGapStamp says how the scenario ends badly, and nothing where it does not.
func readGapStamp(t *testing.T) string {
	t.Helper()
	old := threeOwners(t).Layouts.Live[0]
	next, err := old.Plan(2, append(old.Members(), ring.Member{ID: "n4", Weight: 1}), 3)
	if err != nil {
		t.Fatal(err)
	}
	live := []*ring.Layout{old, next}
	phases := []core.Stamp{
		{Layout: old.Name(), Phase: core.PhaseDone},
		{Layout: next.Name(), Phase: core.PhaseCopy},
		{Layout: next.Name(), Phase: core.PhaseMoved},
		{Layout: next.Name(), Phase: core.PhaseDone},
	}
	set, _ := version.Siblings{}.Put(version.Clock{}, version.Actor{Node: "n2", Epoch: version.Epoch{Start: 1, Seq: 1}},
		version.Write{ID: version.WriteID{1}, Data: []byte("v")})
	for i, mine := range phases {
		for j, theirs := range phases {
			view := &core.View{Self: "n1", Cluster: cluster, Layouts: core.LayoutState{Live: live, Phase: mine.Phase}}
			switch i {
			case 0:
				view.Layouts.Live = live[:1]
			case 3:
				view.Layouts.Live = live[1:]
			}
			o := controlOptions("a:1")
			o.Shards = 1
			s := node.NewShard(o, 0, disk{})
			var out core.Out
			s.SetView(core.Now{}, view, &out)
			for _, m := range []core.Message{&core.Apply{Key: []byte("k"), Set: set}, &core.Read{Key: []byte("k")}} {
				out.Reset()
				s.Deliver(core.Now{}, &core.Envelope{
					From: "n2", To: "n1", Cluster: cluster, Partition: old.Partition([]byte("k")),
					Stamp: theirs, Deadline: time.Second, Msg: m,
				}, &out)
				answers := append(out.Sends, out.SendsHeld...)
				if len(answers) != 1 || answers[0].Stamp != mine {
					t.Fatalf("%T of %v at %v is answered with %+v", m, theirs, mine, answers)
				}
				refused, ok := answers[0].Msg.(*core.Refused)
				if stale := j < i; ok != stale || ok && refused.Why != core.RefusedStale || stale && len(out.Writes) > 0 {
					return fmt.Sprintf("%T of %v at %v is answered with %T and %d writes", m, theirs, mine, answers[0].Msg, len(out.Writes))
				}
			}
		}
	}
	return ""
}

// TestInspectShowsWhatIsDurable: a node's own copy is shown once a crash
// cannot take it back, and nobody else is asked.
func TestInspectShowsWhatIsDurable(t *testing.T) {
	o := controlOptions("a:1")
	o.Shards = 1
	s := node.NewShard(o, 0, disk{})
	var out core.Out
	s.SetView(core.Now{}, threeOwners(t), &out)
	inspect := func() (now, held []core.Reply) {
		out.Reset()
		s.Submit(core.Now{}, &core.Request{Req: 1, Op: core.OpInspect, Key: []byte("k"), Deadline: time.Second}, &out)
		if len(out.Sends) > 0 {
			t.Errorf("an inspection asks %+v", out.Sends)
		}
		return out.Replies, out.RepliesHeld
	}
	if now, _ := inspect(); len(now) != 1 || now[0].Result.Code != core.CodeNotFound {
		t.Errorf("a key that does not exist is answered with %+v", now)
	}
	s.Submit(core.Now{}, &core.Request{Req: 5, Op: core.OpPut, Key: []byte("k"), Value: []byte("v"), Deadline: time.Second}, &out)
	if now, held := inspect(); len(now) != 0 || len(held) != 1 || len(held[0].Result.Set.Versions) != 1 {
		t.Errorf("what is not durable is answered with %+v, held %+v", now, held)
	}
}
