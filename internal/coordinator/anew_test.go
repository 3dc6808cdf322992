package coordinator

import (
	"slices"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// move gives the coordinator the view of a later phase of the transition
// between two layouts.
func (b *bench) move(phase core.Phase, live ...*ring.Layout) {
	b.setView(&core.View{Self: b.config.Self, Cluster: 1, Layouts: core.LayoutState{Live: live, Phase: phase}})
}

// A node that stands in for an owner tells of its hints alone. When it becomes an
// owner itself, that is not its own copy, which may have what no hint has.
func TestHintsAreNotTakenForTheCopyOfALaterOwner(t *testing.T) {
	b := newBench(t, "a", 4)
	old := b.Coordinator.view.ReadLayout()
	next, err := old.Plan(2, slices.DeleteFunc(slices.Clone(old.Members()), func(m ring.Member) bool { return m.ID == "c" }), 3)
	if err != nil {
		t.Fatal(err)
	}
	b.view(old, next)
	var key []byte
	for i := 0; key == nil; i++ {
		k := []byte{'k', byte(i)}
		if p := old.Partition(k); old.Owns("a", p) && !old.Owns("d", p) {
			key = k
		}
	}
	b.believe(core.Dead, "b", "c")
	b.submit(core.Request{Op: core.OpGet, Key: key})
	hints := b.take("d")
	b.move(core.PhaseMoved, old, next)
	own := b.take("d")
	if !hints.Msg.(*core.Read).Hints || own.Msg.(*core.Read).Hints {
		t.Fatalf("d is asked %+v, then %+v; want for its hints, then for its own copy", hints.Msg, own.Msg)
	}
	b.answer(hints, &core.ReadReply{})
	b.silent()
	b.answer(own, &core.ReadReply{Set: versionOf("b", 1, version.Clock{}, false)})
	if got := b.result(); got.Code != core.CodeOK || got.Acknowledged != 2 {
		t.Errorf("%+v; want what d holds", got)
	}
}
