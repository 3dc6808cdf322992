package pebble

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage/vfs"
)

// Filters tell what is not there in every level but the last, which has none:
// pebble's gets never ask one of that.
func TestFiltersOfLevels(t *testing.T) {
	e, err := Open(Options{
		Dir: "data", Create: true, FS: vfs.NewDisk().FS(), CacheBytes: 1 << 20, Logger: slog.New(slog.DiscardHandler),
		MemTableBytes: 4 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	const keys = 512 // which fit into the first memtable
	for range 2 {    // two tables that overlap, so that neither is the next level's as it is
		for i := range keys {
			e.Commit([]core.Write{{Key: fmt.Appendf(nil, "key-%04d", i), Value: make([]byte, 100)}}, core.NoSync, func(error) {})
		}
		if err := e.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if m := e.db.Metrics(); m.Levels[0].TablesCount == 0 {
		t.Fatal("no table is in the first level")
	}
	if told, asked := filtered(t, e, keys); told < 2*keys*9/10 || asked > keys/10 {
		t.Errorf("two tables of the first level are asked for %d keys that are not there: filters tell %d times, and %d times not", keys, told, asked)
	}
	if err := e.db.Compact(context.Background(), []byte("a"), []byte("z"), false); err != nil {
		t.Fatal(err)
	}
	m := e.db.Metrics()
	if last := m.Levels[len(m.Levels)-1]; last.TablesCount == 0 || m.ReadAmp() != 1 {
		t.Errorf("%d tables are in the last level, and a read looks into %d", last.TablesCount, m.ReadAmp())
	}
	tables, err := e.db.SSTables(pebble.WithProperties())
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables[len(tables)-1] {
		if table.Properties.FilterPolicyName != "" || table.Properties.FilterSize != 0 {
			t.Errorf("a table of the last level has a filter of %d bytes", table.Properties.FilterSize)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// filtered reads so many keys that are not there. It returns how often a filter
// told that, and how often one was asked and did not.
func filtered(t *testing.T, e *Engine, keys int64) (told, asked int64) {
	t.Helper()
	before := e.db.Metrics().Filter
	for i := range keys {
		if _, err := e.Get(fmt.Appendf(nil, "key-%04d-", i)); !errors.Is(err, core.ErrNotFound) {
			t.Fatalf("get: %v", err)
		}
	}
	after := e.db.Metrics().Filter
	return after.Hits - before.Hits, after.Misses - before.Misses
}
