package membership_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// TestReadGapRetire is the scenario read-gap-retire: a writer that used only
// the new layout, while a reader could still use only the old one, would leave
// the reader without the write. Writes leave the old layout only when N−R+1 of
// its owners are known to refuse reads under it.
func TestReadGapRetire(t *testing.T) {
	if bad := readGapRetire(t); bad != "" {
		t.Error(bad)
	}
}

// readGapRetire says how the scenario ends badly, and nothing where it does
// not.
func readGapRetire(t *testing.T) string {
	t.Helper()
	w, n := formed(t)
	old := layout(t, n.machine.Status().Layouts.Live[0].Partitions(), "n1", "n2", "n3")
	next, err := old.Plan(2, append(old.Members(), ring.Member{ID: "n4", Weight: 1}), 3)
	if err != nil {
		t.Fatal(err)
	}
	moved := core.LayoutState{Live: []*ring.Layout{old, next}, Phase: core.PhaseMoved}
	refuses := func(name string, phase core.Phase) *core.Envelope {
		rec := record(name)
		rec.State, rec.Synced, rec.Changed, rec.Heartbeat = core.Active, next.Name(), uint64(10*phase), uint64(10*phase)
		rec.Stamp = core.Stamp{Layout: next.Name(), Phase: phase}
		return n.gossip(rec, moved)
	}
	phase := func(after string) core.Phase {
		t.Log(after)
		w.run(200 * time.Millisecond)
		if rec := n.machine.Status().Members[0]; rec.ID != "n1" || rec.Stamp.Layout != next.Name() {
			t.Fatalf("own record %+v; want one that refuses reads under %v", rec, old.Name())
		}
		return n.machine.Status().Layouts.Phase
	}
	for _, name := range []id.Node{"n2", "n3", "n4"} {
		n.deliver(refuses(string(name), core.PhaseCopy))
	}
	if got := phase("n1 alone refuses"); got != core.PhaseMoved {
		return fmt.Sprintf("phase %v; want %v", got, core.PhaseMoved)
	}
	n.deliver(refuses("n4", core.PhaseMoved))
	if got := phase("n4 refuses too, which owned nothing"); got != core.PhaseMoved {
		return fmt.Sprintf("phase %v; want %v", got, core.PhaseMoved)
	}
	n.deliver(refuses("n3", core.PhaseMoved))
	if got := phase("two of three old owners refuse, and R is 2"); got != core.PhaseDone {
		return fmt.Sprintf("phase %v; want %v", got, core.PhaseDone)
	}
	return ""
}

// TestTwoLayoutsSix is the scenario two-layouts-six: who has copied for the
// loser of two layouts of one number has not copied for the winner.
func TestTwoLayoutsSix(t *testing.T) {
	if bad := twoLayoutsSix(t); bad != "" {
		t.Error(bad)
	}
}

func twoLayoutsSix(t *testing.T) string {
	t.Helper()
	w, n := formed(t)
	old := layout(t, n.machine.Status().Layouts.Live[0].Partitions(), "n1", "n2", "n3")
	plan := func(joiner id.Node) *ring.Layout {
		next, err := old.Plan(2, append(old.Members(), ring.Member{ID: joiner, Weight: 1}), 3)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	winner, loser := plan("n4"), plan("n5")
	if winner.Name().Number != loser.Name().Number || winner.Name() == loser.Name() {
		t.Fatalf("layouts %v and %v; want two of one number", winner.Name(), loser.Name())
	}
	copying := core.LayoutState{Live: []*ring.Layout{old, winner}, Phase: core.PhaseCopy}
	for i, name := range []string{"n2", "n3", "n4"} {
		rec := record(name)
		rec.State, rec.Synced, rec.Changed, rec.Heartbeat = core.Active, loser.Name(), uint64(10+i), uint64(10+i)
		rec.Stamp = core.Stamp{Layout: winner.Name(), Phase: core.PhaseCopy}
		n.deliver(n.gossip(rec, copying))
	}
	w.run(200 * time.Millisecond)
	if s := n.machine.Status().Layouts; s.Phase != core.PhaseCopy || s.Live[1].Name() != winner.Name() {
		return fmt.Sprintf("phase %v: reads move to owners that have copied nothing for %v", s.Phase, winner.Name())
	}
	return ""
}
