package replica

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// maxDirty bounds the partitions that are noted as missing what no hint will
// bring. It only orders the work of anti-entropy, which comes to every
// partition in its turn, so that one too many is no loss.
const maxDirty = 1024

// scanTallies bounds one read of stored tallies.
const scanTallies = 256

// hints is what a shard knows of its hints without reading them.
type hints struct {
	shift    int     // from a position to its partition; 0: not opened yet
	tallies  []tally // of the partitions that have any, sorted
	report   core.HintReport
	revision uint64
	dirty    []ring.Partition // sorted
}

// OpenHints takes the shard's hints in: it must be called before any other
// method that has to do with them, and with the number of partitions, which
// never changes in a cluster. Called again it does nothing, unless the node
// has come to another cluster.
func (r *Replica) OpenHints(partitions int, out *core.Out) {
	h := &r.hints
	shift := 64 - bits.TrailingZeros(uint(partitions))
	if h.shift == shift {
		return
	}
	*h = hints{shift: shift, report: core.HintReport{Limit: r.config.MaxHintBytes}}
	for from, to := core.AllHintTallies(); from != nil; {
		next, err := r.store.base.Scan(from, to, core.Limit{Keys: scanTallies, Bytes: 1 << 20}, func(key, value []byte) bool {
			p := core.TallyPartition(key)
			if int(p)%r.config.Shards != r.config.Shard {
				return true
			}
			t, err := decodeTally(value)
			if err != nil {
				r.fail(key, err, out)
				return false
			}
			t.partition = p
			h.tallies = append(h.tallies, t)
			return true
		})
		if err != nil {
			r.fail(from, err, out)
		}
		if out.Failed != nil {
			return
		}
		from = next
	}
	h.sum()
	r.countUntallied(out)
}

// sum makes the report that of the tallies.
func (h *hints) sum() {
	h.report.Bytes, h.report.Records, h.report.Pending = 0, 0, nil
	for _, t := range h.tallies {
		h.report = h.report.Plus(core.HintReport{Bytes: t.bytes, Records: t.records, Pending: t.pending})
	}
}

// partition returns the partition of a client's key.
func (h *hints) partition(key []byte) ring.Partition { return h.at(ring.Hash(key)) }

func (h *hints) at(p ring.Position) ring.Partition { return ring.Partition(uint64(p) >> h.shift) }

// span returns the first and the last position of a partition.
func (h *hints) span(p ring.Partition) (first, last ring.Position) {
	first = ring.Position(p) << h.shift
	return first, first + (1<<h.shift - 1) // of one partition: 1<<64 is 0, minus 1 is everything
}

func (h *hints) find(p ring.Partition) (int, bool) {
	return slices.BinarySearchFunc(h.tallies, p, func(t tally, p ring.Partition) int { return cmp.Compare(t.partition, p) })
}

// has says whether any hint is kept of a key's partition.
func (h *hints) has(key []byte) bool {
	_, found := h.find(h.partition(key))
	return found
}

// Hints returns what is kept, and the counts since the start.
func (r *Replica) Hints() core.HintReport { return r.hints.report }

// HintRevision grows with each owner that something is newly kept for.
func (r *Replica) HintRevision() uint64 { return r.hints.revision }

// NextHinted returns the first partition from p on that has hints, and for
// whom they are.
func (r *Replica) NextHinted(p ring.Partition) (hinted ring.Partition, pending []core.HintsPending, ok bool) {
	i, _ := r.hints.find(p)
	if i == len(r.hints.tallies) {
		return 0, nil, false
	}
	return r.hints.tallies[i].partition, r.hints.tallies[i].pending, true
}

// markDirty notes that owners of a partition miss what no hint will bring.
func (h *hints) markDirty(p ring.Partition) {
	if i, found := slices.BinarySearch(h.dirty, p); !found && len(h.dirty) < maxDirty {
		h.dirty = slices.Insert(h.dirty, i, p)
	}
}

