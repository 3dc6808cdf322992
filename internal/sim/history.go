package sim

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"

	"github.com/dynamo-kv/dynamo/internal/audit"
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
	audit.Key // of the mints: which dots they have, and what they replace
	index     int
	key       []byte
	mints     []mint

	// acked has, by the W that they were acknowledged with, the mints of
	// writes that a client was told are written.
	acked [maxReplicas + 1]audit.Set
	// strict has those of acked that owners alone had acknowledged.
	strict [maxReplicas + 1]audit.Set
	// observed has the mints that a get returned, acknowledged or not.
	observed audit.Set
	held     heldReads
	// forgotten has the mints that were let go of, with what had replaced them:
	// tombstones that were reaped and what they replaced, clock entries that
	// were pruned. No node holds a value of these any more.
	forgotten audit.Set
	reaped    bool // and not written again since

	// lost has the mints that are on no disk any more, and shaken those that
	// an owner has lost with its disk and that are not at all owners yet; bereft
	// has besides those that were in its hints: see lostdisk.go.
	lost, shaken, bereft audit.Set

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
	seen    audit.Set // closed under past
	fromPut bool
}

func newHistory(w *world, keys int) *history {
	h := &history{w: w, byKey: make(map[string]*keyHistory), byID: make(map[version.WriteID]*write)}
	for i := range keys {
		k := &keyHistory{index: i, key: keyName(w.plan.Seed, i)}
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

// writeOf returns the write that a version belongs to, nil where nobody wrote
// that.
func (h *history) writeOf(k *keyHistory, v *version.Version) *write {
	var found *write
	if v.Tombstone {
		found = h.byID[v.WriteID]
	} else if n, ok := audit.ParseValue(v.Data, k.key); ok && n < len(h.writes) {
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
		if at, ok := k.At(v.Dot); ok {
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
	m := mint{dot: v.Dot, write: wr, tombstone: v.Tombstone, sum: versionSum(v)}
	var past audit.Set
	switch {
	case wr.overwrite:
		past = k.replacedBy(set)
	case wr.context != nil:
		past = wr.context.seen
	}
	if at := h.mintedHere(p, wr, v.Dot); at >= 0 && wr.attempts < 2 {
		h.w.fail("minted twice", "%v mints write %d to %s as %v, which it has minted as %v; its client sent it once",
			p.id, wr.number, k.key, v.Dot, k.mints[at].dot)
	}
	if k.reaped {
		k.reaped = false
		h.w.report.Stats.Recreated++
	}
	wr.mints = append(wr.mints, k.add(m, past))
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

// add takes a mint into the key's history, with what it replaces: every mint
// that the write had seen, directly or through others.
func (k *keyHistory) add(m mint, past audit.Set) int {
	i := k.Add(past)
	k.Name(i, m.dot)
	k.mints = append(k.mints, m)
	return i
}

// replacedBy returns what an Overwrite has replaced, from the set that it
// left: all that the clock covers and that is not beside it, and what that has
// replaced in turn, which the node need not have heard of, or may have
// forgotten. This is what only the machine can tell.
func (k *keyHistory) replacedBy(set *version.Siblings) audit.Set {
	covered, _ := k.CoveredBy(set.Clock)
	past := k.Closure(covered)
	for i := range set.Versions {
		if at, ok := k.At(set.Versions[i].Dot); ok && past.Has(at) {
			past[at>>6] &^= 1 << (at & 63)
		}
	}
	return past
}

// read returns the mints that a set shows and everything in their past. It
// reports what it finds that nobody wrote.
func (h *history) read(who string, k *keyHistory, set *version.Siblings) (shown, covered audit.Set) {
	for i := range set.Versions {
		v := &set.Versions[i]
		at, ok := k.At(v.Dot)
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
		shown.Put(at)
	}
	return shown, k.Closure(shown)
}

// exact checks that a clock covers nothing that its holder has not seen.
func (h *history) exact(who string, k *keyHistory, clock version.Clock, seen audit.Set) {
	covered, strange := k.CoveredBy(clock)
	covered.Minus(seen).Each(func(i int) {
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
func (h *history) overlapping(k *keyHistory, r int) audit.Set {
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
	var must audit.Set
	for n := least; n < len(k.strict); n++ {
		must.Add(k.strict[n])
	}
	return must.Minus(k.shaken).Minus(k.lost)
}
