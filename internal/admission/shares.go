package admission

import (
	"slices"
	"time"
)

// turnEach is how long a shard keeps a slot for which others wait as well: some
// chunks of any kind of work, and many times what giving it on costs.
const turnEach = 250 * time.Millisecond

// Shares divides slots among shards. It knows what each has been given and what
// it may still hold of an earlier, larger share, and never gives away what may be
// held elsewhere. Use NewShares.
type Shares struct {
	total  int
	shards []share
	turn   int           // who comes first where not all can have the same
	due    time.Duration // when the turn passes on; never: nobody is short
}

type share struct {
	granted int    // in the latest budget
	epoch   uint64 // of that budget
	bound   int    // the shard holds no more than that
	wanted  int    // as it has reported
}

// NewShares returns shares of shards that hold nothing, with the slots divided
// evenly.
func NewShares(total, shards int) *Shares {
	s := &Shares{total: total, shards: make([]share, shards), due: never}
	s.divide()
	return s
}

// Resize changes how many slots there are, and says whether any share changed.
func (s *Shares) Resize(now time.Duration, total int) (changed bool) {
	if total == s.total {
		return false
	}
	s.total = total
	return s.update(now)
}

// Report takes what a shard holds and how many slots it could use, when it goes
// by the budget of that epoch, and says whether any share changed.
func (s *Shares) Report(now time.Duration, shard int, epoch uint64, holds, wanted int) (changed bool) {
	sh := &s.shards[shard]
	sh.wanted = wanted
	if epoch == sh.epoch {
		sh.bound = max(sh.granted, holds)
	}
	return s.update(now)
}

// Tick passes the turn on where it is time to, and says whether any share
// changed.
func (s *Shares) Tick(now time.Duration) (changed bool) {
	if now < s.due {
		return false
	}
	s.due = never
	s.turn = (s.turn + 1) % len(s.shards)
	return s.update(now)
}

// Next returns when Tick is due.
func (s *Shares) Next() time.Duration { return s.due }

// Share returns a shard's slots and the epoch of its budget.
func (s *Shares) Share(shard int) (slots int, epoch uint64) {
	return s.shards[shard].granted, s.shards[shard].epoch
}

// Bound returns what a shard holds at most, and Bounds what all do.
func (s *Shares) Bound(shard int) int { return s.shards[shard].bound }

// Bounds returns what all shards together hold at most: no more than the largest
// total since the shares were made, and no more than total once those that have
// been given less have let go.
func (s *Shares) Bounds() int {
	sum := 0
	for i := range s.shards {
		sum += s.shards[i].bound
	}
	return sum
}

func (s *Shares) update(now time.Duration) (changed bool) {
	changed, short := s.divide()
	switch {
	case !short:
		s.due = never
	case s.due == never:
		s.due = now + turnEach
	}
	return changed
}

// divide takes each shard's share down, or up as far as slots are free, to what
// it should be. short says that somebody wants more than it should have.
func (s *Shares) divide() (changed, short bool) {
	ideal := s.ideal()
	free := s.total - s.Bounds()
	for i := range s.shards {
		sh := &s.shards[i]
		short = short || ideal[i] < sh.wanted
		if ideal[i] < sh.granted {
			sh.granted = ideal[i]
			sh.epoch++
			changed = true
		}
	}
	for i := range s.shards {
		sh := &s.shards[i]
		// What the shard may still hold of an earlier share is its own to keep.
		up := min(ideal[i], sh.bound+max(0, free))
		if up <= sh.granted {
			continue
		}
		free -= max(0, up-sh.bound)
		sh.granted, sh.bound = up, max(sh.bound, up)
		sh.epoch++
		changed = true
	}
	return changed, short
}

// ideal returns what each shard should have: of what is wanted, all the same as
// far as it goes, in turns; the rest stays where it is, or goes round.
func (s *Shares) ideal() []int {
	n := len(s.shards)
	ideal := make([]int, n)
	left := s.total
	give := func(wants func(i int) bool) {
		for given := true; given && left > 0; {
			given = false
			for k := range n {
				if i := (s.turn + k) % n; left > 0 && wants(i) {
					ideal[i]++
					left--
					given = true
				}
			}
		}
	}
	give(func(i int) bool { return ideal[i] < s.shards[i].wanted })
	give(func(i int) bool { return ideal[i] < s.shards[i].granted })
	give(func(i int) bool { return ideal[i] == slices.Min(ideal) })
	return ideal
}