// TakeDirty returns a partition of which owners miss what no hint will bring,
// and notes it no longer.
func (r *Replica) TakeDirty() (ring.Partition, bool) {
	if len(r.hints.dirty) == 0 {
		return 0, false
	}
	p := r.hints.dirty[0]
	r.hints.dirty = slices.Delete(r.hints.dirty, 0, 1)
	return p, true
}

// getHint returns the hint record of a key without a look at the store where
// its partition has none.
func (r *Replica) getHint(key []byte, out *core.Out) (rec record, flush uint64, ok bool) {
	if !r.hints.has(key) {
		// Its removal may still wait for a flush, and nobody waits for that.
		return record{}, 0, true
	}
	rec, _, flush, err := r.ownHint(core.HintKey(key), out)
	if err != nil {
		r.fail(key, err, out)
		return record{}, 0, false
	}
	return rec, flush, true
}

// putHint replaces a key's hint record by another, removes it where the other
// has no owners, and keeps the tally. It says why where the larger record finds
// no room, with nothing done.
func (r *Replica) putHint(key []byte, before, after record, out *core.Out) (why core.Refusal) {
	if r.hints.shift == 0 {
		panic("replica: hints are used before they are opened")
	}
	after = stripped(after)
	hintKey := core.HintKey(key)
	var value []byte
	was, is := uint64(0), uint64(0)
	if len(before.owners) > 0 {
		was = uint64(len(hintKey) + before.size())
	}
	if len(after.owners) > 0 {
		value, after = after.encode()
		is = uint64(len(hintKey) + len(value))
	}
	h := &r.hints
	p := h.partition(key)
	if is > was && h.report.Bytes+is-was > h.report.Limit || h.crowded(p, after.owners) {
		h.report.Refused++
		return core.RefusedHintsFull
	}
	if is > was && !r.room.take(key, before.set, after.set) {
		return core.RefusedStorageFull
	}
	if value == nil {
		r.store.remove(hintKey, out)
	} else {
		r.store.putEncoded(hintKey, after, value, out)
	}
	h.account(p, before.owners, after.owners, int(is)-int(was), out)
	return 0
}

// crowded says that a partition's hints would be for more owners than a cluster
// ever has: somebody makes them up, and what is stored could not be read again.
func (h *hints) crowded(p ring.Partition, owners []core.HintOwner) bool {
	var pending []core.HintsPending
	if i, found := h.find(p); found {
		pending = h.tallies[i].pending
	}
	n := len(pending)
	for i := range owners {
		if _, known := findPending(pending, owners[i].Node); !known {
			n++
		}
	}
	return n > maxOwners
}

// stripped returns a hint record without what nothing is left for: the
// siblings go with the last owner that they are kept for, and with them the
// actor, whose counter they hold (scenario two-hint-records).
func stripped(rec record) record {
	if !slices.ContainsFunc(rec.owners, func(o core.HintOwner) bool { return o.Data }) {
		rec.epoch, rec.set = version.Epoch{}, version.Siblings{}
	}
	return rec
}

// account keeps the tally of a partition, in memory and in the store.
func (h *hints) account(p ring.Partition, before, after []core.HintOwner, bytes int, out *core.Out) {
	i, found := h.find(p)
	if !found {
		h.tallies = slices.Insert(h.tallies, i, tally{partition: p})
	}
	t := &h.tallies[i]
	records := min(len(after), 1) - min(len(before), 1)
	t.bytes += uint64(bytes) // what is negative here is in the sum
	t.records += uint64(records)
	h.report.Bytes += uint64(bytes)
	h.report.Records += uint64(records)
	for _, o := range before {
		if _, stays := findOwner(after, o.Node); !stays {
			t.pending = count(t.pending, o.Node, -1)
			h.report.Pending = count(h.report.Pending, o.Node, -1)
		}
	}
	for _, o := range after {
		if _, known := findOwner(before, o.Node); !known {
			t.pending = count(t.pending, o.Node, 1)
			h.report.Pending = count(h.report.Pending, o.Node, 1)
		}
	}
	h.writeTally(i, out)
}

