package node_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// putting returns that start of n1, one of three owners, which has just sent a blind
// put of "k" to its peers, and what it sent.
func putting(t *testing.T, start uint64, w int) (*bench, []core.Envelope) {
	t.Helper()
	o := controlOptions("a:1")
	o.Start = start
	b := newBench(o, owning(t, "n1", "n2", "n3"))
	b.Submit(b.now, &core.Request{
		Req: 5, Op: core.OpPut, Key: []byte("k"), Value: []byte("v"), Deadline: b.now.Mono + time.Second,
		Options: core.Options{W: w, WriteID: version.WriteID{1}},
	}, &b.out)
	sent := slices.Clone(b.out.Sends)
	b.flush()
	if len(b.out.Replies)+len(b.out.RepliesHeld) > 0 {
		t.Fatalf("a put with W=%d is answered by its own copy: %+v", w, b.out.Replies)
	}
	return b, sent
}

// TestReplyToAnEarlierStart: request IDs begin anew with each process, so an
// acknowledgement that comes late, after a crash, has the ID of another put.
func TestReplyToAnEarlierStart(t *testing.T) {
	_, before := putting(t, 7, 2)
	b, sends := putting(t, 8, 2)
	late, due := before[0], sends[0]
	if late.Req != due.Req {
		t.Fatalf("requests %v and %v differ; the test needs equal ones", late.Req, due.Req)
	}
	peer := stable(due.To, b.layout)
	deliver := func(e core.Envelope) core.Out {
		var out core.Out
		answer := peer.Answer(&e, id.MaxMessageAge, &core.Applied{})
		b.Deliver(b.now, &answer, &out)
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
	old := owning(t, "n1", "n2", "n3")
	next, err := old.Plan(2, owning(t, "n1", "n2", "n3", "n4").Members(), 3)
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
	key := []byte("k")
	for i, mine := range phases {
		for j, theirs := range phases {
			view := &core.View{Self: "n1", Cluster: cluster, Layouts: core.LayoutState{Live: live, Phase: mine.Phase}}
			switch i {
			case 0:
				view.Layouts.Live = live[:1]
			case 3:
				view.Layouts.Live = live[1:]
			}
			b := newBench(controlOptions("a:1"), old)
			b.SetView(b.now, view, &b.out)
			for _, m := range []core.Message{&core.Apply{Key: key, Set: versionOf("n2", []byte("v"))}, &core.Read{Key: key}} {
				e := b.request("n2", key, m)
				e.Stamp = theirs
				var out core.Out
				b.Deliver(b.now, e, &out)
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
	b := newBench(controlOptions("a:1"), owning(t, "n1", "n2", "n3"))
	inspect := func() (now, held []core.Reply) {
		b.out.Reset()
		b.Submit(b.now, &core.Request{Req: 1, Op: core.OpInspect, Key: []byte("k")}, &b.out)
		if len(b.out.Sends) > 0 {
			t.Errorf("an inspection asks %+v", b.out.Sends)
		}
		return b.out.Replies, b.out.RepliesHeld
	}
	if now, _ := inspect(); len(now) != 1 || now[0].Result.Code != core.CodeNotFound {
		t.Errorf("a key that does not exist is answered with %+v", now)
	}
	b.Submit(b.now, &core.Request{Req: 5, Op: core.OpPut, Key: []byte("k"), Value: []byte("v"), Deadline: b.now.Mono + time.Second}, &b.out)
	if now, held := inspect(); len(now) != 0 || len(held) != 1 || len(held[0].Result.Set.Versions) != 1 {
		t.Errorf("what is not durable is answered with %+v, held %+v", now, held)
	}
}
