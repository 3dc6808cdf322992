package badger

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// TestClock has snapshots keep back what may be discarded.
func TestClock(t *testing.T) {
	var discard uint64
	c := newClock(10, func(ts uint64) { discard = ts })
	expect := func(what string, want uint64) {
		t.Helper()
		if discard != want {
			t.Errorf("%s: what is older than %d may be discarded, want %d", what, discard, want)
		}
	}
	expect("at first", 10)
	a, b := c.hold(), c.hold()
	c.advance(c.next())
	expect("with two snapshots of 10", 10)
	if now := c.hold(); a != 10 || b != 10 || now != 11 {
		t.Errorf("the snapshots are of %d, %d and %d, want 10, 10 and 11", a, b, now)
	}
	c.advance(c.next())
	c.release(a)
	expect("with one of 10 and one of 11", 10)
	c.release(b)
	expect("with one of 11", 11)
	c.release(11)
	expect("in the end", 12)
}

// TestLoggedError has badger log an error, as it does when a sync of its value
// log fails, and return none: what was under way is not durable.
func TestLoggedError(t *testing.T) {
	var told []error
	e, err := Open(Options{
		Dir: filepath.Join(t.TempDir(), "badger"), Create: true, CacheBytes: 1 << 20,
		Logger: slog.New(slog.DiscardHandler), MemTableBytes: 1 << 20,
		OnFailure: func(err error) { told = append(told, err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	commit := func() error {
		done := make(chan error, 1)
		e.Commit([]core.Write{{Key: []byte("key"), Value: []byte("value")}}, core.Sync, func(err error) { done <- err })
		return <-done
	}
	if err := commit(); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("input/output error")
	e.library.log.Errorf("Error while curlf sync: %v\n", broken)
	e.library.log.Errorf("another")
	_, getErr := e.Get([]byte("key"))
	for i, err := range []error{commit(), getErr, e.library.Apply(nil), e.Close()} {
		if err == nil || i != 2 && !errors.Is(err, storage.ErrFailed) || !strings.Contains(err.Error(), "curlf sync: input/output error") {
			t.Errorf("%d: %v, want ErrFailed and what was logged", i, err)
		}
	}
	if len(told) != 1 {
		t.Errorf("told %d times: %v", len(told), told)
	}
}

// small is a disk with little room left.
type small struct {
	vfs.FS
	free uint64
}

func (s small) GetDiskUsage(string) (usage pebblevfs.DiskUsage, err error) {
	usage.AvailBytes = s.free
	return usage, nil
}

func TestCheckRoom(t *testing.T) {
	err := checkRoom(small{free: minFree - 1}, "data")
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "134217727 bytes of the disk are free, and 134217728 are needed") {
		t.Errorf("%v: does not say how much is missing", err)
	}
	if err := checkRoom(small{free: minFree}, "data"); err != nil {
		t.Errorf("with enough room: %v", err)
	}
}
