package audit

import (
	"encoding/binary"
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/version"
)

// Copy is what one node holds of a key, hints aside.
type Copy struct {
	Node string
	Set  version.Siblings
}

// Converged says whether n nodes hold equal copies, or none holds any.
func Converged(copies []Copy, n int) bool {
	var first version.Siblings
	holders := 0
	for _, c := range copies {
		switch {
		case c.Set.IsEmpty():
			continue
		case holders == 0:
			first = c.Set
		case !c.Set.Equal(first):
			return false
		}
		holders++
	}
	return holders == 0 || holders == n
}

// Problem is a promise that was not kept.
type Problem struct {
	Promise string // its name, as Check lists them
	Key     string
	What    string
}

// Check holds the log to what the cluster promises, given what its nodes hold
// of each key when all faults have ended and everything has come to rest. It
// returns what is wrong, nothing where all is well.
//
//   - no lost write: what was acknowledged, or was shown to a reader, is among
//     the final siblings or replaced by what had seen it.
//   - no phantom: nothing is there that nobody wrote, or whose client was told
//     that it is not written.
//   - no false siblings: nothing that another write had seen is among the
//     final siblings; where that write is a delete, it is a resurrection.
//   - contexts: they cover what their holders have seen, and nothing else.
//   - strict quorum: a strict read finds each strict write that had ended
//     before it began, where R and W together are more than the owners.
//   - convergence: N nodes hold a key, and equal copies of it, and no other
//     node holds anything.
func (l *Log) Check(final func(key string) []Copy) (problems []Problem) {
	l.held = 0
	for _, k := range l.keys {
		c := &checker{log: l, key: k.key, ops: k.ops, copies: final(k.key)}
		problems = append(problems, c.check()...)
	}
	return problems
}

// checker holds the history of one key to the promises.
type checker struct {
	log    *Log
	key    string
	ops    []*Op
	copies []Copy
	known  Key

	facts    []fact // of the operations, in their order
	problems []Problem
	stones   Set // versions that are tombstones
	dotless  Set // versions whose dot nobody knows
	acked    Set // versions that a client was told are written
	observed Set // versions that a reader was shown
	further  Set // versions without a dot of writes that have others with one: a reader cannot tell the two apart
	hidden   Set // what deletes replace: each may have been minted once more than is known, which no reader is shown
	writer   []*Op
}

// fact is what is known of an operation when the log is complete.
type fact struct {
	dots     []version.Dot // of a write: the one that its context covers first
	versions []int         // of a write: one for each dot, or one that has none
	seen     Set           // what the context that it was given stands for
	shown    Set           // of a read: what its values are
	looked   bool          // at what a read has seen
}

func (c *checker) failf(promise, format string, args ...any) {
	c.problems = append(c.problems, Problem{promise, c.key, fmt.Sprintf(format, args...)})
}

func (c *checker) check() []Problem {
	c.facts = make([]fact, len(c.ops))
	c.nameAnswered()
	final := c.merge()
	c.nameFinal(final)
	for i, o := range c.ops {
		if o.Write {
			c.wrote(i)
		}
	}
	for i, o := range c.ops {
		if !o.Write && o.outcome == Done {
			c.sees(i)
			c.strict(i)
		}
	}
	c.end(final)
	return c.problems
}

// nameAnswered takes the dots of acknowledged writes from their contexts: the
// one thing that a context has beyond what was sent.
func (c *checker) nameAnswered() {
	for i, o := range c.ops {
		if !o.Write || o.outcome != Done {
			continue
		}
		sent, _ := o.Sends()
		dots := beyond(o.clock, sent)
		if len(dots) != 1 || !o.clock.Dominates(sent) {
			c.failf("contexts", "write %d was acknowledged with %v after it was sent with %v", o.number, o.clock, sent)
		}
		c.facts[i].dots = dots
	}
}

// beyond returns the dots that a clock covers and another does not.
func beyond(a, b version.Clock) (dots []version.Dot) {
	take := func(d version.Dot) {
		if !b.Covers(d) {
			dots = append(dots, d)
		}
	}
	for _, d := range a.Vector() {
		for n := b.Counter(d.Actor) + 1; n <= d.Counter; n++ {
			take(version.Dot{Actor: d.Actor, Counter: n})
		}
	}
	for _, d := range a.Dots() {
		take(d)
	}
	return dots
}

