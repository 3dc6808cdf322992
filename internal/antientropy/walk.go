package antientropy

import (
	"bytes"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// walk is the way down one partition's tree to the keys that differ.
type walk struct {
	partition ring.Partition
	level     merkle.Level // of nodes
	nodes     []uint32     // that differ; at the level of leaves those not yet listed

	// The leaves that are being listed, here and there.
	group        []uint32
	mine, theirs listing
}

// listing is the keys of some leaves on one side, as far as they are known and
// have not been compared: in the store's order.
type listing struct {
	keys  []core.KeyHash
	after []byte // the last key that was listed
	more  bool   // there are keys after it
}

// wants says that nothing can be compared before more is listed.
func (l *listing) wants() bool { return len(l.keys) == 0 && l.more }

// take adds the next keys.
func (l *listing) take(keys []core.KeyHash, more bool) {
	l.keys, l.more = keys, more
	if len(keys) > 0 {
		l.after = keys[len(keys)-1].Key
	}
}

// stepWalk does the next thing on the way; false: it has to wait.
func (a *AntiEntropy) stepWalk(now core.Now, out *core.Out) bool {
	s, w := a.session, a.session.walk
	switch {
	case len(s.queue) >= windowKeys:
		return false // there is enough to do
	case w.level < merkle.Leaf && len(w.nodes) > 0:
		a.compare(now, out)
		return false
	case w.group != nil:
		return a.list(now, out)
	case len(w.nodes) > 0:
		n := min(len(w.nodes), core.MaxBucketLeaves)
		w.group, w.nodes = w.nodes[:n:n], w.nodes[n:]
		w.mine, w.theirs = listing{more: true}, listing{more: true}
		return true
	case s.idle():
		s.walk, s.differ = nil, s.differ[1:]
		return true
	}
	return false
}

// compare asks about the nodes below those that differ.
func (a *AntiEntropy) compare(now core.Now, out *core.Out) {
	w := a.session.walk
	tree := a.local.Tree(w.partition)
	w.level++
	m := &core.TreeCompare{Level: uint8(w.level)}
	for _, n := range w.nodes {
		m.Nodes = merkle.Children(m.Nodes, n)
	}
	for _, n := range m.Nodes {
		m.Hashes = append(m.Hashes, core.TreeHash(tree.Node(w.level, int(n))))
	}
	a.send(now, walkSlot, &a.session.ask, w.partition, m, out)
}

// list compares the keys of the group's leaves, as far as both sides have been
// listed, and lists on; false: the peer has to.
func (a *AntiEntropy) list(now core.Now, out *core.Out) bool {
	w := a.session.walk
	if w.mine.wants() {
		w.mine.take(bucket(a.local, w.partition, w.group, w.mine.after, out))
		a.gate.Spend(now.Mono, &a.slot, admission.ItemCost*len(w.mine.keys))
	}
	if w.theirs.wants() {
		m := &core.BucketAsk{Leaves: w.group, After: w.theirs.after}
		a.gate.Spend(now.Mono, &a.slot, admission.MessageCost)
		a.send(now, walkSlot, &a.session.ask, w.partition, m, out)
		return false
	}
	for !w.mine.wants() && !w.theirs.wants() {
		if len(w.mine.keys)+len(w.theirs.keys) == 0 {
			w.group = nil
			return true
		}
		a.compareKeys(&w.mine, &w.theirs)
	}
	return true
}

// compareKeys takes the first key of either side, or of both if it is one, and
// queues it where the two differ.
func (a *AntiEntropy) compareKeys(mine, theirs *listing) {
	s := a.session
	order := 0
	switch {
	case len(theirs.keys) == 0:
		order = -1
	case len(mine.keys) == 0:
		order = 1
	default:
		order = bytes.Compare(core.DataKey(mine.keys[0].Key), core.DataKey(theirs.keys[0].Key))
	}
	switch {
	case order < 0:
		s.queue = append(s.queue, difference{key: mine.keys[0].Key, push: true})
	case order > 0:
		s.queue = append(s.queue, difference{key: theirs.keys[0].Key, lacked: true})
	case mine.keys[0].Hash != theirs.keys[0].Hash:
		s.queue = append(s.queue, difference{key: theirs.keys[0].Key})
	}
	if order <= 0 {
		mine.keys = mine.keys[1:]
	}
	if order >= 0 {
		theirs.keys = theirs.keys[1:]
	}
}

// listed takes the peer's keys; false if they are not what was asked for.
func (a *AntiEntropy) listed(asked *core.BucketAsk, m *core.BucketReply) bool {
	w := a.session.walk
	l := a.view.ReadLayout()
	first, last := l.Range(w.partition)
	before := []byte(nil)
	if asked.After != nil {
		before = core.DataKey(asked.After)
	}
	leaves := asked.Leaves
	for i := range m.Keys {
		key := core.DataKey(m.Keys[i].Key)
		position := core.DataPosition(key)
		if position < first || position > last || before != nil && bytes.Compare(key, before) <= 0 {
			return false
		}
		for len(leaves) > 0 && !inLeaf(first, last, leaves[0], position) {
			leaves = leaves[1:]
		}
		if len(leaves) == 0 {
			return false
		}
		before = key
	}
	if m.More && len(m.Keys) == 0 {
		return false
	}
	w.theirs.take(m.Keys, m.More)
	return true
}

func inLeaf(first, last ring.Position, leaf uint32, position ring.Position) bool {
	from, to := merkle.LeafRange(uint64(first), uint64(last), int(leaf))
	return uint64(position) >= from && uint64(position) <= to
}

// scanBytes bounds what one listing of keys reads: their values are read with
// them.
const scanBytes = 1 << 20

// bucket lists the keys of some leaves after a key, nil from the start.
func bucket(local Local, p ring.Partition, leaves []uint32, after []byte, out *core.Out) (keys []core.KeyHash, more bool) {
	limit := core.Limit{Keys: core.MaxBucketKeys, Bytes: scanBytes}
	var from []byte
	if after != nil {
		from = core.DataKey(after)
	}
	for i, leaf := range leaves {
		found, more := local.Bucket(p, int(leaf), from, &limit, out)
		keys = append(keys, found...)
		if spent := limit.Keys <= 0 || limit.Bytes <= 0; more || spent && len(keys) > 0 {
			return keys, more || i+1 < len(leaves)
		}
	}
	return keys, false
}
