package sim

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// history is what clients did and were told, key by key, and which dots were
// minted for it. Its truth about causality comes from the clients: what a
// write had seen is what its context's reads returned. The machines tell only
// what no client can know: which dot a write got, and what an Overwrite found.
type history struct {
	w      *world
	keys   []*keyHistory
	byKey  map[string]*keyHistory // looked up by key only
	writes []*write
	byID   map[version.WriteID]*write // looked up by key only
}

// keyHistory is the history of one key.
type keyHistory struct {
	index int
	key   []byte
	mints []mint
	byDot map[version.Dot]int // index into mints; looked up by key only
	// byActor has for each actor the index of the mint of each counter, from
	// 1 on; -1 where there is none. Looked up by key only.
	byActor map[version.Actor]*[]int

	// acked has, by the W that they were acknowledged with, the mints of
	// writes that a client was told are written.
	acked [maxReplicas + 1]bitset
	// strict has those of acked that owners alone had acknowledged.
	strict [maxReplicas + 1]bitset
	// observed has the mints that a get returned, acknowledged or not.
	observed bitset
	held     heldReads
	// forgotten has the mints that were let go of, with what had replaced them:
	// tombstones that were reaped and what they replaced, clock entries that
	// were pruned. No node holds a value of these any more.
	forgotten bitset
	reaped    bool // and not written again since

	// lost has the mints that are on no disk any more, and shaken those that
	// an owner has lost with its disk and that are not at all owners yet; bereft
	// has besides those that were in its hints: see lostdisk.go.
	lost, shaken, bereft bitset

	contexts [8]*held // the latest that clients were given, a ring
	next     int
}

// maxReplicas is the largest N of a plan.
const maxReplicas = 5

// mint is one version as it came into being: a write may be minted more than
// once, at several owners, each time with another dot.
type mint struct {
	dot       version.Dot
	write     *write
	tombstone bool
	sum       uint64 // of the version's bytes, timestamp included
	// past has every mint that the write had seen, directly or through
	// others: what this version replaces.
	past bitset
}

// outcome of a write as its client knows it.
type outcome uint8

const (
	pending outcome = iota
	okay            // the client was told that it is written
	failed          // every attempt was not written
	unknown
)

// write is one logical write of a client, over its retries.
type write struct {
	number    int
	id        version.WriteID // zero: the node draws one
	key       *keyHistory
	tombstone bool
	overwrite bool
	context   *held // nil: it has seen nothing
	value     []byte
	required  int // W as it counts
	outcome   outcome
	attempts  int // that its client has made
	mints     []int
}

// held is a context that a client was given: the token, and what it stands
// for by the client's own reckoning.
type held struct {
	clock   version.Clock
	seen    bitset // closed under past
	fromPut bool
}

func newHistory(w *world, keys int) *history {
	h := &history{w: w, byKey: make(map[string]*keyHistory), byID: make(map[version.WriteID]*write)}
	for i := range keys {
		k := &keyHistory{index: i, key: keyName(w.plan.Seed, i), byDot: make(map[version.Dot]int), byActor: make(map[version.Actor]*[]int)}
		h.keys = append(h.keys, k)
		h.byKey[string(k.key)] = k
	}
	return h
}

// keyName returns the i-th key of a seed: printable, of some variety, spread
// over the partitions.
func keyName(seed uint64, i int) []byte {
	const digits = "0123456789abcdef"
	sum := mix(seed + uint64(i))
	b := []byte{'k', digits[i/10%10], digits[i%10], '/'}
	for n := range 2 + i%3 {
		b = append(b, digits[sum>>(4*n)&15])
	}
	return b
}

// The layout of a value: who wrote it, and a checksum over that, the key and
// the padding.
const (
	valueNumber = 8
	valueHeader = valueNumber + 8
)

// newValue returns the value of a write: like no other, and checkable.
func newValue(number int, key []byte, padding int) []byte {
	b := make([]byte, valueHeader+padding)
	binary.BigEndian.PutUint64(b, uint64(number))
	for i := range padding {
		b[valueHeader+i] = byte(number + i)
	}
	binary.BigEndian.PutUint64(b[valueNumber:], valueSum(b, key))
	return b
}

func valueSum(b, key []byte) uint64 {
	return mix(xxhash.Sum64(b[valueHeader:]) ^ xxhash.Sum64(key) ^ binary.BigEndian.Uint64(b))
}

// parseValue returns the number of the write that made b for key.
func parseValue(b, key []byte) (number int, ok bool) {
	if len(b) < valueHeader || binary.BigEndian.Uint64(b[valueNumber:]) != valueSum(b, key) {
		return 0, false
	}
	return int(binary.BigEndian.Uint64(b)), true
}

// writeOf returns the write that a version belongs to, nil where nobody wrote
// that.
func (h *history) writeOf(k *keyHistory, v *version.Version) *write {
	var found *write
	if v.Tombstone {
		found = h.byID[v.WriteID]
	} else if n, ok := parseValue(v.Data, k.key); ok && n < len(h.writes) {
		found = h.writes[n]
	}
	if found == nil || found.key != k || found.tombstone != v.Tombstone || !found.id.IsZero() && found.id != v.WriteID {
		return nil
	}
	return found
}

