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
	"github.com/dynamo-kv/dynamo/internal/version"
)

// summer is a shard that holds all partitions, and its store.
type summer struct {
	t      *testing.T
	shard  *node.Shard
	store  *coretest.Store
	layout *ring.Layout
}

func newSummer(t *testing.T) *summer {
	t.Helper()
	s := &summer{t: t, store: coretest.NewStore(), layout: threeOwners(t).Layouts.Live[0]}
	s.start()
	return s
}

// start starts the shard anew over what its store holds.
func (s *summer) start() {
	s.t.Helper()
	o := controlOptions("a:1")
	o.Shards = 1
	s.shard = node.NewShard(o, 0, s.store)
	var out core.Out
	s.shard.SetView(core.Now{}, threeOwners(s.t), &out)
	s.flush(&out)
}

// flush makes durable what a drain has written.
func (s *summer) flush(out *core.Out) {
	n := s.shard.Flush()
	s.store.Commit(out.Writes)
	out.Reset()
	s.shard.Durable(core.Now{}, n, out)
}

// hold has a peer send keys.
func (s *summer) hold(keys int) {
	s.t.Helper()
	actor := version.Actor{Node: "n2", Epoch: version.Epoch{Start: 1, Seq: 1}}
	var out core.Out
	for i := range keys {
		key := fmt.Append(nil, "key-", i)
		set, _ := version.Siblings{}.Put(version.Clock{}, actor, version.Write{Data: key})
		s.shard.Deliver(core.Now{}, &core.Envelope{
			From: "n2", To: "n1", Cluster: cluster, Partition: s.layout.Partition(key), Stamp: threeOwners(s.t).Stamp(),
			Deadline: time.Second, Msg: &core.Apply{Key: key, Set: set},
		}, &out)
	}
	s.flush(&out)
}

// sum adds up a range, step by step, and returns in how many.
func (s *summer) sum(r core.Range) (total core.RangeSum, steps int) {
	s.t.Helper()
	for {
		var out core.Out
		ask := r
		s.shard.Submit(core.Now{}, &core.Request{Req: 1, Op: core.OpSum, Range: &ask, Deadline: time.Second}, &out)
		if len(out.Replies) > 0 || len(out.RepliesHeld) != 1 || len(out.Sends) > 0 || out.RepliesHeld[0].Sum == nil {
			s.t.Fatalf("a sum is answered with %+v, held %+v", out.Replies, out.RepliesHeld)
		}
		got := out.RepliesHeld[0].Sum
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
	s := newSummer(t)
	s.hold(5000)
	s.start() // without its trees, which it now builds
	first, last := s.layout.Range(3)
	whole := core.Range{First: first, Last: last}
	before, steps := s.sum(whole)
	if steps < 2 {
		t.Errorf("%d steps for hundreds of keys without a tree", steps)
	}
	for tick := 1; ; tick++ {
		if _, ready := s.shard.Root(3); ready {
			break
		}
		var out core.Out
		s.shard.Tick(core.Now{Mono: time.Duration(tick) * time.Second}, &out)
		s.flush(&out)
	}
	root, _ := s.shard.Root(3)
	after, steps := s.sum(whole)
	if before.Sum != root || after.Sum != root || steps != 1 {
		t.Errorf("the root is %x; the sum %x, and %x in %d steps with the tree", root, before.Sum, after.Sum, steps)
	}
	listed, _ := s.sum(core.Range{First: first, Last: last, Keys: true})
	if listed.Sum != root || len(listed.Keys) < 300 || len(after.Keys) > 0 {
		t.Errorf("with its %d keys the sum is %x, and %d keys without", len(listed.Keys), listed.Sum, len(after.Keys))
	}
	for i, key := range listed.Keys {
		if at := ring.Hash(key); at < first || at > last || i > 0 && ring.Hash(listed.Keys[i-1]) > at {
			t.Fatalf("key %d, %q, does not stand in order and in the range", i, key)
		}
	}
	middle := first + (last-first)/3
	left, _ := s.sum(core.Range{First: first, Last: middle})
	right, _ := s.sum(core.Range{First: middle + 1, Last: last})
	if got := merkle.Hash(left.Sum).Plus(merkle.Hash(right.Sum)); core.TreeHash(got) != root {
		t.Errorf("both parts have the sum %x, not %x", got, root)
	}
	if empty, _ := s.sum(core.Range{First: first, Last: first}); empty.Sum != (core.TreeHash{}) {
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
