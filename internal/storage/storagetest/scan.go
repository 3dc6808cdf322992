package storagetest

import (
	"fmt"
	"math"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// fill commits the keys 000 … n-1, each with a value of ten bytes, and returns
// them as pairs.
func fill(t *testing.T, e storage.Engine, n int) []pair {
	t.Helper()
	batch := make([]core.Write, 0, n)
	pairs := make([]pair, 0, n)
	for i := range n {
		p := pair{fmt.Sprintf("%03d", i), fmt.Sprintf("%010d", i)}
		pairs = append(pairs, p)
		batch = append(batch, set(p.key, p.value))
	}
	put(t, e, batch...)
	return pairs
}

// pairBytes is what one pair of fill counts for in a limit.
const pairBytes = 3 + 10

func testScanRanges(t *testing.T, e storage.Engine) {
	pairs := fill(t, e, 10)
	for _, test := range []struct {
		name     string
		from, to []byte
		want     []pair
	}{
		{"everything", nil, nil, pairs},
		{"everything, from the empty key", []byte{}, nil, pairs},
		{"to a key that is there", nil, []byte("003"), pairs[:3]},
		{"from a key that is there", []byte("003"), nil, pairs[3:]},
		{"between", []byte("003"), []byte("005"), pairs[3:5]},
		{"bounds that are not keys", []byte("0025"), []byte("0055"), pairs[3:6]},
		{"one key", []byte("003"), []byte("003\x00"), pairs[3:4]},
		{"empty", []byte("003"), []byte("003"), nil},
		{"backwards", []byte("005"), []byte("003"), nil},
		{"to the empty key", nil, []byte{}, nil},
		{"before all", []byte("!"), []byte("#"), nil},
		{"after all", []byte("1"), nil, nil},
		{"far beyond", nil, []byte{0xff}, pairs},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, next := scan(t, e, test.from, test.to, everything())
			if err := equal(got, test.want); err != nil {
				t.Error(err)
			}
			if next != nil {
				t.Errorf("goes on at %q, want the end", next)
			}
		})
	}
}

func testScanLimits(t *testing.T, e storage.Engine) {
	pairs := fill(t, e, 10)
	for _, test := range []struct {
		limit core.Limit
		want  int // pairs from the first on
	}{
		{core.Limit{Keys: 3, Bytes: math.MaxInt}, 3},
		{core.Limit{Keys: 9, Bytes: math.MaxInt}, 9},
		{core.Limit{Keys: 10, Bytes: math.MaxInt}, 10},
		{core.Limit{Keys: 11, Bytes: math.MaxInt}, 10},
		{core.Limit{Keys: math.MaxInt, Bytes: 1}, 1},
		{core.Limit{Keys: math.MaxInt, Bytes: pairBytes}, 1},
		{core.Limit{Keys: math.MaxInt, Bytes: pairBytes + 1}, 2},
		{core.Limit{Keys: math.MaxInt, Bytes: 4 * pairBytes}, 4},
		{core.Limit{Keys: 3, Bytes: 2 * pairBytes}, 2},
		{core.Limit{Keys: 2, Bytes: 3 * pairBytes}, 2},
		{core.Limit{}, 1},
	} {
		t.Run(fmt.Sprintf("%+v", test.limit), func(t *testing.T) {
			got, next := scan(t, e, nil, nil, test.limit)
			if err := equal(got, pairs[:test.want]); err != nil {
				t.Error(err)
			}
			switch {
			case test.want == len(pairs) && next != nil:
				t.Errorf("goes on at %q, want the end", next)
			case test.want < len(pairs) && string(next) != pairs[test.want].key:
				t.Errorf("goes on at %q, want %q", next, pairs[test.want].key)
			}
		})
	}
	t.Run("at the end of the range", func(t *testing.T) {
		if _, next := scan(t, e, nil, []byte("003"), core.Limit{Keys: 3, Bytes: math.MaxInt}); next != nil {
			t.Errorf("goes on at %q, want the end", next)
		}
	})
}

