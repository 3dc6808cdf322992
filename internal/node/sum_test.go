package node_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// hold has a peer send keys.
func (b *bench) hold(keys int) {
	for i := range keys {
		key := fmt.Append(nil, "key-", i)
		b.deliver("n2", key, &core.Apply{Key: key, Set: versionOf("n2", key)})
	}
	b.flush()
}

// sum adds up a range, step by step, and returns in how many.
func (b *bench) sum(t *testing.T, r core.Range) (total core.RangeSum, steps int) {
	t.Helper()
	for {
		ask := r
		b.out.Reset()
		b.Submit(b.now, &core.Request{Req: 1, Op: core.OpSum, Range: &ask}, &b.out)
		if len(b.out.Replies) > 0 || len(b.out.RepliesHeld) != 1 || len(b.out.Sends) > 0 || b.out.RepliesHeld[0].Sum == nil {
			t.Fatalf("a sum is answered with %+v, held %+v", b.out.Replies, b.out.RepliesHeld)
		}
		got := b.out.RepliesHeld[0].Sum
		total.Sum = core.TreeHash(merkle.Hash(total.Sum).Plus(merkle.Hash(got.Sum)))
		total.Keys = append(total.Keys, got.Keys...)
		steps++
		if !got.More {
			return total, steps
		}
		r.After = got.After
	}
}

// The sum of a partition is the root of its hash tree, however it is had: from
// the tree, from its keys, or in two parts.
func TestSumsAreThoseOfTheTrees(t *testing.T) {
	s := newBench(controlOptions("a:1"), owning(t, "n1", "n2", "n3"))
	s.hold(5000)
	s.start() // without its trees, which it now builds
	first, last := s.layout.Range(3)
	whole := core.Range{First: first, Last: last}
	before, steps := s.sum(t, whole)
	if steps < 2 {
		t.Errorf("%d steps for hundreds of keys without a tree", steps)
	}
	for {
		if _, ready := s.Root(3); ready {
			break
		}
		s.now.Mono += time.Second
		s.Tick(s.now, &s.out)
		s.flush()
	}
	root, _ := s.Root(3)
	after, steps := s.sum(t, whole)
	if before.Sum != root || after.Sum != root || steps != 1 {
		t.Errorf("the root is %x; the sum %x, and %x in %d steps with the tree", root, before.Sum, after.Sum, steps)
	}
	listed, _ := s.sum(t, core.Range{First: first, Last: last, Keys: true})
	if listed.Sum != root || len(listed.Keys) < 300 || len(after.Keys) > 0 {
		t.Errorf("with its %d keys the sum is %x, and %d keys without", len(listed.Keys), listed.Sum, len(after.Keys))
	}
	for i, key := range listed.Keys {
		if at := ring.Hash(key); at < first || at > last || i > 0 && ring.Hash(listed.Keys[i-1]) > at {
			t.Fatalf("key %d, %q, does not stand in order and in the range", i, key)
		}
	}
	middle := first + (last-first)/3
	left, _ := s.sum(t, core.Range{First: first, Last: middle})
	right, _ := s.sum(t, core.Range{First: middle + 1, Last: last})
	if got := merkle.Hash(left.Sum).Plus(merkle.Hash(right.Sum)); core.TreeHash(got) != root {
		t.Errorf("both parts have the sum %x, not %x", got, root)
	}
	if empty, _ := s.sum(t, core.Range{First: first, Last: first}); empty.Sum != (core.TreeHash{}) {
		t.Errorf("one position has the sum %x", empty.Sum)
	}
}

func TestSumWithoutALayout(t *testing.T) {
	s := node.NewShard(controlOptions("a:1"), 0, coretest.NewStore())
	var out core.Out
	s.Submit(core.Now{}, &core.Request{Req: 1, Op: core.OpSum, Range: &core.Range{}, Deadline: time.Second}, &out)
	if len(out.RepliesHeld) != 1 || out.RepliesHeld[0].Result.Code != core.CodeNotReady {
		t.Errorf("answered with %+v", out.RepliesHeld)
	}
}
