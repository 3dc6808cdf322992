package ring

import (
	"fmt"
	"slices"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// Move is a partition whose set of owners differs between two layouts.
type Move struct {
	Partition Partition
	From      []id.Node // owners that lose it, in their order in the older layout
	To        []id.Node // owners that gain it, in their order in the newer layout
}

// Moves returns the partitions whose sets of owners differ between l and next,
// in ascending order. Another order of the same owners is no move. It panics
// if the layouts differ in their number of partitions, which never changes in
// a cluster.
func (l *Layout) Moves(next *Layout) []Move {
	mustMatch(l, next)
	var moves []Move
	for p := range Partition(l.Partitions()) {
		from := without(l.Owners(p), next.Owners(p))
		to := without(next.Owners(p), l.Owners(p))
		if len(from) > 0 || len(to) > 0 {
			moves = append(moves, Move{Partition: p, From: from, To: to})
		}
	}
	return moves
}

func mustMatch(l, next *Layout) {
	if l.bits != next.bits {
		panic(fmt.Sprintf("ring: layouts %s and %s have %d and %d partitions",
			l.name, next.name, l.Partitions(), next.Partitions()))
	}
}

// without returns the nodes of a that are not in b.
func without(a, b []id.Node) []id.Node {
	var rest []id.Node
	for _, n := range a {
		if !slices.Contains(b, n) {
			rest = append(rest, n)
		}
	}
	return rest
}

// Stats says how well a layout is balanced and what it cost to get there. It
// is for reports; nothing decides by it.
type Stats struct {
	// The largest and the smallest number of partitions that a node owns, and
	// that it owns first, over its weighted share of them.
	MaxOverMean, MinOverMean     float64
	MaxFirstShare, MinFirstShare float64

	// MovedShare is the part of all places (a partition has N) whose node did
	// not own the partition before; IdealShare is the least possible if
	// partitions could be divided at will.
	MovedShare, IdealShare float64
}

// Compare reports on next, which follows old. It panics where Moves does.
func Compare(old, next *Layout) Stats {
	mustMatch(old, next)
	places := float64(len(next.index))
	var s Stats
	for _, m := range old.Moves(next) {
		s.MovedShare += float64(len(m.To)) / places
	}
	before := make(map[id.Node]float64, len(old.members))
	for i, share := range old.shares() {
		before[old.members[i].ID] = share
	}
	load, first := next.loads()
	for i, share := range next.shares() {
		s.IdealShare += max(0, share-before[next.members[i].ID]) / places
		all, lead := float64(load[i])/share, float64(first[i]*next.width)/share
		if i == 0 {
			s.MinOverMean, s.MinFirstShare = all, lead
		}
		s.MaxOverMean, s.MinOverMean = max(s.MaxOverMean, all), min(s.MinOverMean, all)
		s.MaxFirstShare, s.MinFirstShare = max(s.MaxFirstShare, lead), min(s.MinFirstShare, lead)
	}
	return s
}

// shares returns the members' weighted shares in partitions.
func (l *Layout) shares() []float64 {
	spread := newSpread(l.members, l.width)
	shares := make([]float64, len(l.members))
	for i, s := range spread.shares(l.members, l.Partitions()) {
		shares[i] = s.float()
	}
	return shares
}

// loads returns by member the partitions owned, and those owned first.
func (l *Layout) loads() (load, first []int) {
	load, first = make([]int, len(l.members)), make([]int, len(l.members))
	for i, m := range l.index {
		load[m]++
		if i%l.width == 0 {
			first[m]++
		}
	}
	return load, first
}
