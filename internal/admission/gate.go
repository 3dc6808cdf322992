package admission

import (
	"slices"
	"time"
)

// What work is charged beside its bytes, so that small keys are paced by what
// they really cost.
const (
	// MessageCost is that of a message with its answer, a read and a write of
	// the store: moving as many bytes takes about as long.
	MessageCost = 2 << 10
	// ItemCost is that of one key among many in a message or a scan.
	ItemCost = 256
)

// ahead is how far a slot may be in debt before it rests: work comes in pieces
// of it, since a pause a key would cost more than the key.
const ahead = 5 * time.Millisecond

// Slot is what one machine holds, for one kind of its work, while that runs. The
// zero value holds nothing. It stays with the machine, since its debts do.
type Slot struct {
	state slotState
	paid  time.Duration // when what has been spent is paid for
	rests bool          // until paid
	round uint64        // of the gate, when it was offered
}

type slotState uint8

const (
	idle    slotState = iota
	waiting           // in the gate's queue
	offered           // its turn has come; taken by Go, or given on
	held
	owing // the work has ended, and what it spent is not paid for yet
)

// Gate is a shard's share of the node's slots. The zero value has no limit. It
// belongs to one shard.
type Gate struct {
	limited bool
	slots   int
	rate    int64   // of one slot, in bytes a second
	queue   []*Slot // waiting, in the order of their coming
	holders []*Slot // offered, held and owing
	round   uint64  // counts calls of Claimed
	waits   uint64
}

// Limit sets the share: so many slots of so many bytes a second each. What runs
// goes on to its end where they are fewer than before.
func (g *Gate) Limit(now time.Duration, slots int, rate int64) {
	g.limited, g.slots, g.rate = true, slots, rate
	g.settle(now)
}

// Unlimit lifts all limits.
func (g *Gate) Unlimit(now time.Duration) {
	g.limited = false
	g.settle(now)
}

// Go says whether the work of s may take its next step, and is called where it
// could as well pause: where others wait, one that holds a slot gives it on and
// waits for the next. One that holds none waits from then on.
func (g *Gate) Go(now time.Duration, s *Slot) bool {
	g.settle(now)
	switch s.state {
	case offered:
		s.state = held
	case owing: // it is given on when it is paid for
		s.state, s.rests = held, s.rests || g.Crowded()
	case held:
		if g.resting(now, s) {
			return false
		}
		if g.Crowded() {
			g.drop(s)
			g.wait(now, s)
		}
	case idle:
		g.wait(now, s)
	case waiting:
	}
	if s.state == offered {
		s.state = held
	}
	return s.state == held && !g.resting(now, s)
}

// Goes says whether the work of s may go on in between: it holds a slot, and
// neither is it ahead of its rate nor does anybody wait for the slot.
func (g *Gate) Goes(now time.Duration, s *Slot) bool {
	return s.state == held && !g.resting(now, s) && !g.Crowded()
}

// Done says that s is not needed for now: it is given back when it is paid for.
func (g *Gate) Done(now time.Duration, s *Slot) {
	switch s.state {
	case held:
		s.state = owing
		if s.paid <= now || !g.paced() {
			g.drop(s)
		}
	case offered:
		g.drop(s)
	case waiting:
		g.queue = slices.DeleteFunc(g.queue, func(q *Slot) bool { return q == s })
		s.state = idle
	case idle, owing:
	}
	g.settle(now)
}

// Spend charges the work of s.
func (g *Gate) Spend(now time.Duration, s *Slot, cost int) {
	if !g.paced() {
		return
	}
	s.paid = max(s.paid, now) + time.Duration(float64(cost)/float64(g.rate)*float64(time.Second))
	s.rests = s.rests || s.paid-now >= ahead
}

// At returns when it is worth while to call Go for s: never while it waits, since
// Next and Claimed see to it that it is asked when its turn comes.
func (g *Gate) At(s *Slot) time.Duration {
	switch {
	case s.state == waiting:
		return never
	case s.state == held && s.rests && g.paced():
		return s.paid
	}
	return 0
}

// Rests returns until when s pauses for its rate, never where it does not.
func (g *Gate) Rests(s *Slot) time.Duration {
	if s.state == held && s.rests && g.paced() {
		return s.paid
	}
	return never
}

// Crowded says that whoever holds a slot should come to a point where it can
// give it on.
func (g *Gate) Crowded() bool {
	return len(g.queue) > 0 || g.limited && len(g.holders) > g.slots
}

// Next returns when the shard must let its machines go on: at once while a slot
// is offered, later where one that is not paid for is waited for or is too many.
func (g *Gate) Next() time.Duration {
	at := never
	for _, s := range g.holders {
		switch {
		case s.state == offered:
			return 0
		case s.state == owing && g.Crowded():
			at = min(at, s.paid)
		}
	}
	return at
}

// Claimed is called when all machines have had the chance to take what was
// offered when it was called last. Whoever has not has nothing to do any more.
func (g *Gate) Claimed(now time.Duration) {
	g.holders = slices.DeleteFunc(g.holders, func(s *Slot) bool {
		if s.state != offered || s.round == g.round {
			return false
		}
		s.state = idle
		return true
	})
	g.round++
	g.settle(now)
}

// Held returns how many slots are taken, those included that are not paid for.
func (g *Gate) Held() int { return len(g.holders) }

// Wanted returns how many the shard has work for.
func (g *Gate) Wanted() int {
	n := len(g.queue)
	for _, s := range g.holders {
		if s.state != owing {
			n++
		}
	}
	return n
}

// Waits returns how often work had to wait for a slot.
func (g *Gate) Waits() uint64 { return g.waits }

// Over returns how many more are held than there are.
func (g *Gate) Over() int {
	if !g.limited {
		return 0
	}
	return max(0, len(g.holders)-g.slots)
}

// Short says that there is work for more slots than there are.
func (g *Gate) Short() bool { return g.limited && g.Wanted() > g.slots }

func (g *Gate) paced() bool { return g.limited && g.rate > 0 }

// resting ends the rest of s when all is paid.
func (g *Gate) resting(now time.Duration, s *Slot) bool {
	s.rests = s.rests && g.paced() && s.paid > now
	return s.rests
}

func (g *Gate) wait(now time.Duration, s *Slot) {
	s.state = waiting
	g.queue = append(g.queue, s)
	g.settle(now)
	if s.state == waiting {
		g.waits++
	}
}

// settle takes back what is paid for and offers what is free to those who wait.
func (g *Gate) settle(now time.Duration) {
	for i := 0; i < len(g.holders); {
		if s := g.holders[i]; s.state == owing && (s.paid <= now || !g.paced()) {
			s.state, s.rests = idle, false
			g.holders = slices.Delete(g.holders, i, i+1)
		} else {
			i++
		}
	}
	for len(g.queue) > 0 && (!g.limited || len(g.holders) < g.slots) {
		s := g.queue[0]
		g.queue = slices.Delete(g.queue, 0, 1)
		s.state, s.round = offered, g.round
		g.holders = append(g.holders, s)
	}
}

func (g *Gate) drop(s *Slot) {
	g.holders = slices.DeleteFunc(g.holders, func(h *Slot) bool { return h == s })
	s.state = idle
}