// writeTally stores the tally at an index. One of no hints is none.
func (h *hints) writeTally(i int, out *core.Out) {
	t := &h.tallies[i]
	key := core.HintTallyKey(t.partition)
	if t.records == 0 {
		h.tallies = slices.Delete(h.tallies, i, i+1)
		out.Writes = append(out.Writes, core.Write{Key: key, Delete: true})
		return
	}
	out.Writes = append(out.Writes, core.Write{Key: key, Value: t.encode()})
}

// stored counts a hint or marker that was taken.
func (h *hints) stored() {
	h.report.Stored++
	h.revision++
}

// Hint keeps a set for an owner that its sender cannot reach, and returns the
// flush after which it is durable; or why it is refused, with nothing done.
// Where this node owns the key in a live layout itself, its own copy takes the
// set in, and the owner is marked. It may be repeated at will.
func (r *Replica) Hint(now core.Now, m *core.Hint, owned bool, out *core.Out) (flush uint64, why core.Refusal) {
	before, flush, ok := r.getHint(m.Key, out)
	if !ok {
		return 0, 0
	}
	if owned {
		return r.hintAtOwner(now, m, before, flush, out)
	}
	merged, err := version.Merge(before.set, m.Set)
	if err != nil {
		r.Conflict()
		return 0, core.RefusedInvalid
	}
	after := before
	lost := r.lostData(before, m.Set.Clock)
	if i, known := findOwner(before.owners, m.Owner); !lost && known && before.owners[i].Data && before.set.Covers(m.Set) {
		return flush, 0
	}
	if lost {
		after.epoch = version.Epoch{}
	}
	if bug.On(bug.EpochFromMerge) && after.epoch.IsZero() {
		after.epoch = r.shownBy(merged.Clock)
	}
	after.set = merged
	after.owners = withOwner(before.owners, m.Owner, func(o *core.HintOwner) { o.Data = true })
	if why := r.putHint(m.Key, before, after, out); why != 0 {
		return 0, why
	}
	r.hints.stored()
	return r.promised(), 0
}

// hintAtOwner keeps a hint at a node that owns the key in another layout.
func (r *Replica) hintAtOwner(now core.Now, m *core.Hint, before record, flush uint64, out *core.Out) (uint64, core.Refusal) {
	own, _, _, err := r.own(core.DataKey(m.Key))
	if err != nil {
		r.fail(m.Key, err, out)
		return 0, 0
	}
	if _, err := version.Merge(own.set, m.Set); err != nil {
		r.Conflict()
		return 0, core.RefusedInvalid
	}
	if i, known := findOwner(before.owners, m.Owner); !known || before.owners[i].Since == 0 {
		after := before
		after.owners = withOwner(before.owners, m.Owner, marked(now))
		if why := r.putHint(m.Key, before, after, out); why != 0 {
			return 0, why
		}
		r.hints.stored()
		flush = r.promised()
	}
	// A marker without its set is no harm: what is here is delivered then.
	applied, why := r.Apply(m.Key, m.Set, out)
	return max(flush, applied), why
}

// marked notes that an owner missed a write now, unless it missed one before.
func marked(now core.Now) func(o *core.HintOwner) {
	return func(o *core.HintOwner) {
		if o.Since == 0 {
			o.Since = max(1, int64(now.Wall))
		}
	}
}

// Mark notes durably that owners missed a write that this node's own copy has:
// what it holds when they can be reached again will be delivered to them. At
// the limit the partition is dirty instead.
func (r *Replica) Mark(now core.Now, key []byte, owners []id.Node, out *core.Out) {
	before, _, ok := r.getHint(key, out)
	if !ok {
		return
	}
	after, news := before, false
	for _, n := range owners {
		if i, known := findOwner(after.owners, n); known && after.owners[i].Since != 0 {
			continue
		}
		after.owners = withOwner(after.owners, n, marked(now))
		news = true
	}
	switch {
	case !news:
	case r.putHint(key, before, after, out) == 0:
		r.hints.stored()
	default:
		r.hints.markDirty(r.hints.partition(key))
	}
}

