package sim

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"sort"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// ErrDown is what a Disk answers between a crash and its recovery.
var ErrDown = errors.New("the disk's machine is down")

// Disk is the model of one machine's disk with an engine on it. Its contract
// is that of every durable engine, and storagetest's crash suite holds both to
// it: batches are atomic and visible at once; those that an fsync has covered
// survive a crash; of the others any prefix in commit order survives, and
// perhaps a torn piece of the next, which recovery must drop.
//
// A Disk has no goroutine and no lock. Its owner says when an fsync begins and
// ends, so that the simulator can let time pass in between.
type Disk struct {
	data   table
	log    []record // batches that no fsync has covered, oldest first
	number uint64   // of the newest batch
	synced uint64   // every batch up to this one survives a crash
	down   bool

	stats DiskStats
}

// DiskStats counts what happened to a Disk.
type DiskStats struct {
	Batches  uint64
	Fsyncs   uint64
	Crashes  uint64
	Dropped  uint64 // batches lost in crashes: committed, and never synced
	Torn     uint64 // crashes that left a torn tail
	Survived uint64 // batches that survived a crash though no fsync covered them
}

// record is one batch in the log. What a torn write leaves has fewer writes
// than its header says, which stands for a checksum that does not match.
type record struct {
	number uint64
	length int // as the header says
	writes []core.Write
	undo   []core.Write // what the writes replaced, in their order
}

func (r *record) whole() bool { return len(r.writes) == r.length }

// NewDisk returns an empty disk.
func NewDisk() *Disk { return &Disk{} }

// Get returns a key's value, or core.ErrNotFound.
func (d *Disk) Get(key []byte) ([]byte, error) {
	if d.down {
		return nil, ErrDown
	}
	if i, ok := d.data.find(key); ok {
		return d.data[i].value, nil
	}
	return nil, core.ErrNotFound
}

// Scan calls f for the keys of [from, to) in order; a nil to is the end, and
// the pair with which a part of the limit is reached is the last.
func (d *Disk) Scan(from, to []byte, limit core.Limit, f func(key, value []byte) bool) (next []byte, err error) {
	if d.down {
		return nil, ErrDown
	}
	i, _ := d.data.find(from)
	keys, size := 0, 0
	for ; i < len(d.data); i++ {
		e := d.data[i]
		if to != nil && bytes.Compare(e.key, to) >= 0 {
			return nil, nil
		}
		if keys > 0 && (keys >= limit.Keys || size >= limit.Bytes) {
			return e.key, nil
		}
		keys++
		size += len(e.key) + len(e.value)
		if !f(e.key, e.value) {
			if i+1 < len(d.data) && (to == nil || bytes.Compare(d.data[i+1].key, to) < 0) {
				return d.data[i+1].key, nil
			}
			return nil, nil
		}
	}
	return nil, nil
}

// Append commits a batch: it is visible when Append returns, and survives
// crashes once an fsync has covered its number. The batch's slices must not
// be changed afterwards; the batch itself may be.
func (d *Disk) Append(batch []core.Write) (number uint64, err error) {
	if d.down {
		return 0, ErrDown
	}
	d.number++
	d.stats.Batches++
	r := record{
		number: d.number, length: len(batch),
		writes: append([]core.Write(nil), batch...), undo: make([]core.Write, 0, len(batch)),
	}
	for _, w := range batch {
		r.undo = append(r.undo, d.data.apply(w))
	}
	d.log = append(d.log, r)
	return d.number, nil
}

// Last returns the number of the newest batch, and Synced that of the newest
// one that survives a crash.
func (d *Disk) Last() uint64 { return d.number }

// Synced returns the number up to which batches survive a crash.
func (d *Disk) Synced() uint64 { return d.synced }

// Sync completes an fsync that began when number was the newest batch.
func (d *Disk) Sync(number uint64) {
	if d.down || number <= d.synced {
		return
	}
	d.stats.Fsyncs++
	d.synced = min(number, d.number)
	keep := 0
	for keep < len(d.log) && d.log[keep].number <= d.synced {
		d.log[keep] = record{}
		keep++
	}
	d.log = d.log[keep:]
}

// Crash cuts the power: rng picks how many of the batches that no fsync has
// covered survive, and whether a torn piece of the next one does.
func (d *Disk) Crash(rng *rand.Rand) {
	if d.down {
		return
	}
	d.down = true
	d.stats.Crashes++
	keep := len(d.log)
	if keep > 0 && rng.IntN(4) > 0 { // every fourth crash is of the process alone
		keep = rng.IntN(keep + 1)
	}
	for i := len(d.log) - 1; i >= keep; i-- {
		d.revert(&d.log[i])
	}
	if keep < len(d.log) && d.log[keep].length > 0 && rng.IntN(2) == 0 {
		d.tear(rng, keep)
		keep++
	}
	clear(d.log[keep:])
	d.log = d.log[:keep]
}

// revert takes back what a batch changed. Batches are reverted newest first.
func (d *Disk) revert(r *record) {
	for _, undo := range slices.Backward(r.undo) {
		d.data.apply(undo)
	}
	d.stats.Dropped++
}

// tear leaves a piece of a batch that has been reverted: some of its writes
// have reached the disk.
func (d *Disk) tear(rng *rand.Rand, at int) {
	r := &d.log[at]
	part := rng.IntN(r.length)
	r.writes, r.undo = r.writes[:part], r.undo[:0]
	for _, w := range r.writes {
		r.undo = append(r.undo, d.data.apply(w))
	}
	d.stats.Torn++
}

// Recover starts the engine again after a crash: it goes through the log,
// drops the torn tail, and keeps the rest for good.
func (d *Disk) Recover() {
	if !d.down {
		return
	}
	d.down = false
	for i := range d.log {
		r := &d.log[i]
		if r.whole() {
			d.stats.Survived++
			continue
		}
		for _, undo := range slices.Backward(r.undo) {
			d.data.apply(undo)
		}
	}
	clear(d.log)
	d.log = d.log[:0]
	d.synced = d.number // nothing is left to be lost
}

// Stats returns the counts since the disk was new.
func (d *Disk) Stats() DiskStats { return d.stats }

// table is a sorted list of keys with their values. A simulated node holds
// few keys, for which a list beats any tree.
type table []row

type row struct{ key, value []byte }

func (t table) find(key []byte) (int, bool) {
	i := sort.Search(len(t), func(i int) bool { return bytes.Compare(t[i].key, key) >= 0 })
	return i, i < len(t) && bytes.Equal(t[i].key, key)
}

// apply makes a change and returns the one that takes it back.
func (t *table) apply(w core.Write) (undo core.Write) {
	i, found := t.find(w.Key)
	undo = core.Write{Key: w.Key, Delete: true}
	if found {
		undo = core.Write{Key: (*t)[i].key, Value: (*t)[i].value}
	}
	switch {
	case w.Delete && found:
		copy((*t)[i:], (*t)[i+1:])
		(*t)[len(*t)-1] = row{}
		*t = (*t)[:len(*t)-1]
	case w.Delete:
	case found:
		(*t)[i].value = w.Value
	default:
		*t = append(*t, row{})
		copy((*t)[i+1:], (*t)[i:])
		(*t)[i] = row{key: w.Key, value: w.Value}
	}
	return undo
}
