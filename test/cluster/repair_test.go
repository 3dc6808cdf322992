package cluster

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo"
)

// A node comes back with an empty disk, nobody keeps hints for it, and
// anti-entropy is off: reads alone make its copies whole, those that wait for
// it before they answer.
func TestReadsRepairAnOwnerThatLostItsDisk(t *testing.T) {
	ctx := t.Context()
	nodes := embedded(t, 3, func(cfg *dynamo.Config) { cfg.AntiEntropyInterval = 0 })
	key := func(i int) string { return fmt.Sprint("key-", i) }
	const keys = 20
	for i := range keys {
		must[*dynamo.Context](t)(nodes[0].Put(ctx, key(i), fmt.Append(nil, "value-", i), nil, dynamo.WithW(3)))
	}
	if err := nodes[2].Stop(); err != nil {
		t.Fatal(err)
	}
	cfg := config()
	cfg.GossipInterval, cfg.AntiEntropyInterval = 100*time.Millisecond, 0
	wiped := newNode(t, nodes[2].ID(), nodes[2].Addr(), cfg)
	if err := wiped.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = wiped.Stop() })
	if err := wiped.Join([]string{nodes[0].Addr()}); err != nil {
		t.Fatal(err)
	}
	await(t, "all three to see each other", func() bool {
		return !slices.ContainsFunc([]*dynamo.Node{nodes[0], nodes[1], wiped}, func(n *dynamo.Node) bool {
			s := n.Status()
			return !s.Serving || slices.ContainsFunc(s.Members, func(m dynamo.Member) bool { return m.Status != "alive" })
		})
	})
	// They may still have the connections and the breakers of before.
	for _, n := range []*dynamo.Node{nodes[0], nodes[1], wiped} {
		await(t, "three answers at "+n.ID(), func() bool {
			_, err := n.Get(ctx, "no key", dynamo.WithR(3))
			return errors.Is(err, dynamo.ErrKeyNotFound)
		})
	}
	// Its own copy alone, which is the fastest answer to a read at R=1.
	own := func(i int) []string {
		res, err := wiped.Get(ctx, key(i), dynamo.WithR(1), dynamo.Strict())
		if err != nil {
			return nil
		}
		return values(res)
	}
	for i := range keys {
		if found := own(i); len(found) > 0 {
			t.Fatalf("the wiped node has %s: %q", key(i), found)
		}
	}
	for i := range keys {
		through, want := nodes[i%2], []string{fmt.Sprint("value-", i)}
		if i < keys/2 {
			through = wiped // its own copy is repaired by itself
		}
		got := must[*dynamo.GetResult](t)(through.Get(ctx, key(i), dynamo.WithR(3), dynamo.BlockingRepair()))
		if !slices.Equal(values(got), want) || got.Quorum.Replicas != 3 {
			t.Errorf("a blocking read of %s: %q, %+v", key(i), values(got), got.Quorum)
		}
		if found := own(i); !slices.Equal(found, want) {
			t.Errorf("after a blocking read of %s by three, an owner has %q", key(i), found)
		}
	}
	await(t, "the counts", func() bool {
		sent := nodes[0].Status().ReadRepair.Sent + nodes[1].Status().ReadRepair.Sent
		s := wiped.Status().ReadRepair
		return sent >= keys/2 && s.Own >= keys/2
	})
}
