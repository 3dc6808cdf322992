package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/backoff"
)

// do carries out a request and returns the reply that ends it, which is what
// the request asks for.
func (c *Client) do(ctx context.Context, r *request) (*dynamov1.Reply, error) {
	if err := r.check(); err != nil {
		return nil, refused(r, err)
	}
	if c.ctx.Err() != nil || ctx.Err() != nil {
		return nil, c.ended(ctx, r)
	}
	r.trace = traceOf(ctx)
	r.deadline = time.Now().Add(r.timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(r.deadline) {
		r.deadline = d
	}
	defer r.timer.Stop()
	c.ask(r)
	for {
		r.timer.Reset(time.Until(earlier(r.next, r.deadline)))
		select {
		case a := <-r.answers:
			r.open--
			if ended, err := c.judge(r, a); ended {
				return a.reply, err
			}
		case <-r.timer.C:
			now := time.Now()
			if !now.Before(r.deadline) {
				return nil, c.ended(ctx, r)
			}
			c.overdue(r, now)
		case <-ctx.Done():
			return nil, c.ended(ctx, r)
		case <-c.ctx.Done():
			return nil, c.ended(ctx, r)
		}
	}
}

// ask sends the request to the next node. Where there is none, it waits for
// those that have been asked, or else begins anew after a pause.
func (c *Client) ask(r *request) {
	for r.open < maxOpen {
		n := c.pick(r)
		if n == nil {
			break
		}
		r.tried = append(r.tried, n)
		a := r.attempt(n)
		if !n.throttle.lets(time.Since(c.began), rand.Float64()) {
			r.open++
			a.held = true
			a.answer(heldBack(r.op), nil)
			r.pausing, r.next = false, r.deadline
			return
		}
		if r.last = n.put(a); r.last == nil {
			r.open++
			r.pausing, r.late, r.next = false, false, time.Now().Add(c.cfg.AttemptTimeout)
			return
		}
	}
	if r.open == 0 {
		r.pause(recovery())
		return
	}
	r.pausing, r.next = false, r.deadline
}

// pause puts off the next attempt.
func (r *request) pause(p backoff.Policy) {
	r.pauses++
	d, _ := p.Delay(r.pauses, rand.New(rand.NewPCG(rand.Uint64(), 0)))
	r.pausing, r.next = true, time.Now().Add(d)
}

// overdue goes on when a pause is over, or when no node has answered in time.
func (c *Client) overdue(r *request, now time.Time) {
	if r.pausing {
		r.tried = r.tried[:0]
		c.ask(r)
		return
	}
	if !r.late {
		r.late = true
		r.tried[len(r.tried)-1].late(now, c.cfg.AttemptTimeout)
	}
	if c.budget.spend() {
		c.ask(r)
		return
	}
	r.next = now.Add(repetitionWait)
}

// judge takes the answer to an attempt, and says whether it ends the request:
// with its reply where there is no error.
func (c *Client) judge(r *request, a *attempt) (ended bool, err error) {
	if a.err != nil {
		r.last = a.err
		r.maybe = r.maybe || !a.sent.IsZero()
		if !errors.Is(a.err, errExpired) {
			c.ask(r)
		}
		return false, nil
	}
	f := a.reply.GetFailure()
	if !a.held {
		a.to.throttle.answered(time.Since(c.began), f.GetReason() == dynamov1.Reason_REASON_OVERLOADED)
	}
	if f == nil {
		if (r.op == opGet) != (a.reply.GetGot() != nil) || (r.op != opGet) != (a.reply.GetWritten() != nil) {
			return true, malformed(r, errors.New("it answers another question"))
		}
		c.budget.earn()
		return true, nil
	}
	r.failed = f.RequestId
	r.maybe = r.maybe || f.Outcome != dynamov1.WriteOutcome_WRITE_OUTCOME_NOT_WRITTEN
	if c.goesOn(r, f) {
		r.last = errors.New(f.Message)
		return false, nil
	}
	c.budget.earn()
	return true, failed(r, f)
}

// goesOn says whether the request goes on after a failure, and if so, how.
func (c *Client) goesOn(r *request, f *dynamov1.Failure) bool {
	switch f.Reason {
	case dynamov1.Reason_REASON_NOT_READY, dynamov1.Reason_REASON_STOPPED:
		c.ask(r)
		return true
	case dynamov1.Reason_REASON_QUORUM:
		// Another coordinator may reach those that this one does not.
		if r.open == 0 && !r.second && c.budget.spend() {
			r.second = true
			c.ask(r)
		}
		return r.open > 0
	case dynamov1.Reason_REASON_OVERLOADED:
		if r.open > 0 {
			return true
		}
		r.pause(relief())
		return r.next.Before(r.deadline) && c.budget.spend()
	default:
		return false
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
