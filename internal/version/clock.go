package version

import (
	"fmt"
	"slices"
	"strings"
)

// Ordering is how two clocks relate.
type Ordering int

// The four outcomes. Before: the first clock is covered by the second, and
// not equal. Concurrent: each covers a dot that the other does not.
const (
	Equal Ordering = iota
	Before
	After
	Concurrent
)

// String returns the outcome in lower case.
func (o Ordering) String() string {
	switch o {
	case Equal:
		return "equal"
	case Before:
		return "before"
	case After:
		return "after"
	case Concurrent:
		return "concurrent"
	}
	return fmt.Sprintf("Ordering(%d)", int(o))
}

// Clock is a set of dots: what has been seen. The zero Clock is the empty
// set. It is an immutable value; == does not compare it, Equal does.
type Clock struct {
	// vector has one entry an actor, sorted by actor: all its counters from 1
	// to the entry's are covered. No entry is 0.
	vector []Dot

	// dots are covered one by one, sorted by actor and counter. Each is at
	// least 2 above its actor's vector entry, or above 0 where there is none:
	// a lower one would be covered by the vector, or be folded into it.
	dots []Dot
}

// NewClock returns the clock that covers the vector and the dots, given in
// any order. Dots that the vector covers or that continue it are folded. It
// refuses two entries for an actor, two equal dots and invalid dots.
func NewClock(vector, dots []Dot) (Clock, error) {
	for _, list := range [2][]Dot{vector, dots} {
		for _, d := range list {
			if err := d.validate(); err != nil {
				return Clock{}, err
			}
		}
	}
	v := slices.SortedFunc(slices.Values(vector), Dot.Compare)
	for i := 1; i < len(v); i++ {
		if v[i].Actor == v[i-1].Actor {
			return Clock{}, fmt.Errorf("%w clock: two vector entries for %s", ErrMalformed, v[i].Actor)
		}
	}
	ds := slices.SortedFunc(slices.Values(dots), Dot.Compare)
	for i := 1; i < len(ds); i++ {
		if ds[i] == ds[i-1] {
			return Clock{}, fmt.Errorf("%w clock: the dot %s stands twice", ErrMalformed, ds[i])
		}
	}
	return fold(v, ds), nil
}

// DotClock returns the clock of exactly one dot.
func DotClock(d Dot) Clock {
	d.mustName()
	if d.Counter == 1 {
		return Clock{vector: []Dot{d}}
	}
	return Clock{dots: []Dot{d}}
}

