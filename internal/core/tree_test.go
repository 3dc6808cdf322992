package core_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

func TestTreeReportsAddUp(t *testing.T) {
	a := core.TreeReport{Building: 1, Pairs: 10, Compared: 4, Since: 0, Exchanges: 1, Differing: 2, Repaired: 3, Built: 4, Loaded: 5, Wrong: 6}
	b := core.TreeReport{Building: 2, Pairs: 5, Compared: 5, Since: time.Hour, Exchanges: 10, Differing: 20, Repaired: 30, Built: 40, Loaded: 50, Wrong: 60}
	want := core.TreeReport{Building: 3, Pairs: 15, Compared: 9, Since: 0, Exchanges: 11, Differing: 22, Repaired: 33, Built: 44, Loaded: 55, Wrong: 66}
	if got := a.Plus(b); got != want || b.Plus(a) != want {
		t.Errorf("%+v; want %+v", got, want)
	}
	later := core.TreeReport{Pairs: 1, Since: 2 * time.Hour}
	if got := b.Plus(later).Since; got != time.Hour {
		t.Errorf("compared since %v; want the earlier time", got)
	}
	// A shard that leads no pair has nothing to say about when.
	none := core.TreeReport{}
	if b.Plus(none) != b || none.Plus(b) != b {
		t.Error("an empty report changes another")
	}
}

func TestKeysOfTreesAndData(t *testing.T) {
	from, to := core.SavedTrees()
	for _, p := range []ring.Partition{0, 1, 1<<16 - 1} {
		key := core.TreeKey(p)
		if got, ok := core.TreePartition(key); !ok || got != p {
			t.Errorf("partition %d of the key of %d, %v", got, p, ok)
		}
		if bytes.Compare(key, from) < 0 || bytes.Compare(key, to) >= 0 || core.IsDataKey(key) {
			t.Errorf("the tree of %d does not stand among trees", p)
		}
	}
	key := []byte("some key")
	data := core.DataKey(key)
	if _, ok := core.TreePartition(data); ok || !core.IsDataKey(data) || core.DataPosition(data) != ring.Hash(key) {
		t.Error("a data key is taken for another, or stands at another position")
	}
	if control := core.ControlKey("identity"); core.IsDataKey(control) {
		t.Error("Control's records are taken for data")
	}
}
