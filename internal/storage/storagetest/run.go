package storagetest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

// Open returns an engine that is empty. The suites close it.
type Open func(t testing.TB) storage.Engine

// Run runs the conformance suite against an engine.
func Run(t *testing.T, open Open) {
	tests := []struct {
		name string
		test func(*testing.T, storage.Engine)
	}{
		{"Empty", testEmpty},
		{"VisibleAtReturn", testVisibleAtReturn},
		{"OverwriteAndDelete", testOverwriteAndDelete},
		{"OrderWithinBatch", testOrderWithinBatch},
		{"EmptyKeysAndValues", testEmptyKeysAndValues},
		{"EmptyKeyAlone", testEmptyKeyAlone},
		{"AnyBytes", testAnyBytes},
		{"LargeValues", testLargeValues},
		{"LargeBatch", testLargeBatch},
		{"ScanRanges", testScanRanges},
		{"ScanLimits", testScanLimits},
		{"ScanResumes", testScanResumes},
		{"ScanStops", testScanStops},
		{"ScanCallsBack", testScanCallsBack},
		{"ScanIsOneMoment", testScanIsOneMoment},
		{"SlicesStay", testSlicesStay},
		{"BatchIsNotKept", testBatchIsNotKept},
		{"CompletionOrder", testCompletionOrder},
		{"CompletionOnce", testCompletionOnce},
		{"EmptyBatch", testEmptyBatch},
		{"Concurrent", testConcurrent},
		{"Atomic", testAtomic},
		{"Stats", testStats},
		{"Close", testClose},
		{"CloseWaits", testCloseWaits},
		{"CloseWaitsForScan", testCloseWaitsForScan},
		{"CloseRaces", testCloseRaces},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := open(t)
			t.Cleanup(func() { mustClose(t, e) })
			test.test(t, e)
		})
	}
}

func testEmpty(t *testing.T, e storage.Engine) {
	if v, ok := get(t, e, "absent"); ok {
		t.Errorf("a key that was never written has the value %q", v)
	}
	if found := all(t, e); len(found) != 0 {
		t.Errorf("a new engine holds %v", found)
	}
}

