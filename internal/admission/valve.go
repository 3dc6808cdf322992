package admission

import "time"

const (
	// look is how often a valve looks at what has ended: several times the time
	// that requests should take.
	look = 100 * time.Millisecond

	// fewest is how many requests must have ended for a look to tell anything.
	fewest = 16

	// LeastUnderWay is how many requests a valve always lets be under way: what
	// keeps a shard busy over round trips and flushes of some milliseconds.
	LeastUnderWay = 64
)

// Valve decides which requests of clients a shard takes, so that those that it
// takes are answered in time. A node that begins all that comes has everything
// wait for everything else, until answers come too late to be of use and are
// asked for again: then it works as hard as it can, and achieves nothing.
//
// When fewer than a quarter of the requests that end are as fast as the target,
// counted from their arrival, too many are under way: a limit is set to half as
// many, and grows again by a quarter a look, as long as they are fast. A peer that
// is slow does not set the limit, as long as a quarter of the requests do not
// need it; nor does it take the place of others, where there is no limit.
//
// Use NewValve.
type Valve struct {
	target time.Duration // of a request, from its arrival to its answer
	most   int           // that may ever be under way
	limit  int           // of what is under way; most: there is none now

	since      time.Duration // the latest look
	fast, slow int           // requests that have ended since then
}

// Verdict is what becomes of a request that waits to be begun.
type Verdict uint8

// The verdicts. All but Begin turn it away.
const (
	Begin Verdict = iota
	Late          // too little of its time is left
	Full          // as many are under way as may be
)

// NewValve returns one that is open, for so many requests under way at most.
func NewValve(target time.Duration, most int) *Valve {
	return &Valve{target: target, most: most, limit: most}
}

// Admit says whether a request may begin that arrived at a time and is to be
// answered by a deadline, with so many others under way. One that has waited for
// more than half of its time would need a quick answer from nodes that have kept
// it waiting: it is as good as late.
func (v *Valve) Admit(now, arrived, deadline time.Duration, underWay int) Verdict {
	if now-v.since >= look {
		v.reconsider(now, underWay)
	}
	switch {
	case deadline <= now || now-arrived > deadline-now:
		return Late
	case underWay >= v.limit:
		return Full
	}
	return Begin
}

// Ended takes how long a request took.
func (v *Valve) Ended(took time.Duration) {
	if took <= v.target {
		v.fast++
	} else {
		v.slow++
	}
}

// reconsider sets the limit by what has ended since the latest look, or by that
// nothing has.
func (v *Valve) reconsider(now time.Duration, underWay int) {
	ended := v.fast + v.slow
	stuck := ended == 0 && underWay >= 2*LeastUnderWay
	if ended < fewest && !stuck && now-v.since < 10*look {
		return // a few say little
	}
	if stuck || ended >= fewest && 4*v.fast < ended {
		v.limit = max(LeastUnderWay, min(v.limit, underWay)/2)
	} else {
		v.limit = min(v.most, v.limit+v.limit/4)
	}
	v.since, v.fast, v.slow = now, 0, 0
}

// Room returns how many requests may wait to be begun: those that would find no
// place need not come in.
func (v *Valve) Room(underWay int) int { return max(LeastUnderWay, v.limit-underWay) }

// Limit returns how many may be under way.
func (v *Valve) Limit() int { return v.limit }
