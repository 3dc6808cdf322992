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
	flush   uint64
	pending map[string]pending // by data key
	order   []change           // of pending, oldest flush first
}

type pending struct {
	record  record
	deleted bool
	flush   uint64
}

type change struct {
	flush uint64
	key   string
}

func newOverlay(base core.Store, watch Watcher) overlay {
	return overlay{base: base, watch: watch, flush: 1, pending: make(map[string]pending)}
}

// get returns the record of a data key, and the flush after which that state
// is durable, 0 if it is. A key without a record has an empty one.
func (o *overlay) get(dataKey []byte) (r record, found bool, flush uint64, err error) {
	if p, ok := o.pending[string(dataKey)]; ok {
		return p.record, !p.deleted, p.flush, nil
	}
	b, err := o.base.Get(dataKey)
	if err == core.ErrNotFound { //nolint:errorlint // the port's contract: engines return it as it is, and this is the hot path
		return record{}, false, 0, nil
	}
	if err != nil {
		return record{}, false, 0, err
	}
	r, err = decodeRecord(b)
	return r, err == nil, 0, err
}

func (o *overlay) put(dataKey []byte, r record, out *core.Out) {
	out.Writes = append(out.Writes, core.Write{Key: dataKey, Value: r.encode()})
	o.note(dataKey, pending{record: r, flush: o.flush})
}

func (o *overlay) remove(dataKey []byte, out *core.Out) {
	out.Writes = append(out.Writes, core.Write{Key: dataKey, Delete: true})
	o.note(dataKey, pending{deleted: true, flush: o.flush})
}

func (o *overlay) note(dataKey []byte, p pending) {
	if o.watch != nil {
		o.watch.Changed(core.PositionOf(dataKey))
	}
	key := string(dataKey)
	o.pending[key] = p
	o.order = append(o.order, change{flush: p.flush, key: key})
}

// durable drops what flush n and those before it have made durable.
func (o *overlay) durable(n uint64) {
	done := 0
	for _, c := range o.order {
		if c.flush > n {
			break
		}
		if o.pending[c.key].flush == c.flush {
			delete(o.pending, c.key)
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
	for _, key := range o.merged(stored, from, end) {
		if len(found) > 0 && (len(found) >= limit.Keys || size >= limit.Bytes) {
			return found, []byte(key), flush, nil
		}
		r, ok, f, err := o.get([]byte(key))
		if err != nil {
			return nil, nil, 0, err
		}
		flush = max(flush, f)
		if ok {
			found = append(found, entry{key: []byte(key), record: r})
			size += len(key) + r.set.Size()
		}
	}
	return found, next, flush, nil
}

// merged returns the data keys of stored and of what is pending in
// [from, to), in order, each once.
func (o *overlay) merged(stored []core.Write, from, to []byte) []string {
	keys := make([]string, 0, len(stored))
	for _, w := range stored {
		keys = append(keys, string(w.Key))
	}
	for _, c := range o.order {
		if c.key >= string(from) && (to == nil || c.key < string(to)) {
			keys = append(keys, c.key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}
