package ring

import "slices"

// link is one link of a chain: in becomes an owner of the partition, in the
// place of out, or in a free place where out is gone. In a link without a
// partition in is rounded down, so that out is rounded up: out then lacks a
// partition in the place of in.
type link struct {
	part    int
	in, out uint16
}

// noPartition is the partition of a link that passes on the rounding.
const noPartition = -1

// chains gives partitions to the members below their targets along chains of
// replacements, each the cheapest that there is, and the shortest of those,
// until there is none.
func (p *planner) chains() {
	for p.places > 0 || p.excess > 0 {
		s := newSearch(p, nil)
		if !s.run() {
			return
		}
		s.raise(s.end.cost)
		p.apply(s.chain())
		s.again()
	}
}

// freeChains does the same with the chains that cost nothing: members only
// take back partitions that they had in the old layout, or pass the rounding
// on. It comes first; after it every chain costs at least 1.
func (p *planner) freeChains() {
	had := make([][]int, len(p.members))
	for i, m := range p.old {
		if m != gone {
			had[m] = append(had[m], i/p.oldWidth)
		}
	}
	for p.places > 0 || p.excess > 0 {
		s := newSearch(p, had)
		if !s.run() {
			s.raise(1)
			return
		}
		p.apply(s.chain())
		s.again()
	}
}

// apply carries out a chain, given from its last link to its first.
func (p *planner) apply(chain []link) {
	if chain[0].out != gone {
		p.excess--
	}
	for _, l := range chain {
		switch {
		case l.part == noPartition:
			p.pass(l.in, l.out)
		case l.out != gone:
			p.swap(l.part, l.in, l.out)
		default:
			p.owners[l.part*p.width+int(p.fill[l.part])] = l.in
			p.fill[l.part]++
			p.load[l.in]++
			p.places--
			p.recount(l.part)
		}
	}
}

// search finds the cheapest chain from any member below its target. It is
// Dijkstra's algorithm over the members: a link leads from the member that
// gains a partition to the one that loses it, and costs what it adds to the
// partitions that move, which may be -1. The potentials make that at least 0.
type search struct {
	*planner
	had     [][]int // by member: the only partitions to look at; nil for all
	label   []label // by member
	reached []link  // by member: the link by which it loses a partition
	done    []bool  // by member: its label is final
	end     label   // the best way to an end
	last    link    // the last link of that way
}

// label is the length of a way: its reduced cost, then its links. Of equally
// cheap ways only the shortest keeps the zones of every partition in order.
type label struct{ cost, links int }

func (l label) less(o label) bool {
	return l.cost < o.cost || l.cost == o.cost && l.links < o.links
}

// far is the cost of what has not been reached.
const far = 1 << 30

func newSearch(p *planner, had [][]int) *search {
	s := &search{
		planner: p,
		had:     had,
		label:   make([]label, len(p.members)),
		reached: make([]link, len(p.members)),
		done:    make([]bool, len(p.members)),
		end:     label{cost: far},
	}
	for i := range s.label {
		s.label[i] = label{cost: far}
		if p.load[i] < p.target[i] {
			s.label[i] = label{}
			s.reached[i] = link{in: gone}
		}
	}
	return s
}

// run reports whether there is a chain.
func (s *search) run() bool {
	for {
		next := gone
		for i, l := range s.label {
			if !s.done[i] && l.less(s.end) && (next == gone || l.less(s.label[next])) {
				next = uint16(i)
			}
		}
		if next == gone {
			return s.end.cost < far
		}
		s.done[next] = true
		s.expand(next)
	}
}

// expand follows every link from a member. The best that a link can do is a
// label at no further cost, which is what tells when to stop.
func (s *search) expand(in uint16) {
	best := label{s.label[in].cost, s.label[in].links + 1}
	if !best.less(s.end) {
		return
	}
	for out := range s.label {
		if !s.done[out] && s.passes(in, uint16(out)) {
			s.reach(best.links, s.potential[in], link{noPartition, in, uint16(out)})
		}
	}
	if s.had != nil {
		for _, part := range s.had[in] {
			s.try(part, in, best)
		}
		return
	}
	open := 0 // members that a link may still bring nearer
	for out := range s.label {
		if s.open(uint16(out), best) {
			open++
		}
	}
	for part := range s.partitions {
		if !best.less(s.end) || open == 0 && s.places == 0 {
			return
		}
		if s.worth(part, best) {
			open -= s.try(part, in, best)
		}
	}
}

// open reports whether a link may still bring a member nearer.
func (s *search) open(m uint16, best label) bool {
	return !s.done[m] && best.less(s.label[m])
}

