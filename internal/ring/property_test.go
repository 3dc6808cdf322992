package ring

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestPlansHoldTheirPromises follows clusters through random changes: every
// layout has distinct owners, spread over the zones as evenly as can be, and
// every load within one of the member's share; what stays keeps its order.
func TestPlansHoldTheirPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCluster(t)
		partitions := 1 << rapid.IntRange(0, 7).Draw(t, "bits")
		l := mustFormFor(t, partitions, c)
		checkLayout(t, l)
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			c.change(t)
			next := planFor(t, l, c)
			checkLayout(t, next)
			checkStep(t, l, next)
			l = next
		}
	})
}

// TestPlanWithTheSameMembersMovesNothing asks again, in another order of the
// members, at the end of random changes.
func TestPlanWithTheSameMembersMovesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCluster(t)
		l := mustFormFor(t, 1<<rapid.IntRange(0, 7).Draw(t, "bits"), c)
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			c.change(t)
			l = planFor(t, l, c)
		}
		c.members = rapid.Permutation(c.members).Draw(t, "order")
		next := planFor(t, l, c)
		if moves := l.Moves(next); len(moves) > 0 {
			t.Fatalf("%d partitions move, first %+v", len(moves), moves[0])
		}
		for p := range Partition(l.Partitions()) {
			if !slices.Equal(l.Owners(p), next.Owners(p)) {
				t.Fatalf("partition %d goes from %v to %v", p, l.Owners(p), next.Owners(p))
			}
		}
	})
}

// TestPlansAreDeterministic plans on two nodes: one has built its layouts
// itself, the other decodes them and lists the members in an order of its own.
func TestPlansAreDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCluster(t)
		a := mustFormFor(t, 1<<rapid.IntRange(0, 7).Draw(t, "bits"), c)
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			b, err := DecodeLayout(a.AppendBinary(nil))
			if err != nil {
				t.Fatal(err)
			}
			c.change(t)
			a = planFor(t, a, c)
			c.members = rapid.Permutation(c.members).Draw(t, "order")
			b = planFor(t, b, c)
			if a.Name() != b.Name() || !bytes.Equal(a.AppendBinary(nil), b.AppendBinary(nil)) {
				t.Fatalf("%s and %s are planned from the same", a.Name(), b.Name())
			}
		}
	})
}