// search returns the index of the first entry of list whose actor is not
// below a. It is written out since every operation stands on it.
func search(list []Dot, a Actor) int {
	lo, hi := 0, len(list)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if list[mid].Actor.Compare(a) < 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// isolated returns the isolated dots of a as the range [from, to) of c.dots.
func (c Clock) isolated(a Actor) (from, to int) {
	from = search(c.dots, a)
	to = from
	for to < len(c.dots) && c.dots[to].Actor == a {
		to++
	}
	return from, to
}

// Covers says whether d has been seen. A dot with counter 0 never has.
func (c Clock) Covers(d Dot) bool {
	if d.Counter <= c.Counter(d.Actor) {
		return d.Counter > 0
	}
	if len(c.dots) == 0 {
		return false
	}
	_, found := slices.BinarySearchFunc(c.dots, d, Dot.Compare)
	return found
}

// Counter returns the counter up to which all dots of a are covered, 0 when
// there is none. Isolated dots beyond it do not count.
func (c Clock) Counter(a Actor) uint64 {
	i := search(c.vector, a)
	if i < len(c.vector) && c.vector[i].Actor == a {
		return c.vector[i].Counter
	}
	return 0
}

// Max returns the highest counter of a that is covered, isolated dots
// included, 0 when there is none. The next dot of a is above it.
func (c Clock) Max(a Actor) uint64 {
	if len(c.dots) > 0 {
		if from, to := c.isolated(a); from < to {
			return c.dots[to-1].Counter
		}
	}
	return c.Counter(a)
}

// Len returns the number of vector entries and isolated dots.
func (c Clock) Len() int { return len(c.vector) + len(c.dots) }

// IsEmpty says whether c covers nothing.
func (c Clock) IsEmpty() bool { return c.Len() == 0 }

// Vector returns the vector part, sorted by actor. Do not modify it.
func (c Clock) Vector() []Dot { return c.vector }

// Dots returns the isolated dots, sorted. Do not modify them.
func (c Clock) Dots() []Dot { return c.dots }

// Dominates says whether c covers all that o covers.
func (c Clock) Dominates(o Clock) bool {
	if len(o.vector) > len(c.vector) {
		return false // each of its entries needs one here: the vector is folded
	}
	rest := c.vector
	for _, want := range o.vector {
		rest = skipBelow(rest, want.Actor)
		if len(rest) == 0 || rest[0].Actor != want.Actor || rest[0].Counter < want.Counter {
			return false
		}
	}
	for _, d := range o.dots {
		if !c.Covers(d) {
			return false
		}
	}
	return true
}

// skipBelow drops the entries whose actor is below a. It walks, since clocks
// that are compared have about the same actors.
func skipBelow(list []Dot, a Actor) []Dot {
	for len(list) > 0 && list[0].Actor.Compare(a) < 0 {
		list = list[1:]
	}
	return list
}

// Compare tells how c relates to o.
func (c Clock) Compare(o Clock) Ordering {
	after, before := c.Dominates(o), o.Dominates(c)
	switch {
	case after && before:
		return Equal
	case before:
		return Before
	case after:
		return After
	}
	return Concurrent
}

// Equal says whether c and o cover the same dots.
func (c Clock) Equal(o Clock) bool {
	return slices.Equal(c.vector, o.vector) && slices.Equal(c.dots, o.dots)
}

// Join returns the least clock that covers both. Where one of them does
// already, it is returned as it is.
func (c Clock) Join(o Clock) Clock {
	if c.Dominates(o) {
		return c
	}
	if o.Dominates(c) {
		return o
	}
	vector := joinVectors(c.vector, o.vector)
	if len(c.dots)+len(o.dots) == 0 {
		return Clock{vector: vector}
	}
	return fold(vector, mergeDots(c.dots, o.dots))
}

// joinVectors returns the entries of both, the higher where both have one.
func joinVectors(a, b []Dot) []Dot {
	out := make([]Dot, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch order := a[0].Actor.Compare(b[0].Actor); {
		case order < 0:
			out, a = append(out, a[0]), a[1:]
		case order > 0:
			out, b = append(out, b[0]), b[1:]
		default:
			d := a[0]
			d.Counter = max(d.Counter, b[0].Counter)
			out, a, b = append(out, d), a[1:], b[1:]
		}
	}
	out = append(out, a...)
	return append(out, b...)
}

// mergeDots returns the dots of both, sorted, once where both have one.
func mergeDots(a, b []Dot) []Dot {
	out := make([]Dot, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		order := a[0].Compare(b[0])
		if order <= 0 {
			out, a = append(out, a[0]), a[1:]
		} else {
			out = append(out, b[0])
		}
		if order >= 0 {
			b = b[1:]
		}
	}
	out = append(out, a...)
	return append(out, b...)
}

// fold returns the clock of a vector and dots that are sorted and without
// repeats: it drops the dots that the vector covers, and extends the vector
// by those that continue it.
func fold(vector, dots []Dot) Clock {
	var c Clock
	c.vector = slices.Grow(c.vector, len(vector))
	for len(vector) > 0 || len(dots) > 0 {
		var head Dot
		if len(dots) == 0 || len(vector) > 0 && vector[0].Actor.Compare(dots[0].Actor) <= 0 {
			head, vector = vector[0], vector[1:]
		} else {
			head.Actor = dots[0].Actor
		}
		for len(dots) > 0 && dots[0].Actor == head.Actor {
			switch d := dots[0]; {
			case d.Counter == head.Counter+1:
				head.Counter++
			case d.Counter > head.Counter:
				c.dots = append(c.dots, d)
			}
			dots = dots[1:]
		}
		if head.Counter > 0 {
			c.vector = append(c.vector, head)
		}
	}
	return c
}

// With returns the clock that covers d too: as an isolated dot, or in the
// vector where it continues it. It panics when d cannot name a write.
func (c Clock) With(d Dot) Clock {
	d.mustName()
	if c.Covers(d) {
		return c
	}
	i := search(c.vector, d.Actor)
	known := i < len(c.vector) && c.vector[i].Actor == d.Actor
	switch {
	case known && d.Counter == c.vector[i].Counter+1:
		d.Counter, c.dots = c.absorb(d)
		c.vector = slices.Clone(c.vector)
		c.vector[i] = d
	case !known && d.Counter == 1:
		d.Counter, c.dots = c.absorb(d)
		c.vector = inserted(c.vector, i, d)
	default:
		at, _ := slices.BinarySearchFunc(c.dots, d, Dot.Compare)
		c.dots = inserted(c.dots, at, d)
	}
	return c
}

// absorb returns the counter that d's vector entry reaches once d is in the
// vector, and the isolated dots that are left.
func (c Clock) absorb(d Dot) (counter uint64, rest []Dot) {
	counter = d.Counter
	if len(c.dots) == 0 {
		return counter, c.dots
	}
	from, to := c.isolated(d.Actor)
	at := from
	for at < to && c.dots[at].Counter == counter+1 {
		counter++
		at++
	}
	return counter, removed(c.dots, from, at)
}

// inserted returns a copy of list with d at index i.
func inserted(list []Dot, i int, d Dot) []Dot {
	out := make([]Dot, 0, len(list)+1)
	out = append(out, list[:i]...)
	out = append(out, d)
	return append(out, list[i:]...)
}

// removed returns list without [from, to), a copy unless that is empty.
func removed(list []Dot, from, to int) []Dot {
	if from == to {
		return list
	}
	if to-from == len(list) {
		return nil
	}
	out := make([]Dot, 0, len(list)-(to-from))
	out = append(out, list[:from]...)
	return append(out, list[to:]...)
}

// String returns the vector's entries, then the isolated dots after a bar.
func (c Clock) String() string {
	var b strings.Builder
	b.WriteByte('{')
	sep := ""
	for _, d := range c.vector {
		b.WriteString(sep + d.String())
		sep = " "
	}
	for i, d := range c.dots {
		if i == 0 {
			sep += "| "
		}
		b.WriteString(sep + d.String())
		sep = " "
	}
	b.WriteByte('}')
	return b.String()
}
