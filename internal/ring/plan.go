package ring

import (
	"errors"
	"fmt"
	"slices"
)

// errPlan means that the planner found no way to a layout that the theory says
// exists: a fault of this package, not of its input.
var errPlan = errors.New("planner found no assignment")

// Form returns the first layout of a cluster, number 1, with the given number
// of partitions, a power of two that never changes again.
func Form(partitions, replicas int, members []Member) (*Layout, error) {
	bits, err := checkPartitions(partitions)
	if err != nil {
		return nil, err
	}
	empty := &Layout{bits: bits}
	return empty.next(1, Name{}, members, replicas)
}

// Plan returns the layout that follows l, with the given members and number of
// replicas. Its number must be larger than that of l. The plan depends on
// nothing but l and the arguments, and not on the order of the members. With
// the members and replicas of l it changes no owner.
func (l *Layout) Plan(number uint64, members []Member, replicas int) (*Layout, error) {
	if number <= l.name.Number {
		return nil, fmt.Errorf("%w: number %d does not follow %d", ErrInvalid, number, l.name.Number)
	}
	return l.next(number, l.name, members, replicas)
}

func (l *Layout) next(number uint64, parent Name, members []Member, replicas int) (*Layout, error) {
	if err := checkReplicas(replicas); err != nil {
		return nil, err
	}
	sorted, err := sortMembers(members)
	if err != nil {
		return nil, err
	}
	p := newPlanner(l, sorted, replicas)
	if err := p.solve(); err != nil {
		return nil, fmt.Errorf("plan layout %d after %s with %d members, N=%d: %w",
			number, parent, len(members), replicas, err)
	}
	return newLayout(number, parent, l.bits, replicas, sorted, p.order()), nil
}

// planner turns the owners of an old layout into those of a new one.
//
// It sees the task as a flow. Every member is to hold exactly its target
// number of partitions, every partition is to have width owners, and the zones
// limit which sets of owners a partition may have. It starts with the old
// owners that are still members and repeats: find a member that holds too few,
// and the cheapest chain of replacements (v replaces y in one partition, y
// replaces z in another, ...) that ends in a free place or at a member that
// holds too many. A chain costs the partitions that it adds to those that
// move. Nearly all chains have one link, and direct.go finds those; chain.go
// finds the others.
//
// The sets of owners that the zones allow are the independent sets of a
// matroid, and so are the sets of loads: this is weighted matroid
// intersection. Hence the cheapest chains, and of those the shortest, keep
// the zones in order and end with the fewest partitions moved. They reach the
// end because there is one: the targets are rounded from real shares that
// divide evenly.
type planner struct {
	partitions int
	width      int // owners of a partition
	members    []Member
	spread     spread
	quota            // what each member is to hold
	load       []int // by member: the partitions that it holds

	// old has the owners of each partition in the old layout, in their order,
	// oldWidth of them, as indexes into members; gone stands for an owner that
	// is no longer a member.
	old      []uint16
	oldWidth int

	// owners has the owners of partition p so far, as indexes into members:
	// fill[p] of them from p*width on.
	owners []uint16
	fill   []uint8

	// extra[p] counts the owners of p beyond the base of their zones.
	extra []uint8

	places int // places of partitions that are still free
	excess int // partitions that members hold beyond their targets

	// potential and cost are the duals of the search for chains: what it
	// costs at least, in partitions that move, to reach a member, and to end
	// a chain. They only grow.
	potential []int
	cost      int
}

// gone is never an index: there are at most id.MaxMembers members.
const gone = ^uint16(0)

func newPlanner(l *Layout, members []Member, replicas int) *planner {
	width := min(replicas, len(members))
	p := &planner{
		partitions: l.Partitions(),
		width:      width,
		members:    members,
		spread:     newSpread(members, width),
		load:       make([]int, len(members)),
		old:        make([]uint16, len(l.index)),
		oldWidth:   l.width,
		owners:     make([]uint16, l.Partitions()*width),
		fill:       make([]uint8, l.Partitions()),
		extra:      make([]uint8, l.Partitions()),
		places:     l.Partitions() * width,
		potential:  make([]int, len(members)),
	}
	translate := make([]uint16, len(l.members))
	next := &Layout{members: members}
	for i, m := range l.members {
		translate[i] = gone
		if now, ok := next.find(m.ID); ok {
			translate[i] = uint16(now)
		}
	}
	held := make([]int, len(members))
	for i, m := range l.index {
		p.old[i] = translate[m]
		if p.old[i] != gone {
			held[p.old[i]]++
		}
	}
	p.quota = newQuota(&p.spread, members, p.partitions, held)
	return p
}

