package storagetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// fault is how a disk fails.
type fault string

const (
	once   fault = "one operation fails"
	broken fault = "all fail from then on"
	full   fault = "there is no room from then on" // of a write, its first half may have had some
)

// faulty is a disk that fails from one of its operations on.
type faulty struct {
	disk  *vfs.Disk
	at    int64 // number of the operation that fails first, of those that can
	fault fault

	count atomic.Int64
	late  atomic.Int64 // operations that came after the one that failed
	mu    sync.Mutex
	op    vfs.Op // the one that failed
}

func (f *faulty) fs() vfs.FS { return vfs.SplitWrites(vfs.Watch(f.disk.FS(), f.before)) }

func (f *faulty) before(op vfs.Op) error {
	if !vfs.Mutates(op) {
		return nil
	}
	if f.fault == full && !vfs.Fills(op) {
		if f.reached() {
			f.late.Add(1)
		}
		return nil
	}
	n := f.count.Add(1)
	switch {
	case n == f.at:
		f.mu.Lock()
		f.op = op
		f.mu.Unlock()
		return f.cause()
	case n > f.at:
		f.late.Add(1)
		if f.fault != once {
			return f.cause()
		}
	}
	return nil
}

// cause is the error of an operation that fails.
func (f *faulty) cause() error {
	if f.fault == full {
		return syscall.ENOSPC
	}
	return vfs.ErrInjected
}

// reached reports whether the operation has failed by now.
func (f *faulty) reached() bool { return f.count.Load() >= f.at }

func (f *faulty) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return fmt.Sprintf("failure of operation %d, %v of %s: %s", f.at, f.op.Kind, f.op.Path, f.fault)
}

// removal reports whether what failed was the removal of a file that is not
// needed any more, which is no failure of the engine.
func (f *faulty) removal() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.op.Kind == errorfs.OpRemove || f.op.Kind == errorfs.OpRemoveAll
}

// FailEverywhere has every operation of a script fail that changes the
// disk, each kind of fault at each of them, in runs of their own; a write may
// fail when half of it is on the disk. The engine must say so with every
// completion from then on, panic nowhere, write nothing more, close, and find
// all that was durable when it is opened again.
func FailEverywhere(t *testing.T, open OpenOn) {
	t.Helper()
	runs := make(map[fault]int)
	for _, kind := range []fault{once, broken, full} {
		runs[kind] = failEach(t, open, kind)
	}
	t.Logf("runs in which %v", runs)
}

// failEach has each operation fail that can, and returns how many there are.
func failEach(t *testing.T, open OpenOn, kind fault) (runs int) {
	t.Helper()
	for at := int64(1); ; at++ {
		f := &faulty{disk: vfs.NewDisk(), at: at, fault: kind}
		h := NewHistory()
		if err := failingLife(open, f, h); err != nil {
			t.Errorf("%v: %v", f, err)
		}
		if err := nextLife(open, f.disk, h); err != nil {
			t.Errorf("%v: in its next life: %v", f, err)
		}
		if !f.reached() {
			return runs
		}
		runs++
	}
}

// failingLife runs the script until the end or the failure.
func failingLife(open OpenOn, f *faulty, h *History) error {
	const batches = 24
	e, _, err := open(f.fs())
	if err != nil {
		if !f.reached() {
			return fmt.Errorf("open, before anything failed: %w", err)
		}
		return nil
	}
	rng := rand.New(rand.NewPCG(5, 6))
	done := make(chan error, batches)
	var outcomes []error
	for i := range batches {
		d := core.Sync
		if i%5 == 1 {
			d = core.NoSync
		}
		h.Commit(e, rng, d, 6000, done)
		if i%3 == 2 {
			outcomes = append(outcomes, <-done, <-done, <-done)
		}
	}
	if err := checkOutcomes(outcomes, f.cause()); err != nil {
		return err
	}
	failed := outcomes[batches-1] != nil
	said := f.late.Load() // until now others may have gone on: the failure may not have been noted yet
	if _, err := e.Get([]byte("last")); failed && !errors.Is(err, storage.ErrFailed) {
		return fmt.Errorf("get after the failure: %s, want ErrFailed", fmt.Sprint(err))
	}
	// Close waits for the background, where the operation may fail only now.
	err = e.Close()
	switch {
	case f.reached() && !f.removal() && !errors.Is(err, f.cause()):
		return fmt.Errorf("close after the failure: %s, want the failure", fmt.Sprint(err))
	case (!f.reached() || f.removal() && f.fault == once) && err != nil:
		return fmt.Errorf("close: %w", err)
	case failed && f.late.Load()-said > maxLate:
		return fmt.Errorf("%d operations reached the disk after the engine had told of the failure", f.late.Load()-said)
	}
	return nil
}

// maxLate is how many operations may be under way when an engine fails: each
// of an engine's goroutines (pebble: log, flush, compaction, cleaner) may have
// one, and the two halves of a write count twice.
const maxLate = 8

// checkOutcomes checks that the completions of one caller are successes, and
// then failures.
func checkOutcomes(outcomes []error, cause error) error {
	failed := false
	for i, err := range outcomes {
		switch {
		case err == nil && failed:
			return fmt.Errorf("completion %d is a success after one that is a failure", i)
		case err != nil && !errors.Is(err, storage.ErrFailed):
			return fmt.Errorf("completion %d: %w, want ErrFailed", i, err)
		case err != nil && !errors.Is(err, cause):
			return fmt.Errorf("completion %d: %w, which is not the injected one", i, err)
		}
		failed = failed || err != nil
	}
	return nil
}

// nextLife opens the engine on the disk when it works again: after a start of
// the process alone, and after a power cut that took all that was not synced.
func nextLife(open OpenOn, disk *vfs.Disk, h *History) error {
	for _, keep := range []int{0, 100} {
		e, _, err := open(disk.PowerCut(rand.New(rand.NewPCG(7, 8)), keep).FS())
		if err != nil {
			return err
		}
		if _, err := h.Check(e, h.Synced(), h.Committed()); err != nil {
			return err
		}
		if err := e.Close(); err != nil {
			return err
		}
	}
	return nil
}
