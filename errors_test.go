package dynamo

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
)

func TestResultsAsErrors(t *testing.T) {
	tests := []struct {
		code    core.Code
		outcome core.Outcome
		kind    error
		want    Outcome
		quorum  bool
	}{
		{core.CodeNotFound, 0, ErrKeyNotFound, NotWritten, false},
		{core.CodeQuorum, core.NotWritten, ErrQuorum, NotWritten, true},
		{core.CodeQuorum, core.Unknown, ErrQuorum, Unknown, true},
		{core.CodeTimeout, core.Unknown, ErrTimeout, Unknown, true},
		{core.CodeTimeout, core.NotWritten, ErrTimeout, NotWritten, true},
		{core.CodeOverloaded, core.NotWritten, ErrOverloaded, NotWritten, false},
		{core.CodeTooManySiblings, core.NotWritten, ErrTooManySiblings, NotWritten, false},
		{core.CodeSetTooLarge, core.NotWritten, ErrTooManySiblings, NotWritten, false},
		{core.CodeClockTooLong, core.NotWritten, ErrClockTooLong, NotWritten, false},
		{core.CodeStorageFull, core.NotWritten, ErrStorageFull, NotWritten, false},
		{core.CodeStorageFull, core.Unknown, ErrStorageFull, Unknown, false},
		{core.CodeNotReady, core.NotWritten, ErrNotReady, NotWritten, false},
		{core.CodeStopped, core.Unknown, ErrStopped, Unknown, false},
	}
	for _, test := range tests {
		err := failed(t.Context(), core.OpPut, core.Result{Code: test.code, Outcome: test.outcome, Acknowledged: 1, Required: 2})
		if !errors.Is(err, test.kind) || !errors.Is(err.Kind, test.kind) || err.Outcome != test.want || err.Op != "put" {
			t.Errorf("%v: %+v", test.code, err)
		}
		var q *QuorumError
		if errors.As(err, &q) != test.quorum {
			t.Errorf("%v: a QuorumError is in its chain: %v", test.code, !test.quorum)
		}
		if q != nil && *q != (QuorumError{Acknowledged: 1, Required: 2, Outcome: test.want}) {
			t.Errorf("%v: %+v", test.code, q)
		}
		if !strings.HasPrefix(err.Error(), "dynamo: put: "+test.kind.Error()) {
			t.Errorf("%v: %q", test.code, err)
		}
	}
	if err := failed(t.Context(), core.OpPut, core.Result{Code: core.CodeOK}); err != nil {
		t.Errorf("a success is the error %v", err)
	}
}

func TestReadsHaveNoOutcome(t *testing.T) {
	err := failed(t.Context(), core.OpGet, core.Result{Code: core.CodeQuorum, Outcome: core.NotWritten, Required: 2})
	var q *QuorumError
	if err.Outcome != "" || !errors.As(err, &q) || q.Outcome != "" {
		t.Errorf("a read has an outcome: %+v, %+v", err, q)
	}
}

// What ended a request is found: the caller's deadline, or the caller who
// gave up.
func TestEndOfTheContext(t *testing.T) {
	result := core.Result{Code: core.CodeTimeout, Outcome: core.Unknown, Required: 2}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	err := failed(canceled, core.OpPut, result)
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrTimeout) || err.Outcome != Unknown {
		t.Errorf("canceled: %v", err)
	}
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	err = failed(late, core.OpPut, result)
	var q *QuorumError
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrTimeout) || !errors.As(err, &q) {
		t.Errorf("deadline: %v", err)
	}
}