// merge returns what all copies together say, and holds them to equality.
func (c *checker) merge() (all version.Siblings) {
	holders := 0
	var first Copy
	for _, one := range c.copies {
		if one.Set.IsEmpty() {
			continue
		}
		if holders++; holders == 1 {
			first = one
		}
		if !one.Set.Equal(first.Set) {
			c.failf("convergence", "%s has %v and %s has %v", first.Node, first.Set.Clock, one.Node, one.Set.Clock)
		}
		merged, err := version.Merge(all, one.Set)
		if err != nil {
			c.failf("convergence", "the copies do not merge: %v", err)
			continue
		}
		all = merged
	}
	if holders != 0 && holders != c.log.n {
		c.failf("convergence", "%d nodes hold copies, and N is %d", holders, c.log.n)
	}
	return all
}

// writeOf returns the place of the write that a version belongs to, -1 where
// nobody wrote that.
func (c *checker) writeOf(v *version.Version) int {
	number := binary.BigEndian.Uint64(v.WriteID[8:]) - 1
	if number >= uint64(len(c.log.ops)) {
		return -1
	}
	o := c.log.ops[number]
	if o.Key != c.key || o.ID != v.WriteID || o.Remove != v.Tombstone || string(o.Value) != string(v.Data) {
		return -1
	}
	return o.at
}

// nameFinal takes dots from the final siblings, where everything is named.
func (c *checker) nameFinal(final version.Siblings) {
	for i := range final.Versions {
		v := &final.Versions[i]
		at := c.writeOf(v)
		if at < 0 {
			c.failf("no phantom", "%v, which nobody wrote, is among the final siblings", v.Dot)
			continue
		}
		if c.ops[at].outcome == NotWritten {
			c.failf("no phantom", "write %d, whose client was told that it is not written, is among the final siblings", c.ops[at].number)
		}
		f := &c.facts[at]
		if len(f.dots) == 0 || f.dots[0] != v.Dot {
			f.dots = append(f.dots, v.Dot)
		}
	}
}

// wrote takes a write into what is known of the key. Those before it are
// there already, and so is all that it can have seen.
func (c *checker) wrote(i int) {
	o, f := c.ops[i], &c.facts[i]
	past := c.pastOf(o)
	for _, d := range f.dots {
		at := c.add(o, past)
		c.known.Name(at, d)
		f.versions = append(f.versions, at)
	}
	if len(f.dots) == 0 {
		c.unnamed(i, past)
	}
	if o.Remove && o.outcome != NotWritten {
		c.hidden.Add(past)
	}
	if o.outcome == Done && len(f.versions) > 0 {
		c.acked.Put(f.versions[0])
		f.seen = past.Clone()
		f.seen.Put(f.versions[0])
	}
}

func (c *checker) add(o *Op, past Set) int {
	at := c.known.Add(past)
	c.writer = append(c.writer, o)
	if o.Remove {
		c.stones.Put(at)
	}
	return at
}

// unnamed gives a write a version whose dot is not known.
func (c *checker) unnamed(i int, past Set) int {
	at := c.add(c.ops[i], past)
	c.dotless.Put(at)
	c.facts[i].versions = append(c.facts[i].versions, at)
	return at
}

// seenBy returns what the context of an operation stands for.
func (c *checker) seenBy(from *Op) Set {
	if !from.Write {
		c.sees(from.at)
	}
	return c.facts[from.at].seen
}

// sees works out what a read has seen: what it shows with all that this
// replaces, and tombstones, which it does not show.
func (c *checker) sees(i int) {
	o, f := c.ops[i], &c.facts[i]
	if f.looked {
		return
	}
	f.looked = true
	for _, value := range o.values {
		f.shown.Add(c.shows(o, value))
	}
	c.observed.Add(f.shown)
	covered, _ := c.known.CoveredBy(o.clock)
	f.seen = c.withStones(f.shown, covered)
	f.seen.Add(covered)
}

