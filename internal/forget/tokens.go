package forget

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// maxTokens bounds the keys that have tokens, in each of two generations: some
// 20 MiB of memory a shard. Past it no token is given, and so no confirmation.
const maxTokens = 1 << 19

// maxTouched bounds the keys that are remembered to have changed in partitions
// of which nothing was held. Past it the tokens of all such partitions are
// cleared, which is safe.
const maxTouched = 1 << 16

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
	// blanks has the partitions of which this node, no owner, has held nothing
	// at all in some round: one token for all of their keys but those touched.
	blanks  map[ring.Partition]*blank
	touched int // in all blanks
	// opened has the newest round of each partition. An older one gives no
	// token any more: a copy of its first message that comes late must not
	// bring back a token that a change has cleared.
	opened map[ring.Partition]uint64
}

// blank is a partition of which nothing was held.
type blank struct {
	since uint64 // the round
	// touched has the keys that have changed since, each with the first round
	// afterwards in which again nothing was held of the partition; 0: none yet.
	touched map[ring.Position]uint64
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
		blanks: make(map[ring.Partition]*blank), opened: make(map[ring.Partition]uint64), turn: t.turn,
	}
}

// Changed clears the token of the keys at a position: something was stored or
// removed there.
func (t *Tokens) Changed(at ring.Position) {
	if t.layout == nil || bug.On(bug.TokensOutliveChanges) {
		return
	}
	if len(t.young)+len(t.old) > 0 {
		delete(t.young, at)
		delete(t.old, at)
	}
	if len(t.blanks) > 0 {
		t.touch(at)
	}
}

func (t *Tokens) touch(at ring.Position) {
	b := t.blanks[t.layout.At(at)]
	if b == nil {
		return
	}
	if _, again := b.touched[at]; !again {
		if t.touched == maxTouched {
			clear(t.blanks)
			t.touched = 0
			return
		}
		t.touched++
	}
	b.touched[at] = 0
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
	b := t.blanks[p]
	if b == nil {
		t.blanks[p] = &blank{since: round, touched: make(map[ring.Position]uint64)}
		return
	}
	for at, since := range b.touched { // order does not matter: each by itself
		if since == 0 {
			b.touched[at] = round
		}
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
	if b := t.blanks[p]; b != nil {
		since, touched := b.touched[at]
		if !touched {
			since = b.since
		}
		if since != 0 && since <= round {
			return true
		}
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
