package version

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// The encoding. Integers are unsigned varints in their shortest form unless
// said otherwise; fixed ones are little-endian.
//
//	clock    = format version (1 byte), table
//	siblings = format version (1 byte), table, versions
//
//	table    = number of actors, {actor}, number of isolated dots, {dot}
//	actor    = length of the node ID (1 byte; 0: as in the entry before),
//	           node ID, start (8 bytes), sequence, counter of the vector
//	           entry (0: none)
//	dot      = index of the actor, gap
//	versions = number, {version}
//	version  = index of the actor, counter, flags (1 byte), write ID
//	           (16 bytes, if flagged), timestamp (8 bytes), length, data
//
// Each actor of a set stands once, in its table, and is sorted as in memory,
// as are dots and versions. A dot's gap is what it has above the lowest
// counter that it can have there: 2 above the vector entry for the first of
// an actor, 1 above the dot before it else. So an isolated dot that is
// covered, or that continues the vector, cannot be written down. Decoders
// refuse everything that the encoder does not write, hence a value has one
// encoding and an encoding that is accepted encodes again to itself.

const formatVersion = 1

const (
	flagTombstone = 1 << iota
	flagWriteID
	flagsKnown = flagTombstone | flagWriteID
)

// The shortest encodings, by which decoders bound what they allocate: the
// memory for a list is at most 20 times the bytes that hold it.
const (
	minActorBytes   = 1 + 8 + 1 + 1
	minDotBytes     = 1 + 1
	minVersionBytes = 1 + 1 + 1 + 8 + 1
)

// uvarintLen returns the length of x as a varint.
func uvarintLen(x uint64) int { return (bits.Len64(x|1) + 6) / 7 }

// tableWalk visits the actors of a clock in order: those of the vector and
// those that have isolated dots only. It is the table of an encoding,
// without an allocation for it.
type tableWalk struct {
	vector, dots []Dot
	entry        Dot // the current actor; counter 0 when it is not in the vector
	index        int // of entry in the table, -1 before the first
}

func walkTable(c Clock) tableWalk { return tableWalk{vector: c.vector, dots: c.dots, index: -1} }

// next moves on to the next actor; false at the end.
func (w *tableWalk) next() bool {
	switch {
	case len(w.vector) == 0 && len(w.dots) == 0:
		return false
	case len(w.dots) == 0 || len(w.vector) > 0 && w.vector[0].Actor.Compare(w.dots[0].Actor) <= 0:
		w.entry, w.vector = w.vector[0], w.vector[1:]
	default:
		w.entry = Dot{Actor: w.dots[0].Actor}
	}
	for len(w.dots) > 0 && w.dots[0].Actor == w.entry.Actor {
		w.dots = w.dots[1:]
	}
	w.index++
	return true
}

// seek moves on to a, which must not stand before the current actor, and must
// be in the clock: that is the invariant of a set.
func (w *tableWalk) seek(a Actor) {
	for w.index < 0 || w.entry.Actor != a {
		if !w.next() {
			panic(fmt.Sprintf("version: the clock of a sibling set does not cover its version of %s, or versions are not sorted", a))
		}
	}
}

// tableLen returns the number of actors in c's table.
func (c Clock) tableLen() int {
	n := len(c.vector)
	if len(c.dots) > 0 {
		n = 0
		for w := walkTable(c); w.next(); {
			n++
		}
	}
	return n
}

// AppendBinary appends the encoding of c to b.
func (c Clock) AppendBinary(b []byte) []byte {
	return c.appendTable(append(b, formatVersion))
}

func (c Clock) appendTable(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(c.tableLen()))
	var node id.Node
	for w := walkTable(c); w.next(); {
		b = appendActor(b, w.entry.Actor, node)
		b = binary.AppendUvarint(b, w.entry.Counter)
		node = w.entry.Actor.Node
	}
	b = binary.AppendUvarint(b, uint64(len(c.dots)))
	w := walkTable(c)
	var last Dot
	for _, d := range c.dots {
		w.seek(d.Actor)
		b = binary.AppendUvarint(b, uint64(w.index))
		b = binary.AppendUvarint(b, d.Counter-lowestIsolated(d.Actor, last, w.entry.Counter))
		last = d
	}
	return b
}

// lowestIsolated returns the lowest counter that an isolated dot of a can
// have after the isolated dot last, a's vector entry being counter.
func lowestIsolated(a Actor, last Dot, counter uint64) uint64 {
	if last.Actor == a {
		return last.Counter + 1
	}
	return counter + 2
}

