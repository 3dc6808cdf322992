package lss_test

import (
	"math/rand/v2"
	"testing"

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
