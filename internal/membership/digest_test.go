package membership_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/membership"
)

// large returns two nodes that know each other and so many members beside, who
// never say anything themselves.
func large(tb testing.TB, members int) (w *world, a, b *node) {
	tb.Helper()
	w = newWorld(4)
	a = w.add(config("n1"))
	a.cfg.LayoutAuto = false
	cfg := config("n2")
	cfg.Seeds, cfg.LayoutAuto = addresses([]string{"n1"}), false
	b = w.add(cfg)
	for _, n := range []*node{a, b} {
		if err := n.begin(); err != nil {
			tb.Fatal(err)
		}
		w.run(10 * time.Millisecond)
	}
	for i := 0; i < members; i += 100 {
		teach(a, i, min(i+100, members))
	}
	w.run(20 * time.Second)
	return w, a, b
}

// teach lets a node hear of members.
func teach(n *node, from, to int) {
	e := n.gossip(record(fmt.Sprintf("m%04d", from)), core.LayoutState{})
	state := &e.Msg.(*core.Gossip).State
	for i := from + 1; i < to; i++ {
		state.Members = append(state.Members, record(fmt.Sprintf("m%04d", i)))
	}
	n.deliver(e)
}

// request returns the next round's message of a to b, with a digest.
func request(tb testing.TB, w *world, a, b *node) *core.Envelope {
	tb.Helper()
	for range 10_000 {
		var found *core.Envelope
		next, _ := a.machine.Next()
		w.now = max(w.now, a.began+next)
		a.step(func(now core.Now, out *core.Out) {
			a.machine.Tick(now, out)
			for i := range out.Sends {
				e := &out.Sends[i]
				if m, ok := e.Msg.(*core.Gossip); ok && e.To == b.cfg.Self && m.State.Digest.Buckets > 0 {
					c := *e
					found = &c
				}
			}
		})
		if found != nil {
			return found
		}
	}
	tb.Fatal("no message with a digest")
	return nil
}

// beat moves every heartbeat of a message on, and returns how many there are.
func beat(e *core.Envelope) (beats int) {
	for _, bucket := range e.Msg.(*core.Gossip).State.Digest.Chunk {
		for i := range bucket.Heartbeats {
			bucket.Heartbeats[i] += 1000
			beats++
		}
	}
	return beats
}

// TestHeartbeatsAreNoNews checks that heartbeats alone are neither written, nor
// shown to the shards, nor copied for the status.
func TestHeartbeatsAreNoNews(t *testing.T) {
	const members = 200
	w, a, b := large(t, members)
	if known := len(b.machine.Status().Members); known != members+2 {
		t.Fatalf("n2 knows %d members; want %d", known, members+2)
	}
	e := request(t, w, a, b)
	e.Deadline = b.now().Mono + time.Hour
	if beats := beat(e); beats != members+2 {
		t.Fatalf("the digest has %d heartbeats; want those of all %d", beats, members+2)
	}
	b.deliver(e) // those that were dead are alive
	beat(e)
	before, view := b.machine.Status(), b.view
	var out core.Out
	b.machine.Deliver(b.now(), e, &out)
	after := b.machine.Status()
	if v := b.machine.View(); v != nil || b.view != view {
		t.Error("heartbeats brought a view")
	}
	if len(out.Writes) > 0 {
		t.Errorf("heartbeats were written: %d records", len(out.Writes))
	}
	if &before.Members[0] != &after.Members[0] {
		t.Error("heartbeats made a new status of all members")
	}
	if reply := out.Sends[0].Msg.(*core.GossipReply); len(reply.State.Digest.Versions) > 0 || len(reply.State.Members) != 1 {
		t.Errorf("equal records were answered with %d versions and %d records", len(reply.State.Digest.Versions), len(reply.State.Members))
	}
}

// TestDigestsFindEveryDifference lets two nodes that know different members
// gossip with each other alone: in the end both know all, in the newest record.
func TestDigestsFindEveryDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.Uint64().Draw(t, "seed"))
		nodes := []*node{w.add(config("n1")), w.add(config("n2"))}
		nodes[1].cfg.Seeds = addresses([]string{"n1"})
		for _, n := range nodes {
			n.cfg.LayoutAuto = false
			if err := n.begin(); err != nil {
				t.Fatal(err)
			}
			w.run(10 * time.Millisecond)
		}
		want := map[id.Node]uint64{}
		w.setCut("n1:1", "n2:1", true)
		for i := range rapid.IntRange(0, 120).Draw(t, "members") {
			rec := record(fmt.Sprintf("m%d", i))
			rec.State = core.Left // so that nobody gossips with it
			for _, n := range nodes {
				rec.Changed = rapid.Uint64Range(0, 3).Draw(t, "changed")
				rec.Heartbeat = 10 + rec.Changed
				if rec.Changed > 0 {
					n.deliver(n.gossip(rec, core.LayoutState{}))
					want[rec.ID] = max(want[rec.ID], rec.Changed)
				}
			}
		}
		w.run(20 * time.Second) // until rumours have died down
		clear(w.cut)
		w.run(20 * time.Second)
		w.check(t)
		for _, n := range nodes {
			found := 0
			for _, m := range n.machine.Status().Members {
				if changed, ok := want[m.ID]; ok && m.Changed != changed {
					t.Fatalf("%s has %s as changed at %d; the newest is %d", n.cfg.Self, m.ID, m.Changed, changed)
				} else if ok {
					found++
				}
			}
			if found != len(want) {
				t.Fatalf("%s knows %d of %d members", n.cfg.Self, found, len(want))
			}
		}
	})
}

