package ring

import (
	"cmp"
	"math/bits"
	"slices"
)

// spread says how the owners of a partition are spread over the zones: as
// evenly as the sizes of the zones allow. Every partition has at least base
// owners in each zone, one more in exactly spare of the zones that are larger
// than that, and so width in all.
type spread struct {
	zone  []uint16 // by member: its zone, numbered in the order of the members
	size  []int    // by zone: its members
	base  []int    // by zone
	spare int
	width int
}

func newSpread(members []Member, width int) spread {
	s := spread{zone: make([]uint16, len(members)), width: width}
	numbers := make(map[string]uint16)
	for i, m := range members {
		z, ok := numbers[m.Zone]
		if !ok {
			z = uint16(len(s.size))
			numbers[m.Zone] = z
			s.size = append(s.size, 0)
		}
		s.zone[i] = z
		s.size[z]++
	}
	s.base = make([]int, len(s.size))
	for s.spare = width; s.spare > 0; {
		deeper := 0
		for z, size := range s.size {
			if size > s.base[z] {
				deeper++
			}
		}
		if deeper == 0 || deeper > s.spare {
			break
		}
		for z, size := range s.size {
			if size > s.base[z] {
				s.base[z]++
			}
		}
		s.spare -= deeper
	}
	return s
}

// most is the largest number of owners of a partition in a zone.
func (s *spread) most(zone int) int {
	if s.spare > 0 && s.size[zone] > s.base[zone] {
		return s.base[zone] + 1
	}
	return s.base[zone]
}

// allows reports whether a partition with so many owners in a zone, and so
// many beyond the base of their zones in all, may have one more in that zone.
func (s *spread) allows(zone uint16, count, extra int) bool {
	if count < s.base[zone] {
		return true
	}
	return extra < s.spare && count < s.most(int(zone))
}

// share is a member's part of the partitions, whole + rem/den, rem < den.
// Members of one zone that are below their cap have equal den.
type share struct {
	whole    int
	rem, den uint64
}

func (s share) float() float64 {
	return float64(s.whole) + float64(s.rem)/float64(s.den)
}

// compareRest compares what two shares have beyond the whole.
func compareRest(a, b share) int {
	ah, al := bits.Mul64(a.rem, b.den)
	bh, bl := bits.Mul64(b.rem, a.den)
	return cmp.Or(cmp.Compare(ah, bh), cmp.Compare(al, bl))
}

// shares divides partitions*width places among the members in proportion to
// their weights, with two limits: no member has more than every partition, and
// each zone has what the spread permits. Zones within their limits share one
// proportion; those at a limit divide what they must hold among themselves.
//
// It starts without limits for the zones, then repeatedly fixes the zones on
// the side where the limits are passed by more: their fate is certain, since
// the proportion of the others can only move towards it.
//
// With at most 2^10 members, 2^16 partitions, 2^4 replicas and weights below
// 2^32, no product below reaches 2^63.
func (s *spread) shares(members []Member, partitions int) []share {
	result := make([]share, len(members))
	fixed := make([]bool, len(s.size))
	left := partitions * s.width
	for {
		free := s.pick(func(zone int) bool { return !fixed[zone] })
		weight := divide(result, members, free, left, partitions)
		low, high := s.broken(result, weight, fixed, partitions)
		if low == 0 && high == 0 {
			return result
		}
		for zone := range s.size {
			if fixed[zone] {
				continue
			}
			limit, out := s.limit(result, weight, zone, partitions, high >= low)
			if !out {
				continue
			}
			fixed[zone] = true
			left -= limit
			divide(result, members, s.pick(func(z int) bool { return z == zone }), limit, partitions)
		}
	}
}

// pick returns the members of the zones for which want holds.
func (s *spread) pick(want func(zone int) bool) []int {
	var picked []int
	for i, z := range s.zone {
		if want(int(z)) {
			picked = append(picked, i)
		}
	}
	return picked
}

// broken returns by how much, in units of 1/weight, the free zones pass their
// lower and their upper limits in all.
func (s *spread) broken(shares []share, weight uint64, fixed []bool, partitions int) (low, high int64) {
	for zone := range s.size {
		if !fixed[zone] {
			low += max(0, -s.above(shares, weight, zone, partitions*s.base[zone]))
			high += max(0, s.above(shares, weight, zone, partitions*s.most(zone)))
		}
	}
	return low, high
}

