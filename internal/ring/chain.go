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

// takeExcess replaces the owner that is furthest above its target.
func (p *planner) takeExcess(part int, m uint16) bool {
	best, most := gone, 0
	for _, o := range p.current(part) {
		if o == m {
			return false
		}
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

// link is one link of a chain: in becomes an owner of the partition, in the
// place of out, or in a free place where out is gone.
type link struct {
	part    int
	in, out uint16
}

// chains gives partitions to the members below their targets along chains of
// replacements, each the shortest that there is, until there is none. With
// back, members only take partitions that they had in the old layout, which
// moves no data.
func (p *planner) chains(back bool) {
	if back && !p.lost() {
		return
	}
	for p.places > 0 || p.excess > 0 {
		chain := p.chain(back)
		if chain == nil {
			return
		}
		p.apply(chain)
	}
}

// lost reports whether some partition has lost an old owner that is still a
// member.
func (p *planner) lost() bool {
	for part := range p.partitions {
		for _, m := range p.oldOwners(part) {
			if m != gone && !p.holds(part, m) {
				return true
			}
		}
	}
	return false
}

func (p *planner) apply(chain []link) {
	for _, l := range chain {
		if l.out != gone {
			p.swap(l.part, l.in, l.out)
			continue
		}
		p.owners[l.part*p.width+int(p.fill[l.part])] = l.in
		p.fill[l.part]++
		p.load[l.in]++
		p.places--
		p.recount(l.part)
	}
	if last := chain[0].out; last != gone {
		p.excess--
	}
}

// chain finds a shortest chain, breadth first from all members below their
// targets at once. It returns the links from the last to the first.
func (p *planner) chain(back bool) []link {
	reached := make([]link, len(p.members)) // how a member came to lose a partition
	seen := make([]bool, len(p.members))
	var queue []uint16
	for i := range p.members {
		if p.load[i] < p.target[i] {
			seen[i] = true
			reached[i] = link{in: gone}
			queue = append(queue, uint16(i))
		}
	}
	for len(queue) > 0 {
		in := queue[0]
		queue = queue[1:]
		for part := range p.partitions {
			if p.holds(part, in) || back && !slices.Contains(p.oldOwners(part), in) {
				continue
			}
			if p.fits(part, in) {
				return unwind(reached, link{part: part, in: in, out: gone})
			}
			for _, out := range p.current(part) {
				if seen[out] || !p.replaces(part, in, out) {
					continue
				}
				step := link{part: part, in: in, out: out}
				if p.load[out] > p.target[out] {
					return unwind(reached, step)
				}
				seen[out] = true
				reached[out] = step
				queue = append(queue, out)
			}
		}
	}
	return nil
}

// unwind returns the chain that ends with a link.
func unwind(reached []link, last link) []link {
	chain := []link{last}
	for step := reached[last.in]; step.in != gone; step = reached[step.in] {
		chain = append(chain, step)
	}
	return chain
}