// withStones returns versions and the tombstones among those that are covered,
// with all that they replace.
func (c *checker) withStones(shown, covered Set) Set {
	all := shown.Clone()
	all.Add(covered.Minus(covered.Minus(c.stones)))
	return c.known.Closure(all)
}

// shows returns the versions that a value in a read's answer stands for: those
// of its write that the context covers.
func (c *checker) shows(o *Op, value []byte) (shown Set) {
	number, ok := ParseValue(value, []byte(c.key))
	if !ok || number < 0 || number >= len(c.log.ops) {
		c.failf("no phantom", "a read shows %d bytes that nobody wrote", len(value))
		return nil
	}
	w := c.log.ops[number]
	if string(w.Value) != string(value) || w.began > o.ended {
		c.failf("no phantom", "a read shows what write %d had not written by then", number)
		return nil
	}
	if w.outcome == NotWritten {
		c.failf("no phantom", "a read shows write %d, whose client was told that it is not written", number)
	}
	f := &c.facts[w.at]
	for n, d := range f.dots {
		if o.clock.Covers(d) {
			shown.Put(f.versions[n])
		}
	}
	if !shown.IsEmpty() {
		return shown
	}
	if len(f.versions) == len(f.dots) { // it was minted once more than is known
		c.further.Put(c.unnamed(w.at, c.pastOf(w)))
	}
	shown.Put(f.versions[len(f.dots)])
	return shown
}

// pastOf returns what a write replaces.
func (c *checker) pastOf(w *Op) Set {
	if w.from == nil {
		return nil
	}
	return c.seenBy(w.from)
}

// strict holds a read to the writes that its owners must have met.
func (c *checker) strict(i int) {
	o, f := c.ops[i], &c.facts[i]
	if !o.Strict {
		return
	}
	found := 0
	for j, w := range c.ops {
		if !w.Write || !w.Strict || w.outcome != Done || w.ended > o.began || w.Quorum+o.Quorum <= c.log.n {
			continue
		}
		found++
		if at := c.facts[j].versions[0]; !f.seen.Has(at) {
			c.failf("strict quorum", "read %d with R=%d misses write %d, which W=%d had acknowledged before it began",
				o.number, o.Quorum, w.number, w.Quorum)
		}
	}
	if found > 0 {
		c.log.held++
	}
}

// end holds the final siblings to the history.
func (c *checker) end(final version.Siblings) {
	var shown Set
	for i := range final.Versions {
		if at, ok := c.known.At(final.Versions[i].Dot); ok {
			shown.Put(at)
		}
	}
	past := c.known.Closure(shown)
	c.exact("the final siblings", final.Clock, past)
	for i, o := range c.ops {
		if !o.Write && o.outcome == Done {
			covered, _ := c.known.CoveredBy(o.clock)
			c.exact(fmt.Sprint("read ", o.number), o.clock, c.withStones(c.facts[i].shown, covered))
		}
	}
	must := c.acked.Clone()
	must.Add(c.observed)
	excused := c.hidden.Minus(c.hidden.Minus(c.dotless))
	must.Minus(past).Minus(c.further).Minus(excused).Each(func(i int) {
		c.failf("no lost write", "write %d is neither among the final siblings nor replaced by them", c.writer[i].number)
	})
	c.known.FalseSiblings(shown, must, func(i, by int) {
		promise := "no false siblings"
		if c.stones.Has(by) {
			promise = "no resurrection"
		}
		c.failf(promise, "write %d is among the final siblings, though write %d had seen it", c.writer[i].number, c.writer[by].number)
	})
}

// exact holds a clock to what its holder has seen. What a delete replaces may
// be covered by any: its holder may have seen a tombstone of it that has no name.
func (c *checker) exact(who string, clock version.Clock, seen Set) {
	covered, _ := c.known.CoveredBy(clock)
	covered.Minus(seen).Minus(c.hidden).Each(func(i int) {
		c.failf("contexts", "%s has a context that covers write %d, which it has not seen", who, c.writer[i].number)
	})
}
