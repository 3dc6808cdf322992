package replica

import (
	"errors"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// Damaged takes what the store has found that the disk has lost, read or not. It
// is nothing new where the records were written again meanwhile. What is still in
// memory is written again: it is what the disk had, and may be the only copy, and
// it would have this node acknowledge what it holds on no disk.
func (r *Replica) Damaged(d core.Damage, out *core.Out) {
	if d.More {
		r.damagedAnywhere(out)
	}
	for _, key := range d.Keys {
		if r.restore(key, out) {
			continue
		}
		var err error
		switch {
		case core.IsDataKey(key) && r.trees.part(r.trees.partitionOf(core.DataPosition(key))) != nil:
			_, _, _, err = r.own(key)
		case core.IsHintKey(key) && r.hints.mine(r.hints.partition(core.ClientKey(key)), r.config):
			_, _, _, err = r.ownHint(key, out)
		case core.IsTallyKey(key) && r.hints.mine(core.TallyPartition(key), r.config):
			r.restoreTally(core.TallyPartition(key), out)
		}
		if err != nil {
			r.fail(key, err, out)
		}
	}
}

// restore writes a record again that is in the cache and that the disk has lost. It
// reports whether it was there.
func (r *Replica) restore(key []byte, out *core.Out) bool {
	held := r.store.cache.find(key)
	if held == nil {
		return false
	}
	if core.IsDataKey(key) {
		r.rebuildTree(r.trees.partitionOf(core.DataPosition(key))) // a scan for it may have passed over the record
	}
	if held.flush != 0 {
		return true
	}
	if _, err := r.store.base.Get(key); !errors.Is(err, core.ErrDamaged) {
		return true // it has been written again since; what else is wrong comes up when it is read
	}
	r.store.put(key, held.record, out)
	return true
}

// damagedAnywhere has everything looked at that may have lost something.
func (r *Replica) damagedAnywhere(out *core.Out) {
	for _, key := range r.store.cache.keys() {
		r.restore(key, out)
	}
	for i := range r.trees.parts {
		p := ring.Partition(i*r.trees.shards + r.trees.shard)
		r.rebuildTree(p)
	}
	for p := r.config.Shard; p < r.hints.partitions() && out.Failed == nil; p += r.config.Shards {
		if _, hinted := r.hints.find(ring.Partition(p)); hinted {
			r.recount(ring.Partition(p), out)
		}
	}
}

// own returns this node's record of a data key, as overlay.get does. One that
// the disk has lost is none, as on a disk that was replaced: it takes a fresh
// epoch, and the other owners have it. The hash tree that still counts it is
// built anew, or they would never be asked.
func (r *Replica) own(dataKey []byte) (rec record, found bool, flush uint64, err error) {
	rec, found, flush, err = r.store.get(dataKey)
	if errors.Is(err, core.ErrDamaged) {
		r.lose(dataKey)
		return record{}, false, 0, nil
	}
	return rec, found, flush, err
}

// maxLost bounds the keys that are remembered as lost, so that reading one
// again does not have its tree built again. Where there are more, some are.
const maxLost = 4096

func (r *Replica) lose(dataKey []byte) {
	if r.lost[string(dataKey)] {
		return
	}
	if r.lost == nil || len(r.lost) >= maxLost {
		r.lost = make(map[string]bool)
	}
	r.lost[string(dataKey)] = true
	r.rebuildTree(r.trees.partitionOf(core.DataPosition(dataKey)))
}

// ownHint returns a hint record as overlay.get does. One that the disk has lost is
// none, as on a disk that was replaced. Whom it was for is lost with it: those
// owners have the write from each other, or from who else stood in for them. It is
// removed, so that it does not come back if the disk can read it again, and its
// partition's tally counts what is there.
func (r *Replica) ownHint(hintKey []byte, out *core.Out) (rec record, found bool, flush uint64, err error) {
	rec, found, flush, err = r.store.get(hintKey)
	if !errors.Is(err, core.ErrDamaged) {
		return rec, found, flush, err
	}
	r.hints.report.Lost++
	r.store.remove(hintKey, out)
	p := r.hints.partition(core.ClientKey(hintKey))
	r.recount(p, out)
	r.hints.markDirty(p) // if this node owns it, it had a marker for another owner
	return r.store.get(hintKey)
}

// mine says whether a partition is of this shard. Before the hints are opened none
// is.
func (h *hints) mine(p ring.Partition, c Config) bool {
	return h.shift != 0 && int(p)%c.Shards == c.Shard
}

// partitions returns how many there are in the cluster, 0 before that is known.
func (h *hints) partitions() int {
	if h.shift == 0 {
		return 0
	}
	return 1 << (64 - h.shift)
}

// restoreTally writes a partition's tally again, as it is in memory.
func (r *Replica) restoreTally(p ring.Partition, out *core.Out) {
	if i, found := r.hints.find(p); found {
		r.hints.writeTally(i, out)
		return
	}
	out.Writes = append(out.Writes, core.Write{Key: core.HintTallyKey(p), Delete: true})
}
