package migrate_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/dynamo-kv/dynamo/internal/migrate"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// ways are the migrations that run on a disk in memory.
func ways() [][2]string { return [][2]string{{"lss", "pebble"}, {"pebble", "lss"}} }

// own reports whether an operation is on one of the directory's own files, or on
// the directory itself: the steps of the migration, of which none is left out.
func own(op vfs.Op) bool {
	name := path.Base(op.Path)
	return strings.HasPrefix(name, "identity") || strings.HasPrefix(name, "migration") || name == "data" || name == "lss" || name == "pebble"
}

// point is a disk as a power cut leaves it.
type point struct {
	name   string
	number int
	disk   *vfs.Disk
}

// crasher cuts the power before the operations of a migration.
type crasher struct {
	disk   *vfs.Disk
	every  int // of the engines' operations
	points chan point

	mu     sync.Mutex // held over an operation's points, to number them
	rng    *rand.Rand
	number int
	count  int // points
	steps  int // of them at the migration's own files
}

func (c *crasher) before(op vfs.Op) error {
	if !vfs.Mutates(op) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.number++; own(op) {
		c.steps++
	} else if c.number%c.every != 0 {
		return nil
	}
	c.count++
	for _, keep := range []int{0, 50, 100} {
		c.points <- point{
			name:   fmt.Sprintf("before operation %d, %v of %s, keeping %d %%", c.number, op.Kind, op.Path, keep),
			number: c.number,
			disk:   c.disk.PowerCut(c.rng, keep),
		}
	}
	return nil
}

// TestCrashEverywhere cuts the power before each step of a migration, and before
// every few operations of its engines, with all, some and nothing kept of what was
// not synced. On what is left a node starts, with the data that it had, and the
// migration can be resumed.
func TestCrashEverywhere(t *testing.T) {
	for _, way := range ways() {
		for _, keep := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s-%s-keep=%v", way[0], way[1], keep), func(t *testing.T) { crashEverywhere(t, way[0], way[1], keep) })
		}
	}
}

func crashEverywhere(t *testing.T, from, to string, keep bool) {
	c := &crasher{disk: vfs.NewDisk(), every: 2, points: make(chan point), rng: rand.New(rand.NewPCG(1, 2))}
	n, identity := memNode(t, c.disk.FS(), from)
	var checkers sync.WaitGroup
	var moved, stayed atomic.Int64
	for range 2 {
		checkers.Go(func() {
			for p := range c.points {
				after := *n
				after.fs = p.disk.FS()
				was, err := after.recover(t, from, to, identity, p.number%2 == 0)
				if err != nil {
					t.Errorf("%s: %v", p.name, err)
				}
				if was == to {
					moved.Add(1)
				} else {
					stayed.Add(1)
				}
			}
		})
	}
	o := n.options(to)
	o.Keep = keep
	o.FS = vfs.SplitWrites(vfs.Watch(c.disk.FS(), c.before))
	_, err := migrate.Run(t.Context(), o, n.drivers...)
	close(c.points)
	checkers.Wait()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d crash points with three disks each, %d of them at steps of the migration; the data was with %s on %d disks, with %s on %d",
		c.count, c.steps, from, stayed.Load(), to, moved.Load())
	if moved.Load() == 0 || stayed.Load() == 0 || c.steps < 10 {
		t.Error("the crashes do not show both sides of the switch")
	}
}

// recover is what happens after a crash: a node starts with the engine that has
// the data, which it says, unless nobody starts it, and then the migration is run
// again.
func (n *node) recover(t testing.TB, from, to string, identity storage.Identity, start bool) (was string, err error) {
	if was, err = n.owner(from, to); err != nil {
		return was, err
	}
	if start {
		if err := n.check(was, identity); err != nil {
			return was, fmt.Errorf("a node with %s: %w", was, err)
		}
	}
	if _, err := migrate.Run(t.Context(), n.options(to), n.drivers...); err != nil {
		return was, fmt.Errorf("resumed: %w", err)
	}
	if err := n.check(to, identity); err != nil {
		return was, fmt.Errorf("after the migration: %w", err)
	}
	if names := n.names(t); strings.Contains(names, "migration.json") && !strings.Contains(names, "migration.json.tmp") {
		return was, fmt.Errorf("after the migration there are %s", names)
	}
	return was, nil
}

