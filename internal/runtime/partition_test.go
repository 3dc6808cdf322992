package runtime_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// write is one put through a node, blind unless it overwrites.
func (c *cluster) write(n int, key, value string, o core.Options) core.Result {
	return c.nodes[n].Do(c.t.Context(), &core.Request{
		Op: core.OpPut, Key: []byte(key), Value: []byte(value), Options: o,
	}, 2*time.Second)
}

// values returns the live values of a set, sorted.
func values(r core.Result) []string {
	var out []string
	for _, v := range r.Set.Live() {
		out = append(out, string(v.Data))
	}
	slices.Sort(out)
	return out
}

// own returns what a node itself holds of a key.
func (c *cluster) own(n int, key string) core.Result {
	return c.nodes[n].Do(c.t.Context(), &core.Request{Op: core.OpInspect, Key: []byte(key)}, 2*time.Second)
}

// rejoined waits until everybody believes everybody alive and nobody keeps a
// hint.
func (c *cluster) rejoined() {
	c.t.Helper()
	c.network.Heal()
	for _, n := range c.nodes {
		await(c.t, n, func(s core.ClusterStatus) bool {
			return len(s.Hints.Pending) == 0 && !slices.ContainsFunc(s.Members, func(m core.MemberStatus) bool { return m.Status != core.Alive })
		})
	}
	synctest.Wait()
}

// wantEverywhere fails unless the owners of a key hold these values, and
// nobody else holds anything.
func (c *cluster) wantEverywhere(key string, want ...string) {
	c.t.Helper()
	l := c.nodes[0].Status().Layouts.Live[0]
	for n := range c.nodes {
		got := values(c.own(n, key))
		if l.Owns(name(n), l.Partition([]byte(key))) && !slices.Equal(got, want) {
			c.t.Errorf("%s, an owner of %s, holds %q; want %q", name(n), key, got, want)
		} else if !l.Owns(name(n), l.Partition([]byte(key))) && len(got) > 0 {
			c.t.Errorf("%s, no owner of %s, holds %q", name(n), key, got)
		}
	}
}

// A partition of three nodes with strict quorums: the majority goes on, the
// minority's writes are refused and never acknowledged, and after the heal all
// replicas are equal.
func TestStrictQuorumsInAPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 3, nil)
		strict := core.Options{Quorum: core.QuorumStrict, Overwrite: true}
		key := func(side string, i int) string { return fmt.Sprint(side, "-", i) }
		const keys = 20
		c.network.Isolate(string(name(2)))
		for i := range keys {
			if r := c.write(i%2, key("majority", i), "v", strict); r.Outcome != core.Written || r.Required != 2 {
				t.Fatalf("a put of the majority: %+v", r)
			}
			if r := c.get(1-i%2, key("majority", i)); !slices.Equal(values(r), []string{"v"}) {
				t.Fatalf("a get of the majority: %v %q", r.Code, values(r))
			}
			r := c.write(2, key("minority", i), "v", strict)
			if r.Code != core.CodeQuorum && r.Code != core.CodeTimeout || r.Outcome == core.Written || r.Required != 2 {
				t.Fatalf("a put of the minority: %+v", r)
			}
		}
		c.rejoined()
		for i := range keys {
			c.wantEverywhere(key("majority", i), "v")
			// An owner minted it, and said that it does not know what becomes of it.
			c.wantEverywhere(key("minority", i), "v")
			if r := c.write(2, key("majority", i), "after", strict); r.Outcome != core.Written {
				t.Errorf("a put after the heal: %+v", r)
			}
		}
	})
}

// A partition in halves with sloppy writes on both sides: after the heal the
// siblings of both sides are there, no more and no fewer.
func TestSloppyWritesOnBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 6, nil)
		sides := [][]int{{0, 1, 2}, {3, 4, 5}}
		for _, a := range sides[0] {
			for _, b := range sides[1] {
				c.network.Cut(string(name(a)), string(name(b)))
			}
		}
		const keys = 20
		want := make(map[string][]string)
		for i := range keys {
			key := fmt.Sprint("key-", i)
			for s, side := range sides {
				for _, n := range side[:2] {
					value := fmt.Sprintf("side %d, %s", s, name(n))
					if r := c.write(n, key, value, core.Options{}); r.Outcome != core.Written {
						t.Fatalf("%s of %s through %s: %+v", value, key, name(n), r)
					}
					want[key] = append(want[key], value)
				}
			}
			slices.Sort(want[key])
		}
		c.rejoined()
		for key, values := range want {
			c.wantEverywhere(key, values...)
		}
	})
}
