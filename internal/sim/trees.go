package sim

import (
	"fmt"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// TreeStats counts what anti-entropy did.
type TreeStats struct {
	Exchanges, Differing, Repaired uint64
	Built, Loaded, Saved           uint64
	// Diverged counts runs whose owners were not equal when everything was at
	// rest, and Converged is the longest that they then took.
	Diverged  uint64
	Converged time.Duration
}

func (s *TreeStats) add(o *TreeStats) {
	s.Exchanges += o.Exchanges
	s.Differing += o.Differing
	s.Repaired += o.Repaired
	s.Built += o.Built
	s.Loaded += o.Loaded
	s.Saved += o.Saved
	s.Diverged += o.Diverged
	s.Converged = max(s.Converged, o.Converged)
}

// tallyTrees adds what the shards of a process have counted, which ends with
// it. A tree that was found not to be that of its data is a violation.
func (w *world) tallyTrees(p *process) {
	for _, l := range p.shards {
		r := l.shard.Trees()
		w.report.Stats.Trees.add(&TreeStats{
			Exchanges: r.Exchanges, Differing: r.Differing, Repaired: r.Repaired,
			Built: r.Built, Loaded: r.Loaded,
		})
		if r.Wrong > 0 {
			w.fail("trees", "%v has found %d hash trees that are not those of their data", p.id, r.Wrong)
		}
	}
}

// saveTrees steps the shards of a process that stops in order, for the last
// time.
func (w *world) saveTrees(p *process) {
	for _, l := range p.shards {
		for more := true; more; {
			l.out.Reset()
			more = l.shard.Stop(&l.out)
			l.machine.Flush()
			if len(l.out.Writes) == 0 {
				continue
			}
			w.report.Stats.Trees.Saved += uint64(len(l.out.Writes))
			if _, err := p.disk.Append(l.out.Writes); err != nil {
				panic(fmt.Sprintf("sim: the disk of a running process refuses a batch: %v", err))
			}
		}
	}
}

// rescan adds up the hashes of what p's disk holds, by partition.
func (w *world) rescan(p *process) map[ring.Partition]merkle.Hash {
	sums := make(map[ring.Partition]merkle.Hash) // looked up by key only
	for _, row := range w.rows(p) {
		set, err := replica.StoredSet(row.value)
		if err != nil || set.IsEmpty() {
			continue // what cannot be read, others report
		}
		at := w.partitionOf(core.DataPosition(row.key))
		sums[at] = sums[at].Plus(merkle.Of(replica.HashInput(nil, core.ClientKey(row.key), set)))
	}
	return sums
}

// checkSaved holds the trees that p's disk has to the data beside them: what
// the next start takes over unseen is right, whatever has happened.
func (w *world) checkSaved(p *process) {
	from, to := core.SavedTrees()
	a, _ := p.disk.data.find(from)
	b, _ := p.disk.data.find(to)
	if a == b {
		return
	}
	sums := w.rescan(p)
	for _, row := range p.disk.data[a:b] {
		partition, _ := core.TreePartition(row.key)
		root, _, err := replica.SavedRoot(row.value)
		if err != nil || root != sums[partition] {
			w.fail("trees", "%v starts with a saved hash tree of partition %d that is not that of its data: %v", p.id, partition, err)
		}
	}
}

// checkTrees holds every tree that serves to a full rescan.
func (w *world) checkTrees(p *process) {
	sums := w.rescan(p)
	for partition := range ring.Partition(w.plan.Partitions) {
		root, ok := p.shards[int(partition)%len(p.shards)].shard.Root(partition)
		if ok && merkle.Hash(root) != sums[partition] {
			w.fail("trees", "the hash tree of partition %d at %v is not that of its data", partition, p.id)
		}
	}
}

// convergeBound is how long the owners may take to be equal when everything is
// at rest and nobody reads or writes. Each pair is compared once an interval,
// and one round of all pairs is enough: what one owner holds goes to each of
// the others directly. An exchange under way may be with a peer that was still
// away: it is repeated until it times out. The few keys there are cost each
// exchange a second at most; a node has one with each of the others. Trees that
// are being built, and peers that are not seen to be alive yet, delay a round by
// a retry each.
func (w *world) convergeBound() time.Duration {
	const timeouts, retry, exchange = 3 * 2 * time.Second, 2 * time.Second, time.Second
	peers := time.Duration(w.started)
	return w.plan.AntiEntropy + timeouts + 2*retry + peers*exchange + 10*w.plan.Gossip
}

// converge waits until all owners of every key hold the same, and fails where
// they do not within the bound. Nobody reads meanwhile: it is anti-entropy
// alone that makes them equal.
func (w *world) converge() {
	if w.plan.AntiEntropy == 0 || w.unrest() != "" {
		return
	}
	began := w.now
	why := w.diverged()
	if why != "" {
		w.trace.printf(w.now, "at rest, and not equal: %s", why)
		w.report.Stats.Trees.Diverged++
	}
	for why != "" && w.now < began+w.convergeBound() && !w.halted {
		w.until(w.now + 500*time.Millisecond)
		why = w.diverged()
	}
	s := &w.report.Stats.Trees
	s.Converged = max(s.Converged, w.now-began)
	if why != "" {
		w.fail("convergence", "%v after everything is at rest, with reads off: %s", w.now-began, why)
	}
}

// diverged says what owners do not hold alike, nothing where all is equal:
// sets, and the roots of their hash trees.
func (w *world) diverged() string {
	l := w.nodes[0].view.Layouts.Live[0]
	for i, copies := range w.collect(l) {
		k := w.history.keys[i]
		if len(copies) == 0 {
			continue
		}
		owners := l.Owners(l.Partition(k.key))
		if len(copies) < len(owners) {
			return fmt.Sprintf("%d of %d owners hold %s", len(copies), len(owners), k.key)
		}
		for _, c := range copies[1:] {
			if !c.set.Equal(copies[0].set) {
				return fmt.Sprintf("%s is %v at %v and %v at %v", k.key, copies[0].set.Clock, copies[0].node, c.set.Clock, c.node)
			}
		}
	}
	for partition := range ring.Partition(l.Partitions()) {
		var first core.TreeHash
		for i, owner := range l.Owners(partition) {
			p := w.nodes[peerIndex(owner)]
			root, ok := p.shards[int(partition)%len(p.shards)].shard.Root(partition)
			switch {
			case !ok:
				return fmt.Sprintf("%v has no hash tree of partition %d", p.id, partition)
			case i == 0:
				first = root
			case root != first:
				return fmt.Sprintf("the owners of partition %d have different roots", partition)
			}
		}
	}
	return ""
}

// partitionOf returns the partition of a position, as layouts have it.
func (w *world) partitionOf(position ring.Position) ring.Partition {
	return ring.Partition(position >> (64 - partitionBits(w.plan.Partitions)))
}
