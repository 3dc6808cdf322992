package main

import (
	"context"
	"errors"
	"testing"

	"github.com/dynamo-kv/dynamo/client"
	"github.com/dynamo-kv/dynamo/internal/bench"
)

// The client's errors are counted under the names of the HTTP API, so that two
// protocols can be compared.
func TestBenchFailures(t *testing.T) {
	for kind, want := range map[error]string{
		client.ErrTimeout: "timeout", client.ErrQuorum: "quorum", client.ErrOverloaded: "overloaded",
		client.ErrTooManySiblings: "too_many_siblings", client.ErrInvalidRequest: "invalid_request",
	} {
		err := failure(&client.Error{Op: "put", Kind: kind, Cause: context.DeadlineExceeded})
		if f, ok := errors.AsType[*bench.Failure](err); !ok || f.Kind != want || !errors.Is(err, kind) {
			t.Errorf("%v is counted as %v, want %s", kind, err, want)
		}
	}
	if err := failure(&client.Error{Op: "get", Kind: client.ErrKeyNotFound}); !errors.Is(err, bench.ErrNotFound) {
		t.Errorf("a key that is not there is %v", err)
	}
	if err := failure(nil); err != nil {
		t.Errorf("success is %v", err)
	}
	other := errors.New("other")
	if err := failure(other); !errors.Is(err, other) {
		t.Errorf("another error is %v", err)
	}
}
