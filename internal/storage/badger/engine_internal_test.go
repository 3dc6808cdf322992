package badger

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

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
	err := checkRoom(small{free: minFree - 1}, "data", 0)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "134217727 bytes of the disk are free, and 134217728 are needed") {
		t.Errorf("%v: does not say how much is missing", err)
	}
	if err := checkRoom(small{free: minFree}, "data", 0); err != nil {
		t.Errorf("with enough room: %v", err)
	}
	if err := checkRoom(small{free: minFree}, "data", 1); err == nil {
		t.Error("with enough room but for one byte: no error")
	}
}

// TestFullDisk has the disk fill up while the engine is in use: the next
// transaction fails, and the engine with it, before badger writes anything;
// what was durable is there when there is room again. And garbage is left where
// it is.
func TestFullDisk(t *testing.T) {
	ticks := make(chan time.Time)
	o := collecting(filepath.Join(t.TempDir(), "badger"), ticks, &work{t: t})
	e := collectOpen(t, o)
	replaceAll(t, e)
	e = sunk(t, e, o)
	e.library.disk = small{free: minFree + rewriteBytes - 1}
	ticks <- time.Time{}
	ticks <- time.Time{}
	if _, err := os.Stat(filepath.Join(o.Dir, firstLog)); err != nil {
		t.Errorf("without room for it the first file of the value log was rewritten: %v", err)
	}
	write1(t, e, core.Write{Key: []byte("fits"), Value: []byte("value")})
	e = reopened(t, e, o)
	e.library.disk = small{free: minFree - 1}
	done := make(chan error, 1)
	e.Commit([]core.Write{{Key: []byte("does not"), Value: []byte("value")}}, core.Sync, func(err error) { done <- err })
	if err := <-done; !errors.Is(err, storage.ErrFailed) || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a commit on a full disk: %v, want ErrFailed and what the system calls it", err)
	}
	if err := e.Close(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("close: %v, want the failure", err)
	}
	o.Create = false
	e = collectOpen(t, o)
	expectLast(t, e)
	if _, err := e.Get([]byte("does not")); !errors.Is(err, core.ErrNotFound) {
		t.Errorf("what did not fit: %v, want ErrNotFound", err)
	}
	if v, err := e.Get([]byte("fits")); err != nil || string(v) != "value" {
		t.Errorf("what did reads %q, %v", v, err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}