// worth reports whether a partition has a free place or an open owner. It is
// asked for every partition by every member, and mostly says no.
func (s *search) worth(part int, best label) bool {
	if int(s.fill[part]) < s.width {
		return true
	}
	for _, out := range s.current(part) {
		if s.open(out, best) {
			return true
		}
	}
	return false
}

// try follows the links from a member that gains one partition. It returns how
// many members it gave the best label.
func (s *search) try(part int, in uint16, best label) int {
	if s.holds(part, in) {
		return 0
	}
	at := s.potential[in] + s.price(part, in)
	if s.fits(part, in) {
		s.finish(label{best.cost + max(0, at-s.cost), best.links}, link{part, in, gone})
		return 0
	}
	count := 0
	for _, out := range s.current(part) {
		if !s.open(out, best) || !s.replaces(part, in, out) {
			continue
		}
		s.reach(best.links, at-s.price(part, out), link{part, in, out})
		if !best.less(s.label[out]) {
			count++
		}
	}
	return count
}

// reach notes a way to a member by a link. at is the cost of the link without
// the potential of its end.
func (s *search) reach(links, at int, by link) {
	to := label{s.label[by.in].cost + max(0, at-s.potential[by.out]), links}
	if !to.less(s.label[by.out]) || !to.less(s.end) {
		return
	}
	s.label[by.out] = to
	s.reached[by.out] = by
	if s.load[by.out] > s.target[by.out] {
		to.cost += max(0, s.potential[by.out]-s.cost)
		s.finish(to, by)
	}
}

func (s *search) finish(at label, last link) {
	if at.less(s.end) {
		s.end, s.last = at, last
	}
}

// price is what it costs to make m an owner of the partition, and what it
// gives back to make it none.
func (p *planner) price(part int, m uint16) int {
	if slices.Contains(p.oldOwners(part), m) {
		return 0
	}
	return 1
}

// raise adds the costs that the search found to the potentials, up to limit:
// that of the chain found, or a bound below any.
func (s *search) raise(limit int) {
	if limit == 0 {
		return
	}
	for i, l := range s.label {
		s.potential[i] += min(l.cost, limit)
	}
	s.cost += limit
}

// chain returns the links of the chain found, from the last to the first.
func (s *search) chain() []link {
	chain := []link{s.last}
	for step := s.reached[s.last.in]; step.in != gone; step = s.reached[step.in] {
		chain = append(chain, step)
	}
	return chain
}

// again applies further chains that are as cheap and as short as the one that
// the search has found. They pass members in the order of their labels, by
// links without reduced cost. That makes them shortest chains still: chains
// never become shorter by applying one of the shortest.
func (s *search) again() {
	d := dive{search: s, cursor: make([]int, len(s.members))}
	for i := range s.members {
		for s.load[i] < s.target[i] {
			chain := d.from(uint16(i), 0)
			if chain == nil {
				break
			}
			s.apply(chain)
		}
	}
}

// dive goes down through the labels of a search.
type dive struct {
	*search

	// cursor has by member the first option that may still lead to an end. An
	// option is a member to pass the rounding to, or a partition to gain.
	cursor []int
}

// from returns the links of a chain below a member that is so many links
// down, from the last to the first, or nil.
func (d *dive) from(in uint16, depth int) []link {
	options := len(d.members) + d.partitions
	if d.had != nil {
		options = len(d.members) + len(d.had[in])
	}
	for ; d.cursor[in] < options; d.cursor[in]++ {
		if chain := d.take(in, d.cursor[in], depth+1); chain != nil {
			return chain
		}
	}
	return nil
}

// take follows the links of one option, which end at depth.
func (d *dive) take(in uint16, option, depth int) []link {
	if option < len(d.members) {
		if out := uint16(option); d.passes(in, out) {
			return d.via(link{noPartition, in, out}, d.potential[in], depth)
		}
		return nil
	}
	part := option - len(d.members)
	if d.had != nil {
		part = d.had[in][part]
	}
	if d.holds(part, in) {
		return nil
	}
	at := d.potential[in] + d.price(part, in)
	if d.fits(part, in) {
		if depth == d.end.links && at == d.cost {
			return []link{{part, in, gone}}
		}
		return nil
	}
	for _, out := range d.current(part) {
		if !d.replaces(part, in, out) {
			continue
		}
		if chain := d.via(link{part, in, out}, at-d.price(part, out), depth); chain != nil {
			return chain
		}
	}
	return nil
}

// via follows one link, which costs at without the potential of its end.
func (d *dive) via(by link, at, depth int) []link {
	if at != d.potential[by.out] {
		return nil
	}
	if depth == d.end.links {
		if d.load[by.out] > d.target[by.out] && at == d.cost {
			return []link{by}
		}
		return nil
	}
	if d.label[by.out].links != depth {
		return nil
	}
	chain := d.from(by.out, depth)
	if chain == nil {
		return nil
	}
	return append(chain, by)
}