// owner returns the engine that the directory says has the data.
func (n *node) owner(from, to string) (string, error) {
	hold, err := storage.HoldOffline(storage.Options{Dir: n.dir, FS: n.fs}, n.drivers...)
	if err != nil {
		return "", err
	}
	name := hold.Identity().Engine
	if err := hold.Close(); err != nil {
		return "", err
	}
	if name != from && name != to {
		return "", fmt.Errorf("the directory belongs to %q", name)
	}
	return name, nil
}

// fault has operations of a disk fail: one, or all from one on.
type fault struct {
	at    int64
	after bool // all that follow as well
	err   error
	own   bool // only the steps of the migration count

	count atomic.Int64
	mu    sync.Mutex
	op    vfs.Op
}

func (f *fault) before(op vfs.Op) error {
	if !vfs.Mutates(op) || f.own && !own(op) {
		if f.after && f.count.Load() >= f.at && vfs.Mutates(op) {
			return f.error(op)
		}
		return nil
	}
	n := f.count.Add(1)
	if n == f.at {
		f.mu.Lock()
		f.op = op
		f.mu.Unlock()
	}
	if n == f.at || f.after && n > f.at {
		return f.error(op)
	}
	return nil
}

// error is the fault, but a removal needs no room on a disk that is full.
func (f *fault) error(op vfs.Op) error {
	if errors.Is(f.err, syscall.ENOSPC) && (op.Kind == errorfs.OpRemove || op.Kind == errorfs.OpRemoveAll) {
		return nil
	}
	return &os.PathError{Op: "write", Path: op.Path, Err: f.err}
}

func (f *fault) reached() bool { return f.count.Load() >= f.at }

// TestFailEverywhere has operations fail: each step of the migration and every
// few of those of its engines, once, or with a disk that is full from then on. The
// migration says so, unless it was the removal of what is of no use any more; a
// node finds its data; and with a disk that works the migration is completed, or
// given up.
func TestFailEverywhere(t *testing.T) {
	for _, way := range ways() {
		for _, kind := range []struct {
			name  string
			err   error
			after bool
			own   bool
			step  int64
		}{
			{"one step", vfs.ErrInjected, false, true, 1},
			{"full from a step on", syscall.ENOSPC, true, true, 1},
			{"one operation", vfs.ErrInjected, false, false, 3},
			{"full from an operation on", syscall.ENOSPC, true, false, 4},
		} {
			t.Run(fmt.Sprintf("%s-%s/%s", way[0], way[1], kind.name), func(t *testing.T) {
				runs := 0
				for at := int64(1); ; at += kind.step {
					f := &fault{at: at, after: kind.after, err: kind.err, own: kind.own}
					if err := failing(t, way[0], way[1], f); err != nil {
						t.Errorf("failure of operation %d, %v of %s: %v", at, f.op.Kind, f.op.Path, err)
					}
					if !f.reached() {
						break
					}
					runs++
				}
				if t.Logf("%d failures", runs); runs < 10 {
					t.Error("hardly anything failed")
				}
			})
		}
	}
}

func failing(t *testing.T, from, to string, f *fault) error {
	disk := vfs.NewDisk()
	n, identity := memNode(t, disk.FS(), from)
	o := n.options(to)
	o.FS = vfs.Watch(disk.FS(), f.before)
	_, err := migrate.Run(t.Context(), o, n.drivers...)
	switch {
	case !f.reached() && err != nil:
		return fmt.Errorf("nothing failed, and yet: %w", err)
	case err != nil && !errors.Is(err, f.err):
		return fmt.Errorf("it says %w, which is not the failure", err)
	case errors.Is(err, syscall.ENOSPC) && !strings.Contains(err.Error(), "make room on"):
		return fmt.Errorf("%w: does not say what to do", err)
	}
	was, ownerErr := n.owner(from, to)
	if ownerErr != nil {
		return ownerErr
	}
	if err == nil && was != to {
		return errors.New("it says that it has succeeded, and the data is where it was")
	}
	if f.at%2 == 0 && was == from {
		return n.givenUp(was, identity)
	}
	_, err = n.recover(t, from, to, identity, f.at%4 == 1)
	return err
}

// givenUp aborts what has failed, if it had begun.
func (n *node) givenUp(was string, identity storage.Identity) error {
	if _, err := migrate.Abort(n.options(""), n.drivers...); err != nil && !errors.Is(err, migrate.ErrInvalid) {
		return fmt.Errorf("given up: %w", err)
	}
	return n.check(was, identity)
}