// solve fills owners: every member holds its target, every partition is full.
func (p *planner) solve() error {
	p.keep()
	for i, load := range p.load {
		p.excess += max(0, load-p.target[i])
	}
	p.freeChains()
	p.direct()
	p.chains()
	if p.places != 0 || p.excess != 0 {
		return fmt.Errorf("%w: %d places left, %d partitions too many", errPlan, p.places, p.excess)
	}
	return nil
}

// keep gives every partition the old owners that it may keep. Where it cannot
// keep them all, since N fell or zones changed, it keeps those that need it
// most to reach their targets.
func (p *planner) keep() {
	contested := make([]int, 0, p.partitions)
	for part := range p.partitions {
		if !p.keepAll(part) {
			contested = append(contested, part)
		}
	}
	candidates := make([]uint16, 0, p.oldWidth)
	for _, part := range contested {
		candidates = append(candidates[:0], p.oldOwners(part)...)
		slices.SortStableFunc(candidates, func(a, b uint16) int { return p.need(b) - p.need(a) })
		for _, m := range candidates {
			if m != gone && p.fits(part, m) {
				p.add(part, m)
			}
		}
	}
}

// keepAll keeps all of a partition's old owners that are still members, or
// none.
func (p *planner) keepAll(part int) bool {
	for _, m := range p.oldOwners(part) {
		if m == gone {
			continue
		}
		if !p.fits(part, m) {
			for _, kept := range p.current(part) {
				p.load[kept]--
			}
			p.places += int(p.fill[part])
			p.fill[part], p.extra[part] = 0, 0
			return false
		}
		p.add(part, m)
	}
	return true
}

// need is how far a member is below its target; gone needs nothing.
func (p *planner) need(m uint16) int {
	if m == gone {
		return 0
	}
	return p.target[m] - p.load[m]
}

func (p *planner) oldOwners(part int) []uint16 {
	return p.old[part*p.oldWidth : (part+1)*p.oldWidth]
}

func (p *planner) current(part int) []uint16 {
	return p.owners[part*p.width : part*p.width+int(p.fill[part])]
}

func (p *planner) holds(part int, m uint16) bool {
	return slices.Contains(p.current(part), m)
}

// count returns the number of a partition's owners in a zone.
func (p *planner) count(part int, zone uint16) int {
	n := 0
	for _, m := range p.current(part) {
		if p.spread.zone[m] == zone {
			n++
		}
	}
	return n
}

// fits reports whether m, which is not an owner of the partition, may become
// one beside those that it has.
func (p *planner) fits(part int, m uint16) bool {
	if int(p.fill[part]) == p.width {
		return false
	}
	zone := p.spread.zone[m]
	return p.spread.allows(zone, p.count(part, zone), int(p.extra[part]))
}

// replaces reports whether in, which is not an owner of the partition, may
// take the place of its owner out.
func (p *planner) replaces(part int, in, out uint16) bool {
	zi, zo := p.spread.zone[in], p.spread.zone[out]
	if zi == zo {
		return true
	}
	extra := int(p.extra[part])
	if p.count(part, zo) > p.spread.base[zo] {
		extra--
	}
	return p.spread.allows(zi, p.count(part, zi), extra)
}

// add makes m an owner of the partition, where fits holds.
func (p *planner) add(part int, m uint16) {
	zone := p.spread.zone[m]
	if p.count(part, zone) >= p.spread.base[zone] {
		p.extra[part]++
	}
	p.owners[part*p.width+int(p.fill[part])] = m
	p.fill[part]++
	p.load[m]++
	p.places--
}

// swap puts in into the place of out, and counts the partition's extra owners
// anew. Within a chain it passes through sets that are not allowed.
func (p *planner) swap(part int, in, out uint16) {
	owners := p.current(part)
	owners[slices.Index(owners, out)] = in
	p.load[in]++
	p.load[out]--
	p.recount(part)
}

func (p *planner) recount(part int) {
	extra := 0
	owners := p.current(part)
	for i, m := range owners {
		zone, before := p.spread.zone[m], 0
		for _, o := range owners[:i] {
			if p.spread.zone[o] == zone {
				before++
			}
		}
		if before >= p.spread.base[zone] {
			extra++
		}
	}
	p.extra[part] = uint8(extra)
}
