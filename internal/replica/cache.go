package replica

import "github.com/dynamo-kv/dynamo/internal/core"

// cache keeps records in memory: those that are pending, which have been
// written and whose flush is not complete, and up to its limit durable ones, so
// that a key in use is neither read from the engine nor decoded each time. All
// writes to its keys pass through the overlay that owns it, which replaces what
// it has; so it never disagrees with the engine. Both are in one table, since a
// write to a key in use meets all of it: the record as it was, the pending one,
// and that one when it is durable.
//
// It lets go of durable records by the clock algorithm: a hand goes round, takes
// from each record that was read since it last came by its second chance, and
// drops those that have none. A record comes in without one, so keys that are
// touched once, by a load say, push each other out and not those that are read
// again and again.
//
// Its records share the memory of what the engine stores, and not that of the
// message that brought them, with up to hundreds of others in it: a few records
// would hold on to all of these.
type cache struct {
	limit, size int            // bytes of durable records, by costOf; with limit 0 none is kept
	at          map[string]int // index of each entry with a key
	entries     []cached       // where the hand goes round; those without a key are free
	free        []int          // their indexes
	hand        int
	hits        uint64 // of reads of keys that were not pending
	misses      uint64
}

// cached is one record.
type cached struct {
	key     string // data key or hint key
	value   []byte // as it is stored
	record  record // what value holds, and shares its memory
	flush   uint64 // the one that it waits for, 0: it is durable
	deleted bool   // by a pending removal
	chance  bool   // it was read since the hand came by
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

// get returns the entry of a key, nil if it is not here. It is only to be read,
// and only until the next call.
func (c *cache) get(key []byte) *cached {
	e := c.find(key)
	switch {
	case e == nil:
		c.misses++
	case e.flush == 0:
		c.hits++
		e.chance = true
	}
	return e
}

// find is get for who does not use the key: it is not counted as a read.
func (c *cache) find(key []byte) *cached {
	if i, ok := c.at[string(key)]; ok {
		return &c.entries[i]
	}
	return nil
}

// waits returns the flush that a key's state waits for, 0 if it is durable.
func (c *cache) waits(key []byte) uint64 {
	if e := c.find(key); e != nil {
		return e.flush
	}
	return 0
}

// write takes a pending record or removal of a key, in place of what is here of
// it, and returns its index, which stays until it is settled.
func (c *cache) write(key []byte, w cached) (index int) {
	i := c.place(key)
	e := &c.entries[i]
	w.key, w.chance = e.key, e.chance
	*e = w
	return i
}

// settle notes that the pending record at an index is durable. A removal leaves
// nothing, and neither does a record that is too large to be kept.
func (c *cache) settle(i int) {
	e := &c.entries[i]
	cost := costOf(e.key, e.value)
	if e.deleted || cost > c.limit/cachedShare {
		c.vacate(i)
		return
	}
	e.flush = 0
	c.size += cost
	c.shrink(i)
}

// keep takes a durable record that was read from the engine as value, with which
// it shares its memory. One that is too large is not kept.
func (c *cache) keep(key, value []byte, r record) {
	if cost := len(key) + len(value) + cachedBytes; cost <= c.limit/cachedShare {
		i := c.place(key)
		e := &c.entries[i]
		e.value, e.record = value, r
		c.size += cost
		c.shrink(i)
	}
}

// place returns the index of a key's entry, without what was here of it, or of
// a new one.
func (c *cache) place(key []byte) int {
	if i, ok := c.at[string(key)]; ok {
		if e := &c.entries[i]; e.flush == 0 {
			c.size -= costOf(e.key, e.value)
		}
		return i
	}
	i := c.vacant()
	c.entries[i].key = string(key)
	c.at[c.entries[i].key] = i
	return i
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

// vacate makes an entry free that is not counted in size.
func (c *cache) vacate(i int) {
	delete(c.at, c.entries[i].key)
	c.entries[i] = cached{}
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

// shrink drops durable records until the rest fits, but not the one at index
// spared, which fits by itself. Each step takes a chance or drops a record, so it
// ends within two rounds.
func (c *cache) shrink(spared int) {
	for c.size > c.limit {
		switch e := &c.entries[c.hand]; {
		case e.key == "" || e.flush != 0 || c.hand == spared:
		case e.chance:
			e.chance = false
		default:
			c.size -= costOf(e.key, e.value)
			c.vacate(c.hand)
		}
		c.hand = (c.hand + 1) % len(c.entries)
	}
}

// report returns what the cache has done since the start, and what it holds.
func (c *cache) report() core.CacheCounters {
	return core.CacheCounters{Hits: c.hits, Misses: c.misses, Bytes: uint64(c.size)}
}
