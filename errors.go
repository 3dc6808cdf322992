package dynamo

import (
	"context"
	"errors"
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/kv"
	"github.com/dynamo-kv/dynamo/internal/server"
)

// What can go wrong, for errors.Is. Errors of requests are an *Error, which
// says more.
var (
	// ErrKeyNotFound: the key was never written, or it is deleted. The result
	// that comes with it has a context that can be used.
	ErrKeyNotFound = kv.ErrKeyNotFound
	// ErrQuorum: too few replicas can be reached; *QuorumError says how many.
	ErrQuorum = kv.ErrQuorum
	// ErrTimeout: the request's time was up before enough replicas answered;
	// *QuorumError says how many did.
	ErrTimeout = kv.ErrTimeout
	// ErrOverloaded: the node has more requests than it can hold. Nothing of
	// the request was done; try again later.
	ErrOverloaded = kv.ErrOverloaded
	// ErrNotReady: the node has not been started, or has no layout yet.
	ErrNotReady = kv.ErrNotReady
	// ErrStopped: the node has been stopped, or has stopped after a failure of
	// its storage, which the error then wraps too.
	ErrStopped = kv.ErrStopped
	// ErrAlreadyStarted: Start was called before.
	ErrAlreadyStarted = kv.ErrAlreadyStarted
	// ErrJoinRefused: the node cannot become a member of that cluster.
	ErrJoinRefused = kv.ErrJoinRefused
	// ErrInvalidConfig: the configuration has faults; the error names each.
	ErrInvalidConfig = kv.ErrInvalidConfig
	// ErrInvalidRequest: a key, an option or a combination of options is not
	// allowed. Nothing of the request was done.
	ErrInvalidRequest = kv.ErrInvalidRequest
	// ErrInvalidContext: a context belongs to another key, or a token is not
	// one that this system gave out.
	ErrInvalidContext = kv.ErrInvalidContext
	// ErrTooLarge: the value is larger than MaxValueBytes, or the key longer
	// than 2048 bytes.
	ErrTooLarge = kv.ErrTooLarge
	// ErrTooManySiblings: the key has 100 siblings, or 32 MiB of them. Read
	// it, and write the merged value with the context of the read.
	ErrTooManySiblings = kv.ErrTooManySiblings
	// ErrClockTooLong: too many nodes and restarts have written the key of
	// late; it takes writes again when its clock has been pruned.
	ErrClockTooLong = kv.ErrClockTooLong
	// ErrStorageFull: too few nodes have room left for a write. Deletes and reads
	// go on, and writes do when there is room.
	ErrStorageFull = kv.ErrStorageFull
)

// Outcome tells what became of a write that failed.
type Outcome = kv.Outcome

// The outcomes.
const (
	// NotWritten: no replica can have stored it, now or later.
	NotWritten = kv.NotWritten
	// Unknown: some replica may have stored it, so it may yet appear. Read the
	// key, or repeat the write with the same idempotency key.
	Unknown = kv.Unknown
)

// Error is a request that failed: its Op, its Kind, which is one of the Err…
// of this package or context.Canceled, the Outcome of a put or delete, a Detail
// in words, and the Cause where there is one. errors.Is finds kind and cause.
type Error = kv.Error

// QuorumError says how far a request came, in replicas Acknowledged and
// Required. It is in the chain of the errors that are ErrQuorum or ErrTimeout.
type QuorumError = kv.QuorumError

// refused returns the error of a request that was never carried out.
func refused(op core.Op, err error) *Error {
	e := &Error{Op: op.String(), Kind: ErrInvalidRequest, Detail: err.Error()}
	if r, ok := errors.AsType[*server.Refused](err); ok {
		switch r.Kind {
		case server.KindContext:
			e.Kind = ErrInvalidContext
		case server.KindTooLarge, server.KindKeyTooLong:
			e.Kind = ErrTooLarge
		case server.KindInvalid:
		}
	}
	if op != core.OpGet {
		e.Outcome = NotWritten
	}
	return e
}

// failed returns the error of a result, nil where it is a success. ctx is the
// caller's.
func failed(ctx context.Context, op core.Op, r core.Result) *Error {
	if r.Code == core.CodeOK {
		return nil
	}
	e := &Error{Op: op.String(), Kind: kindOf(r.Code), Detail: server.Explain(op, r)}
	if op != core.OpGet {
		e.Outcome = NotWritten
		if r.Outcome == core.Unknown {
			e.Outcome = Unknown
		}
	}
	switch r.Code {
	case core.CodeQuorum, core.CodeTimeout:
		e.Cause = &QuorumError{Acknowledged: r.Acknowledged, Required: r.Required, Outcome: e.Outcome}
	case core.CodeNotFound:
		e.Detail = "" // the kind has said it
	default:
	}
	if r.Code == core.CodeTimeout && ctx.Err() != nil {
		e.Kind, e.Cause = endOf(ctx), errors.Join(ctx.Err(), e.Cause)
	}
	return e
}

// endOf returns the kind of a request that ended with its context.
func endOf(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return context.Canceled
	}
	return ErrTimeout
}

func kindOf(c core.Code) error {
	switch c {
	case core.CodeNotFound:
		return ErrKeyNotFound
	case core.CodeQuorum:
		return ErrQuorum
	case core.CodeTimeout:
		return ErrTimeout
	case core.CodeOverloaded:
		return ErrOverloaded
	case core.CodeTooManySiblings, core.CodeSetTooLarge:
		return ErrTooManySiblings
	case core.CodeClockTooLong:
		return ErrClockTooLong
	case core.CodeStorageFull:
		return ErrStorageFull
	case core.CodeNotReady:
		return ErrNotReady
	case core.CodeStopped:
		return ErrStopped
	case core.CodeRefused:
		return ErrJoinRefused
	case core.CodeOK:
	}
	panic(fmt.Sprintf("dynamo: the code %v is no failure", c))
}