// stored looks at a record that a step has written: it learns the dots that
// were minted, and holds every version to what it was when it was minted.
func (h *history) stored(p *process, l *loop, dataKey, value []byte) {
	set, err := replica.StoredSet(value)
	if err != nil {
		h.w.fail("store", "%v stores a record that cannot be read: %v", p.id, err)
		return
	}
	k := h.byKey[string(core.ClientKey(dataKey))]
	if k == nil {
		h.w.fail("phantom", "%v stores the key %q, which nobody wrote", p.id, core.ClientKey(dataKey))
		return
	}
	hint := core.IsHintKey(dataKey)
	if hint {
		h.w.hintWritten(p, l, k, value)
	} else {
		h.changed(p, k, set)
	}
	p.keep(k, hint, set)
	for i := range set.Versions {
		v := &set.Versions[i]
		if at, ok := k.byDot[v.Dot]; ok {
			h.same(p, k, at, v)
		} else {
			h.minted(p, k, &set, v)
			if hint {
				h.w.report.Stats.Hints.Minted++
			}
		}
	}
}

// removed notes that a step has removed a record: a hint, or a key; as an owner,
// which has reaped it, or as a node that has handed it over.
func (h *history) removed(p *process, l *loop, dataKey []byte) {
	k := h.byKey[string(core.ClientKey(dataKey))]
	if k == nil {
		return
	}
	if core.IsHintKey(dataKey) {
		h.w.hintWritten(p, l, k, nil)
		p.keep(k, true, version.Siblings{})
		return
	}
	owned := false
	for _, live := range l.view.Layouts.Live {
		owned = owned || live.Owns(p.id, live.Partition(k.key))
	}
	if owned {
		h.reaped(p, l.view, k)
	} else {
		for _, live := range l.view.Layouts.Live {
			h.w.checkRemoved(p, live, k)
		}
	}
	p.keep(k, false, version.Siblings{})
}

// keep notes what a process holds of a key now, in its own copy or as a hint,
// and its disk soon.
func (p *process) keep(k *keyHistory, hint bool, set version.Siblings) {
	if !hint { // those are noted with their owners
		p.held[k.index] = set
	}
	p.unsynced = append(p.unsynced, unsynced{batch: p.disk.Last() + 1, key: k.index, hint: hint, set: set})
}

// same checks that a version has the bytes that were minted with its dot.
func (h *history) same(p *process, k *keyHistory, at int, v *version.Version) {
	if m := &k.mints[at]; m.sum != versionSum(v) {
		h.w.fail("equal dots", "%v has other bytes than were minted as %v of %s: write %v now, write %d then",
			p.id, v.Dot, k.key, v.WriteID, m.write.number)
	}
}

func versionSum(v *version.Version) uint64 {
	sum := xxhash.Sum64(v.Data) ^ mix(uint64(v.Timestamp)) ^
		mix(binary.BigEndian.Uint64(v.WriteID[:8])+1) ^ mix(binary.BigEndian.Uint64(v.WriteID[8:])+2)
	if v.Tombstone {
		sum = ^sum
	}
	return sum
}

// minted notes a dot that has not been seen before: it must be of the node
// that stores it, in its present start, since a replica never mints while it
// applies.
func (h *history) minted(p *process, k *keyHistory, set *version.Siblings, v *version.Version) {
	if v.Dot.Actor.Node != p.id {
		h.w.fail("mint", "%v is the first to store %v of %s", p.id, v.Dot, k.key)
	}
	wr := h.writeOf(k, v)
	if wr == nil {
		h.w.fail("phantom", "%v mints %v of %s, which nobody wrote", p.id, v.Dot, k.key)
		wr = &write{number: -1, key: k, outcome: unknown}
	}
	if wr.outcome == failed {
		h.w.fail("phantom", "%v mints write %d to %s after its client was told that it is not written", p.id, wr.number, k.key)
	}
	i := len(k.mints)
	m := mint{dot: v.Dot, write: wr, tombstone: v.Tombstone, sum: versionSum(v)}
	switch {
	case wr.overwrite:
		m.past = k.replacedBy(set)
	case wr.context != nil:
		m.past = wr.context.seen
	}
	if at := h.mintedHere(p, wr, v.Dot); at >= 0 && wr.attempts < 2 {
		h.w.fail("minted twice", "%v mints write %d to %s as %v, which it has minted as %v; its client sent it once",
			p.id, wr.number, k.key, v.Dot, k.mints[at].dot)
	}
	if k.reaped {
		k.reaped = false
		h.w.report.Stats.Recreated++
	}
	k.add(m)
	wr.mints = append(wr.mints, i)
	h.w.trace.printf(h.w.now, "  minted %v of %s for write %d, context %v, overwrite %v", v.Dot, k.key, wr.number, wr.context != nil, wr.overwrite)
}

