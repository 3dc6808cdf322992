package audit

import "github.com/dynamo-kv/dynamo/internal/version"

// Key has the versions of one key in the order in which they became known,
// with what each of them replaces. Versions are told by their place in that
// order, and named by their dots.
type Key struct {
	past  []Set
	byDot map[version.Dot]int // looked up by key only
	// byActor has for each actor the version of each counter, from 1 on; -1
	// where there is none. Looked up by key only.
	byActor map[version.Actor]*[]int
}

// Add takes a version that replaces past, which must be closed: what that has
// replaced is in it too. It returns the version's place.
func (k *Key) Add(past Set) int {
	k.past = append(k.past, past)
	return len(k.past) - 1
}

// Len returns the number of versions.
func (k *Key) Len() int { return len(k.past) }

// Past returns all that a version replaces, directly or through others.
func (k *Key) Past(i int) Set { return k.past[i] }

// Name gives version i its dot.
func (k *Key) Name(i int, d version.Dot) {
	if k.byDot == nil {
		k.byDot, k.byActor = make(map[version.Dot]int), make(map[version.Actor]*[]int)
	}
	k.byDot[d] = i
	counters := k.byActor[d.Actor]
	if counters == nil {
		counters = new([]int)
		k.byActor[d.Actor] = counters
	}
	for uint64(len(*counters)) < d.Counter {
		*counters = append(*counters, -1)
	}
	(*counters)[d.Counter-1] = i
}

// At returns the version that has a dot.
func (k *Key) At(d version.Dot) (i int, ok bool) {
	i, ok = k.byDot[d]
	return i, ok
}

// CoveredBy returns the versions that a clock covers, and how many dots it
// covers that name none.
func (k *Key) CoveredBy(c version.Clock) (covered Set, strange uint64) {
	covered = make(Set, (len(k.past)+63)/64)
	take := func(a version.Actor, from, to uint64) {
		var known []int
		if counters := k.byActor[a]; counters != nil {
			known = (*counters)[min(from-1, uint64(len(*counters))):min(to, uint64(len(*counters)))]
		}
		strange += to - from + 1 - uint64(len(known))
		for _, i := range known {
			if i < 0 {
				strange++
			} else {
				covered[i>>6] |= 1 << (i & 63)
			}
		}
	}
	for _, d := range c.Vector() {
		take(d.Actor, 1, d.Counter)
	}
	for _, d := range c.Dots() {
		take(d.Actor, d.Counter, d.Counter)
	}
	return covered, strange
}

// Closure returns versions with all that they replace.
func (k *Key) Closure(of Set) Set {
	out := of.Clone()
	of.Each(func(i int) { out.Add(k.past[i]) })
	return out
}

// FalseSiblings calls f for each version of shown that another one had
// replaced which is certain to have been written, or is shown itself.
func (k *Key) FalseSiblings(shown, certain Set, f func(i, by int)) {
	certain = certain.Clone()
	certain.Add(shown)
	var replaced Set
	by := make(map[int]int)
	certain.Each(func(j int) {
		k.past[j].Each(func(i int) { by[i] = j })
		replaced.Add(k.past[j])
	})
	shown.Each(func(i int) {
		if replaced.Has(i) {
			f(i, by[i])
		}
	})
}

// Unmet calls f for each choice of r of the owners that together do not cover
// must, with what they lack. covered has what each owner's clock covers.
func Unmet(covered []Set, r int, must Set, f func(lacking Set)) {
	for choice := range 1 << len(covered) {
		var seen Set
		n := 0
		for i := range covered {
			if choice&(1<<i) != 0 {
				seen.Add(covered[i])
				n++
			}
		}
		if lacking := must.Minus(seen); n == r && !lacking.IsEmpty() {
			f(lacking)
		}
	}
}
