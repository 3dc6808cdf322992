package antientropy

import (
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// Serve answers a peer's TreeCompare or BucketAsk. The caller has checked its
// cluster, deadline and stamp.
func (a *AntiEntropy) Serve(now core.Now, e *core.Envelope, out *core.Out) {
	var answer core.Message
	switch m := e.Msg.(type) {
	case *core.TreeCompare:
		answer = a.serveCompare(e.Partition, m)
	case *core.BucketAsk:
		answer = a.serveBucket(e.Partition, m, out)
	}
	if out.Failed != nil {
		return
	}
	if answer == nil {
		answer = &core.Refused{Why: core.RefusedInvalid}
	}
	out.Sends = append(out.Sends, a.view.Answer(e, now.Mono+requestTimeout, answer))
}

// owned returns the tree of a partition that this node owns, nil where there is
// none now.
func (a *AntiEntropy) owned(p ring.Partition) *merkle.Tree {
	if !a.view.ReadLayout().Owns(a.config.Self, p) {
		return nil
	}
	return a.local.Tree(p)
}

// serveCompare returns nil for a question that no correct peer asks.
func (a *AntiEntropy) serveCompare(p ring.Partition, m *core.TreeCompare) core.Message {
	level := merkle.Level(m.Level)
	if len(m.Nodes) != len(m.Hashes) || len(m.Nodes) > core.MaxTreeNodes || !ascending(m.Nodes) {
		return nil
	}
	if level == merkle.Root {
		return a.serveRoots(m)
	}
	if len(m.Nodes) > 0 && int(m.Nodes[len(m.Nodes)-1]) >= level.Width() {
		return nil
	}
	answer := new(core.TreeDiffer)
	tree := a.owned(p)
	if tree == nil {
		answer.Unknown = m.Nodes
		return answer
	}
	for i, n := range m.Nodes {
		if core.TreeHash(tree.Node(level, int(n))) != m.Hashes[i] {
			answer.Differ = append(answer.Differ, n)
		}
	}
	return answer
}

func (a *AntiEntropy) serveRoots(m *core.TreeCompare) *core.TreeDiffer {
	answer := new(core.TreeDiffer)
	for i, n := range m.Nodes {
		if int(n)%a.config.Shards != a.config.Shard {
			answer.Elsewhere = append(answer.Elsewhere, n)
			continue
		}
		switch tree := a.owned(ring.Partition(n)); {
		case tree == nil:
			answer.Unknown = append(answer.Unknown, n)
		case core.TreeHash(tree.Root()) != m.Hashes[i]:
			answer.Differ = append(answer.Differ, n)
		}
	}
	return answer
}

// serveBucket returns nil for a question that no correct peer asks.
func (a *AntiEntropy) serveBucket(p ring.Partition, m *core.BucketAsk, out *core.Out) core.Message {
	n := len(m.Leaves)
	if n == 0 || n > core.MaxBucketLeaves || !ascending(m.Leaves) || m.Leaves[n-1] >= merkle.Leaves {
		return nil
	}
	if a.owned(p) == nil {
		return &core.Refused{Why: core.RefusedBehind}
	}
	keys, more := bucket(a.local, p, m.Leaves, m.After, out)
	return &core.BucketReply{Keys: keys, More: more}
}

// ascending says whether each number is larger than the one before.
func ascending(nodes []uint32) bool {
	for i := 1; i < len(nodes); i++ {
		if nodes[i-1] >= nodes[i] {
			return false
		}
	}
	return true
}
