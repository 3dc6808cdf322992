package ring

import "github.com/dynamo-kv/dynamo/internal/id"

// Preference yields the preference list of a partition until yield returns
// false: the owners in order, then the fallbacks met walking clockwise, which
// are the owners of the following partitions, each node once. Members that own
// nothing, as there may be where nodes outnumber partitions, come last, by ID,
// so that every member is in every list. It does not allocate.
func (l *Layout) Preference(p Partition, yield func(id.Node) bool) {
	if !l.valid(p) {
		return
	}
	var seen memberSet
	met := 0
	at := int(p) * l.width
	for range len(l.index) {
		m := l.index[at]
		if seen.add(m) {
			if !yield(l.members[m].ID) {
				return
			}
			if met++; met == l.owning {
				break
			}
		}
		if at++; at == len(l.index) {
			at = 0
		}
	}
	if met == len(l.members) {
		return
	}
	for i, m := range l.members {
		if seen.add(uint16(i)) && !yield(m.ID) {
			return
		}
	}
}

// AppendPreference appends the first nodes of a partition's preference list to
// dst, limit of them at most; a negative limit stands for all.
func (l *Layout) AppendPreference(dst []id.Node, p Partition, limit int) []id.Node {
	if limit == 0 {
		return dst
	}
	l.Preference(p, func(n id.Node) bool {
		dst = append(dst, n)
		limit--
		return limit != 0
	})
	return dst
}

// memberSet is a set of indexes into the members of a layout. It lives on the
// stack.
type memberSet [id.MaxMembers / 64]uint64

// add reports whether m was not in the set before.
func (s *memberSet) add(m uint16) bool {
	word, bit := m/64, uint64(1)<<(m%64)
	if s[word]&bit != 0 {
		return false
	}
	s[word] |= bit
	return true
}