// appendActor appends a; before is the node of the entry before it.
func appendActor(b []byte, a Actor, before id.Node) []byte {
	if a.Node == before {
		b = append(b, 0)
	} else {
		b = append(b, byte(len(a.Node))) // 1 to id.MaxNodeBytes, in any clock
		b = append(b, a.Node...)
	}
	b = binary.LittleEndian.AppendUint64(b, a.Epoch.Start)
	return binary.AppendUvarint(b, a.Epoch.Seq)
}

// tableSize returns the length of what appendTable appends.
func (c Clock) tableSize() int {
	size, actors := 0, 0
	var node id.Node
	for w := walkTable(c); w.next(); actors++ {
		a := w.entry.Actor
		size += 1 + 8 + uvarintLen(a.Epoch.Seq) + uvarintLen(w.entry.Counter)
		if a.Node != node {
			size += len(a.Node)
		}
		node = a.Node
	}
	w := walkTable(c)
	var last Dot
	for _, d := range c.dots {
		w.seek(d.Actor)
		size += uvarintLen(uint64(w.index)) + uvarintLen(d.Counter-lowestIsolated(d.Actor, last, w.entry.Counter))
		last = d
	}
	return size + uvarintLen(uint64(actors)) + uvarintLen(uint64(len(c.dots)))
}

// AppendBinary appends the encoding of s to b. It panics when the clock does
// not cover a version.
func (s Siblings) AppendBinary(b []byte) []byte {
	if s.encoded != nil {
		return append(b, s.encoded...)
	}
	return s.append(b, nil)
}

// Encoded returns what AppendBinary appends where that is known, else nil. It is
// only to be read.
func (s Siblings) Encoded() []byte { return s.encoded }

// Encode returns head with the encoding of s behind it, in memory of its own,
// and s with the data of its versions in there. Who keeps that one keeps nothing
// else alive, such as the message that brought s, and need not decode it again,
// nor does it encode it again.
func (s Siblings) Encode(head []byte) (b []byte, own Siblings) {
	own = Siblings{Clock: s.Clock, Versions: slices.Clone(s.Versions)}
	b = append(make([]byte, 0, len(head)+s.Size()), head...)
	if s.encoded != nil && len(s.Versions) <= 1 { // the data is the end of it
		b = append(b, s.encoded...)
		own.moveLast(b)
	} else {
		b = s.append(b, own.Versions)
	}
	own.encoded = b[len(head):len(b):len(b)]
	return b, own
}

// moveLast makes the data of the last version what b ends with.
func (s Siblings) moveLast(b []byte) {
	if n := len(s.Versions); n > 0 && len(s.Versions[n-1].Data) > 0 {
		s.Versions[n-1].Data = b[len(b)-len(s.Versions[n-1].Data) : len(b) : len(b)]
	}
}

// append appends the encoding of s to b. Where own has the versions of s, and b
// has room, their data becomes that in b.
func (s Siblings) append(b []byte, own []Version) []byte {
	b = append(b, formatVersion)
	b = s.Clock.appendTable(b)
	b = binary.AppendUvarint(b, uint64(len(s.Versions)))
	w := walkTable(s.Clock)
	for i := range s.Versions {
		v := &s.Versions[i]
		w.seek(v.Dot.Actor)
		b = binary.AppendUvarint(b, uint64(w.index))
		b = binary.AppendUvarint(b, v.Dot.Counter)
		b = append(b, v.flags())
		if !v.WriteID.IsZero() {
			b = append(b, v.WriteID[:]...)
		}
		b = binary.LittleEndian.AppendUint64(b, uint64(v.Timestamp))
		b = binary.AppendUvarint(b, uint64(len(v.Data)))
		b = append(b, v.Data...)
		if own != nil && len(v.Data) > 0 {
			own[i].Data = b[len(b)-len(v.Data) : len(b) : len(b)]
		}
	}
	return b
}

func (v *Version) flags() byte {
	var f byte
	if v.Tombstone {
		f |= flagTombstone
	}
	if !v.WriteID.IsZero() {
		f |= flagWriteID
	}
	return f
}

// Size returns the exact length of what AppendBinary appends.
func (s Siblings) Size() int {
	if s.encoded != nil {
		return len(s.encoded)
	}
	size := 1 + s.Clock.tableSize() + uvarintLen(uint64(len(s.Versions)))
	w := walkTable(s.Clock)
	for i := range s.Versions {
		v := &s.Versions[i]
		w.seek(v.Dot.Actor)
		size += uvarintLen(uint64(w.index)) + uvarintLen(v.Dot.Counter) + 1 + 8
		if !v.WriteID.IsZero() {
			size += len(v.WriteID)
		}
		size += uvarintLen(uint64(len(v.Data))) + len(v.Data)
	}
	return size
}
