package core_test

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// A partition's hints are one range, as its data is, and the two are apart.
func TestHintsOfAPartitionAreOneRange(t *testing.T) {
	in := func(k, from, to []byte) bool { return bytes.Compare(k, from) >= 0 && bytes.Compare(k, to) < 0 }
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "key")
		bits := rapid.IntRange(0, 16).Draw(t, "bits")
		at := ring.Hash(key)
		first := at
		last := ^ring.Position(0)
		if bits > 0 {
			first = at >> (64 - bits) << (64 - bits)
			last = first | (1<<(64-bits) - 1)
		} else {
			first = 0
		}
		data, hint := core.DataKey(key), core.HintKey(key)
		dataFrom, dataTo := core.DataRange(first, last)
		hintFrom, hintTo := core.HintRange(first, last)
		if !in(data, dataFrom, dataTo) || !in(hint, hintFrom, hintTo) || in(hint, dataFrom, dataTo) || in(data, hintFrom, hintTo) {
			t.Fatalf("%x is at %x and %x, in [%x, %x) and [%x, %x)", key, data, hint, dataFrom, dataTo, hintFrom, hintTo)
		}
		if first > 0 {
			if from, to := core.HintRange(0, first-1); in(hint, from, to) {
				t.Fatalf("%x is in the range before its partition, too", hint)
			}
		}
		all, end := core.AllHints()
		if !in(hint, all, end) || in(data, all, end) || !core.IsHintKey(hint) || core.IsHintKey(data) || !core.IsDataKey(data) {
			t.Fatalf("%x and %x are not told apart", hint, data)
		}
		if !bytes.Equal(core.ClientKey(hint), key) {
			t.Fatalf("%x has the client's key %x", hint, core.ClientKey(hint))
		}
	})
}

func TestTallyKeys(t *testing.T) {
	from, to := core.AllHintTallies()
	for _, p := range []ring.Partition{0, 1, 255, 256, 65535} {
		k := core.HintTallyKey(p)
		if got := core.TallyPartition(k); got != p || bytes.Compare(k, from) < 0 || bytes.Compare(k, to) >= 0 {
			t.Errorf("partition %d has the key %x, which is that of %d", p, k, got)
		}
	}
}

func TestHintReportsAddUp(t *testing.T) {
	a := core.HintReport{Bytes: 1, Limit: 10, Records: 1, Pending: []core.HintsPending{{Target: "a", Keys: 1}, {Target: "c", Keys: 2}}, Stored: 5}
	b := core.HintReport{Bytes: 2, Limit: 10, Records: 2, Pending: []core.HintsPending{{Target: "b", Keys: 4}, {Target: "c", Keys: 1}}, Delivered: 3, Refused: 1, Expired: 2}
	sum := a.Plus(b)
	want := []core.HintsPending{{Target: "a", Keys: 1}, {Target: "b", Keys: 4}, {Target: "c", Keys: 3}}
	if !slices.Equal(sum.Pending, want) || sum.Bytes != 3 || sum.Limit != 20 || sum.Records != 3 ||
		sum.Stored != 5 || sum.Delivered != 3 || sum.Refused != 1 || sum.Expired != 2 {
		t.Errorf("%+v", sum)
	}
	if a.Pending[1].Keys != 2 {
		t.Error("adding has changed what was added to")
	}
}
