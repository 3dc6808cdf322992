package bench

import (
	"context"
	"errors"
)

// DB is what a load is put on. Its methods are called from many goroutines.
// They return nil when the operation succeeded, ErrNotFound when a key that
// was to be read is not there, and else an error, which is a *Failure where
// its kind is known.
type DB interface {
	// Get reads a key.
	Get(ctx context.Context, key string) error
	// Put replaces whatever is stored under a key. It must not keep value.
	Put(ctx context.Context, key string, value []byte) error
	// Modify reads a key and replaces exactly what it has read. It must not
	// keep value.
	Modify(ctx context.Context, key string, value []byte) error
}

// ErrNotFound is the answer that a key does not exist. It is no failure.
var ErrNotFound = errors.New("bench: the key is not found")

// Failure is why an operation failed.
type Failure struct {
	Kind string // one word to count it under, such as timeout
	Err  error
}

func (f *Failure) Error() string { return f.Kind + ": " + f.Err.Error() }

func (f *Failure) Unwrap() error { return f.Err }

// The kinds of failures that this package tells by itself.
const (
	KindTimeout = "timeout"
	KindOther   = "other"
)

// KindOverloaded is that of a node which has more to do than it can, and takes
// the operation later.
const KindOverloaded = "overloaded"

// kindOf returns what an error is counted under.
func kindOf(err error) string {
	if f, ok := errors.AsType[*Failure](err); ok {
		return f.Kind
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return KindTimeout
	}
	return KindOther
}
