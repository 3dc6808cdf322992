package ring

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// cluster returns n members of weight 1, dealt to so many zones in turn; with
// no zones they share the zone "".
func cluster(n, zones int) []Member {
	members := make([]Member, n)
	for i := range members {
		members[i] = newMember(i, zones)
	}
	return members
}

func newMember(i, zones int) Member {
	m := Member{ID: id.Node(fmt.Sprintf("n%03d", i)), Weight: 1}
	if zones > 0 {
		m.Zone = fmt.Sprintf("z%d", i%zones)
	}
	return m
}

func mustForm(t testing.TB, partitions, replicas int, members []Member) *Layout {
	t.Helper()
	l, err := Form(partitions, replicas, members)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func mustPlan(t testing.TB, l *Layout, members []Member, replicas int) *Layout {
	t.Helper()
	next, err := l.Plan(l.Name().Number+1, members, replicas)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func mustFormFor(t *rapid.T, partitions int, c *changes) *Layout {
	l, err := Form(partitions, c.replicas, c.members)
	if err != nil {
		t.Fatal(err)
	}
	if l.Name().Number != 1 || !l.Parent().IsZero() {
		t.Fatalf("the first layout is %s with the parent %s", l.Name(), l.Parent())
	}
	return l
}

func planFor(t *rapid.T, l *Layout, c *changes) *Layout {
	next, err := l.Plan(l.Name().Number+1, c.members, c.replicas)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// checkLayout holds a layout to everything that a plan promises of it by
// itself. It shares no code with the planner.
func checkLayout(t rapid.TB, l *Layout) {
	t.Helper()
	members := l.Members()
	if want := min(l.Replicas(), len(members)); l.OwnerCount() != want {
		t.Fatalf("OwnerCount() = %d, want %d", l.OwnerCount(), want)
	}
	size := make(map[string]int)
	for _, m := range members {
		size[m.Zone]++
	}
	loads := make(map[id.Node]int)
	for p := range Partition(l.Partitions()) {
		owners := l.Owners(p)
		if len(owners) != l.OwnerCount() {
			t.Fatalf("partition %d has the owners %v; %d are wanted", p, owners, l.OwnerCount())
		}
		count := make(map[string]int)
		for i, n := range owners {
			m, ok := l.Member(n)
			if !ok || slices.Contains(owners[:i], n) {
				t.Fatalf("partition %d: %s is no member, or twice in %v", p, n, owners)
			}
			count[m.Zone]++
			loads[n]++
		}
		checkSpread(t, p, count, size)
	}
	for i, share := range fairShares(members, l.Partitions(), l.OwnerCount()) {
		if load := float64(loads[members[i].ID]); math.Abs(load-share) >= 1+1e-6 {
			t.Fatalf("%s owns %v partitions; its share is %v", members[i].ID, load, share)
		}
		if got := l.Load(members[i].ID); got != loads[members[i].ID] {
			t.Fatalf("Load(%s) = %d, want %d", members[i].ID, got, loads[members[i].ID])
		}
	}
}

// checkSpread fails if the owners of a partition could be spread more evenly:
// by one of them less in some zone and one more in a zone that has at least
// two fewer, and another member to take it.
func checkSpread(t rapid.TB, p Partition, count, size map[string]int) {
	t.Helper()
	for from, many := range count {
		for to, n := range size {
			if count[to] <= many-2 && count[to] < n {
				t.Fatalf("partition %d has %d owners in zone %q and %d of %d in zone %q", p, many, from, count[to], n, to)
			}
		}
	}
}

// fairShares is the dumb twin of the planner's shares, in floating point. A
// member's share is level*weight and at most every partition. One level serves
// all zones but those that would then pass what an even spread lets them hold.
func fairShares(members []Member, partitions, width int) []float64 {
	zones := make(map[string][]Member)
	for _, m := range members {
		zones[m.Zone] = append(zones[m.Zone], m)
	}
	depth := 0 // owners that a partition has in every zone that is large enough
	held := func(depth int) (n int) {
		for _, ms := range zones {
			n += min(depth, len(ms))
		}
		return n
	}
	for depth < width && held(depth+1) <= width {
		depth++
	}
	top := depth
	if held(depth) < width {
		top++
	}
	q := float64(partitions)
	sum := func(ms []Member, level float64) (n float64) {
		for _, m := range ms {
			n += min(q, level*float64(m.Weight))
		}
		return n
	}
	clamped := func(ms []Member, level float64) float64 {
		return max(q*float64(min(depth, len(ms))), min(q*float64(min(top, len(ms))), sum(ms, level)))
	}
	level := solve(q, q*float64(width), func(level float64) (n float64) {
		for _, ms := range zones {
			n += clamped(ms, level)
		}
		return n
	})
	shares := make([]float64, len(members))
	for i, m := range members {
		ms := zones[m.Zone]
		own := solve(q, clamped(ms, level), func(level float64) float64 { return sum(ms, level) })
		shares[i] = min(q, own*float64(m.Weight))
	}
	return shares
}

// solve finds x from 0 to most with f(x) = y; f never falls. Where f is flat
// any such x will do.
func solve(most, y float64, f func(float64) float64) float64 {
	low, high := 0.0, most
	for range 80 {
		if mid := (low + high) / 2; f(mid) < y {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}

// checkStep holds a plan to what it promises about the layout before it.
func checkStep(t rapid.TB, old, next *Layout) {
	t.Helper()
	if next.Parent() != old.Name() || next.Name().Number != old.Name().Number+1 {
		t.Fatalf("%s with the parent %s follows %s", next.Name(), next.Parent(), old.Name())
	}
	moves := old.Moves(next)
	for p := range Partition(old.Partitions()) {
		was, is := old.Owners(p), next.Owners(p)
		var move Move
		if len(moves) > 0 && moves[0].Partition == p {
			move, moves = moves[0], moves[1:]
		}
		if !slices.Equal(move.From, except(was, is)) || !slices.Equal(move.To, except(is, was)) {
			t.Fatalf("partition %d goes from %v to %v; Moves says %+v", p, was, is, move)
		}
		if kept := except(was, move.From); !slices.Equal(kept, except(is, move.To)) {
			t.Fatalf("partition %d goes from %v to %v: %v change their order", p, was, is, kept)
		}
	}
	if len(moves) > 0 {
		t.Fatalf("Moves has %+v, out of order or of no partition", moves)
	}
}

func except(a, b []id.Node) []id.Node {
	return slices.DeleteFunc(slices.Clone(a), func(n id.Node) bool { return slices.Contains(b, n) })
}

// changes is a cluster that changes at random.
type changes struct {
	members  []Member
	replicas int
	zones    int
	weight   uint32 // the largest
	next     int    // the number of the next newcomer
}

func drawCluster(t *rapid.T) *changes {
	c := &changes{
		replicas: rapid.IntRange(1, 5).Draw(t, "replicas"),
		zones:    rapid.IntRange(1, 5).Draw(t, "zones"),
		weight:   rapid.SampledFrom([]uint32{1, 1, 4, math.MaxUint32}).Draw(t, "largest weight"),
	}
	c.join(t, rapid.IntRange(1, 12).Draw(t, "members"))
	return c
}

func (c *changes) drawZone(t *rapid.T) string {
	return fmt.Sprintf("z%d", rapid.IntRange(1, c.zones).Draw(t, "zone"))
}

func (c *changes) drawWeight(t *rapid.T) uint32 {
	return rapid.Uint32Range(1, c.weight).Draw(t, "weight")
}

func (c *changes) join(t *rapid.T, n int) {
	for range n {
		c.next++
		// Newcomers sort before, among and after the others.
		name := fmt.Sprintf("%c%d", 'a'+rune(c.next*7%26), c.next)
		c.members = append(c.members, Member{id.Node(name), c.drawZone(t), c.drawWeight(t)})
	}
}

func (c *changes) leave(t *rapid.T, n int) {
	for range min(n, len(c.members)-1) {
		i := c.any(t)
		c.members = slices.Delete(c.members, i, i+1)
	}
}

func (c *changes) any(t *rapid.T) int {
	return rapid.IntRange(0, len(c.members)-1).Draw(t, "which")
}

// change makes one change and leaves the slices of earlier plans alone.
func (c *changes) change(t *rapid.T) {
	c.members = slices.Clone(c.members)
	switch rapid.SampledFrom([]string{"join", "leave", "both", "zone", "weight", "replicas"}).Draw(t, "change") {
	case "join":
		c.join(t, rapid.IntRange(1, 4).Draw(t, "newcomers"))
	case "leave":
		c.leave(t, rapid.IntRange(1, 4).Draw(t, "leavers"))
	case "both":
		c.leave(t, rapid.IntRange(1, 2).Draw(t, "leavers"))
		c.join(t, rapid.IntRange(1, 2).Draw(t, "newcomers"))
	case "zone":
		c.members[c.any(t)].Zone = c.drawZone(t)
	case "weight":
		c.members[c.any(t)].Weight = c.drawWeight(t)
	case "replicas":
		c.replicas = rapid.IntRange(1, 6).Draw(t, "replicas")
	}
}
