package replica

import (
	"slices"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// overlay shows the store as it will be once every flush is complete: what
// has been written since, over the engine. It also tells which flush a key's
// newest state waits for.
type overlay struct {
	base  core.Store
	watch Watcher // nil: nobody watches
	// flush is the number of the flush that takes what is written now.
	flush uint64
	cache cache
	order []change // of what is pending, oldest flush first
}

// change is one write to the record at an index of the cache.
type change struct {
	flush uint64
	index int
}

func newOverlay(base core.Store, watch Watcher, cacheBytes int) overlay {
	return overlay{base: base, watch: watch, flush: 1, cache: newCache(cacheBytes)}
}

// get returns the record of a data key, and the flush after which that state
// is durable, 0 if it is. A key without a record has an empty one.
func (o *overlay) get(dataKey []byte) (r record, found bool, flush uint64, err error) {
	if e := o.cache.get(dataKey); e != nil {
		return e.record, !e.deleted, e.flush, nil
	}
	b, err := o.base.Get(dataKey)
	if err == core.ErrNotFound { //nolint:errorlint // the port's contract: engines return it as it is, and this is the hot path
		return record{}, false, 0, nil
	}
	if err != nil {
		return record{}, false, 0, err
	}
	if r, err = decodeRecord(b); err != nil {
		return record{}, false, 0, err
	}
	o.cache.keep(dataKey, b, r)
	return r, true, 0, nil
}

func (o *overlay) put(dataKey []byte, r record, out *core.Out) {
	value, own := r.encode()
	o.putEncoded(dataKey, own, value, out)
}

// putEncoded is put for who has encoded the record already: what r.encode
// returns.
func (o *overlay) putEncoded(key []byte, r record, value []byte, out *core.Out) {
	out.Writes = append(out.Writes, core.Write{Key: key, Value: value})
	o.note(key, cached{record: r, value: value, flush: o.flush})
}

func (o *overlay) remove(dataKey []byte, out *core.Out) {
	out.Writes = append(out.Writes, core.Write{Key: dataKey, Delete: true})
	o.note(dataKey, cached{deleted: true, flush: o.flush})
}

func (o *overlay) note(dataKey []byte, w cached) {
	if o.watch != nil {
		o.watch.Changed(core.DataPosition(dataKey))
	}
	o.order = append(o.order, change{flush: w.flush, index: o.cache.write(dataKey, w)})
}

// durable lets go of what flush n and those before it have made durable.
func (o *overlay) durable(n uint64) {
	done := 0
	for _, c := range o.order {
		if c.flush > n {
			break
		}
		if o.cache.entries[c.index].flush == c.flush { // else a later one has it, or it is settled
			o.cache.settle(c.index)
		}
		done++
	}
	o.order = slices.Delete(o.order, 0, done)
}

// entry is one record of a scan.
type entry struct {
	key    []byte // data key
	record record
}

// scan returns the records of [from, to) in order, with what is pending over
// what is stored; next is where to go on, nil at the end, and flush the latest
// that anything shown waits for.
func (o *overlay) scan(from, to []byte, limit core.Limit) (found []entry, next []byte, flush uint64, err error) {
	var stored []core.Write
	next, err = o.base.Scan(from, to, limit, func(k, v []byte) bool {
		stored = append(stored, core.Write{Key: k, Value: v})
		return true
	})
	if err != nil {
		return nil, nil, 0, err
	}
	end := to
	if next != nil {
		end = next
	}
	size := 0
	for w := (scanWalk{overlay: o, stored: stored, pending: o.changed(from, end)}); w.more(); {
		e, ok, f, err := w.next()
		if err != nil {
			return nil, nil, 0, err
		}
		if len(found) > 0 && (len(found) >= limit.Keys || size >= limit.Bytes) {
			return found, e.key, flush, nil
		}
		flush = max(flush, f)
		if ok {
			found = append(found, e)
			size += len(e.key) + e.record.set.Size()
		}
	}
	return found, next, flush, nil
}

// changed returns the data keys in [from, to) of what is pending, in order,
// each once.
func (o *overlay) changed(from, to []byte) []string {
	var keys []string
	for _, c := range o.order {
		if key := o.cache.entries[c.index].key; key >= string(from) && (to == nil || key < string(to)) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// scanWalk visits what is stored and what is pending in the order of their
// keys. Where both have a key, what is pending counts.
type scanWalk struct {
	overlay *overlay
	stored  []core.Write
	pending []string
}

func (w *scanWalk) more() bool { return len(w.stored) > 0 || len(w.pending) > 0 }

// next returns the next key with its record; ok is false for a key that is
// deleted, and flush is what this state waits for.
func (w *scanWalk) next() (e entry, ok bool, flush uint64, err error) {
	if len(w.pending) > 0 && (len(w.stored) == 0 || w.pending[0] <= string(w.stored[0].Key)) {
		key := w.pending[0]
		w.pending = w.pending[1:]
		if len(w.stored) > 0 && string(w.stored[0].Key) == key {
			w.stored = w.stored[1:]
		}
		c := &w.overlay.cache
		p := &c.entries[c.at[key]]
		return entry{key: []byte(key), record: p.record}, !p.deleted, p.flush, nil
	}
	s := w.stored[0]
	w.stored = w.stored[1:]
	r, err := decodeRecord(s.Value)
	return entry{key: s.Key, record: r}, err == nil, 0, err
}
