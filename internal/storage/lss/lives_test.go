package lss_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/storagetest"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// TestManyLives has a store live through many starts, crashes and stops, with
// deletions whose records are merged away long before those that they delete:
// nothing comes back, and nothing is lost.
func TestManyLives(t *testing.T) {
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 7))
		disk, h := vfs.NewDisk(), storagetest.NewHistory()
		var merges uint64
		least := 0
		for life := range 25 {
			e := mustOpen(t, options(disk.FS(), life == 0))
			if _, err := h.Check(e, least, h.Committed()); err != nil {
				t.Fatalf("seed %d, life %d: %v", seed, life, err)
			}
			done := make(chan error, 1)
			for range 20 + rng.IntN(60) {
				h.Commit(e, rng, core.Durability(rng.IntN(2)), []int{20, 500, 8000}[rng.IntN(3)], done)
				if err := <-done; err != nil {
					t.Fatal(err)
				}
			}
			mustCommit(t, e) // so that the history goes on from here
			merges += e.Stats().Compactions
			if life%2 == 0 {
				disk = disk.PowerCut(rng, []int{0, 50, 100}[rng.IntN(3)])
			}
			least = h.Committed()
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if merges == 0 {
			t.Errorf("seed %d: nothing was merged", seed)
		}
	}
}

// TestDisk has the room that a store takes follow what it holds, however often
// that is written, deleted and opened again.
func TestDisk(t *testing.T) {
	disk := vfs.NewDisk()
	for life := range 10 {
		e := mustOpen(t, options(disk.FS(), life == 0))
		churn(t, e, 300)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	e := mustOpen(t, options(disk.FS(), false))
	var s storage.Stats
	for s = e.Stats(); s.CompactionDebt > 0 || s.DiskBytes > 8*smallSegment; s = e.Stats() {
		churn(t, e, 1) // until the merger has come around; a test that waits for ever has found that it does not
	}
	if s.Keys != 0 {
		t.Errorf("%d keys where all are deleted", s.Keys)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if n := len(names(t, disk.FS())); n > 40 {
		t.Errorf("%d files for a store that is empty: %q", n, names(t, disk.FS()))
	}
}

// TestKilled kills the process and not the machine, starts again, and only
// then cuts the power: what the second life has shown must be there in the
// third, though the first had not synced it.
func TestKilled(t *testing.T) {
	disk := vfs.NewDisk()
	var killed atomic.Bool
	e := mustOpen(t, options(vfs.Watch(disk.FS(), func(op vfs.Op) error {
		if killed.Load() && vfs.Mutates(op) {
			return vfs.ErrInjected
		}
		return nil
	}), true))
	value := make([]byte, 30_000) // a segment each, so that they are written and synced but for the last
	for i := range 5 {
		if err := commit(e, core.NoSync, core.Write{Key: fmt.Append(nil, i), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	if err := commit(e, core.NoSync, core.Write{Key: []byte("large"), Value: make([]byte, 1<<20)}); err != nil {
		t.Fatal(err)
	}
	for { // until the large one is written, which nobody has asked to be synced
		if s := e.Stats(); s.MemoryBytes < 1<<20 || s.DiskBytes > 1<<20 {
			break
		}
	}
	killed.Store(true)
	if err := commit(e, core.Sync); !errors.Is(err, storage.ErrFailed) {
		t.Fatalf("a sync of a process that is killed: %v", err)
	}
	if err := e.Close(); !errors.Is(err, storage.ErrFailed) {
		t.Fatalf("close of a process that is killed: %v", err)
	}
	e = mustOpen(t, options(disk.FS(), false))
	if n := e.Stats().Keys; n != 6 {
		t.Fatalf("%d keys are shown of the 6 that were written", n)
	}
	disk = disk.PowerCut(nil, 0)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = mustOpen(t, options(disk.FS(), false))
	if v, err := e.Get([]byte("large")); err != nil || len(v) != 1<<20 {
		t.Errorf("after the power cut it reads %d bytes, %v; and was shown before", len(v), err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestBackground has merging wait for each of its steps, however much there is to
// merge, hold what it was admitted with until there is no more, and be charged for
// what it copies.
func TestBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{steps: make(chan struct{})}
		o := options(vfs.NewDisk().FS(), true)
		o.Background = g
		e := mustOpen(t, o)
		value := make([]byte, 1000)
		for i := range 300 {
			key := fmt.Append(nil, "churn ", i%50)
			if i%100 == 0 {
				key = fmt.Append(nil, "stays ", i)
			}
			mustCommit(t, e, core.Write{Key: key, Value: value})
		}
		synctest.Wait()
		s := e.Stats()
		if s.CompactionDebt == 0 || g.asked.Load() != 1 || g.held.Load() {
			t.Fatalf("%d steps are asked for with %d bytes to merge; want one, which waits", g.asked.Load(), s.CompactionDebt)
		}
		before := s.Compactions
		for steps := int64(1); e.Stats().CompactionDebt > 0; steps++ {
			held := g.held.Load()
			g.steps <- struct{}{}
			synctest.Wait()
			switch n := g.asked.Load(); {
			case n > steps+1:
				t.Fatalf("%d steps are asked for when %d were admitted", n, steps)
			case steps > 1 && !held:
				t.Error("it has let go between two steps")
			}
		}
		if g.held.Load() {
			t.Error("with nothing to merge, it has not let go")
		}
		// What stays was in the first segments, and is copied at least once.
		if n := g.bytes.Load(); n < 3*1000 || e.Stats().Compactions == before {
			t.Errorf("%d bytes were copied by %d merges", n, e.Stats().Compactions-before)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
