package replica

import "github.com/dynamo-kv/dynamo/internal/core"

// cache keeps records of data keys that are durable, so that a key in use is
// neither read from the engine nor decoded each time. All writes to its keys
// pass through the overlay that owns it, which replaces what it has; so it
// never disagrees with the engine.
//
// It lets go by the clock algorithm: a hand goes round, takes from each record
// that was read since it last came by its second chance, and drops those that
// have none. A record comes in without one, so keys that are touched once, by
// a load say, push each other out and not those that are read again and again.
//
// What it holds is what the engine stores, not the record that was written:
// that shares the memory of the message that brought it, with up to hundreds
// of others in it, and a few records would hold on to all of these.
type cache struct {
	limit, size int // bytes, by costOf; with limit 0 it keeps nothing
	at          map[string]int
	entries     []cached // where the hand goes round; those without a key are free
	free        []int    // their indexes
	hand        int
	hits        uint64
	misses      uint64
}

// cached is one record.
type cached struct {
	key     string // data key or hint key
	value   []byte // as it is stored
	record  record // shares value's memory, once decoded
	decoded bool
	chance  bool // it was read since the hand came by
}

const (
	// cachedBytes is what a record takes in memory beside its key and value:
	// the entry, its place in the map, and what is decoded of a record with one
	// version and the clock entries of three nodes.
	cachedBytes = 640
	// cachedShare of the cache is the most that one record may take: a few very
	// large sets would leave room for nothing else.
	cachedShare = 8
)

func newCache(limit int) cache {
	return cache{limit: limit, at: make(map[string]int)}
}

func costOf(key string, value []byte) int { return len(key) + len(value) + cachedBytes }

// get returns a key's record, if it is here.
func (c *cache) get(key []byte) (r record, ok bool, err error) {
	i, ok := c.at[string(key)]
	if !ok {
		c.misses++
		return record{}, false, nil
	}
	c.hits++
	e := &c.entries[i]
	e.chance = true
	if !e.decoded {
		if e.record, err = decodeRecord(e.value); err != nil {
			return record{}, false, err
		}
		e.decoded = true
	}
	return e.record, true, nil
}

// keep takes a key's record as it is stored, in place of what it has of it.
// A record that is too large is not kept, and what was here of it is dropped.
func (c *cache) keep(key string, value []byte) (index int, ok bool) {
	cost := costOf(key, value)
	if cost > c.limit/cachedShare {
		c.drop(key)
		return 0, false
	}
	i, held := c.at[key]
	if held {
		e := &c.entries[i]
		c.size += cost - costOf(e.key, e.value)
		*e = cached{key: e.key, value: value, chance: e.chance}
	} else {
		i = c.vacant()
		c.entries[i] = cached{key: key, value: value}
		c.at[key] = i
		c.size += cost
	}
	c.shrink(i)
	return i, true
}

// keepDecoded is keep for who has decoded the value, with which r shares its
// memory.
func (c *cache) keepDecoded(key []byte, value []byte, r record) {
	if c.limit == 0 {
		return
	}
	if i, ok := c.keep(string(key), value); ok {
		c.entries[i].record, c.entries[i].decoded = r, true
	}
}

// drop forgets a key.
func (c *cache) drop(key string) {
	if i, ok := c.at[key]; ok {
		c.remove(i)
	}
}

// keys returns the keys that are here, in no order that matters.
func (c *cache) keys() (keys [][]byte) {
	for i := range c.entries {
		if c.entries[i].key != "" {
			keys = append(keys, []byte(c.entries[i].key))
		}
	}
	return keys
}

func (c *cache) remove(i int) {
	e := &c.entries[i]
	c.size -= costOf(e.key, e.value)
	delete(c.at, e.key)
	*e = cached{}
	c.free = append(c.free, i)
}

// vacant returns the index of a free entry.
func (c *cache) vacant() int {
	if n := len(c.free); n > 0 {
		i := c.free[n-1]
		c.free = c.free[:n-1]
		return i
	}
	c.entries = append(c.entries, cached{})
	return len(c.entries) - 1
}

// shrink drops records until the rest fits, but not the one at index spared,
// which fits by itself. Each step takes a chance or drops a record, so it ends
// within two rounds.
func (c *cache) shrink(spared int) {
	for c.size > c.limit {
		switch e := &c.entries[c.hand]; {
		case e.key == "" || c.hand == spared:
		case e.chance:
			e.chance = false
		default:
			c.remove(c.hand)
		}
		c.hand = (c.hand + 1) % len(c.entries)
	}
}

// report returns what the cache has done since the start, and what it holds.
func (c *cache) report() core.CacheCounters {
	return core.CacheCounters{Hits: c.hits, Misses: c.misses, Bytes: uint64(c.size)}
}
