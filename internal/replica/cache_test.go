package replica

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// cachedRecord returns a record as it is stored, with a value of so many bytes.
func cachedRecord(size int) []byte {
	b, _ := record{set: setOf("n1", string(make([]byte, size)))}.encode()
	return b
}

// A record is kept when it is durable, and read from then on without the store;
// a write over it is seen at once, and again when it is durable.
func TestCacheFollowsWhatIsDurable(t *testing.T) {
	h := newHarness(t)
	h.Replica = New(Config{Self: "a", Start: 1, Shard: 0, Shards: 4, CacheBytes: 1 << 20}, h.store)
	first := h.put("k", "1", version.Clock{})
	h.flush()
	h.store.Broken = errors.New("nobody reads the store")
	if got := h.read(); len(got.Versions) != 1 || string(got.Versions[0].Data) != "1" {
		t.Errorf("what was written and is durable reads as %v", got.Versions)
	}
	h.put("k", "2", first.Context)
	for _, when := range []string{"pending", "durable"} {
		if got := h.read(); len(got.Versions) != 1 || string(got.Versions[0].Data) != "2" {
			t.Errorf("a write over it that is %s reads as %v", when, got.Versions)
		}
		h.flush()
	}
	set, _ := h.Read([]byte("k"), &h.out)
	if !h.Remove([]byte("k"), set, &h.out) {
		t.Error("the key is not removed")
	}
	h.flush()
	h.store.Broken = nil
	if got := h.read(); !got.Clock.IsEmpty() {
		t.Errorf("a key that was removed reads as %v", got)
	}
	if c := h.Cache(); c.Bytes != 0 || c.Hits == 0 || c.Misses == 0 {
		t.Errorf("the cache of a store without a key is %+v", c)
	}
}

// What is read from the store is kept as well, and the limit 0 keeps nothing.
func TestCacheOfWhatIsRead(t *testing.T) {
	h := newHarness(t)
	h.put("k", "1", version.Clock{})
	h.flush() // by a replica without a cache
	for _, c := range []struct {
		bytes int
		hits  uint64
	}{{1 << 20, 2}, {0, 0}} {
		r := New(Config{Self: "a", Start: 2, Shard: 0, Shards: 4, CacheBytes: c.bytes}, h.store)
		for range 3 {
			if set, _ := r.Read([]byte("k"), &h.out); len(set.Versions) != 1 {
				t.Fatalf("the key reads as %v", set)
			}
		}
		if got := r.Cache(); got.Hits != c.hits || (got.Bytes > 0) != (c.hits > 0) {
			t.Errorf("with %d bytes three reads make %+v; want %d hits", c.bytes, got, c.hits)
		}
	}
}

// wrote has a cache take a value that is written and durable at once.
func wrote(c *cache, key string, value []byte) {
	c.settle(c.write([]byte(key), cached{value: value, flush: 1}))
}

// here says whether a cache has a key.
func here(c *cache, key string) bool { return c.get([]byte(key)) != nil }

// The cache is never above its limit with what is durable, knows exactly what it
// holds, and keeps what is pending whatever its size.
func TestCacheKeepsItsLimit(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	c := newCache(64 << 10)
	newest := make(map[string]string)
	pending := make(map[string]int)
	for i := range 20_000 {
		key := fmt.Sprint("key-", rng.IntN(300))
		at, isPending := pending[key]
		switch rng.IntN(5) {
		case 0:
			pending[key] = c.write([]byte(key), cached{deleted: true, flush: 1})
			newest[key] = ""
		case 1:
			if here(&c, key) && !isPending && newest[key] == "" {
				t.Fatalf("step %d: a key that was removed is found", i)
			}
		case 2, 3:
			if isPending {
				c.settle(at)
				delete(pending, key)
			}
		default:
			value := cachedRecord(rng.IntN(12 << 10))
			pending[key] = c.write([]byte(key), cached{value: value, flush: 1})
			newest[key] = string(value)
		}
		size := 0
		for key, at := range c.at {
			e := &c.entries[at]
			if e.key != key || string(e.value) != newest[key] {
				t.Fatalf("step %d: %s is kept as another, or with another value", i, key)
			}
			if e.flush == 0 {
				size += costOf(e.key, e.value)
			}
		}
		if size != c.size || size > c.limit || len(c.at)+len(c.free) != len(c.entries) {
			t.Fatalf("step %d: %d bytes are counted, and there are %d, of %d; %d records and %d free in %d entries",
				i, c.size, size, c.limit, len(c.at), len(c.free), len(c.entries))
		}
		for key, at := range pending {
			if e := &c.entries[at]; e.key != key || e.flush != 1 {
				t.Fatalf("step %d: what is pending of %s has gone", i, key)
			}
		}
	}
}

// Keys that are written once do not push out one that is read again and again,
// and one very large record pushes out none.
func TestCacheGivesSecondChances(t *testing.T) {
	c := newCache(64 << 10)
	wrote(&c, "hot", cachedRecord(1<<10))
	for i := range 1000 {
		if !here(&c, "hot") {
			t.Fatalf("after %d keys that are written once the hot one is gone", i)
		}
		wrote(&c, fmt.Sprint("cold-", i), cachedRecord(1<<10))
	}
	before := len(c.at)
	wrote(&c, "huge", cachedRecord(16<<10))
	c.keep([]byte("huge too"), cachedRecord(16<<10), record{})
	if len(c.at) != before || here(&c, "huge") || here(&c, "huge too") {
		t.Errorf("a record of a quarter of the cache is kept, or others have gone: %d records of %d", len(c.at), before)
	}
}

// A record that was in the cache and has become too large for it is not shown
// as it was before.
func TestCacheDropsWhatHasGrown(t *testing.T) {
	c := newCache(64 << 10)
	wrote(&c, "k", cachedRecord(10))
	wrote(&c, "k", cachedRecord(32<<10))
	if here(&c, "k") || c.size != 0 {
		t.Errorf("the key is there as it was, or is counted: %d bytes", c.size)
	}
}

// BenchmarkReadCached is a read of a key in use, and of one that is read from a
// store in memory and decoded.
func BenchmarkReadCached(b *testing.B) {
	for _, bytes := range []int{0, 1 << 20} {
		b.Run(fmt.Sprintf("cache=%d", bytes), func(b *testing.B) {
			store := coretest.NewStore()
			store.Commit([]core.Write{{Key: core.DataKey([]byte("k")), Value: cachedRecord(1 << 10)}})
			r := New(Config{Self: "a", Start: 2, Shard: 0, Shards: 4, CacheBytes: bytes}, store)
			var out core.Out
			b.ReportAllocs()
			for b.Loop() {
				if set, _ := r.Read([]byte("k"), &out); len(set.Versions) != 1 {
					b.Fatal("the key is not there")
				}
			}
		})
	}
}
