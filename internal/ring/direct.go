package ring

import (
	"slices"

	"github.com/cespare/xxhash/v2"
)

// direct gives partitions to the members below their targets wherever that
// takes no more than one replacement: free places first, then places of
// members above their targets. The members take turns, one partition each, and
// look for them along orders of their own, so that a member's partitions lie
// all over the ring and share owners with many others.
func (p *planner) direct() {
	orders := make([]*walk, 0, len(p.members))
	for i, m := range p.members {
		if p.load[i] < p.target[i] {
			orders = append(orders, newWalk(uint16(i), m, p.partitions))
		}
	}
	p.rounds(slices.Clone(orders), func() bool { return p.places == 0 }, p.takePlace)
	for _, w := range orders {
		w.done = 0
	}
	p.rounds(orders, func() bool { return p.excess == 0 }, p.takeExcess)
}

// rounds lets the members take turns until all have enough or have looked
// everywhere, or nothing is left to take.
func (p *planner) rounds(active []*walk, empty func() bool, take func(part int, m uint16) bool) {
	for len(active) > 0 && !empty() {
		active = slices.DeleteFunc(active, func(w *walk) bool {
			if p.load[w.member] >= p.target[w.member] {
				return true
			}
			for w.done < p.partitions {
				if take(w.next(), w.member) {
					return false
				}
			}
			return true
		})
	}
}

func (p *planner) takePlace(part int, m uint16) bool {
	if int(p.fill[part]) == p.width || p.holds(part, m) || !p.fits(part, m) {
		return false
	}
	p.add(part, m)
	return true
}

// takeExcess replaces the owner that is furthest above its target. Of several
// it takes another in each partition, so that first owners do not lose more
// than the others.
func (p *planner) takeExcess(part int, m uint16) bool {
	if p.holds(part, m) {
		return false
	}
	best, most := gone, 0
	owners := p.current(part)
	for i := range owners {
		o := owners[(part+i)%len(owners)]
		if over := -p.need(o); over > most && p.replaces(part, m, o) {
			best, most = o, over
		}
	}
	if best == gone {
		return false
	}
	p.swap(part, m, best)
	p.excess--
	return true
}

// walk visits every partition once, in an order that is the member's own.
type walk struct {
	member      uint16
	done        int
	mask, shift uint64
	mul, add    uint64
}

func newWalk(i uint16, m Member, partitions int) *walk {
	h := xxhash.Sum64String(string(m.ID))
	bits := uint64(0)
	for 1<<bits < partitions {
		bits++
	}
	return &walk{
		member: i,
		mask:   uint64(partitions) - 1,
		shift:  max(1, bits/2),
		mul:    h | 1,
		add:    h >> 32,
	}
}

// next returns the next partition. Each step of the computation maps the
// numbers below the power of two to themselves, one to one.
func (w *walk) next() int {
	x := uint64(w.done)
	w.done++
	x = (x*w.mul + w.add) & w.mask
	x ^= x >> w.shift
	x = (x * (w.mul>>16 | 1)) & w.mask
	x ^= x >> w.shift
	return int(x)
}
