package coordinator

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/core"
)

// door is where requests of clients wait until they may begin, in the order of
// their coming. Nothing of them is done, and nobody but their clients knows of
// them.
type door struct {
	waiting []arrival
	first   int           // of waiting
	at      time.Duration // when one of them may be late; core.Never where none waits
}

// arrival is a request that has come in, and when.
type arrival struct {
	request *core.Request
	at      time.Duration // Mono
}

func newDoor() door { return door{at: core.Never} }

func (d *door) len() int { return len(d.waiting) - d.first }

func (d *door) push(w arrival) {
	d.waiting = append(d.waiting, w)
	d.at = min(d.at, admission.LateAt(w.at, w.request.Deadline))
}

func (d *door) pop() arrival {
	w := d.waiting[d.first]
	d.waiting[d.first] = arrival{}
	d.first++
	switch {
	case d.first == len(d.waiting):
		d.waiting, d.first, d.at = d.waiting[:0], 0, core.Never
	case d.first >= len(d.waiting)/2:
		n := copy(d.waiting, d.waiting[d.first:])
		clear(d.waiting[n:])
		d.waiting, d.first = d.waiting[:n], 0
	}
	return w
}

// takeLate takes those out that are late, in order.
func (d *door) takeLate(now time.Duration) (late []arrival) {
	all := d.waiting[d.first:]
	d.at = core.Never
	kept := d.waiting[:0]
	for _, w := range all {
		if admission.Late(now, w.at, w.request.Deadline) {
			late = append(late, w)
			continue
		}
		kept = append(kept, w)
		d.at = min(d.at, admission.LateAt(w.at, w.request.Deadline))
	}
	clear(d.waiting[len(kept):])
	d.waiting, d.first = kept, 0
	return late
}

// Submit takes a client's request: it begins, waits or is turned away.
func (c *Coordinator) Submit(now core.Now, r *core.Request, out *core.Out) {
	w := arrival{request: r, at: now.Mono}
	if r.Arrived != 0 {
		w.at = min(w.at, r.Arrived)
	}
	switch c.valve.Admit(now.Mono, c.underWay(), c.door.len()) {
	case admission.Begin:
		c.enter(now, w, out)
	case admission.Wait:
		c.door.push(w)
	case admission.Full:
		c.counters.Limits[core.LimitUnderWay]++
		c.turnAway(r, core.CodeOverloaded, out)
	}
}

// open begins those that wait as far as there is room for them.
func (c *Coordinator) open(now core.Now, out *core.Out) {
	for c.door.len() > 0 && c.valve.Next(now.Mono, c.underWay()) {
		c.enter(now, c.door.pop(), out)
	}
}

// enter begins a request, unless it is late by now.
func (c *Coordinator) enter(now core.Now, w arrival, out *core.Out) {
	if c.view.ReadLayout() == nil {
		c.turnAway(w.request, core.CodeNotReady, out)
		return
	}
	if admission.Late(now.Mono, w.at, w.request.Deadline) {
		c.late(w, out)
		return
	}
	if client := w.request.Client; client != nil && !client.Begins() {
		// Nobody listens, but whoever keeps the request's ID is to forget it.
		out.Replies = append(out.Replies, core.Reply{
			Req: w.request.Req, Result: core.Result{Code: core.CodeTimeout, Outcome: core.NotWritten},
		})
		return
	}
	s := c.take()
	if s == nil {
		c.turnAway(w.request, core.CodeOverloaded, out)
		return
	}
	c.start(now, s, w, out)
}

// late turns away a request for which too little of its time is left.
func (c *Coordinator) late(w arrival, out *core.Out) {
	c.counters.ExpiredRequests++
	c.turnAway(w.request, core.CodeOverloaded, out)
}

// dropLate turns away those that have waited for too long.
func (c *Coordinator) dropLate(now core.Now, out *core.Out) {
	if c.door.at > now.Mono {
		return
	}
	for _, w := range c.door.takeLate(now.Mono) {
		c.late(w, out)
	}
}

// turnAway answers a request that is not begun.
func (c *Coordinator) turnAway(r *core.Request, code core.Code, out *core.Out) {
	c.counters.Requests[r.Op][code]++
	out.Replies = append(out.Replies, core.Reply{Req: r.Req, Result: core.Result{Code: code, Outcome: core.NotWritten}})
}

// underWay counts the requests that have begun and have not been answered.
func (c *Coordinator) underWay() int { return c.Active() - c.background }

// Room returns how many requests may come in before others end.
func (c *Coordinator) Room() int { return c.valve.Room(c.underWay(), c.door.len()) }
