package pebble

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

// A stall counts from its beginning, and one under way so far.
func TestStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s stalls
		want := func(count uint64, spent time.Duration) {
			t.Helper()
			var got storage.Stats
			s.read(&got)
			if got.Stalls != count || got.Stalled != spent {
				t.Errorf("%d stalls of %v; want %d of %v", got.Stalls, got.Stalled, count, spent)
			}
			if by := got.StallsBy; by[storage.StallMemory].Count+by[storage.StallTables].Count != count {
				t.Errorf("%d stalls are for memory and %d for tables; want %d", by[0].Count, by[1].Count, count)
			}
		}
		want(0, 0)
		s.begin(pebble.WriteStallBeginInfo{Reason: "memtable count limit reached"})
		<-time.After(time.Second)
		want(1, time.Second)
		s.end()
		<-time.After(time.Second)
		want(1, time.Second)
		s.begin(pebble.WriteStallBeginInfo{Reason: "L0 file count limit exceeded"})
		<-time.After(time.Minute)
		s.end()
		want(2, time.Second+time.Minute)
	})
}
