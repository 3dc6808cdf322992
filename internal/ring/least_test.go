package ring

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// flow is a network for the textbook way to the cheapest largest flow: augment
// along the shortest path, found by Bellman and Ford, until there is none. It
// is slow and has nothing in common with the planner's search.
type flow struct{ edges [][]edge }

type edge struct{ to, capacity, cost, back int }

func (f *flow) connect(from, to, capacity, cost int) {
	f.edges[from] = append(f.edges[from], edge{to, capacity, cost, len(f.edges[to])})
	f.edges[to] = append(f.edges[to], edge{from, 0, -cost, len(f.edges[from]) - 1})
}

const unreached = math.MaxInt

// solve returns the size and the cost of the flow from a node to another.
func (f *flow) solve(from, to int) (size, cost int) {
	for {
		distance, by := f.distances(from)
		if distance[to] == unreached {
			return size, cost
		}
		for v := to; v != from; {
			e := &f.edges[by[v].node][by[v].edge]
			e.capacity--
			f.edges[v][e.back].capacity++
			v = by[v].node
		}
		size++
		cost += distance[to]
	}
}

type step struct{ node, edge int }

func (f *flow) distances(from int) ([]int, []step) {
	distance, by := make([]int, len(f.edges)), make([]step, len(f.edges))
	for i := range distance {
		distance[i] = unreached
	}
	distance[from] = 0
	for changed := true; changed; {
		changed = false
		for v, edges := range f.edges {
			if distance[v] == unreached {
				continue
			}
			for i, e := range edges {
				if e.capacity > 0 && distance[v]+e.cost < distance[e.to] {
					distance[e.to], by[e.to] = distance[v]+e.cost, step{v, i}
					changed = true
				}
			}
		}
	}
	return distance, by
}

// fewestMoves returns the fewest places that any layout of these members must
// move, if its loads are the shares rounded down or up and its partitions are
// spread over the zones as evenly as can be. A place is one unit of flow from
// its member through the member's zone within the partition to the partition;
// what must be reached is rewarded beyond any cost.
func fewestMoves(t rapid.TB, old *Layout, members []Member, replicas int) int {
	width, partitions := min(replicas, len(members)), old.Partitions()
	s := newSpread(members, width)
	zones := len(s.size)
	const source, sink, firstMember = 0, 1, 2
	perPartition := zones + 2 // its zones, its owners beyond the base, itself
	at := func(part, i int) int { return firstMember + len(members) + part*perPartition + i }
	f := &flow{edges: make([][]edge, at(partitions, 0))}
	reward, rewards := partitions*width+1, 0
	for i, share := range s.shares(members, partitions) {
		f.connect(source, firstMember+i, share.whole, -reward)
		rewards += share.whole
		if share.rem > 0 {
			f.connect(source, firstMember+i, 1, 0)
		}
		for part := range partitions {
			cost := 1
			if old.Owns(members[i].ID, Partition(part)) {
				cost = 0
			}
			f.connect(firstMember+i, at(part, int(s.zone[i])), 1, cost)
		}
	}
	for part := range partitions {
		beyond, itself := at(part, zones), at(part, zones+1)
		for zone := range zones {
			f.connect(at(part, zone), itself, s.base[zone], -reward)
			rewards += s.base[zone]
			if s.most(zone) > s.base[zone] {
				f.connect(at(part, zone), beyond, 1, 0)
			}
		}
		f.connect(beyond, itself, s.spare, 0)
		f.connect(itself, sink, width, 0)
	}
	size, cost := f.solve(source, sink)
	if size != partitions*width {
		t.Fatalf("the twin places %d of %d", size, partitions*width)
	}
	return cost + rewards*reward
}

// TestPlansMoveNoMoreThanAnyLayoutMust compares plans with the least that any
// layout of the same balance and spread could move.
func TestPlansMoveNoMoreThanAnyLayoutMust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawCluster(t)
		c.weight = min(c.weight, 4)
		for i := range c.members {
			c.members[i].Weight = min(c.members[i].Weight, 4)
		}
		l := mustFormFor(t, 1<<rapid.IntRange(0, 4).Draw(t, "bits"), c)
		for range rapid.IntRange(1, 3).Draw(t, "changes") {
			c.change(t)
			next := planFor(t, l, c)
			moved := 0
			for p := range Partition(l.Partitions()) {
				moved += len(except(next.Owners(p), l.Owners(p)))
			}
			if least := fewestMoves(t, l, slices.Clone(next.Members()), c.replicas); moved != least {
				t.Fatalf("%d partitions move where %d would do", moved, least)
			}
			l = next
		}
	})
}
