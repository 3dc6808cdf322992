package doctor

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// compare holds the records to each other, when all have been seen.
func (c *check) compare() {
	c.sizesOut()
	c.cluster()
	c.compareTrees()
	c.compareHints()
	c.leftovers()
	c.finish()
}

func (c *check) sizesOut() {
	from := 1
	for i, n := range c.sizes {
		to := siblingSizes[i]
		if n > 0 {
			c.report.Data.Siblings = append(c.report.Data.Siblings, Siblings{From: from, To: to, Keys: n})
		}
		from = to + 1
	}
}

// cluster reports what the node knows of its cluster, and what is missing of
// that: a node does not start with half of it.
func (c *check) cluster() {
	s, r := &c.stored, &c.report
	if s.Cluster != 0 {
		r.Cluster = fmt.Sprintf("%016x", s.Cluster)
		for _, name := range []string{"members", "layouts"} {
			if !c.control[name] {
				c.add(found{Damage: Damage{Record: controlName(name), What: "it is missing, and the node has joined a cluster", Cost: CostStore}})
			}
		}
	}
	if !c.control["identity"] && r.Data.Keys+r.Data.Deleted > 0 {
		c.add(found{Damage: Damage{Record: controlName("identity"), What: "it is missing, and there are keys: of which cluster is not known", Cost: CostStore}})
	}
	if s.Stamp != 0 {
		at := time.Unix(0, int64(min(s.Stamp, math.MaxInt64))).UTC()
		r.Stamped = &at
	}
	for _, m := range s.Members {
		r.Members = append(r.Members, Member{ID: string(m.ID), Address: m.Addr, State: m.State.String()})
	}
	if l := c.newest(); l != nil {
		r.Layout = &Layout{
			Name: l.Name().String(), Phase: s.Layouts.Phase.String(),
			Partitions: l.Partitions(), Replicas: l.Replicas(),
		}
	}
}

func controlName(control string) string { return name(core.ControlKey(control)) }

// newest returns the layout that the node goes by, nil if there is none or it
// cannot be read.
func (c *check) newest() *ring.Layout {
	live := c.stored.Layouts.Live
	if len(live) == 0 {
		return nil
	}
	return live[len(live)-1]
}

// partition returns the partition at a position, nil where it is not known.
func (c *check) partition(p ring.Position) *uint32 {
	l := c.newest()
	if l == nil {
		return nil
	}
	n := uint32(l.At(p))
	return &n
}

// run returns the sums of the slots that are one of 1<<b partitions; whole says
// that none of its keys is lost. It is empty for a partition that there is not.
func (c *check) run(p ring.Partition, b uint8) (sum slot, whole bool) {
	whole = true
	width := 1 << (slotBits - b)
	for i := int(p) * width; i < (int(p)+1)*width && i < slots; i++ {
		s := &c.slots[i]
		sum.sum = sum.sum.Plus(s.sum)
		sum.keys += s.keys
		sum.hints += s.hints
		sum.hintBytes += s.hintBytes
		whole = whole && !c.lost[uint16(i)]
	}
	return sum, whole
}

// compareTrees holds the saved hash trees to the data. A tree is removed with
// the first write to its partition, so one that is there must be right.
func (c *check) compareTrees() {
	for _, p := range sorted(c.trees) {
		t := c.trees[p]
		if t.bits > slotBits || int(p) >= 1<<t.bits {
			c.treeDamage(p, fmt.Sprintf("it is for %d bits of partitions; there are up to %d", t.bits, slotBits))
			continue
		}
		switch sum, whole := c.run(p, t.bits); {
		case sum.sum == t.root:
			c.report.Trees.Equal++
		case !whole:
			c.note("%s still counts what is lost of the data: the node builds it anew when it comes upon the loss", name(core.TreeKey(p)))
		default:
			c.treeDamage(p, "it is not that of the data: the node and the other owners of the partition do not find what differs")
		}
	}
}

func (c *check) treeDamage(p ring.Partition, what string) {
	n := uint32(p)
	c.add(found{Damage: Damage{Record: name(core.TreeKey(p)), Partition: &n, What: what, Cost: CostRecord}})
}

func sorted[T any](m map[ring.Partition]T) []ring.Partition {
	all := make([]ring.Partition, 0, len(m))
	for p := range m { // sorted below
		all = append(all, p)
	}
	slices.Sort(all)
	return all
}

// compareHints holds the tallies of hints to the hints.
func (c *check) compareHints() {
	h := &c.report.Hints
	for i := range c.slots {
		h.Records += c.slots[i].hints
		h.Bytes += c.slots[i].hintBytes
	}
	for _, p := range c.pending { // sorted below
		h.Pending = append(h.Pending, *p)
	}
	slices.SortFunc(h.Pending, func(a, b Pending) int { return cmp.Compare(a.Target, b.Target) })
	for _, p := range h.Pending {
		if !c.member(p.Target) {
			c.note("%d hints are for %s, which is no member: they go to the owners of their partitions", p.Keys, p.Target)
		}
	}
	l := c.newest()
	if l == nil {
		return
	}
	for p := range ring.Partition(l.Partitions()) {
		sum, _ := c.run(p, bitsOf(l))
		if is := (savedTally{sum.hints, sum.hintBytes}); is != c.tallies[p] {
			n, t := uint32(p), c.tallies[p]
			c.add(found{Damage: Damage{
				Record: name(core.HintTallyKey(p)), Partition: &n, Cost: CostStore,
				What: fmt.Sprintf("it says %d hints of %d bytes, and there are %d of %d", t.records, t.bytes, is.records, is.bytes),
			}})
		}
	}
}

func (c *check) member(target string) bool {
	return slices.ContainsFunc(c.report.Members, func(m Member) bool { return m.ID == target })
}

// bitsOf returns b of a layout of 1<<b partitions.
func bitsOf(l *ring.Layout) uint8 { return uint8(bits.TrailingZeros(uint(l.Partitions()))) }

// leftovers counts the keys of partitions that the node does not own. They are
// handed over when the node runs, so they are no damage.
func (c *check) leftovers() {
	l := c.newest()
	if l == nil {
		return
	}
	self := id.Node(c.report.Node)
	for p := range ring.Partition(l.Partitions()) {
		owned := slices.ContainsFunc(c.stored.Layouts.Live, func(l *ring.Layout) bool { return l.Owns(self, p) })
		if owned {
			c.report.Layout.Owned++
			continue
		}
		sum, _ := c.run(p, bitsOf(l))
		c.report.Data.Leftovers += sum.keys
	}
	if n := c.report.Data.Leftovers; n > 0 {
		c.note("%d keys are of partitions that the node does not own: it hands them over when it runs", n)
	}
}
