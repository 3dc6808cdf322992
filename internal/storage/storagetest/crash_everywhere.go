package storagetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// OpenOn opens a data directory on a file system as a node does.
type OpenOn func(fs vfs.FS) (storage.Engine, storage.Identity, error)

// crashPoint is a disk as a power cut leaves it, and what must be on it.
type crashPoint struct {
	number   int
	op       vfs.Op // which did not take place any more
	keep     int    // percent of what was not synced
	disk     *vfs.Disk
	least    int              // batches that were durable
	most     int              // batches that were committed
	identity storage.Identity // zero as long as no start had returned
}

func (p crashPoint) String() string {
	return fmt.Sprintf("crash point %d, before operation %v of %s, keeping %d %% of what was not synced",
		p.number, p.op.Kind, p.op.Path, p.keep)
}

// check starts again after the crash.
func (p crashPoint) check(open OpenOn, h *History) error {
	e, identity, err := open(p.disk.FS())
	if err != nil {
		return err
	}
	if p.identity != (storage.Identity{}) && identity != p.identity {
		return fmt.Errorf("the identity is %+v, and was %+v", identity, p.identity)
	}
	if _, err := h.Check(e, p.least, p.most); err != nil {
		return err
	}
	return e.Close()
}

// crasher cuts the power before every operation that changes the disk.
type crasher struct {
	disk    *vfs.Disk
	history *History
	points  chan crashPoint
	sort    func(op vfs.Op) string

	mu       sync.Mutex // held over an operation's crash points, to number them
	rng      *rand.Rand
	number   int
	starts   int            // from the disks of all points
	seen     map[string]int // crash points by the sort of file that was changed
	identity storage.Identity
}

// before is called before every operation on the disk.
func (c *crasher) before(op vfs.Op) error {
	if !vfs.Mutates(op) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number++
	c.seen[c.sort(op)]++
	// Percent of what was not synced: nothing; some of the pages, so that there
	// are holes; and all, which is the writes up to here and no more.
	keeps := []int{0, 50, 100}
	if c.ofDirectory(op) {
		keeps = append(keeps, directoryCuts[:]...)
	}
	c.starts += len(keeps)
	for _, keep := range keeps {
		p := crashPoint{number: c.number, op: op, keep: keep, identity: c.identity}
		p.least = c.history.Synced()
		p.disk = c.disk.PowerCut(c.rng, keep)
		p.most = c.history.Committed()
		c.points <- p
	}
	return nil
}

// directoryCuts are further disks for a power cut before a directory is synced:
// what changed in it may have taken place in any combination.
var directoryCuts = [...]int{50, 50, 50, 50} //nolint:gochecknoglobals // a constant table

// ofDirectory reports whether op syncs a directory.
func (c *crasher) ofDirectory(op vfs.Op) bool {
	if !vfs.Syncs(op) {
		return false
	}
	info, err := c.disk.FS().Stat(op.Path)
	return err == nil && info.IsDir()
}

func (c *crasher) opened(i storage.Identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.identity = i
}

// CrashEverywhere runs a script over two lives of an engine, with a clean stop
// in between, and starts again from what a power cut before each operation would
// leave: with nothing that was not synced, with some pages of it, and with all of
// it, which may end in half a write. sort says what sort of file an operation
// changes; the script must reach each of sorts.
func CrashEverywhere(t *testing.T, open OpenOn, sort func(op vfs.Op) string, sorts ...string) {
	t.Helper()
	c := &crasher{
		disk:    vfs.NewDisk(),
		history: NewHistory(),
		points:  make(chan crashPoint),
		rng:     rand.New(rand.NewPCG(1, 2)),
		seen:    make(map[string]int),
		sort:    sort,
	}
	var checkers sync.WaitGroup
	for range 2 {
		checkers.Go(func() {
			for p := range c.points {
				if err := p.check(open, c.history); err != nil {
					t.Errorf("%v: %v", p, err)
				}
			}
		})
	}
	fs := vfs.SplitWrites(vfs.Watch(c.disk.FS(), c.before))
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2 {
		e, identity, err := open(fs)
		if err != nil {
			t.Fatal(err)
		}
		c.opened(identity)
		script(t, e, c.history, rng)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(c.points)
	checkers.Wait()
	t.Logf("%d crash points with three to seven disks each: %d starts; %d batches committed; %v",
		c.number, c.starts, c.history.Committed(), c.seen)
	for _, sort := range sorts {
		if c.seen[sort] == 0 {
			t.Errorf("no crash point at a %s: the script does not reach everything", sort)
		}
	}
}

// script commits batches, some of them without a sync and some without waiting
// for the one before.
func script(t *testing.T, e storage.Engine, h *History, rng *rand.Rand) {
	t.Helper()
	const batches = 44
	done := make(chan error, batches)
	for i := range batches {
		d := core.Sync
		if i%5 == 1 {
			d = core.NoSync
		}
		h.Commit(e, rng, d, 3000, done)
		if i%4 == 3 {
			for range 4 {
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
