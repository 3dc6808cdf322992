package storagetest

import (
	"sync"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// CommitDoesNotWait has a disk take its time for every sync: batches that are
// committed meanwhile are visible at once, and none is told to be durable.
func CommitDoesNotWait(t *testing.T, open OpenOn) {
	t.Helper()
	var gate sync.RWMutex // held while the disk syncs nothing
	e, _, err := open(vfs.Watch(vfs.NewDisk().FS(), func(op vfs.Op) error {
		if vfs.Syncs(op) {
			gate.RLock()
			defer gate.RUnlock()
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	put(t, e, set("a", "0"))
	gate.Lock()
	done := make(chan error, 3)
	for i, batch := range [][]core.Write{{set("a", "1")}, {set("b", "2")}, {set("a", "3"), remove("b")}} {
		d := core.Sync
		if i == 1 {
			d = core.NoSync
		}
		e.Commit(batch, d, func(err error) { done <- err })
	}
	if err := equal(all(t, e), []pair{{"a", "3"}}); err != nil {
		t.Errorf("while the disk has synced nothing: %v", err)
	}
	if n := len(done); n != 0 {
		t.Errorf("%d completions while the disk has synced nothing", n)
	}
	gate.Unlock()
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	mustClose(t, e)
}
