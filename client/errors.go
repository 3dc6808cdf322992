package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
)

// errMalformed is the kind of a reply that this client does not understand.
var errMalformed = errors.New("malformed reply")

// refused completes the error of a request that was never sent.
func refused(r *request, e *Error) *Error {
	e.Op, e.RequestID = r.op.String(), r.requestID
	if r.op != opGet {
		e.Outcome = NotWritten
	}
	return e
}

// outcome tells what became of a write that has failed; empty for a read.
func (r *request) outcome() Outcome {
	switch {
	case r.op == opGet:
		return ""
	case r.maybe || r.open > 0:
		return Unknown
	}
	return NotWritten
}

// name returns the request's ID in the logs of nodes; empty: none is known.
func (r *request) name() string {
	if r.requestID != "" {
		return r.requestID
	}
	return r.failed
}

// ended returns the error of a request whose time is up, whose context has
// ended, or whose client is closed.
func (c *Client) ended(ctx context.Context, r *request) *Error {
	why := ctx.Err()
	if d, ok := ctx.Deadline(); ok && !time.Now().Before(d) {
		why = context.DeadlineExceeded // which ctx will say in a moment
	}
	e := &Error{Op: r.op.String(), Kind: ErrTimeout, Outcome: r.outcome(), Cause: errors.Join(why, r.last), RequestID: r.name()}
	switch {
	case c.ctx.Err() != nil:
		e.Kind = ErrClosed
	case errors.Is(ctx.Err(), context.Canceled):
		e.Kind = context.Canceled
	case r.open == 0 && errors.Is(r.last, errFull):
		e.Kind, e.Detail = ErrOverloaded, r.last.Error()
	case r.open > 0:
		e.Detail = "no node has answered in time"
	case r.last != nil:
		e.Detail = r.last.Error()
	}
	return e
}

// malformed returns the error of a reply that cannot be understood.
func malformed(r *request, err error) *Error {
	r.maybe = true
	return &Error{Op: r.op.String(), Kind: errMalformed, Outcome: r.outcome(), Detail: err.Error(), RequestID: r.name()}
}

// failed returns the error of a failure that a node has told.
func failed(r *request, f *dynamov1.Failure) *Error {
	e := &Error{Op: r.op.String(), Kind: kindOf(f.Reason), Outcome: r.outcome(), Detail: f.Message, RequestID: r.name()}
	if errors.Is(e, errMalformed) {
		e.Detail = fmt.Sprintf("the reason %d is not known: %s", f.Reason, f.Message)
	}
	if f.Reason == dynamov1.Reason_REASON_QUORUM || f.Reason == dynamov1.Reason_REASON_TIMEOUT {
		e.Cause = &QuorumError{Acknowledged: int(f.Replicas), Required: int(f.Required), Outcome: e.Outcome}
	}
	if r.met != nil {
		*r.met = QuorumMet{Replicas: int(f.Replicas), Required: int(f.Required)}
		if r.op == opGet {
			r.met.Fallbacks = int(f.Fallbacks)
		} else {
			r.met.Hinted = int(f.Fallbacks)
		}
	}
	return e
}

func kindOf(r dynamov1.Reason) error {
	switch r {
	case dynamov1.Reason_REASON_INVALID_REQUEST:
		return ErrInvalidRequest
	case dynamov1.Reason_REASON_INVALID_CONTEXT:
		return ErrInvalidContext
	case dynamov1.Reason_REASON_TOO_LARGE:
		return ErrTooLarge
	case dynamov1.Reason_REASON_QUORUM:
		return ErrQuorum
	case dynamov1.Reason_REASON_TIMEOUT:
		return ErrTimeout
	case dynamov1.Reason_REASON_OVERLOADED:
		return ErrOverloaded
	case dynamov1.Reason_REASON_TOO_MANY_SIBLINGS, dynamov1.Reason_REASON_SET_TOO_LARGE:
		return ErrTooManySiblings
	case dynamov1.Reason_REASON_CLOCK_TOO_LONG:
		return ErrClockTooLong
	case dynamov1.Reason_REASON_STORAGE_FULL:
		return ErrStorageFull
	case dynamov1.Reason_REASON_UNSPECIFIED, dynamov1.Reason_REASON_NOT_READY, dynamov1.Reason_REASON_STOPPED:
	}
	return errMalformed // of the last two none ends a request
}
