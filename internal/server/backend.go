package server

import (
	"context"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// Backend carries out what the server has parsed and checked.
type Backend interface {
	// Do carries out q, which Limits.Check has accepted, and returns at the
	// latest when timeout has passed or ctx has ended. How it ended is in the
	// result's code; no code is an error of Do itself. The result's slices
	// are immutable.
	Do(ctx context.Context, q *core.Request, timeout time.Duration) core.Result
	// TurnsAway says that a request for a key would be turned away as overloaded
	// if it came now, and counts it: its client is to be told so. It is asked
	// before a request is read or decoded as a whole, which costs most of what
	// turning one away does.
	TurnsAway(op core.Op, key []byte) bool
	// Status returns a snapshot that the caller owns.
	Status() core.ClusterStatus
}

// Tracer begins the trace of a request: below the W3C traceparent that came
// with it, if it is not empty. place is nil where the request is not traced;
// end is called with the result.
type Tracer interface {
	Begin(ctx context.Context, op core.Op, traceparent, requestID string) (place *core.Trace, end func(core.Result))
}
