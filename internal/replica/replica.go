package replica

import (
	"errors"
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// Config of a Replica. Every field but CacheBytes is needed.
type Config struct {
	Self  id.Node
	Start uint64 // the nonce of this start of the process
	// Shard of Shards: the shards of a node share its start, so each counts
	// its epochs in steps of Shards from Shard.
	Shard, Shards int
	// MaxHintBytes is what the hints of this shard may need, keys included.
	MaxHintBytes uint64
	// CacheBytes is what the records of this shard that are kept in memory may
	// need; 0: none are.
	CacheBytes int
	// Watch is told of every key that changes; nil: nobody watches.
	Watch Watcher
}

// Watcher is told where on the ring a key changes: it is stored, with whatever
// set, or removed.
type Watcher interface{ Changed(at ring.Position) }

// Replica is one shard's part of the node's own copy.
type Replica struct {
	config Config
	store  overlay
	hints  hints
	epochs uint64 // taken so far
	alarms core.Alarms
	trees  trees
	room   room
	// readKey is the data key of the read under way: its memory is used again.
	readKey []byte
	lost    map[string]bool // keys of the store whose records the disk has lost, as far as they are remembered
}

// New returns the replica over what base holds.
func New(c Config, base core.Store) *Replica {
	r := &Replica{config: c, store: newOverlay(base, c.Watch, c.CacheBytes), trees: trees{shard: c.Shard, shards: c.Shards}}
	r.SetRoom(nil)
	return r
}

// Alarms returns the counts since the start.
func (r *Replica) Alarms() core.Alarms { return r.alarms }

// Cache returns what the cache of records has done, and what it holds.
func (r *Replica) Cache() core.CacheCounters { return r.store.cache.report() }

// Conflict counts a set that somebody else has refused for equal dots with
// different bytes.
func (r *Replica) Conflict() { r.alarms.Conflicts++ }

// Flush ends a drain: it returns the number of the flush that takes what was
// written since the last call, and counts on.
func (r *Replica) Flush() uint64 {
	n := r.store.flush
	r.store.flush++
	return n
}

// Durable is told when flush n and all before it are durable.
func (r *Replica) Durable(n uint64) { r.store.durable(n) }

// Read returns the key's siblings, empty where there are none, and the flush
// that they wait for. Where the store fails, out.Failed is set.
func (r *Replica) Read(key []byte, out *core.Out) (set version.Siblings, flush uint64) {
	r.readKey = core.AppendDataKey(r.readKey[:0], key)
	rec, _, flush, err := r.own(r.readKey)
	if err != nil {
		r.fail(key, err, out)
		return version.Siblings{}, 0
	}
	if bug.On(bug.ReadUndurable) {
		return rec.set, 0
	}
	return rec.set, flush
}

// Apply merges a set from another node into this one's and returns the flush
// after which the result is durable; or why it is refused, with nothing done:
// the set breaks an invariant, or there is no room for it. It may be repeated
// at will. Where the store fails, out.Failed is set and nothing is refused.
func (r *Replica) Apply(key []byte, set version.Siblings, out *core.Out) (flush uint64, why core.Refusal) {
	dataKey := core.DataKey(key)
	rec, _, flush, err := r.own(dataKey)
	if err != nil {
		r.fail(key, err, out)
		return 0, 0
	}
	merged, err := version.Merge(rec.set, set)
	if err != nil {
		r.Conflict()
		return 0, core.RefusedInvalid
	}
	lost := r.lostData(rec, set.Clock)
	if !lost && rec.set.Covers(set) {
		if bug.On(bug.NoopAtOnce) {
			return 0, 0
		}
		return flush, 0
	}
	if !r.room.take(key, rec.set, merged) {
		return 0, core.RefusedStorageFull
	}
	before := rec
	if lost {
		rec.epoch = version.Epoch{}
	}
	if bug.On(bug.EpochFromMerge) && rec.epoch.IsZero() {
		rec.epoch = r.shownBy(merged.Clock)
	}
	rec.set = merged
	if bug.On(bug.TreeSkipsApply) {
		rec.hash = merkle.Hash{}
		r.store.put(dataKey, rec, out)
	} else {
		r.put(dataKey, before, rec, out)
	}
	return r.promised(), 0
}

// shownBy returns the epoch of an actor of this start that a clock shows: the
// mistake of bug.EpochFromMerge.
func (r *Replica) shownBy(c version.Clock) (e version.Epoch) {
	for _, d := range c.Vector() {
		if d.Actor.Node == r.config.Self && d.Actor.Epoch.Start == r.config.Start {
			e = d.Actor.Epoch
		}
	}
	return e
}

// promised returns the flush that what is written now waits for.
func (r *Replica) promised() uint64 {
	if bug.On(bug.SkipFsyncWait) {
		return 0
	}
	return r.store.flush
}

// Write mints a version as DESIGN section 4 says, in one step: drop what the
// context covers, join the context into the clock, mint, add, store. A write
// whose ID a stored version already has is not minted again.
func (r *Replica) Write(w core.LocalWrite, out *core.Out) core.LocalResult {
	if len(w.For) > 0 {
		return r.writeHint(w, out)
	}
	dataKey := core.DataKey(w.Key)
	rec, _, flush, err := r.own(dataKey)
	if err != nil {
		r.fail(w.Key, err, out)
		return core.LocalResult{Code: core.CodeStopped}
	}
	if v, ok := rec.set.Find(w.Write.ID); ok {
		return core.LocalResult{Code: core.CodeOK, Set: rec.set, Context: repeated(w, rec.set, v.Dot), Flush: flush}
	}
	before := rec
	rec, seen := r.minted(rec, w)
	value, rec := rec.encode() // at once: limits and room go by its length
	if code := limits(before.set, rec.set); code != core.CodeOK {
		return core.LocalResult{Code: code}
	}
	if !r.room.take(w.Key, before.set, rec.set) {
		return core.LocalResult{Code: core.CodeStorageFull}
	}
	r.putEncoded(dataKey, before, rec, value, out)
	return core.LocalResult{Code: core.CodeOK, Set: rec.set, Context: seen, Flush: r.promised()}
}

// minted returns a record as a write leaves it, whatever its size, and what the
// writer has seen after it.
func (r *Replica) minted(rec record, w core.LocalWrite) (record, version.Clock) {
	context := w.Context
	if w.Overwrite {
		context = rec.set.Clock.Join(context)
	}
	epoch := rec.epoch
	if epoch.Start != r.config.Start && (epoch.IsZero() || !bug.On(bug.ContinueEpoch)) || r.lostData(rec, context) {
		epoch = r.freshEpoch(rec.set.Clock, context)
	}
	set, dot := r.mint(rec.set, context, version.Actor{Node: r.config.Self, Epoch: epoch}, w.Write)
	rec.epoch, rec.set = epoch, set
	var seen version.Clock
	switch {
	case w.Overwrite && bug.On(bug.OverwriteOwnDot):
		seen = version.DotClock(dot)
	case w.Overwrite, bug.On(bug.ContextCoversUnseen):
		seen = set.Clock // the context has all of the clock before
	default:
		seen = context.With(dot)
	}
	return rec, seen
}

// repeated returns the context of a write that was minted before and is in
// set. What a quorum shows now is not what an Overwrite has replaced then, and
// neither is all that is covered now, where other versions stand beside it:
// its client has not seen what those have replaced, and a later write with a
// context that covered it would drop it. Where the version stands alone,
// everything that is covered was replaced by it, directly or through others,
// and the context covers it all (scenario overwrite-context).
func repeated(w core.LocalWrite, set version.Siblings, minted version.Dot) version.Clock {
	switch {
	case !w.Overwrite:
		return w.Context.With(minted)
	case len(set.Versions) == 1:
		return set.Clock
	}
	return version.DotClock(minted)
}

func (r *Replica) mint(set version.Siblings, context version.Clock, a version.Actor, w version.Write) (version.Siblings, version.Dot) {
	if bug.On(bug.EqualDots) { // plain vector clocks: the next dot from the client's context alone
		fresh, dot := version.Siblings{Clock: context}.Put(version.Clock{}, a, w)
		if merged, err := version.Merge(set, fresh); err == nil {
			fresh = merged
		}
		return fresh, dot
	}
	if bug.On(bug.ContextNotJoined) {
		after, dot := set.Put(context, a, w)
		return version.Siblings{Clock: set.Clock.With(dot), Versions: after.Versions}, dot
	}
	return set.Put(context, a, w)
}

// limits says whether a client's put may take a key's set from before to
// after. Merges are never refused, so a set may already be past a limit: then
// a put that does not make it worse is welcome.
func limits(before, after version.Siblings) core.Code {
	if n := len(after.Versions); n > id.MaxSiblings && n > len(before.Versions) {
		return core.CodeTooManySiblings
	}
	if n := after.Size(); n > id.MaxSetBytes && n > before.Size() {
		return core.CodeSetTooLarge
	}
	if n := after.Clock.Len(); n > id.MaxClockEntries && n > before.Clock.Len() {
		return core.CodeClockTooLong
	}
	return core.CodeOK
}

// lostData says that a clock from outside has a higher counter for the
// record's live actor than this node has minted, and counts it.
func (r *Replica) lostData(rec record, outside version.Clock) bool {
	if rec.epoch.IsZero() || rec.epoch.Start != r.config.Start {
		return false
	}
	a := version.Actor{Node: r.config.Self, Epoch: rec.epoch}
	if outside.Max(a) <= rec.set.Clock.Max(a) {
		return false
	}
	r.alarms.LostData++
	return true
}

// freshEpoch takes an epoch that neither of a key's clocks has anything of. Only
// somebody who makes dots up could have, and might leave no counter to mint with.
func (r *Replica) freshEpoch(stored, seen version.Clock) version.Epoch {
	for {
		r.epochs++
		e := version.Epoch{Start: r.config.Start, Seq: r.epochs*uint64(r.config.Shards) + uint64(r.config.Shard)}
		if a := (version.Actor{Node: r.config.Self, Epoch: e}); stored.Max(a) == 0 && seen.Max(a) == 0 {
			return e
		}
	}
}

// Prune removes the clock entries of actors without a version from the key's
// set, where that is still exactly the given one and durable, and returns how
// many actors it has forgotten; the caller has made sure by the two rounds of
// DESIGN section 4 that nobody holds anything that the entries stand for.
// Actors with a version present are kept, and pruning the own entry clears
// the record's actor (scenario pruned-own-entry).
func (r *Replica) Prune(key []byte, set version.Siblings, out *core.Out) int {
	dataKey := core.DataKey(key)
	rec, found, flush, err := r.own(dataKey)
	if err != nil {
		r.fail(key, err, out)
		return 0
	}
	unused := rec.set.Unused()
	if !found || flush != 0 || unused == 0 || !rec.set.Equal(set) {
		return 0
	}
	before := rec
	rec.set = rec.set.WithoutUnused()
	if own := (version.Actor{Node: r.config.Self, Epoch: rec.epoch}); rec.set.Clock.Max(own) == 0 && !bug.On(bug.PruneKeepsActor) {
		rec.epoch = version.Epoch{}
	}
	r.put(dataKey, before, rec, out)
	return unused
}

// Remove forgets the key where its set is still exactly that one and durable;
// the caller has made sure that all current owners hold it durably. It
// reports whether the key is gone.
func (r *Replica) Remove(key []byte, set version.Siblings, out *core.Out) bool {
	dataKey := core.DataKey(key)
	rec, found, flush, err := r.own(dataKey)
	if err != nil {
		r.fail(key, err, out)
		return false
	}
	if !found {
		return true
	}
	if flush != 0 || !rec.set.Equal(set) {
		return false
	}
	r.changeTree(dataKey, rec, record{}, out)
	r.store.remove(dataKey, out)
	return true
}

// Chunk returns the keys and sets at the positions first to last, from the
// key after on (nil: from the start), up to the limit. done says that nothing
// follows; flush is what the items wait for.
func (r *Replica) Chunk(first, last ring.Position, after []byte, limit core.Limit, out *core.Out) (items []core.Item, done bool, flush uint64) {
	from, to := core.DataRange(first, last)
	if after != nil {
		from = append(core.DataKey(after), 0)
	}
	found, next, flush, err := r.store.scan(from, to, limit)
	if err != nil {
		r.fail(after, err, out)
		return nil, false, 0
	}
	for _, e := range found {
		items = append(items, core.Item{Key: core.ClientKey(e.key), Set: e.record.set})
	}
	return items, next == nil, flush
}

// Holds says whether any key is stored at the positions first to last, and
// returns the flush that this answer waits for.
func (r *Replica) Holds(first, last ring.Position, out *core.Out) (held bool, flush uint64) {
	from, to := core.DataRange(first, last)
	return r.holds(from, to, out)
}

// holds says whether any record is stored in [from, to).
func (r *Replica) holds(from, to []byte, out *core.Out) (held bool, flush uint64) {
	for from != nil && !held {
		// A key whose removal is pending is read and not found: go on behind it.
		found, next, f, err := r.store.scan(from, to, core.Limit{Keys: 1, Bytes: 1})
		if err != nil {
			r.fail(core.ClientKey(from), err, out)
			return false, 0
		}
		held, flush, from = len(found) > 0, max(flush, f), next
	}
	return held, flush
}

// fail records the first failure of a step: the node stops on it.
func (r *Replica) fail(key []byte, err error, out *core.Out) {
	if out.Failed == nil {
		out.Failed = fmt.Errorf("reading key %q: %w", key, err)
	} else {
		out.Failed = errors.Join(out.Failed, err)
	}
}
