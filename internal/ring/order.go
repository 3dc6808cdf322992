package ring

import "slices"

// orderRounds bounds how often order looks at every partition again. Each
// round only improves; three are enough in practice.
const orderRounds = 8

// order puts the owners of every partition in order and returns them as the
// index of a layout. Owners that stay keep their order; new ones take the
// places of those that left. Then new owners move to the front, or make way
// for the first that stayed, where that balances the first places: no data
// moves for it.
func (p *planner) order() []uint16 {
	index := make([]uint16, len(p.owners))
	stayed := make([]uint16, p.partitions) // the first owner that stayed, or gone
	var changed []int
	for part := range p.partitions {
		owners := index[part*p.width : (part+1)*p.width]
		var isNew bool
		stayed[part], isNew = p.arrange(part, owners)
		if isNew {
			changed = append(changed, part)
		}
	}
	first := make([]int, len(p.members))
	for part := range p.partitions {
		first[index[part*p.width]]++
	}
	for range orderRounds {
		moved := false
		for _, part := range changed {
			owners := index[part*p.width : (part+1)*p.width]
			moved = p.lead(owners, part, stayed[part], first) || moved
		}
		if !moved {
			break
		}
	}
	return index
}

// arrange fills owners with those of a partition: owners that stay in their
// order, new ones in the places between and after. It returns the first that
// stayed and whether there is a new one.
func (p *planner) arrange(part int, owners []uint16) (stayed uint16, isNew bool) {
	stayed = gone
	old, now := p.oldOwners(part), p.current(part)
	added := make([]uint16, 0, MaxReplicas)
	for _, m := range now {
		if !slices.Contains(old, m) {
			added = append(added, m)
		}
	}
	isNew = len(added) > 0
	slices.Sort(added)
	at := 0
	for _, m := range old {
		switch {
		case m != gone && slices.Contains(now, m):
			owners[at] = m
			if stayed == gone {
				stayed = m
			}
		case len(added) > 0:
			owners[at] = added[0]
			added = added[1:]
		default:
			continue
		}
		at++
	}
	copy(owners[at:], added)
	return stayed, isNew
}

// lead brings that owner to the front which may be there and is first in the
// fewest partitions, by its target, if that is an improvement. first counts
// them by member.
func (p *planner) lead(owners []uint16, part int, stayed uint16, first []int) bool {
	now := owners[0]
	best := now
	for _, m := range owners[1:] {
		if m != stayed && slices.Contains(p.oldOwners(part), m) {
			continue // it would pass the owner that stayed
		}
		if p.lag(m, first) > p.lag(best, first) {
			best = m
		}
	}
	// In units of 1/width of a partition: the move pays if it still leaves the
	// new first owner behind the old one.
	if p.lag(best, first)-p.lag(now, first) <= p.width {
		return false
	}
	first[now]--
	first[best]++
	at := slices.Index(owners, best)
	copy(owners[1:at+1], owners[:at])
	owners[0] = best
	return true
}

// lag is how far a member is behind in first places, times width.
func (p *planner) lag(m uint16, first []int) int {
	return p.target[m] - first[m]*p.width
}
