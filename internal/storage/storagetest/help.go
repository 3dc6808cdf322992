package storagetest

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// everything is the limit of a scan that is to show all there is.
func everything() core.Limit { return core.Limit{Keys: math.MaxInt, Bytes: math.MaxInt} }

// pair is what a scan shows once.
type pair struct{ key, value string }

func set(key, value string) core.Write {
	return core.Write{Key: []byte(key), Value: []byte(value)}
}

func remove(key string) core.Write { return core.Write{Key: []byte(key), Delete: true} }

// commit commits a batch and waits for its completion.
func commit(e storage.Engine, d core.Durability, batch ...core.Write) error {
	done := make(chan error, 1)
	e.Commit(batch, d, func(err error) { done <- err })
	return <-done
}

// put commits a batch that must succeed.
func put(t testing.TB, e storage.Engine, batch ...core.Write) {
	t.Helper()
	if err := commit(e, core.Sync, batch...); err != nil {
		t.Fatalf("commit: %v", err)
	}
}

// get returns the value of a key, and whether there is one. Like the other
// helpers that read, it may be called by any goroutine of a test.
func get(t testing.TB, e storage.Engine, key string) (string, bool) {
	t.Helper()
	v, err := e.Get([]byte(key))
	if err == core.ErrNotFound { //nolint:errorlint // the port promises the error itself
		return "", false
	}
	if err != nil {
		t.Errorf("get %q: %v", key, err)
		return "", false
	}
	return string(v), true
}

// scan returns what one call of Scan shows, and its next.
func scan(t testing.TB, e storage.Engine, from, to []byte, limit core.Limit) ([]pair, []byte) {
	t.Helper()
	var found []pair
	next, err := e.Scan(from, to, limit, func(k, v []byte) bool {
		found = append(found, pair{string(k), string(v)})
		return true
	})
	if err != nil {
		t.Errorf("scan: %v", err)
	}
	return found, next
}

// all returns everything that the engine holds.
func all(t testing.TB, e storage.Engine) []pair {
	t.Helper()
	found, next := scan(t, e, nil, nil, everything())
	if next != nil {
		t.Errorf("a scan of everything says that it goes on at %q", next)
	}
	return found
}

// mustClose closes an engine that has not failed.
func mustClose(t testing.TB, e storage.Engine) {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// equal compares what was found with what was wanted, in order.
func equal(got, want []pair) error {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return fmt.Errorf("%q is missing", want[i].key)
		case i >= len(want):
			return fmt.Errorf("%q is there and should not be", got[i].key)
		case got[i].key != want[i].key:
			return fmt.Errorf("key %d is %q, want %q", i, got[i].key, want[i].key)
		case got[i].value != want[i].value:
			return fmt.Errorf("%q has the value %s, want %s", got[i].key, short(got[i].value), short(want[i].value))
		}
	}
	return nil
}

// short quotes a value that may be long.
func short(v string) string {
	if len(v) > 40 {
		return fmt.Sprintf("%q… (%d bytes)", v[:40], len(v))
	}
	return fmt.Sprintf("%q", v)
}

// isClosed reports an error that is not the one of a closed engine.
func isClosed(t testing.TB, what string, err error) {
	t.Helper()
	if !errors.Is(err, storage.ErrClosed) {
		t.Errorf("%s of a closed engine: %v, want ErrClosed", what, err)
	}
}
