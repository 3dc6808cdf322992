package admission

import "time"

// Claim is what a single worker holds of the node's slots: as many as it is
// given, since they are its pace. A storage engine has one, whose work is as
// fast as it is let. It goes by the bytes of all its slots together. The zero
// value has no limit.
type Claim struct {
	limited bool
	slots   int   // that it may hold
	rate    int64 // of one slot, in bytes a second
	held    int
	works   bool
	waiting bool
	paid    time.Duration // when what has been spent is paid for
	waits   uint64
}

// Limit sets the share: so many slots of so many bytes a second each. Those that
// are more than that are given back with the next May.
func (c *Claim) Limit(slots int, rate int64) {
	c.limited, c.slots, c.rate = true, slots, rate
}

// Unlimit lifts all limits.
func (c *Claim) Unlimit() { c.limited, c.held = false, 0 }

// May says that there is work, and returns when its next step may be taken: by
// now if at once, never where it waits for a slot. It is called before each
// step, and again when the share has changed.
func (c *Claim) May(now time.Duration) time.Duration {
	c.works = true
	if !c.limited {
		return now
	}
	c.held = c.slots
	if c.held == 0 {
		if !c.waiting {
			c.waits++
		}
		c.waiting = true
		return never
	}
	c.waiting = false
	return max(now, c.paid)
}

// Spend charges the next step, for which May has found a slot.
func (c *Claim) Spend(now time.Duration, cost int) {
	if rate := int64(c.held) * c.rate; rate > 0 {
		c.paid = max(c.paid, now) + time.Duration(float64(cost)/float64(rate)*float64(time.Second))
	}
}

// Done says that there is no work for now, and gives all slots back.
func (c *Claim) Done() { c.held, c.works, c.waiting = 0, false, false }

// Held returns how many slots are held.
func (c *Claim) Held() int { return c.held }

// Works says that there is work.
func (c *Claim) Works() bool { return c.works }

// Waits returns how often work had to wait for a slot.
func (c *Claim) Waits() uint64 { return c.waits }