// TestDigestsThatMakeNoSense checks that what no node sends does no harm.
func TestDigestsThatMakeNoSense(t *testing.T) {
	for name, d := range map[string]core.Digest{
		"no power of two":         {Buckets: 3, Chunk: []core.Bucket{{Index: 2}}},
		"too many buckets":        {Buckets: 1 << 20, Chunk: []core.Bucket{{Index: 1 << 19}}},
		"a bucket that is none":   {Buckets: 4, Chunk: []core.Bucket{{Index: 4}}},
		"more than there are":     {Buckets: 1, Chunk: make([]core.Bucket, 2)},
		"heartbeats of no bucket": {Chunk: []core.Bucket{{Heartbeats: []uint64{1}}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, nodes := grown(t, 2)
			n := nodes[0]
			for _, reply := range []bool{false, true} {
				e := n.gossip(n.machine.Status().Members[1].Member, core.LayoutState{})
				e.Msg.(*core.Gossip).State.Digest = d
				if reply {
					e.Reply, e.Msg = true, &core.GossipReply{State: e.Msg.(*core.Gossip).State}
				}
				n.deliver(e)
			}
			if got := n.machine.Counters().Invalid; got != 2 && d.Buckets > 0 {
				t.Errorf("%d messages counted as invalid; want 2", got)
			}
		})
	}
	t.Run("heartbeats that do not fit", func(t *testing.T) {
		w, a, b := large(t, 50)
		e := request(t, w, a, b)
		chunk := e.Msg.(*core.Gossip).State.Digest.Chunk
		for i := range chunk {
			chunk[i].Heartbeats = append(chunk[i].Heartbeats, 9)
		}
		b.deliver(e)
		if got := len(b.machine.Status().Members); got != 52 {
			t.Errorf("knows %d members after that; want 52", got)
		}
	})
}

// TestOneMessageHasLittle checks that no message grows with the cluster, whoever
// asks for whatever, and that what is left out comes with others.
func TestOneMessageHasLittle(t *testing.T) {
	w, a, _ := large(t, 0)
	long := strings.Repeat("a", 255)
	for i := range 300 {
		rec := record(fmt.Sprintf("m%04d%s", i, strings.Repeat("i", 50)))
		rec.State = core.Left
		rec.Addr, rec.Zone, rec.Datacentre = long+":1", long[:64], long[:64]
		a.deliver(a.gossip(rec, core.LayoutState{}))
	}
	joiner := config("n3")
	joiner.Seeds, joiner.LayoutAuto = addresses([]string{"n1"}), false
	n := w.add(joiner)
	largest := 0
	w.sending = func(e *core.Envelope) {
		size := 0
		for _, m := range stateOf(e).Members {
			size += 100 + len(m.ID) + len(m.Addr) + len(m.Zone) + len(m.Datacentre)
		}
		largest = max(largest, size)
	}
	if err := n.begin(); err != nil {
		t.Fatal(err)
	}
	w.run(time.Minute)
	if got := len(n.machine.Status().Members); got != 303 {
		t.Errorf("the joiner knows %d members; want 303", got)
	}
	if largest > membership.MaxMessageBytes/2 || largest < 5000 {
		t.Errorf("the records of a message take %d bytes; they are to be some ten thousand", largest)
	}
}

// TestStatusesAreNotChanged checks that a status that was handed out stays as
// it was.
func TestStatusesAreNotChanged(t *testing.T) {
	w, nodes := grown(t, 3)
	n := nodes[0]
	before := n.machine.Status().Members
	kept := slices.Clone(before)
	nodes[2].crash()
	w.run(10 * time.Second)
	if after := n.machine.Status().Members; after[2].Status != core.Dead {
		t.Errorf("n3 is %v ten seconds after its crash", after[2].Status)
	}
	if !slices.Equal(before, kept) {
		t.Error("an old status has changed")
	}
}

// BenchmarkDigest is what one message of a round costs its receiver in a
// cluster of a thousand: a third of all heartbeats, all of them newer.
func BenchmarkDigest(b *testing.B) {
	w, from, to := large(b, 1000)
	e := request(b, w, from, to)
	e.Deadline = core.Never
	var out core.Out
	b.ReportAllocs()
	for b.Loop() {
		beat(e)
		out.Reset()
		to.machine.Deliver(to.now(), e, &out)
	}
}

// BenchmarkStatus is what the status of a thousand members costs after each
// drain of the loop, as long as only heartbeats change, and after a change.
func BenchmarkStatus(b *testing.B) {
	_, n, _ := large(b, 1000)
	b.Run("unchanged", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n.machine.Status()
		}
	})
	b.Run("changed", func(b *testing.B) {
		var out core.Out
		rec := record("m0000")
		b.ReportAllocs()
		for b.Loop() {
			rec.Changed++
			rec.Heartbeat++
			e := n.gossip(rec, core.LayoutState{})
			e.Deadline = core.Never
			out.Reset()
			n.machine.Deliver(n.now(), e, &out)
			n.machine.Status()
		}
	})
}

// BenchmarkView is what a new view of a thousand members costs: when the
// opinion of one has changed.
func BenchmarkView(b *testing.B) {
	_, n, _ := large(b, 1000)
	var out core.Out
	b.ReportAllocs()
	failed := []core.PeerReport{{Peer: "m0000", Failed: 5}, {Peer: "m0000", OK: 1}}
	for b.Loop() {
		out.Reset()
		n.machine.Report(n.now(), failed, &out)
		if n.machine.View() == nil {
			b.Fatal("no view")
		}
	}
}

// BenchmarkRound is what one round costs its sender.
func BenchmarkRound(b *testing.B) {
	_, n, _ := large(b, 1000)
	var out core.Out
	b.ReportAllocs()
	for b.Loop() {
		next, _ := n.machine.Next()
		out.Reset()
		n.machine.Tick(core.Now{Mono: next}, &out)
	}
}