func testVisibleAtReturn(t *testing.T, e storage.Engine) {
	for _, d := range []core.Durability{core.Sync, core.NoSync} {
		for i := range 50 {
			key, value := fmt.Sprintf("key %d/%d", d, i), fmt.Sprint(i)
			done := make(chan error, 1)
			e.Commit([]core.Write{set(key, value)}, d, func(err error) { done <- err })
			if got, ok := get(t, e, key); !ok || got != value {
				t.Fatalf("right after its commit, %q reads %q, %v", key, got, ok)
			}
			if got, _ := scan(t, e, []byte(key), nil, core.Limit{}); equal(got, []pair{{key, value}}) != nil {
				t.Fatalf("right after its commit, a scan from %q shows %v", key, got)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
}

func testOverwriteAndDelete(t *testing.T, e storage.Engine) {
	put(t, e, set("a", "1"), set("b", "1"))
	put(t, e, set("a", "2"))
	put(t, e, remove("b"))
	put(t, e, remove("never written"))
	if err := equal(all(t, e), []pair{{"a", "2"}}); err != nil {
		t.Error(err)
	}
	if _, ok := get(t, e, "b"); ok {
		t.Error("b is there after it was deleted")
	}
	put(t, e, set("b", "3"))
	if err := equal(all(t, e), []pair{{"a", "2"}, {"b", "3"}}); err != nil {
		t.Error(err)
	}
}

func testOrderWithinBatch(t *testing.T, e storage.Engine) {
	put(t, e,
		set("a", "1"), set("a", "2"),
		set("b", "1"), remove("b"),
		remove("c"), set("c", "1"))
	if err := equal(all(t, e), []pair{{"a", "2"}, {"c", "1"}}); err != nil {
		t.Error(err)
	}
}

func testEmptyKeysAndValues(t *testing.T, e storage.Engine) {
	put(t, e,
		core.Write{Key: []byte("empty"), Value: []byte{}},
		core.Write{Key: []byte("nil")},
		core.Write{Key: nil, Value: []byte("of the empty key")})
	for _, key := range []string{"empty", "nil"} {
		v, err := e.Get([]byte(key))
		if err != nil || v == nil || len(v) != 0 {
			t.Errorf("the empty value of %q reads %v, %v; want an empty slice that is not nil", key, v, err)
		}
	}
	if v, err := e.Get(nil); err != nil || string(v) != "of the empty key" {
		t.Errorf("the nil key reads %q, %v", v, err)
	}
	want := []pair{{"", "of the empty key"}, {"empty", ""}, {"nil", ""}}
	if err := equal(all(t, e), want); err != nil {
		t.Error(err)
	}
	put(t, e, core.Write{Key: []byte{}, Delete: true})
	if err := equal(all(t, e), want[1:]); err != nil {
		t.Error(err)
	}
}

// testEmptyKeyAlone writes the empty key again and again, and no other, so that
// engines have files with nothing but that in them; and then its neighbours.
func testEmptyKeyAlone(t *testing.T, e storage.Engine) {
	value := strings.Repeat("v", 2000)
	for range 60 {
		put(t, e, set("", value))
	}
	if err := equal(all(t, e), []pair{{"", value}}); err != nil {
		t.Error(err)
	}
	put(t, e, set("\x00\x00", "2"), set("\x00", "1"), set("\x00\x01", "3"))
	if err := equal(all(t, e), []pair{{"", value}, {"\x00", "1"}, {"\x00\x00", "2"}, {"\x00\x01", "3"}}); err != nil {
		t.Error(err)
	}
	got, next := scan(t, e, []byte{0}, []byte{0, 0}, core.Limit{})
	if err := equal(got, []pair{{"\x00", "1"}}); err != nil || next != nil {
		t.Errorf("from one zero to two: %v, goes on at %q", err, next)
	}
	put(t, e, remove(""))
	if _, next := scan(t, e, nil, nil, core.Limit{}); string(next) != "\x00\x00" {
		t.Errorf("after the first of them it goes on at %q", next)
	}
}

func testAnyBytes(t *testing.T, e storage.Engine) {
	var batch []core.Write
	var want []pair
	for first := range 256 {
		key := string([]byte{byte(first), 0, 0xff})
		batch = append(batch, set(key, key+key))
		want = append(want, pair{key, key + key})
	}
	long := strings.Repeat("\xff", id.MaxKeyBytes+16)
	batch = append(batch, set(long, "long"))
	want = append(want, pair{long, "long"})
	put(t, e, batch...)
	if err := equal(all(t, e), want); err != nil {
		t.Error(err)
	}
}

// testLargeValues has the largest value that may be configured, and the largest
// set of siblings that a merge may build of two.
func testLargeValues(t *testing.T, e storage.Engine) {
	for i, size := range []int{id.MaxValueBytes, 2 * id.MaxSetBytes} {
		key, small := fmt.Sprintf("large %d", i), fmt.Sprintf("small %d", i)
		large := bytes.Repeat([]byte("large"), size/5+1)
		put(t, e, core.Write{Key: []byte(key), Value: large}, set(small, "s"))
		if v, err := e.Get([]byte(key)); err != nil || !bytes.Equal(v, large) {
			t.Errorf("it reads %d bytes, %v; want the %d that were written", len(v), err, len(large))
		}
		if v, ok := get(t, e, small); !ok || v != "s" {
			t.Errorf("the small value beside it reads %q, %v", v, ok)
		}
	}
}

// testLargeBatch has as many writes in one batch as a loop makes at once, and
// some.
func testLargeBatch(t *testing.T, e storage.Engine) {
	const writes = 1500
	batch := make([]core.Write, 0, writes)
	want := make([]pair, 0, writes)
	for i := range writes {
		p := pair{fmt.Sprintf("%05d", i), fmt.Sprint(i)}
		batch, want = append(batch, set(p.key, p.value)), append(want, p)
	}
	put(t, e, batch...)
	if err := equal(all(t, e), want); err != nil {
		t.Error(err)
	}
}

func testStats(t *testing.T, e storage.Engine) {
	before := e.Stats()
	for i := range 10 {
		put(t, e, set(fmt.Sprint(i), "value"))
	}
	after := e.Stats()
	if n := after.Commits - before.Commits; n != 10 {
		t.Errorf("%d commits counted of 10", n)
	}
	if after.Keys != -1 && after.Keys != 10 {
		t.Errorf("%d keys counted of 10", after.Keys)
	}
	if after.MemoryBytes <= 0 {
		t.Errorf("%d bytes of memory", after.MemoryBytes)
	}
}