// ReadHint returns what is kept of a key for owners that cannot be reached,
// and the flush that it waits for.
func (r *Replica) ReadHint(key []byte, out *core.Out) (set version.Siblings, flush uint64) {
	rec, flush, _ := r.getHint(key, out)
	return rec.set, flush
}

// HoldsHint says whether anything is kept of a key for others, markers
// included, and returns the flush that this answer waits for.
func (r *Replica) HoldsHint(key []byte, out *core.Out) (held bool, flush uint64) {
	hintKey := core.HintKey(key)
	if !r.hints.has(key) {
		return false, r.store.cache.waits(hintKey) // its removal's, if any
	}
	_, held, flush, err := r.ownHint(hintKey, out)
	if err != nil {
		r.fail(key, err, out)
	}
	return held, flush
}

// HoldsHints says the same of all keys at the positions first to last.
func (r *Replica) HoldsHints(first, last ring.Position, out *core.Out) (held bool, flush uint64) {
	from, to := core.HintRange(first, last)
	return r.holds(from, to, out)
}

// HintRoom says whether a hint of about so many bytes would find room.
func (r *Replica) HintRoom(bytes int) bool {
	return r.hints.report.Bytes+uint64(bytes) <= r.hints.report.Limit && r.room.has(uint64(bytes))
}

// HintsFor says whether anything of a key's partition is kept for n.
func (r *Replica) HintsFor(key []byte, n id.Node) bool {
	i, found := r.hints.find(r.hints.partition(key))
	if !found {
		return false
	}
	_, found = findPending(r.hints.tallies[i].pending, n)
	return found
}

// owed returns what an owner must hold for its part of a hint to be settled:
// what is kept, and this node's own copy where an owner is only marked.
func (r *Replica) owed(key []byte, rec record) (version.Siblings, error) {
	if !slices.ContainsFunc(rec.owners, func(o core.HintOwner) bool { return o.Since != 0 }) {
		return rec.set, nil
	}
	own, _, _, err := r.own(core.DataKey(key))
	if err != nil {
		return version.Siblings{}, err
	}
	if set, err := version.Merge(rec.set, own.set); err == nil {
		return set, nil
	}
	r.Conflict() // somebody's hint breaks an invariant; the owner will refuse it
	return rec.set, nil
}

// Settle forgets a hint for an owner that durably holds exactly set. It
// reports whether nothing is kept for the owner any more: where the hint has
// changed since, what was acknowledged is not all that the owner missed
// (scenario stale-hint-ack).
func (r *Replica) Settle(key []byte, n id.Node, set version.Siblings, out *core.Out) bool {
	before, _, ok := r.getHint(key, out)
	if !ok {
		return false
	}
	if _, known := findOwner(before.owners, n); !known {
		return true
	}
	owed, err := r.owed(key, before)
	if err != nil {
		r.fail(key, err, out)
		return false
	}
	if !owed.Equal(set) && !bug.On(bug.StaleHintAck) {
		return false
	}
	r.dropOwner(key, before, n, func(o *core.HintOwner) { *o = core.HintOwner{Node: o.Node} }, out)
	r.hints.report.Delivered++
	return true
}

// ExpireMarkers forgets the markers of a key that are from before a time. The
// owners still miss what they missed: the partition is dirty. What holds data
// never expires (scenario expired-hint).
func (r *Replica) ExpireMarkers(key []byte, before int64, out *core.Out) {
	rec, _, ok := r.getHint(key, out)
	if !ok {
		return
	}
	for _, o := range rec.owners {
		expired := o.Since != 0 && o.Since <= before
		if !expired && !bug.On(bug.HintsExpire) {
			continue
		}
		current, _, ok := r.getHint(key, out)
		if !ok {
			return
		}
		r.dropOwner(key, current, o.Node, func(o *core.HintOwner) {
			o.Since = 0
			o.Data = o.Data && !bug.On(bug.HintsExpire)
		}, out)
		r.hints.report.Expired++
		r.hints.markDirty(r.hints.partition(key))
	}
}