func testScanResumes(t *testing.T, e storage.Engine) {
	pairs := fill(t, e, 100)
	for _, limit := range []core.Limit{
		{Keys: 1, Bytes: math.MaxInt},
		{Keys: 7, Bytes: math.MaxInt},
		{Keys: 100, Bytes: 5 * pairBytes},
		{},
	} {
		var got []pair
		calls := 0
		for from, more := []byte(nil), true; more; calls++ {
			part, next := scan(t, e, from, nil, limit)
			if len(part) == 0 || calls > len(pairs) {
				t.Fatalf("%+v: a scan from %q shows nothing, or does not end", limit, from)
			}
			got = append(got, part...)
			from, more = next, next != nil
		}
		if err := equal(got, pairs); err != nil {
			t.Errorf("%+v: %v", limit, err)
		}
	}
}

func testScanStops(t *testing.T, e storage.Engine) {
	pairs := fill(t, e, 10)
	for _, n := range []int{1, 5, 10} {
		shown := 0
		next, err := e.Scan(nil, nil, everything(), func(_, _ []byte) bool {
			shown++
			return shown < n
		})
		if err != nil || shown != n {
			t.Errorf("told to stop after %d pairs, it showed %d, %v", n, shown, err)
		}
		switch {
		case n == len(pairs) && next != nil:
			t.Errorf("stopped after the last pair, it goes on at %q, want the end", next)
		case n < len(pairs) && string(next) != pairs[n].key:
			t.Errorf("stopped after %d pairs, it goes on at %q, want %q", n, next, pairs[n].key)
		}
	}
}

// testScanCallsBack uses the engine from within a scan.
func testScanCallsBack(t *testing.T, e storage.Engine) {
	pairs := fill(t, e, 10)
	_, err := e.Scan(nil, nil, everything(), func(k, v []byte) bool {
		if got, ok := get(t, e, string(k)); !ok || got != string(v) {
			t.Errorf("within a scan, %q reads %q, %v", k, got, ok)
		}
		put(t, e, set("copy of "+string(k), string(v)))
		part, _ := scan(t, e, k, nil, core.Limit{})
		return len(part) == 1 && part[0].key == string(k)
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(all(t, e)); n != 2*len(pairs) {
		t.Errorf("%d pairs after each of %d was copied", n, len(pairs))
	}
}

// testScanIsOneMoment changes under a scan what it has not shown yet.
func testScanIsOneMoment(t *testing.T, e storage.Engine) {
	pairs := fill(t, e, 100)
	var got []pair
	_, err := e.Scan(nil, nil, everything(), func(k, v []byte) bool {
		if len(got) == 0 {
			put(t, e, set("050", "changed"), remove("051"), set("0515", "new"), remove("099"))
		}
		got = append(got, pair{string(k), string(v)})
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := equal(got, pairs); err != nil {
		t.Errorf("a scan shows what was committed after it began: %v", err)
	}
}

func testSlicesStay(t *testing.T, e storage.Engine) {
	pairs := fill(t, e, 100)
	value, err := e.Get([]byte("007"))
	if err != nil {
		t.Fatal(err)
	}
	var keys, values [][]byte
	if _, err := e.Scan(nil, nil, everything(), func(k, v []byte) bool {
		keys, values = append(keys, k), append(values, v)
		return true
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		put(t, e, set(fmt.Sprintf("%03d", i), "changed"), remove(fmt.Sprintf("%03d", (i*7)%100)))
	}
	if string(value) != pairs[7].value {
		t.Errorf("what Get returned has changed to %q", value)
	}
	var got []pair
	for i := range keys {
		got = append(got, pair{string(keys[i]), string(values[i])})
	}
	if err := equal(got, pairs); err != nil {
		t.Errorf("what Scan showed has changed: %v", err)
	}
}

// testBatchIsNotKept uses one slice of writes again and again, as loops do.
func testBatchIsNotKept(t *testing.T, e storage.Engine) {
	batch := make([]core.Write, 1)
	done := make(chan error, 100)
	var want []pair
	for i := range cap(done) {
		p := pair{fmt.Sprintf("%03d", i), fmt.Sprint(i)}
		batch[0] = set(p.key, p.value)
		e.Commit(batch, core.Sync, func(err error) { done <- err })
		clear(batch)
		want = append(want, p)
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if err := equal(all(t, e), want); err != nil {
		t.Error(err)
	}
}
