package replica

import (
	"slices"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// The tallies of hints are exact as long as the disk keeps what it was given.
// Where it has lost a hint, the tally still counts it; where it has lost a
// tally, nobody would look for its hints, which may be all that there is of an
// acknowledged write. Either way the partition's hints are counted anew. That
// reads them all in one step, which is as seldom as broken disks are.

// recountKeys and recountBytes bound one read of a recount.
const (
	recountKeys  = 256
	recountBytes = 1 << 20
)

// checkTally holds the tally of the partition with these positions to the number
// of its hints.
func (r *Replica) checkTally(first, last ring.Position, hints int, out *core.Out) {
	h := &r.hints
	p := h.at(first)
	if p != h.at(last) {
		return // of more than one
	}
	if i, found := h.find(p); found && h.tallies[i].records != uint64(hints) {
		h.markDirty(p)
		r.recount(p, out)
	}
}

// countUntallied counts the hints of partitions without a tally.
func (r *Replica) countUntallied(out *core.Out) {
	h := &r.hints
	for from, to := core.AllHints(); from != nil && out.Failed == nil; {
		p, any := ring.Partition(0), false
		_, err := r.store.base.Scan(from, to, core.Limit{Keys: 1, Bytes: 1}, func(key, _ []byte) bool {
			p, any = h.at(core.DataPosition(key)), true
			return false
		})
		if err != nil {
			r.fail(from, err, out)
		}
		if !any || err != nil {
			return
		}
		if _, found := h.find(p); !found && int(p)%r.config.Shards == r.config.Shard {
			r.recount(p, out)
		}
		_, from = core.HintRange(h.span(p)) // where the next partition begins
		if string(from) >= string(to) {
			return
		}
	}
}

// recount counts the hints of a partition anew.
func (r *Replica) recount(p ring.Partition, out *core.Out) {
	h := &r.hints
	is := tally{partition: p}
	for from, to := core.HintRange(h.span(p)); from != nil; {
		found, next, _, err := r.store.scan(from, to, core.Limit{Keys: recountKeys, Bytes: recountBytes})
		if err != nil {
			r.fail(core.ClientKey(from), err, out)
			return
		}
		for _, e := range found {
			is.bytes += uint64(len(e.key) + e.record.size())
			is.records++
			for _, o := range e.record.owners {
				is.pending = count(is.pending, o.Node, 1)
			}
		}
		from = next
	}
	i, known := h.find(p)
	if !known {
		h.tallies = slices.Insert(h.tallies, i, is)
	}
	h.tallies[i] = is
	h.writeTally(i, out)
	h.sum()
	h.revision++ // delivery looks at what is there
}