// dropOwner takes some of an owner's part away from a hint. What is left needs
// no more room.
func (r *Replica) dropOwner(key []byte, before record, n id.Node, change func(o *core.HintOwner), out *core.Out) {
	after := before
	after.owners = withOwner(before.owners, n, change)
	if bug.On(bug.TwoHintRecords) {
		after.set = version.Siblings{}
	}
	if r.putHint(key, before, after, out) != 0 {
		panic("replica: a hint that lost an owner has grown")
	}
}

// writeHint mints a version into the hints, as Write does into the own copy:
// no owner can be reached. The hint is its owners' all the same.
func (r *Replica) writeHint(w core.LocalWrite, out *core.Out) core.LocalResult {
	before, flush, ok := r.getHint(w.Key, out)
	if !ok {
		return core.LocalResult{Code: core.CodeStopped}
	}
	if v, ok := before.set.Find(w.Write.ID); ok {
		return r.repeatHint(w, before, v.Dot, flush, out)
	}
	after, seen := r.minted(before, w)
	if code := limits(before.set, after.set); code != core.CodeOK {
		return core.LocalResult{Code: code}
	}
	for _, n := range w.For {
		after.owners = withOwner(after.owners, n, func(o *core.HintOwner) { o.Data = true })
	}
	if why := r.putHint(w.Key, before, after, out); why != 0 {
		return core.LocalResult{Code: unhinted(why)}
	}
	r.hints.stored()
	return core.LocalResult{Code: core.CodeOK, Set: after.set, Context: seen, Flush: r.promised()}
}

// unhinted is how a write ends for which there is no room among the hints.
func unhinted(why core.Refusal) core.Code {
	if why == core.RefusedStorageFull {
		return core.CodeStorageFull
	}
	return core.CodeOverloaded
}

// repeatHint is a write that the hint has already, from an owner or another
// fallback, perhaps for fewer owners than this node is now to stand in for: a
// place that it fills is one that it keeps the hint for.
func (r *Replica) repeatHint(w core.LocalWrite, before record, minted version.Dot, flush uint64, out *core.Out) core.LocalResult {
	after := before
	for _, n := range w.For {
		after.owners = withOwner(after.owners, n, func(o *core.HintOwner) { o.Data = true })
	}
	if !slices.Equal(after.owners, before.owners) {
		if why := r.putHint(w.Key, before, after, out); why != 0 {
			return core.LocalResult{Code: unhinted(why)}
		}
		r.hints.stored()
		flush = r.promised()
	}
	return core.LocalResult{Code: core.CodeOK, Set: after.set, Context: repeated(w, after.set, minted), Flush: flush}
}

// HintChunk returns the hints at the positions first to last, from the key at
// on (nil: from the start), up to the limit, and the key to go on at, nil where
// nothing follows. What owners must hold counts, and one set may be past the limit.
func (r *Replica) HintChunk(first, last ring.Position, at []byte, limit core.Limit, out *core.Out) (items []core.HintItem, next []byte) {
	from, to := core.HintRange(first, last)
	if at != nil {
		from = core.HintKey(at)
	}
	found, more, _, err := r.store.scan(from, to, limit)
	if err != nil {
		r.fail(at, err, out)
		return nil, nil
	}
	size := 0
	for _, e := range found {
		key := core.ClientKey(e.key)
		if len(items) > 0 && size >= limit.Bytes {
			return items, key
		}
		set, err := r.owed(key, e.record)
		if err != nil {
			r.fail(key, err, out)
			return nil, nil
		}
		items = append(items, core.HintItem{Key: key, Owners: e.record.owners, Set: set})
		size += set.Size()
	}
	if more == nil {
		if at == nil {
			r.checkTally(first, last, len(found), out)
		}
		return items, nil
	}
	return items, core.ClientKey(more)
}
