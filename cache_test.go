package dynamo

import (
	"testing"
	"time"
)

// recordHits returns how many reads of a node's records its cache had, and its
// bytes.
func recordHits(t *testing.T, n *Node) (hits, bytes float64) {
	t.Helper()
	for _, family := range gather(t, n) {
		switch family.GetName() {
		case "dynamo_record_cache_bytes":
			bytes = family.GetMetric()[0].GetGauge().GetValue()
		case "dynamo_record_cache_requests_total":
			for _, m := range family.GetMetric() {
				if m.GetLabel()[0].GetValue() == "hit" {
					hits = m.GetCounter().GetValue()
				}
			}
		}
	}
	return hits, bytes
}

// RecordCacheBytes keeps the records of keys in use in memory, and 0 none.
func TestRecordCacheBytes(t *testing.T) {
	for _, bytes := range []int64{0, 1 << 20} {
		cfg := DefaultConfig()
		cfg.N, cfg.R, cfg.W = 1, 1, 1
		cfg.RequestTimeout = time.Minute // as patience
		cfg.StoragePath = t.TempDir()
		cfg.RecordCacheBytes = bytes
		n, err := NewNode("n1", "127.0.0.1:0", cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Put(t.Context(), "key", []byte("value"), nil, Overwrite()); err != nil {
			t.Error(err)
		}
		for range 3 {
			if _, err := n.Get(t.Context(), "key"); err != nil {
				t.Error(err)
			}
		}
		hits, held := recordHits(t, n)
		if (hits >= 2) != (bytes > 0) || (held > 0) != (bytes > 0) {
			t.Errorf("with RecordCacheBytes %d there were %v hits, and %v bytes are held", bytes, hits, held)
		}
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	}
}
