package node

import (
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// One step of a sum reads at most sumKeys keys and about sumBytes bytes, so
// that it holds up the requests that share its loop as little as a list of
// anti-entropy does.
const (
	sumKeys  = 256
	sumBytes = 1 << 20
)

// sum answers with the sum of a part of one partition. The hash tree of a whole
// partition has it, where it is ready; all else is read. What is shown may wait
// for the newest flush, and so does the answer.
func (s *Shard) sum(r *core.Request, out *core.Out) {
	answer := new(core.RangeSum)
	reply := core.Reply{Req: r.Req, Result: core.Result{Code: core.CodeOK}, Sum: answer}
	l := s.view.ReadLayout()
	switch {
	case l == nil:
		reply.Result.Code, reply.Sum = core.CodeNotReady, nil
	case s.sumOfTree(l, r.Range, answer):
	default:
		s.sumOfKeys(r.Range, answer, out)
	}
	if out.Failed == nil {
		out.RepliesHeld = append(out.RepliesHeld, reply)
	}
}

// sumOfTree takes the sum from the partition's hash tree, if it has it.
func (s *Shard) sumOfTree(l *ring.Layout, of *core.Range, answer *core.RangeSum) bool {
	p := l.At(of.First)
	first, last := l.Range(p)
	tree := s.replica.Tree(p)
	if of.Keys || of.After != nil || of.First != first || of.Last != last || tree == nil {
		return false
	}
	answer.Sum = core.TreeHash(tree.Root())
	return true
}

func (s *Shard) sumOfKeys(of *core.Range, answer *core.RangeSum, out *core.Out) {
	items, done, _ := s.replica.Chunk(of.First, of.Last, of.After, core.Limit{Keys: sumKeys, Bytes: sumBytes}, out)
	answer.After, answer.More = of.After, !done
	var sum merkle.Hash
	for i := range items {
		it := &items[i]
		answer.After = it.Key
		if it.Set.IsEmpty() {
			continue // it has no hash in the trees
		}
		sum = sum.Plus(merkle.Of(replica.HashInput(nil, it.Key, it.Set)))
		if of.Keys {
			answer.Keys = append(answer.Keys, it.Key)
		}
	}
	answer.Sum = core.TreeHash(sum)
}
