package replica

import (
	"bytes"
	"errors"
	"fmt"
	"math/bits"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// trees are the hash trees of the partitions that this node owns, of one
// shard. A tree follows each change of its partition in the same step, and
// covers all that the overlay shows. So it may be ahead of the disk; a crash
// takes it away together with what was not durable.
//
// # Saved trees
//
// A tree that is saved describes exactly the data records that are stored with
// it, at any moment and after any crash: it is written after all writes to its
// partition, and removed in the very batch of the next one. Batches are atomic,
// and a crash keeps a prefix of them. So a saved tree that is there is right,
// and there is no mark to be written before a first write, nor an fsync to wait
// for.
type trees struct {
	known         bool  // the cluster's number of partitions is known
	bits          uint8 // it is 1<<bits
	shard, shards int
	parts         []part           // partition p is at p/shards
	queue         []ring.Partition // trees to be built, the one under way first
	saving        int              // the part with which SaveTrees goes on
	scratch       []byte
	counts        core.TreeReport
}

// part is one partition's tree.
type part struct {
	kept   bool         // this node owns the partition: it has a tree, or gets one
	saved  savedTree    // what the store has
	tree   *merkle.Tree // covers the partition; nil: not ready
	next   *merkle.Tree // being built: covers the data keys before cursor
	cursor []byte
}

// savedTree is what is known of a partition's saved tree.
type savedTree uint8

const (
	notLooked savedTree = iota // it has not been looked for
	noneSaved
	isSaved
	// isWrong: it does not describe what is stored, or the disk has lost it,
	// perhaps for now only. So it is removed when the tree is built anew or with
	// the next write to the partition, and written over by the next one that is
	// saved.
	isWrong
)

// treeFormat is the first byte of a saved tree; the bits of the number of
// partitions and the encoding of package merkle follow.
const treeFormat = 1

// SetView makes this replica keep a hash tree for each partition of its shard
// that this node owns in a live layout. The trees are not ready before
// BuildTrees says so.
func (r *Replica) SetView(v *core.View) {
	l := v.ReadLayout()
	if l == nil {
		return
	}
	t := &r.trees
	if b := uint8(bits.Len(uint(l.Partitions())) - 1); !t.known || b != t.bits {
		// Another number of partitions is another cluster, which a node joins
		// only when it holds no keys.
		t.known, t.bits, t.queue = true, b, nil
		t.parts = make([]part, (l.Partitions()-t.shard+t.shards-1)/t.shards)
	}
	for i := range t.parts {
		p := ring.Partition(i*t.shards + t.shard)
		kept := false
		for _, live := range v.Layouts.Live {
			kept = kept || live.Owns(r.config.Self, p)
		}
		switch it := &t.parts[i]; {
		case kept && !it.kept:
			it.kept = true
			t.queue = append(t.queue, p)
		case !kept && it.kept:
			*it = part{saved: it.saved}
		}
	}
}

// part returns the part of a partition, nil if this shard does not have it.
func (t *trees) part(p ring.Partition) *part {
	if i := int(p) / t.shards; int(p)%t.shards == t.shard && i < len(t.parts) {
		return &t.parts[i]
	}
	return nil
}

func (t *trees) partitionOf(position ring.Position) ring.Partition {
	return ring.Partition(position >> (64 - t.bits)) // a shift by 64 gives 0
}

// span returns the first and the last position of a partition.
func (t *trees) span(p ring.Partition) (first, last ring.Position) {
	first = ring.Position(p) << (64 - t.bits)
	return first, first + ^ring.Position(0)>>t.bits
}

func (t *trees) leaf(dataKey []byte) int {
	return merkle.LeafAt(uint64(core.DataPosition(dataKey)), t.bits)
}

// hash returns the hash of a key's state, zero for a key without one.
func (t *trees) hash(key []byte, set version.Siblings) merkle.Hash {
	if set.IsEmpty() {
		return merkle.Hash{}
	}
	t.scratch = HashInput(t.scratch[:0], key, set)
	return merkle.Of(t.scratch)
}

// HashInput appends what a key's hash in the trees is of: the set's identity,
// which says itself where it ends, and the key.
func HashInput(b, key []byte, set version.Siblings) []byte {
	return append(set.AppendIdentity(b), key...)
}

// put stores a key's record in place of another, and has its partition's tree
// follow.
func (r *Replica) put(dataKey []byte, before, after record, out *core.Out) {
	value, own := after.encode()
	r.putEncoded(dataKey, before, own, value, out)
}

// putEncoded is put for who has encoded the record already.
func (r *Replica) putEncoded(dataKey []byte, before, after record, value []byte, out *core.Out) {
	after.hash = r.changeTree(dataKey, before, after, out)
	r.store.putEncoded(dataKey, after, value, out)
}

// changeTree keeps the tree of a key's partition up to a change, removes what
// was saved of it in the same batch, and returns the hash of the key's new
// state, zero where no tree has asked for it.
func (r *Replica) changeTree(dataKey []byte, before, after record, out *core.Out) (is merkle.Hash) {
	if len(r.lost) > 0 {
		delete(r.lost, string(dataKey)) // what is lost after this is lost anew
	}
	t := &r.trees
	if !t.known {
		return is // nothing was written before, so that nothing can be saved
	}
	p := t.partitionOf(core.DataPosition(dataKey))
	it := t.part(p)
	if it == nil {
		return is
	}
	if it.kept && it.saved == notLooked {
		r.loadTree(p, it, out) // it is right for the last time
	}
	if it.saved != noneSaved && !bug.On(bug.TreeOutlivesWrite) {
		it.unsave(p, out)
	}
	covered := it.next != nil && bytes.Compare(dataKey, it.cursor) < 0
	if it.tree == nil && !covered {
		return is // the scan that builds the tree will meet the key
	}
	key, leaf := core.ClientKey(dataKey), t.leaf(dataKey)
	was := before.hash
	if was.IsZero() {
		was = t.hash(key, before.set)
	}
	is = t.hash(key, after.set)
	if it.tree != nil {
		it.tree.Change(leaf, was, is)
	}
	if covered {
		it.next.Change(leaf, was, is)
	}
	return is
}

// unsave removes what is saved of a partition's tree.
func (it *part) unsave(p ring.Partition, out *core.Out) {
	out.Writes = append(out.Writes, core.Write{Key: core.TreeKey(p), Delete: true})
	it.saved = noneSaved
}

// loadTree looks for the saved tree of a partition that has been neither
// looked for nor written to in this start.
func (r *Replica) loadTree(p ring.Partition, it *part, out *core.Out) {
	b, err := r.store.base.Get(core.TreeKey(p))
	if err == core.ErrNotFound { //nolint:errorlint // the port's contract: engines return it as it is
		it.saved = noneSaved
		return
	}
	if errors.Is(err, core.ErrDamaged) {
		it.saved = isWrong
		return
	}
	if err != nil {
		r.fail(core.TreeKey(p), err, out)
		return
	}
	it.saved = isSaved
	if tree, err := decodeSavedTree(b, r.trees.bits); err == nil {
		it.tree = tree
		r.trees.counts.Loaded++
	} // else of another format: it is built anew, and goes with the next write
}

func encodeSavedTree(t *merkle.Tree, bits uint8) []byte {
	return t.AppendBinary([]byte{treeFormat, bits})
}

func decodeSavedTree(b []byte, bits uint8) (*merkle.Tree, error) {
	if len(b) < 2 || b[0] != treeFormat || b[1] != bits {
		return nil, fmt.Errorf("a saved hash tree of %d bytes is not of format %d for 1<<%d partitions", len(b), treeFormat, bits)
	}
	return merkle.Decode(b[2:])
}

// Tree returns the hash tree of a partition, nil where there is none that
// covers it. It is only to be read, and only until the next step.
func (r *Replica) Tree(p ring.Partition) *merkle.Tree {
	if it := r.trees.part(p); it != nil {
		return it.tree
	}
	return nil
}

// Trees returns how many trees are not ready, and what became of the others.
func (r *Replica) Trees() core.TreeReport {
	report := r.trees.counts
	report.Building = len(r.trees.queue)
	return report
}

// treesAtOnce bounds the trees that one chunk of building begins: an empty
// partition costs a scan all the same.
const treesAtOnce = 16

// BuildTrees does the next chunk of building trees, up to the limit, and
// returns how many are left. A tree that is there serves until the new one is
// ready.
func (r *Replica) BuildTrees(limit core.Limit, out *core.Out) (left int) {
	t := &r.trees
	for n := 0; n < treesAtOnce && len(t.queue) > 0 && limit.Keys > 0 && limit.Bytes > 0 && out.Failed == nil; n++ {
		p := t.queue[0]
		it := t.part(p)
		if it.kept && it.saved == notLooked {
			r.loadTree(p, it, out)
		}
		ready := it.tree != nil && it.next == nil
		if !it.kept || ready || r.buildTree(p, it, &limit, out) {
			t.queue = t.queue[1:]
		}
	}
	return len(t.queue)
}

// buildTree scans on from the cursor and says whether the tree is complete.
// What is before the cursor follows the writes, what is behind it will be
// scanned: each key is counted once.
func (r *Replica) buildTree(p ring.Partition, it *part, limit *core.Limit, out *core.Out) (done bool) {
	t := &r.trees
	from, to := core.DataRange(t.span(p))
	if it.next == nil {
		it.next, it.cursor = new(merkle.Tree), from
	}
	found, next, _, err := r.store.scan(it.cursor, to, *limit)
	if err != nil {
		r.fail(core.ClientKey(it.cursor), err, out)
		return false
	}
	for i := range found {
		e := &found[i]
		key := core.ClientKey(e.key)
		it.next.Change(t.leaf(e.key), merkle.Hash{}, t.hash(key, e.record.set))
		limit.Keys--
		limit.Bytes -= len(e.key) + e.record.set.Size()
	}
	if next != nil {
		it.cursor = next
		return false
	}
	if it.tree != nil && it.tree.Root() != it.next.Root() {
		t.counts.Wrong++
	}
	it.tree, it.next, it.cursor = it.next, nil, nil
	if it.saved == isWrong {
		it.unsave(p, out)
	}
	t.counts.Built++
	return true
}

// Bucket lists the keys of a leaf with their hashes, after a data key (nil:
// from the start) and up to the limit, which it takes off; more says that the
// leaf has further ones. A leaf that is not the sum of its keys shows a wrong tree: it is built
// anew, and serves meanwhile.
func (r *Replica) Bucket(p ring.Partition, leaf int, after []byte, limit *core.Limit, out *core.Out) (keys []core.KeyHash, more bool) {
	t := &r.trees
	first, last := t.span(p)
	a, b := merkle.LeafRange(uint64(first), uint64(last), leaf)
	from, to := core.DataRange(ring.Position(a), ring.Position(b))
	whole := bytes.Compare(after, from) < 0
	if !whole {
		from = append(bytes.Clone(after), 0)
	}
	if bytes.Compare(from, to) >= 0 {
		return nil, false
	}
	found, next, _, err := r.store.scan(from, to, *limit)
	if err != nil {
		r.fail(core.ClientKey(from), err, out)
		return nil, false
	}
	var sum merkle.Hash
	for i := range found {
		key := core.ClientKey(found[i].key)
		limit.Keys--
		limit.Bytes -= len(found[i].key) + found[i].record.set.Size()
		h := t.hash(key, found[i].record.set)
		if h.IsZero() {
			continue
		}
		sum = sum.Plus(h)
		keys = append(keys, core.KeyHash{Key: key, Hash: core.TreeHash(h)})
	}
	if whole && next == nil {
		r.checkLeaf(p, leaf, sum)
	}
	return keys, next != nil
}

// checkLeaf holds a leaf to the sum of its keys.
func (r *Replica) checkLeaf(p ring.Partition, leaf int, sum merkle.Hash) {
	t := &r.trees
	it := t.part(p)
	if it == nil || it.tree == nil || it.next != nil || it.tree.Node(merkle.Leaf, leaf) == sum {
		return
	}
	r.rebuildTree(p)
}

// rebuildTree has a partition's tree built by a scan from the start. A saved
// one is as wrong as the one that there is: it is not looked for, and neither is
// the one that there is saved again.
func (r *Replica) rebuildTree(p ring.Partition) {
	t := &r.trees
	it := t.part(p)
	if it == nil {
		return
	}
	if it.saved != noneSaved {
		it.saved = isWrong // perhaps, where it has not been looked for
	}
	if it.tree == nil && it.next == nil {
		return // its scan is still to begin
	}
	it.cursor, _ = core.DataRange(t.span(p))
	if it.next == nil {
		t.queue = append(t.queue, p)
	}
	it.next = new(merkle.Tree)
}

// saveBytes bounds what one call of SaveTrees writes.
const saveBytes = 4 << 20

// SaveTrees writes the trees that are ready, for the next start to take over;
// more says that it is to be called again, after a flush. It is for a clean
// stop, and harmless at any time. Empty trees are not worth saving. A saved one
// that is wrong does not stay.
func (r *Replica) SaveTrees(out *core.Out) (more bool) {
	t := &r.trees
	size := 0
	for ; t.saving < len(t.parts); t.saving++ {
		if size >= saveBytes {
			return true
		}
		it := &t.parts[t.saving]
		p := ring.Partition(t.saving*t.shards + t.shard)
		right := it.tree != nil && it.next == nil && !it.tree.Root().IsZero()
		switch {
		case right && it.saved != isSaved:
			b := encodeSavedTree(it.tree, t.bits)
			out.Writes = append(out.Writes, core.Write{Key: core.TreeKey(p), Value: b})
			it.saved = isSaved
			size += len(b)
		case !right && it.saved == isWrong:
			it.unsave(p, out)
		}
	}
	t.saving = 0
	return false
}
