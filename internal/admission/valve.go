package admission

import "time"

const (
	// look is how often a valve looks at what has ended: several times the time
	// that requests should take. It is also how long a request may expect to wait
	// before it begins.
	look = 100 * time.Millisecond

	// fewest is how many requests must have ended for a look to tell anything.
	fewest = 16

	// patience is for how many looks fewer than that are gathered.
	patience = 10

	// LeastUnderWay is how many requests a valve always lets be under way, and
	// how many may always wait: what keeps a shard busy over round trips and
	// flushes of some milliseconds.
	LeastUnderWay = 32
)

// Valve decides which requests of clients a shard takes, so that those that it
// takes are answered in time. A node that begins all that comes has everything
// wait for everything else, until answers come too late to be of use and are
// asked for again: then it works as hard as it can, and achieves nothing.
//
// When fewer than a quarter of the requests that end are as fast as the target,
// counted from when they began, too many are under way: a limit is set to half as
// many, and grows again by a quarter a look, as long as they are fast. A peer that
// is slow does not set the limit, as long as a quarter of the requests do not
// need it; nor does it take the place of others, where there is no limit.
//
// What finds no place waits, where that costs nothing yet. No more wait than end
// within a look: a request that would wait for longer than that is better told so
// at once. So callers that wait for their answers, and are some
// more than the shard can work on at a time, wait a little and are served.
//
// Use NewValve.
type Valve struct {
	target time.Duration // of a request, from its beginning to its answer
	most   int           // that may ever be under way, or wait
	limit  int           // of what is under way; most: there is none now

	since  time.Duration // the latest look
	ended  int           // requests since then
	last   int           // within the look before
	before int           // and before that

	judged     time.Duration // when the limit was reconsidered
	fast, slow int           // requests that have ended since then
}

// Verdict is what becomes of a request of a client.
type Verdict uint8

// The verdicts.
const (
	Begin Verdict = iota
	Wait          // as many are under way as may be
	Full          // and as many wait: it is turned away
)

// NewValve returns one that is open, for so many requests under way at most.
func NewValve(target time.Duration, most int) *Valve {
	return &Valve{target: target, most: most, limit: most}
}

// Late says that a request which is to be answered by a deadline need not begin
// any more. One that has waited for more than half of its time would need a quick
// answer from nodes that have kept it waiting: it is as good as late.
func Late(now, arrived, deadline time.Duration) bool {
	return deadline <= now || now-arrived > deadline-now
}

// LateAt returns when a request will be late that has not begun.
func LateAt(arrived, deadline time.Duration) time.Duration {
	return arrived + max(0, deadline-arrived)/2 + 1
}

// Admit says what becomes of a request that comes in, with so many others under
// way, and so many that wait.
func (v *Valve) Admit(now time.Duration, underWay, waiting int) Verdict {
	v.look(now, underWay)
	switch {
	case waiting == 0 && underWay < v.limit:
		return Begin
	case waiting < v.waitRoom():
		return Wait
	}
	return Full
}

// Next says whether one that waits may begin, with so many others under way.
func (v *Valve) Next(now time.Duration, underWay int) bool {
	v.look(now, underWay)
	return underWay < v.limit
}

// Ended takes how long a request took since it began, and whether other nodes
// were asked for it: else it took no time that would tell anything.
func (v *Valve) Ended(took time.Duration, asked bool) {
	v.ended++
	switch {
	case !asked:
	case took <= v.target:
		v.fast++
	default:
		v.slow++
	}
}

// look goes by what has ended, when it is time.
func (v *Valve) look(now time.Duration, underWay int) {
	since := now - v.since
	if since < look {
		return
	}
	stuck := v.ended == 0 && underWay >= 2*LeastUnderWay
	v.before, v.last = v.last, int(int64(v.ended)*int64(look)/int64(since))
	v.since, v.ended = now, 0
	v.reconsider(now, underWay, stuck)
}

// reconsider sets the limit by what has ended since the latest time, or by that
// nothing has.
func (v *Valve) reconsider(now time.Duration, underWay int, stuck bool) {
	ended := v.fast + v.slow
	stuck = stuck && ended == 0
	if ended < fewest && !stuck && now-v.judged < patience*look {
		return // a few say little
	}
	if stuck || ended >= fewest && 4*v.fast < ended {
		v.limit = max(LeastUnderWay, min(v.limit, underWay)/2)
	} else {
		v.limit = min(v.most, v.limit+v.limit/4)
	}
	v.judged, v.fast, v.slow = now, 0, 0
}

// waitRoom returns how many may wait. Of two looks the better one counts: a moment
// in which the process stood still is over.
func (v *Valve) waitRoom() int { return min(v.most, max(LeastUnderWay, v.last, v.before)) }

// Room returns how many requests may come in at once, with so many under way, and
// so many that wait: more would be turned away.
func (v *Valve) Room(underWay, waiting int) int {
	return max(0, v.limit-underWay) + max(0, v.waitRoom()-waiting)
}

// Limit returns how many may be under way.
func (v *Valve) Limit() int { return v.limit }