// limit returns a zone's upper or lower limit and whether the zone is past it.
func (s *spread) limit(shares []share, weight uint64, zone, partitions int, upper bool) (int, bool) {
	if upper {
		limit := partitions * s.most(zone)
		return limit, s.above(shares, weight, zone, limit) > 0
	}
	limit := partitions * s.base[zone]
	return limit, s.above(shares, weight, zone, limit) < 0
}

// above returns, in units of 1/weight, how far a zone's shares are above a
// limit.
func (s *spread) above(shares []share, weight uint64, zone, limit int) int64 {
	whole, rem := -limit, uint64(0)
	for i, z := range s.zone {
		if int(z) == zone {
			whole += shares[i].whole
			rem += shares[i].rem // of a member at its cap it is 0, so den is weight
		}
	}
	return int64(whole)*int64(weight) + int64(rem)
}

// divide gives the picked members their shares of the places: in proportion to
// their weights, and at most most each. It returns the sum of the weights of
// those below that, at least 1.
func divide(shares []share, members []Member, picked []int, places, most int) uint64 {
	for {
		var weight uint64
		for _, i := range picked {
			weight += uint64(members[i].Weight)
		}
		below := make([]int, 0, len(picked))
		left := places
		for _, i := range picked {
			if uint64(places)*uint64(members[i].Weight) >= uint64(most)*weight {
				shares[i] = share{whole: most, den: 1}
				left -= most
			} else {
				below = append(below, i)
			}
		}
		if len(below) == len(picked) || len(below) == 0 {
			for _, i := range below {
				part := uint64(places) * uint64(members[i].Weight)
				shares[i] = share{whole: int(part / weight), rem: part % weight, den: weight}
			}
			return max(weight, 1)
		}
		picked, places = below, left
	}
}

// quota is what every member is to hold: its share, rounded down or up so that
// the sum over all members is exact, and the sum over each zone is one that the
// spread permits.
type quota struct {
	target []int    // by member
	whole  []int    // by member: its share without the rest
	rest   []bool   // by member: there is a rest, so target is whole or one more
	zone   []uint16 // by member
	ups    []int    // by zone: the members that are rounded up
	least  []int    // by zone: the fewest that may be
	most   []int    // by zone: the most that may be
}

// newQuota rounds the shares. Up go first the members that hold that much
// already, then those with the largest rest, then by ID.
func newQuota(s *spread, members []Member, partitions int, held []int) quota {
	shares := s.shares(members, partitions)
	q := quota{
		target: make([]int, len(members)),
		whole:  make([]int, len(members)),
		rest:   make([]bool, len(members)),
		zone:   s.zone,
		ups:    make([]int, len(s.size)),
	}
	left := partitions * s.width
	var candidates []int
	for i, sh := range shares {
		q.whole[i], q.target[i], q.rest[i] = sh.whole, sh.whole, sh.rem > 0
		left -= sh.whole
		if sh.rem > 0 {
			candidates = append(candidates, i)
		}
	}
	q.limits(s, partitions)
	lacks := func(i int) int { return min(1, max(0, shares[i].whole+1-held[i])) }
	slices.SortStableFunc(candidates, func(a, b int) int {
		return cmp.Or(cmp.Compare(lacks(a), lacks(b)), compareRest(shares[b], shares[a]))
	})
	for _, limit := range [][]int{q.least, q.most} {
		for _, i := range candidates {
			if z := q.zone[i]; left > 0 && q.ups[z] < limit[z] && !q.up(i) {
				q.target[i]++
				q.ups[z]++
				left--
			}
		}
	}
	return q
}

// limits computes how many members of each zone may be rounded up.
func (q *quota) limits(s *spread, partitions int) {
	q.least, q.most = make([]int, len(s.size)), make([]int, len(s.size))
	for z := range s.size {
		q.least[z], q.most[z] = partitions*s.base[z], partitions*s.most(z)
	}
	for i, z := range q.zone {
		q.least[z] -= q.whole[i]
		q.most[z] -= q.whole[i]
	}
}

// up reports whether a member's share is rounded up.
func (q *quota) up(i int) bool { return q.target[i] > q.whole[i] }

// passes reports whether one member may be rounded down so that another is
// rounded up.
func (q *quota) passes(from, to uint16) bool {
	if !q.up(int(from)) || !q.rest[to] || q.up(int(to)) {
		return false
	}
	zf, zt := q.zone[from], q.zone[to]
	return zf == zt || q.ups[zf] > q.least[zf] && q.ups[zt] < q.most[zt]
}

// pass rounds one member down and another up.
func (q *quota) pass(from, to uint16) {
	q.target[from]--
	q.ups[q.zone[from]]--
	q.target[to]++
	q.ups[q.zone[to]]++
}
