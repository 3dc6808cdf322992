package version

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// DecodeClock decodes the clock at the start of b and returns what follows
// it. The clock keeps nothing of b. The error wraps ErrMalformed.
func DecodeClock(b []byte) (c Clock, rest []byte, err error) {
	d := decoder{rest: b}
	d.format()
	c, _ = d.table()
	if d.err != nil {
		return Clock{}, nil, fmt.Errorf("%w clock: %w", ErrMalformed, d.err)
	}
	return c, d.rest, nil
}

// DecodeSiblings decodes the set at the start of b and returns what follows
// it. The Data of its versions are slices of b: whoever decodes gives b away.
// The set holds its invariants. The error wraps ErrMalformed.
func DecodeSiblings(b []byte) (s Siblings, rest []byte, err error) {
	d := decoder{rest: b}
	d.format()
	clock, table := d.table()
	s = Siblings{Clock: clock, Versions: d.versions(clock, table)}
	if d.err != nil {
		return Siblings{}, nil, fmt.Errorf("%w siblings: %w", ErrMalformed, d.err)
	}
	n := len(b) - len(d.rest)
	s.encoded = b[:n:n]
	return s, d.rest, nil
}

// decoder takes values off the front of rest. The first failure stays in err,
// and everything after it yields zero values.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) failf(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
}

// bytes takes n bytes. They can be appended to without harm to what follows.
func (d *decoder) bytes(n uint64, what string) []byte {
	if d.err != nil {
		return nil
	}
	if n > uint64(len(d.rest)) {
		d.failf("%s: %d bytes needed, %d left", what, n, len(d.rest))
		return nil
	}
	out := d.rest[:n:n]
	d.rest = d.rest[n:]
	return out
}

