package grpckv

import (
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/server"
)

// failure is an answer that is not a success.
type failure struct{ dynamov1.Failure }

// refusal returns the answer to a request of which nothing was done.
func refusal(op core.Op, err error) *failure {
	f := &failure{}
	f.Reason, f.Message = dynamov1.Reason_REASON_INVALID_REQUEST, err.Error()
	if r, ok := errors.AsType[*server.Refused](err); ok {
		switch r.Kind {
		case server.KindContext:
			f.Reason = dynamov1.Reason_REASON_INVALID_CONTEXT
		case server.KindTooLarge, server.KindKeyTooLong:
			f.Reason = dynamov1.Reason_REASON_TOO_LARGE
		case server.KindInvalid:
		}
	}
	if op != core.OpGet {
		f.Outcome = dynamov1.WriteOutcome_WRITE_OUTCOME_NOT_WRITTEN
	}
	return f
}

// failed returns the answer to a request that the backend did not carry out.
func failed(op core.Op, r core.Result) *failure {
	f := &failure{}
	f.Reason, f.Message = reason(r.Code), server.Explain(op, r)
	f.Replicas, f.Fallbacks, f.Required = uint32(r.Acknowledged), uint32(r.Fallbacks), uint32(r.Required)
	if op != core.OpGet {
		f.Outcome = dynamov1.WriteOutcome_WRITE_OUTCOME_NOT_WRITTEN
		if r.Outcome == core.Unknown {
			f.Outcome = dynamov1.WriteOutcome_WRITE_OUTCOME_UNKNOWN
		}
	}
	return f
}

func reason(c core.Code) dynamov1.Reason {
	switch c {
	case core.CodeQuorum:
		return dynamov1.Reason_REASON_QUORUM
	case core.CodeTimeout:
		return dynamov1.Reason_REASON_TIMEOUT
	case core.CodeOverloaded:
		return dynamov1.Reason_REASON_OVERLOADED
	case core.CodeTooManySiblings:
		return dynamov1.Reason_REASON_TOO_MANY_SIBLINGS
	case core.CodeSetTooLarge:
		return dynamov1.Reason_REASON_SET_TOO_LARGE
	case core.CodeClockTooLong:
		return dynamov1.Reason_REASON_CLOCK_TOO_LONG
	case core.CodeStorageFull:
		return dynamov1.Reason_REASON_STORAGE_FULL
	case core.CodeNotReady:
		return dynamov1.Reason_REASON_NOT_READY
	case core.CodeStopped:
		return dynamov1.Reason_REASON_STOPPED
	case core.CodeOK, core.CodeNotFound, core.CodeRefused: // no failures of a request
	}
	return dynamov1.Reason_REASON_UNSPECIFIED
}

// status returns f as the error of a single call.
func (f *failure) status() error {
	s := status.New(codeOf(f.Reason), f.Message)
	if detailed, err := s.WithDetails(&f.Failure); err == nil {
		s = detailed
	}
	return s.Err()
}

func codeOf(r dynamov1.Reason) codes.Code {
	switch r {
	case dynamov1.Reason_REASON_INVALID_REQUEST, dynamov1.Reason_REASON_INVALID_CONTEXT, dynamov1.Reason_REASON_TOO_LARGE:
		return codes.InvalidArgument
	case dynamov1.Reason_REASON_TOO_MANY_SIBLINGS, dynamov1.Reason_REASON_SET_TOO_LARGE,
		dynamov1.Reason_REASON_CLOCK_TOO_LONG:
		return codes.FailedPrecondition
	case dynamov1.Reason_REASON_TIMEOUT:
		return codes.DeadlineExceeded
	case dynamov1.Reason_REASON_OVERLOADED, dynamov1.Reason_REASON_STORAGE_FULL:
		return codes.ResourceExhausted
	case dynamov1.Reason_REASON_QUORUM, dynamov1.Reason_REASON_NOT_READY, dynamov1.Reason_REASON_STOPPED:
		return codes.Unavailable
	case dynamov1.Reason_REASON_UNSPECIFIED:
	}
	return codes.Internal
}
