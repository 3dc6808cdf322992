package version

import "encoding/binary"

// AppendIdentity appends what tells s from every other set of its key: the
// clock, and the dots present with their tombstone flags. Equal sets append
// equal bytes and others do not, in any process of any start. The bytes of a
// version are left out: its dot stands for them, since equal dots have equal
// bytes (Merge refuses others), and so it costs nothing to tell large sets
// apart. It is what hash trees hash.
func (s Siblings) AppendIdentity(b []byte) []byte {
	b = s.Clock.AppendBinary(b)
	b = binary.AppendUvarint(b, uint64(len(s.Versions)))
	w := walkTable(s.Clock)
	for i := range s.Versions {
		v := &s.Versions[i]
		w.seek(v.Dot.Actor)
		b = binary.AppendUvarint(b, uint64(w.index))
		b = binary.AppendUvarint(b, v.Dot.Counter)
		b = append(b, v.flags()&flagTombstone)
	}
	return b
}
