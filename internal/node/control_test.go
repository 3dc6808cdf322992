package node_test

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/node"
)

func controlOptions(addr string, seeds ...string) node.Options {
	return node.Options{
		Self: "n1", Start: 7, Instance: 1, Addr: addr, Weight: 1, Seed: 3, Shards: 2,
		Partitions: 8, N: 3, R: 2, W: 2,
		PeerTimeout: 300 * time.Millisecond, GossipInterval: time.Second,
		TombstoneTTL: time.Hour, TombstoneInterval: time.Minute,
		LayoutDelay: time.Second, LayoutAuto: true, Seeds: seeds,
		Admit: true, Admission: admission.DefaultLimits(),
	}
}

// drain steps one input and completes its flush.
func drain(c *node.Control, d *coretest.Store, input func(core.Now, *core.Out)) {
	now := core.Now{Mono: time.Second}
	var out, later core.Out
	input(now, &out)
	flush := c.Flush()
	if len(out.Writes) > 0 {
		d.Commit(out.Writes)
		c.Durable(now, flush, &later)
	}
}

func TestControlServesAfterARestart(t *testing.T) {
	d := coretest.NewStore()
	c, err := node.NewControl(controlOptions("a:1"), d)
	if err != nil {
		t.Fatal(err)
	}
	if c.View() != nil {
		t.Error("a view before the first start")
	}
	drain(c, d, c.Begin)
	formed := c.View()
	if formed == nil || !c.Status().Serving {
		t.Fatalf("no view of the cluster that it formed: %+v", c.Status())
	}
	if c.View() != nil {
		t.Error("the same view twice")
	}
	for shard := range 2 {
		r := core.ShardReport{Shard: shard, Stamp: formed.Stamp(), Synced: formed.Stamp().Layout}
		drain(c, d, func(now core.Now, out *core.Out) { c.Shard(now, r, out) })
	}
	if own := c.Status().Members[0]; own.Stamp != formed.Stamp() || own.State != core.Active {
		t.Errorf("own record %+v; want stamp %v", own, formed.Stamp())
	}

	again, err := node.NewControl(controlOptions("b:1", "silent:1"), d)
	if err != nil {
		t.Fatal(err)
	}
	drain(again, d, again.Begin)
	if v := again.View(); v == nil || v.Cluster != formed.Cluster || v.Stamp() != formed.Stamp() {
		t.Errorf("view %+v after a restart; want %v of cluster %x", v, formed.Stamp(), formed.Cluster)
	}
}

func TestControlWaitsForItsSeeds(t *testing.T) {
	d := coretest.NewStore()
	c, err := node.NewControl(controlOptions("a:1", "b:1"), d)
	if err != nil {
		t.Fatal(err)
	}
	drain(c, d, c.Begin)
	drain(c, d, c.Tick)
	if s := c.Status(); s.Serving || s.WaitsFor != "seeds b:1 to answer" || c.View() != nil {
		t.Errorf("status %+v", s)
	}
	if at, ok := c.Next(); !ok || at <= time.Second {
		t.Errorf("Next = %v, %v; want the next try", at, ok)
	}
}

func TestControlRefusesADamagedRecord(t *testing.T) {
	d := coretest.NewStore()
	d.Commit([]core.Write{{Key: core.ControlKey("identity"), Value: []byte("?")}})
	if _, err := node.NewControl(controlOptions("a:1"), d); err == nil {
		t.Error("no error for a damaged record")
	}
}

// Records of Control that the disk has lost are written again by the node that has
// them in memory, so that the next start finds them. What is none of its own is no
// matter.
func TestControlRestoresLostRecords(t *testing.T) {
	for _, lost := range []core.Damage{{Keys: [][]byte{core.DataKey([]byte("k")), core.ControlKey("layouts")}}, {More: true}} {
		d := coretest.NewStore()
		c, err := node.NewControl(controlOptions("a:1"), d)
		if err != nil {
			t.Fatal(err)
		}
		drain(c, d, c.Begin)
		formed := c.View()
		records := d.Len()
		*d = *coretest.NewStore() // the disk has lost them
		drain(c, d, func(now core.Now, out *core.Out) {
			c.Damaged(now, core.Damage{Keys: [][]byte{core.DataKey([]byte("k")), core.HintKey([]byte("k"))}}, out)
		})
		if n := d.Len(); n != 0 {
			t.Errorf("%d records are written for what is not Control's", n)
		}
		drain(c, d, func(now core.Now, out *core.Out) { c.Damaged(now, lost, out) })
		if n := d.Len(); n != records || !c.Status().Serving {
			t.Errorf("%d records are written of %d", n, records)
		}
		again, err := node.NewControl(controlOptions("a:1"), d)
		if err != nil {
			t.Fatal(err)
		}
		drain(again, d, again.Begin)
		if v := again.View(); v == nil || v.Cluster != formed.Cluster || v.Stamp() != formed.Stamp() {
			t.Errorf("view %+v after a restart; want %v of cluster %x", v, formed.Stamp(), formed.Cluster)
		}
	}
}
