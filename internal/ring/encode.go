package ring

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// The encoding of a layout, which is gossiped whole and kept on disk:
//
//	version        1 byte, formatVersion
//	log2(Q)        1 byte
//	N              uvarint
//	number         uvarint
//	parent         uvarint number, 8 bytes digest; zero for number 1 only
//	members        uvarint count, then each, in the order of the IDs:
//	               uvarint length and ID, uvarint length and zone, uvarint weight
//	owners         Q * min(N, members) indexes into the members, 1 byte each up
//	               to 256 members, else 2
//	digest         8 bytes, xxhash64 of everything before it
//
// Fixed-width integers are big-endian, uvarints are minimal, and nothing may
// follow, so that a layout has exactly one encoding.
const (
	formatVersion = 1
	digestBytes   = 8

	// maxBits is log2 of id.MaxPartitions.
	maxBits = 16

	// minMemberBytes is the least that a member takes: it bounds what a
	// claimed count may allocate.
	minMemberBytes = 4
)

// AppendBinary appends the layout's encoding to b. With 30 members and 1024
// partitions of 3 owners it takes less than 8 KiB.
func (l *Layout) AppendBinary(b []byte) []byte {
	return binary.BigEndian.AppendUint64(l.appendBody(b), l.name.Digest)
}

func (l *Layout) appendBody(b []byte) []byte {
	b = append(b, formatVersion, l.bits)
	b = binary.AppendUvarint(b, uint64(l.replicas))
	b = binary.AppendUvarint(b, l.name.Number)
	b = binary.AppendUvarint(b, l.parent.Number)
	b = binary.BigEndian.AppendUint64(b, l.parent.Digest)
	b = binary.AppendUvarint(b, uint64(len(l.members)))
	for _, m := range l.members {
		b = appendString(b, string(m.ID))
		b = appendString(b, m.Zone)
		b = binary.AppendUvarint(b, uint64(m.Weight))
	}
	for _, m := range l.index {
		if indexBytes(len(l.members)) == 2 {
			b = append(b, byte(m>>8))
		}
		b = append(b, byte(m))
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// indexBytes returns the width of an index into so many members.
func indexBytes(members int) int {
	if members <= 1<<8 {
		return 1
	}
	return 2
}

// DecodeLayout decodes a layout that AppendBinary encoded. Everything in b is
// checked and nothing in it is trusted, the digest included; it may come from
// a hostile peer. The layout shares no memory with b. Memory is allocated in
// proportion to the length of b, whatever b claims.
func DecodeLayout(b []byte) (*Layout, error) {
	d := decoder{rest: b}
	if v := d.byte("version"); d.err == nil && v != formatVersion {
		return nil, fmt.Errorf("%w: format version %d; only %d is known", ErrInvalid, v, formatVersion)
	}
	bits := d.byte("partitions")
	if d.err == nil && bits > maxBits {
		d.fail("2^%d partitions; at most %d are allowed", bits, id.MaxPartitions)
	}
	replicas := int(d.uvarint("replicas", MaxReplicas))
	if d.err == nil {
		d.err = checkReplicas(replicas)
	}
	number, parent := d.names()
	members := d.members()
	index := d.index(1<<min(bits, maxBits), min(replicas, len(members)), len(members))
	sum := xxhash.Sum64(b[:len(b)-len(d.rest)])
	digest := d.uint64("digest")
	if d.err == nil && len(d.rest) > 0 {
		d.fail("%d bytes too many", len(d.rest))
	}
	if d.err == nil && sum != digest {
		d.fail("digest %016x; the content has %016x", digest, sum)
	}
	if d.err != nil {
		return nil, d.err
	}
	return newLayout(number, parent, bits, replicas, members, index), nil
}

// decoder consumes rest. After the first error it returns zeros and keeps the
// error.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	d.err = fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

// take returns the next n bytes, or nil and an error.
func (d *decoder) take(n int, what string) []byte {
	if d.err != nil {
		return nil
	}
	if len(d.rest) < n {
		d.fail("it ends within %s: %d bytes of %d", what, len(d.rest), n)
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) byte(what string) byte {
	if b := d.take(1, what); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint64(what string) uint64 {
	if b := d.take(8, what); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) uvarint(what string, most uint64) uint64 {
	if d.err != nil {
		return 0
	}
	v, n := binary.Uvarint(d.rest)
	switch {
	case n <= 0:
		d.fail("%s is not a uvarint", what)
	case n > 1 && d.rest[n-1] == 0:
		d.fail("%s is longer than it needs to be", what)
	case v > most:
		d.fail("%s is %d; at most %d is allowed", what, v, most)
	default:
		d.rest = d.rest[n:]
		return v
	}
	return 0
}

func (d *decoder) string(what string, most int) string {
	return string(d.take(int(d.uvarint(what, uint64(most))), what))
}

// names decodes the layout's number and its parent's name.
func (d *decoder) names() (uint64, Name) {
	number := d.uvarint("number", math.MaxUint64)
	parent := Name{Number: d.uvarint("parent", math.MaxUint64), Digest: d.uint64("parent")}
	switch {
	case d.err != nil:
	case number == 0:
		d.fail("number 0; numbers start at 1")
	case parent.Number >= number:
		d.fail("number %d does not follow its parent's, %d", number, parent.Number)
	case (number == 1) != (parent.Number == 0), parent.Number == 0 && parent.Digest != 0:
		d.fail("number %d with the parent %s; the first layout and no other has none", number, parent)
	}
	return number, parent
}

func (d *decoder) members() []Member {
	count := int(d.uvarint("member count", id.MaxMembers))
	if d.err == nil {
		d.err = checkCount(count)
	}
	if d.err == nil && count*minMemberBytes > len(d.rest) {
		d.fail("%d members in %d bytes", count, len(d.rest))
	}
	if d.err != nil {
		return nil
	}
	members := make([]Member, count)
	for i := range members {
		m := Member{
			ID:     id.Node(d.string("node ID", id.MaxNodeBytes)),
			Zone:   d.string("zone", MaxZoneBytes),
			Weight: uint32(d.uvarint("weight", math.MaxUint32)),
		}
		if d.err == nil {
			d.err = m.check()
		}
		if d.err == nil && i > 0 && m.ID <= members[i-1].ID {
			d.fail("member %s does not follow %s", m.ID, members[i-1].ID)
		}
		if d.err != nil {
			return nil
		}
		members[i] = m
	}
	return members
}

// index decodes the owners of all partitions, each a distinct member.
func (d *decoder) index(partitions, width, members int) []uint16 {
	if d.err != nil {
		return nil
	}
	size := indexBytes(members)
	b := d.take(partitions*width*size, "owners")
	if d.err != nil {
		return nil
	}
	index := make([]uint16, partitions*width)
	for i := range index {
		m := uint16(b[i*size])
		if size == 2 {
			m = m<<8 | uint16(b[i*size+1])
		}
		if int(m) >= members {
			d.fail("partition %d has the owner %d of %d members", i/width, m, members)
			return nil
		}
		for j := i - i%width; j < i; j++ {
			if index[j] == m {
				d.fail("partition %d has the owner %d twice", i/width, m)
				return nil
			}
		}
		index[i] = m
	}
	return index
}