func (d *decoder) byte(what string) byte {
	if b := d.bytes(1, what); d.err == nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint64(what string) uint64 {
	if b := d.bytes(8, what); d.err == nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// uvarint takes a varint in its shortest form, of at most limit.
func (d *decoder) uvarint(limit uint64, what string) uint64 {
	if d.err != nil {
		return 0
	}
	x, n := binary.Uvarint(d.rest)
	switch {
	case n <= 0:
		d.failf("%s: not a varint of 64 bits", what)
		return 0
	case n > 1 && d.rest[n-1] == 0:
		d.failf("%s: not the shortest form", what)
		return 0
	case x > limit:
		d.failf("%s is %d; at most %d is allowed", what, x, limit)
		return 0
	}
	d.rest = d.rest[n:]
	return x
}

// count takes the number of entries of a list whose entries have at least
// size bytes each, so that no list is allocated that cannot be there.
func (d *decoder) count(size int, what string) int {
	return int(d.uvarint(uint64(len(d.rest)/size), what))
}

func (d *decoder) format() {
	if v := d.byte("format version"); d.err == nil && v != formatVersion {
		d.failf("format version %d; only %d is known", v, formatVersion)
	}
}

// table takes a clock and the table of its actors, in which an actor that has
// isolated dots only has counter 0.
func (d *decoder) table() (Clock, []Dot) {
	n := d.count(minActorBytes, "number of actors")
	if d.err != nil {
		return Clock{}, nil
	}
	var table []Dot
	if n > 0 {
		table = make([]Dot, n)
	}
	absent := 0
	var before Actor
	for i := range table {
		before = d.actor(before)
		table[i] = Dot{Actor: before, Counter: d.uvarint(MaxCounter, "counter")}
		if d.err != nil {
			return Clock{}, nil
		}
		if table[i].Counter == 0 {
			absent++
		}
	}
	c := Clock{vector: table, dots: d.dots(table, absent)}
	if absent > 0 && d.err == nil {
		c.vector = present(table, len(table)-absent)
	}
	return c, table
}

// present returns the n entries of a table that are in the vector.
func present(table []Dot, n int) []Dot {
	if n == 0 {
		return nil
	}
	out := make([]Dot, 0, n)
	for _, e := range table {
		if e.Counter > 0 {
			out = append(out, e)
		}
	}
	return out
}

// actor takes an actor, which must stand after the one before it.
func (d *decoder) actor(before Actor) Actor {
	a := Actor{Node: before.Node}
	if n := d.byte("length of a node ID"); n > 0 {
		a.Node = d.node(n, before.Node)
	} else if a.Node == "" {
		d.failf("the first actor has no node ID")
	}
	a.Epoch.Start = d.uint64("start")
	a.Epoch.Seq = d.uvarint(math.MaxUint64, "sequence")
	switch {
	case d.err != nil:
	case a.Epoch.IsZero():
		d.failf("node %s has no epoch", a.Node)
	case before.Compare(a) >= 0:
		d.failf("actor %s does not stand after %s", a, before)
	}
	return a
}

// node takes a node ID of n bytes that differs from the one before it.
func (d *decoder) node(n byte, before id.Node) id.Node {
	raw := d.bytes(uint64(n), "node ID")
	if d.err != nil {
		return ""
	}
	node, err := id.ParseNode(string(raw))
	if err != nil {
		d.err = err
	} else if node == before {
		d.failf("node ID %s stands twice", node)
	}
	return node
}

// dots takes the isolated dots. Each of the absent actors of the table, those
// that are not in the vector, must have one: else it has no place in there.
func (d *decoder) dots(table []Dot, absent int) []Dot {
	n := d.count(minDotBytes, "number of isolated dots")
	if d.err != nil {
		return nil
	}
	var out []Dot
	if n > 0 {
		out = make([]Dot, n)
	}
	var last Dot
	at := uint64(0)
	for i := range out {
		entry, index := d.entry(table, at)
		low := min(lowestIsolated(entry.Actor, last, entry.Counter), MaxCounter+1) // so that low+gap does not wrap
		if entry.Counter == 0 && last.Actor != entry.Actor {
			absent--
		}
		gap := d.uvarint(MaxCounter, "gap of an isolated dot")
		if low+gap > MaxCounter {
			d.failf("counter of an isolated dot is %d; at most %d is allowed", low+gap, uint64(MaxCounter))
		}
		if d.err != nil {
			return nil
		}
		last = Dot{Actor: entry.Actor, Counter: low + gap}
		out[i], at = last, index
	}
	if absent > 0 {
		d.failf("%d actors have neither a counter nor an isolated dot", absent)
	}
	return out
}

// entry takes the index of an actor, which must not be below lowest, and
// returns its entry in the table.
func (d *decoder) entry(table []Dot, lowest uint64) (Dot, uint64) {
	index := d.uvarint(math.MaxUint64, "index of an actor")
	switch {
	case d.err != nil:
		return Dot{}, 0
	case index >= uint64(len(table)):
		d.failf("index %d of an actor; there are %d", index, len(table))
		return Dot{}, 0
	case index < lowest:
		d.failf("index %d of an actor stands after index %d", index, lowest)
		return Dot{}, 0
	}
	return table[index], index
}

// versions takes the versions of a set with that clock and table.
func (d *decoder) versions(clock Clock, table []Dot) []Version {
	n := d.count(minVersionBytes, "number of versions")
	if d.err != nil || n == 0 {
		return nil
	}
	out := make([]Version, n)
	at := uint64(0)
	for i := range out {
		entry, index := d.entry(table, at)
		dot := Dot{Actor: entry.Actor, Counter: d.uvarint(MaxCounter, "counter of a version")}
		if d.err == nil && !clock.Covers(dot) {
			d.failf("the clock does not cover the version %s", dot)
		}
		if i > 0 && d.err == nil && out[i-1].Dot.Compare(dot) >= 0 {
			d.failf("version %s does not stand after %s", dot, out[i-1].Dot)
		}
		d.version(&out[i])
		if d.err != nil {
			return nil
		}
		out[i].Dot, at = dot, index
	}
	return out
}

// version takes what follows a version's dot.
func (d *decoder) version(v *Version) {
	flags := d.byte("flags")
	if flags&^flagsKnown != 0 {
		d.failf("unknown flags %#x", flags)
	}
	v.Tombstone = flags&flagTombstone != 0
	if flags&flagWriteID != 0 {
		copy(v.WriteID[:], d.bytes(uint64(len(v.WriteID)), "write ID"))
		if d.err == nil && v.WriteID.IsZero() {
			d.failf("the write ID is zero")
		}
	}
	v.Timestamp = int64(d.uint64("timestamp"))
	size := d.uvarint(math.MaxInt64, "length of the data")
	if size == 0 {
		return // no data is nil, so that a set decodes to what was encoded
	}
	if v.Tombstone {
		d.failf("a tombstone has %d bytes of data", size)
	}
	v.Data = d.bytes(size, "data")
}
