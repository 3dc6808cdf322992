package forget

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/ring"
)

// maxTokens bounds the keys that have tokens, in each of two generations: some
// 20 MiB of memory a shard. Past it no token is given, and so no confirmation.
const maxTokens = 1 << 19

// Tokens say what has not changed at this node since it confirmed it, for the
// keys of one shard. They are in memory only, so that a restart clears them.
// Their owner is the shard's Forget; who stores something calls Changed.
//
// A token belongs to a position on the ring, not to a key: where two keys
// share one, a change of either clears the token of both, which is safe.
type Tokens struct {
	layout *ring.Layout // nil: no token is given
	// young and old have the round that each token was given in. Those that
	// nobody has asked for in a while go with their generation.
	young, old map[ring.Position]uint64
	turn       time.Duration // when old is dropped and young becomes old
	// nothing has the partitions for which this node, no owner, has held
	// nothing at all since that round: a token for each of their keys.
	nothing map[ring.Partition]uint64
	// opened has the newest round of each partition. An older one gives no
	// token any more: a copy of its first message that comes late must not
	// bring back a token that a change has cleared.
	opened map[ring.Partition]uint64
}

// NewTokens returns no tokens, and gives none before it has a layout.
func NewTokens() *Tokens {
	t := new(Tokens)
	t.reset(nil)
	return t
}

// reset clears all tokens; from now on they are of that layout.
func (t *Tokens) reset(l *ring.Layout) {
	*t = Tokens{
		layout: l, young: make(map[ring.Position]uint64), old: make(map[ring.Position]uint64),
		nothing: make(map[ring.Partition]uint64), opened: make(map[ring.Partition]uint64), turn: t.turn,
	}
}

// Changed clears the token of the keys at a position: something was stored or
// removed there.
func (t *Tokens) Changed(at ring.Position) {
	if t.layout == nil {
		return
	}
	if len(t.young)+len(t.old) > 0 {
		delete(t.young, at)
		delete(t.old, at)
	}
	if len(t.nothing) > 0 {
		delete(t.nothing, t.layout.At(at))
	}
}

// open begins a round of a partition. It reports whether the round may give
// tokens: once, and not after a newer one.
func (t *Tokens) open(now time.Duration, p ring.Partition, round uint64, lasts time.Duration) bool {
	if now >= t.turn {
		t.old, t.young = t.young, make(map[ring.Position]uint64)
		t.turn = now + lasts
	}
	if round <= t.opened[p] {
		return false
	}
	t.opened[p] = round
	return true
}

// take gives a token. It reports whether there was room.
func (t *Tokens) take(at ring.Position, round uint64) bool {
	if _, known := t.young[at]; !known && len(t.young) >= maxTokens {
		return false
	}
	delete(t.old, at)
	t.young[at] = round
	return true
}

// takeAll gives a token for every key of a partition of which nothing is held.
func (t *Tokens) takeAll(p ring.Partition, round uint64) {
	if _, stands := t.nothing[p]; !stands {
		t.nothing[p] = round
	}
}

// round returns the round whose token stands at a position.
func (t *Tokens) round(at ring.Position) (round uint64, ok bool) {
	if round, ok = t.young[at]; !ok {
		round, ok = t.old[at]
	}
	return round, ok
}

// stands says that nothing has changed at a position of p since that round.
func (t *Tokens) stands(p ring.Partition, at ring.Position, round uint64) bool {
	if since, ok := t.nothing[p]; ok && since <= round {
		return true
	}
	given, ok := t.round(at)
	return ok && given == round
}

// drop takes back the token of a round.
func (t *Tokens) drop(at ring.Position, round uint64) {
	if given, ok := t.round(at); ok && given == round {
		delete(t.young, at)
		delete(t.old, at)
	}
}
