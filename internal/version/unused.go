package version

import "slices"

// Unused counts the actors that the clock has and no version: what they minted
// was replaced, all of it.
func (s Siblings) Unused() int {
	n := 0
	for w := walkTable(s.Clock); w.next(); {
		if !s.mintedBy(w.entry.Actor) {
			n++
		}
	}
	return n
}

// WithoutUnused returns the set with the clock entries and isolated dots of
// those actors only that have a version present. Forgetting the others is pruning,
// which has rules of its own: whoever forgets its own actor takes a fresh epoch,
// since its next dot would else be one that was used before.
func (s Siblings) WithoutUnused() Siblings {
	kept := func(list []Dot) []Dot {
		var out []Dot
		for _, d := range list {
			if s.mintedBy(d.Actor) {
				out = append(out, d)
			}
		}
		return out
	}
	return Siblings{Clock: Clock{vector: kept(s.Clock.vector), dots: kept(s.Clock.dots)}, Versions: s.Versions}
}

// mintedBy says whether a version of that actor is present.
func (s Siblings) mintedBy(a Actor) bool {
	i, _ := slices.BinarySearchFunc(s.Versions, a, func(v Version, a Actor) int { return v.Dot.Actor.Compare(a) })
	return i < len(s.Versions) && s.Versions[i].Dot.Actor == a
}

// OnlyTombstones says that the key was written, and that all that is left of
// it is that it was deleted.
func (s Siblings) OnlyTombstones() bool {
	return len(s.Versions) > 0 && !slices.ContainsFunc(s.Versions, func(v Version) bool { return !v.Tombstone })
}

// Shape returns the set without its values: by its dots it is told from any
// other set of the key, since a dot names the same bytes everywhere.
func (s Siblings) Shape() Siblings {
	out := Siblings{Clock: s.Clock, Versions: slices.Clone(s.Versions)}
	for i := range out.Versions {
		out.Versions[i].Data = nil
	}
	return out
}