// mintedHere returns an earlier mint of a write at the same node, -1 if there
// is none. What a node was sent once it executes once; only another owner may
// execute the same write, when this one does not answer.
func (h *history) mintedHere(p *process, wr *write, d version.Dot) int {
	for _, i := range wr.mints {
		if a := wr.key.mints[i].dot.Actor; a.Node == p.id && (a != d.Actor || wr.key.mints[i].dot != d) {
			return i
		}
	}
	return -1
}

// add takes a mint into the key's history.
func (k *keyHistory) add(m mint) {
	i := len(k.mints)
	k.mints = append(k.mints, m)
	k.byDot[m.dot] = i
	counters := k.byActor[m.dot.Actor]
	if counters == nil {
		counters = new([]int)
		k.byActor[m.dot.Actor] = counters
	}
	for uint64(len(*counters)) < m.dot.Counter {
		*counters = append(*counters, -1)
	}
	(*counters)[m.dot.Counter-1] = i
}

// coveredBy returns the mints that a clock covers, and how many dots it covers
// that were never minted.
func (k *keyHistory) coveredBy(c version.Clock) (covered bitset, strange uint64) {
	covered = make(bitset, (len(k.mints)+63)/64)
	take := func(a version.Actor, from, to uint64) {
		var known []int
		if counters := k.byActor[a]; counters != nil {
			known = (*counters)[min(from-1, uint64(len(*counters))):min(to, uint64(len(*counters)))]
		}
		strange += to - from + 1 - uint64(len(known))
		for _, i := range known {
			if i < 0 {
				strange++
			} else {
				covered[i>>6] |= 1 << (i & 63)
			}
		}
	}
	for _, d := range c.Vector() {
		take(d.Actor, 1, d.Counter)
	}
	for _, d := range c.Dots() {
		take(d.Actor, d.Counter, d.Counter)
	}
	return covered, strange
}

// replacedBy returns what an Overwrite has replaced, from the set that it
// left: all that the clock covers and that is not beside it, and what that has
// replaced in turn, which the node need not have heard of, or may have
// forgotten. This is what only the machine can tell.
func (k *keyHistory) replacedBy(set *version.Siblings) bitset {
	covered, _ := k.coveredBy(set.Clock)
	past := covered.clone()
	covered.each(func(i int) { past.add(k.mints[i].past) })
	for i := range set.Versions {
		if at, ok := k.byDot[set.Versions[i].Dot]; ok && past.has(at) {
			past[at>>6] &^= 1 << (at & 63)
		}
	}
	return past
}

// read returns the mints that a set shows and everything in their past. It
// reports what it finds that nobody wrote.
func (h *history) read(who string, k *keyHistory, set *version.Siblings) (shown, covered bitset) {
	for i := range set.Versions {
		v := &set.Versions[i]
		at, ok := k.byDot[v.Dot]
		if !ok {
			h.w.fail("phantom", "%s of %s shows %v, which nobody minted", who, k.key, v.Dot)
			continue
		}
		m := &k.mints[at]
		if m.sum != versionSum(v) {
			h.w.fail("equal dots", "%s of %s shows other bytes than were minted as %v", who, k.key, v.Dot)
		}
		if m.write.outcome == failed {
			h.w.fail("phantom", "%s of %s shows write %d, whose client was told that it is not written", who, k.key, m.write.number)
		}
		shown.set(at)
		covered.add(m.past)
	}
	covered.add(shown)
	return shown, covered
}

// exact checks that a clock covers nothing that its holder has not seen.
func (h *history) exact(who string, k *keyHistory, clock version.Clock, seen bitset) {
	covered, strange := k.coveredBy(clock)
	covered.minus(seen).each(func(i int) {
		h.w.fail("context", "%s of %s has a context that covers %v of write %d, which it has not seen",
			who, k.key, k.mints[i].dot, k.mints[i].write.number)
	})
	if strange > 0 {
		h.w.fail("context", "%s of %s has a context that covers %d dots that were never minted", who, k.key, strange)
	}
}

// give remembers a context for other clients to use.
func (k *keyHistory) give(c *held) {
	k.contexts[k.next%len(k.contexts)] = c
	k.next++
}

// overlapping returns the acknowledged mints of k that a read of r replicas
// must find: those whose W replicas meet any r ones. Where layouts change, a
// quorum counts only if it is at least the configured one, since that is what
// transitions are built for.
func (h *history) overlapping(k *keyHistory, r int) bitset {
	h.restored(k)
	if h.w.fallenBack() {
		return nil
	}
	p := h.w.plan
	least := max(p.N-r+1, 1)
	if h.w.grows {
		if r < p.R {
			return nil
		}
		least = max(least, p.W)
	}
	var must bitset
	for n := least; n < len(k.strict); n++ {
		must.add(k.strict[n])
	}
	return must.minus(k.shaken).minus(k.lost)
}
