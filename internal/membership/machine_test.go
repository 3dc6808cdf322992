package membership_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/membership"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// formed returns a node n1 that has formed its cluster.
func formed(t *testing.T) (*world, *node) {
	t.Helper()
	w := newWorld(3)
	n := w.add(config("n1"))
	if err := n.begin(); err != nil {
		t.Fatal(err)
	}
	w.run(10 * time.Millisecond)
	return w, n
}

// grown returns a stable cluster of that many nodes.
func grown(t *testing.T, size int) (*world, []*node) {
	t.Helper()
	w, _ := formed(t)
	for i := 1; i < size; i++ {
		cfg := config(nodeName(i))
		cfg.Seeds = addresses([]string{"n1"})
		if err := w.add(cfg).begin(); err != nil {
			t.Fatal(err)
		}
	}
	w.run(2 * time.Second)
	if s := w.nodes[0].machine.Status(); len(s.Layouts.Live[0].Members()) != size || s.Layouts.Phase != core.PhaseDone {
		t.Fatalf("the cluster has not grown: %v", s.Layouts.Stamp())
	}
	return w, w.nodes
}

// record is a valid record of another member.
func record(name string) core.Member {
	return core.Member{ID: id.Node(name), Addr: name + ":1", Weight: 1, Instance: 1, Start: 9, Incarnation: 1, Heartbeat: 1, State: core.Joining}
}

// gossip is what that member sends to n.
func (n *node) gossip(from core.Member, layouts core.LayoutState) *core.Envelope {
	cluster := n.machine.Status().Cluster
	return &core.Envelope{
		From: from.ID, To: n.cfg.Self, Cluster: cluster, Deadline: n.now().Mono + time.Second,
		Stamp: layouts.Stamp(),
		Msg:   &core.Gossip{State: core.GossipState{Cluster: cluster, Members: []core.Member{from}, Layouts: layouts}},
	}
}

func (n *node) deliver(e *core.Envelope) (sends []core.Envelope) {
	n.step(func(now core.Now, out *core.Out) {
		n.machine.Deliver(now, e, out)
		sends = slices.Clone(out.Sends)
	})
	return sends
}

func layout(t *testing.T, partitions int, names ...string) *ring.Layout {
	t.Helper()
	var members []ring.Member
	for _, n := range names {
		members = append(members, ring.Member{ID: id.Node(n), Weight: 1})
	}
	l, err := ring.Form(partitions, 3, members)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestMessagesThatAreLeftOut(t *testing.T) {
	stranger := record("n2")
	tests := []struct {
		name    string
		message func(n *node) *core.Envelope
		want    membership.Counters
	}{
		{"past its deadline", func(n *node) *core.Envelope {
			e := n.gossip(stranger, core.LayoutState{})
			e.Deadline = n.now().Mono
			return e
		}, membership.Counters{Expired: 1}},
		{"for somebody else", func(n *node) *core.Envelope {
			e := n.gossip(stranger, core.LayoutState{})
			e.To = "n7"
			return e
		}, membership.Counters{Invalid: 1}},
		{"not gossip", func(n *node) *core.Envelope {
			e := n.gossip(stranger, core.LayoutState{})
			e.Msg = &core.Read{}
			return e
		}, membership.Counters{Invalid: 1}},
		{"without its sender's record", func(n *node) *core.Envelope {
			e := n.gossip(stranger, core.LayoutState{})
			e.From = "n3"
			return e
		}, membership.Counters{Invalid: 1}},
		{"too many records", func(n *node) *core.Envelope {
			e := n.gossip(stranger, core.LayoutState{})
			e.Msg = &core.Gossip{State: core.GossipState{Cluster: e.Cluster, Members: slices.Repeat([]core.Member{stranger}, id.MaxMembers+1)}}
			return e
		}, membership.Counters{Invalid: 1}},
		{"of another cluster", func(n *node) *core.Envelope {
			e := n.gossip(stranger, core.LayoutState{})
			e.Cluster++
			e.Msg = &core.Gossip{State: core.GossipState{Cluster: e.Cluster, Members: []core.Member{stranger}}}
			return e
		}, membership.Counters{Foreign: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, n := formed(t)
			n.deliver(tt.message(n))
			if got := n.machine.Counters(); got != tt.want {
				t.Errorf("counters %+v; want %+v", got, tt.want)
			}
			if s := n.machine.Status(); len(s.Members) != 1 || s.Layouts.Stamp().Layout.Number != 1 {
				t.Errorf("the message changed the status to %+v", s)
			}
		})
	}
}

func TestLayoutsThatAreLeftOut(t *testing.T) {
	tests := []struct {
		name    string
		layouts func(current *ring.Layout) core.LayoutState
	}{
		{"a phase that does not fit", func(current *ring.Layout) core.LayoutState {
			return core.LayoutState{Live: []*ring.Layout{mustPlan(t, current, 2)}, Phase: core.PhaseCopy}
		}},
		{"no child of its parent", func(current *ring.Layout) core.LayoutState {
			return core.LayoutState{Live: []*ring.Layout{current, mustPlan(t, mustPlan(t, current, 2), 3)}, Phase: core.PhaseMoved}
		}},
		{"another number of partitions", func(*ring.Layout) core.LayoutState {
			return core.LayoutState{Live: []*ring.Layout{mustPlan(t, layout(t, 32, "n1"), 2)}, Phase: core.PhaseDone}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, n := formed(t)
			before := n.machine.Status().Layouts
			n.deliver(n.gossip(record("n2"), tt.layouts(before.Live[0])))
			w.run(100 * time.Millisecond)
			if got := n.machine.Status().Layouts.Stamp(); got != before.Stamp() || n.machine.Counters().Invalid != 1 {
				t.Errorf("goes by %v, counters %+v", got, n.machine.Counters())
			}
		})
	}
}

func mustPlan(t *testing.T, l *ring.Layout, number uint64) *ring.Layout {
	t.Helper()
	next, err := l.Plan(number, l.Members(), 3)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// TestRecordsThatAreLeftOut checks that a bad record does no harm to the good
// ones in its message.
func TestRecordsThatAreLeftOut(t *testing.T) {
	for name, spoil := range map[string]func(*core.Member){
		"no ID":          func(m *core.Member) { m.ID = "" },
		"a bad ID":       func(m *core.Member) { m.ID = "a~b" },
		"no address":     func(m *core.Member) { m.Addr = "" },
		"a long address": func(m *core.Member) { m.Addr = strings.Repeat("a", 300) },
		"a long zone":    func(m *core.Member) { m.Zone = strings.Repeat("z", 65) },
		"a broken zone":  func(m *core.Member) { m.Zone = "\xff" },
		"no weight":      func(m *core.Member) { m.Weight = 0 },
		"no state":       func(m *core.Member) { m.State = 0 },
		"no incarnation": func(m *core.Member) { m.Incarnation = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			_, n := formed(t)
			bad := record("n5")
			spoil(&bad)
			e := n.gossip(record("n2"), core.LayoutState{})
			state := &e.Msg.(*core.Gossip).State
			state.Members = append(state.Members, bad, record("n9"))
			n.deliver(e)
			var known []id.Node
			for _, m := range n.machine.Status().Members {
				known = append(known, m.ID)
			}
			if want := []id.Node{"n1", "n2", "n9"}; !slices.Equal(known, want) || n.machine.Counters().Invalid != 1 {
				t.Errorf("knows %v, counters %+v; want %v", known, n.machine.Counters(), want)
			}
		})
	}
}

func TestClusterIsBounded(t *testing.T) {
	_, n := formed(t)
	for from := 0; from < id.MaxMembers; from += 512 {
		e := n.gossip(record("m0"), core.LayoutState{})
		state := &e.Msg.(*core.Gossip).State
		for i := range 512 {
			state.Members = append(state.Members, record(fmt.Sprintf("m%d", from+i)))
		}
		n.deliver(e)
	}
	if got := len(n.machine.Status().Members); got != id.MaxMembers {
		t.Errorf("knows %d members; want %d", got, id.MaxMembers)
	}
	if full := n.machine.Counters().Full; full == 0 {
		t.Error("nothing was left out")
	}
	joiner := n.gossip(record("one-more"), core.LayoutState{})
	joiner.Cluster = 0
	joiner.Msg.(*core.Gossip).State.Cluster = 0
	for _, e := range n.deliver(joiner) {
		if r, ok := e.Msg.(*core.GossipReply); ok && len(r.State.Layouts.Live) > 0 {
			t.Error("a joiner past the limit was given the cluster")
		}
	}
}

func TestNewFindsDamage(t *testing.T) {
	_, n := formed(t)
	cut := func(record string) *store {
		s := &store{current: maps.Clone(n.store.saved)}
		key := string(core.ControlKey(record))
		s.current[key] = s.current[key][:1]
		return s
	}
	without := func(record string) *store {
		s := cut(record)
		delete(s.current, string(core.ControlKey(record)))
		return s
	}
	orphans := newStore()
	orphans.apply([]core.Write{{Key: core.DataKey([]byte("k")), Value: []byte("v")}})
	for name, s := range map[string]*store{
		"a cut identity": cut("identity"), "cut members": cut("members"), "cut layouts": cut("layouts"),
		"no members": without("members"), "no layouts": without("layouts"),
		"keys of no cluster": orphans,
	} {
		if _, err := membership.New(n.cfg, s); !errors.Is(err, membership.ErrDamaged) {
			t.Errorf("%s: error %v; want ErrDamaged", name, err)
		}
	}
	if _, err := membership.New(n.cfg, brokenStore{}); !errors.Is(err, errBroken) {
		t.Errorf("a store that fails: error %v", err)
	}
}

var errBroken = errors.New("disk on fire")

// brokenStore fails whatever it is asked.
type brokenStore struct{}

func (brokenStore) Get([]byte) ([]byte, error) { return nil, errBroken }
func (brokenStore) Scan(_, _ []byte, _ core.Limit, _ func(_, _ []byte) bool) ([]byte, error) {
	return nil, errBroken
}

// TestJoinOnABrokenStore checks that a node that cannot tell whether it holds
// keys stops, rather than leave them behind.
func TestJoinOnABrokenStore(t *testing.T) {
	_, n := formed(t)
	n.store.fails = errBroken
	var out core.Out
	n.machine.Join(n.now(), &core.Join{Seeds: []string{"n2:1"}, Deadline: time.Minute}, &out)
	if !errors.Is(out.Failed, errBroken) {
		t.Errorf("Failed = %v", out.Failed)
	}
}

func TestConfigFaultsAreReportedAtOnce(t *testing.T) {
	_, err := membership.New(membership.Config{Self: "bad~id", LayoutDelay: -1}, newStore())
	for _, want := range []string{"bad~id", "shards", "N is 0", "R is 0", "gossip interval", "layout delay"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not speak of %q", err, want)
		}
	}
}

func TestJoinsThatCannotBe(t *testing.T) {
	_, n := formed(t)
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("host%d:1", i))
	}
	join := func(seeds ...string) (core.Code, string) {
		var out core.Out
		n.machine.Join(n.now(), &core.Join{Seeds: seeds, Deadline: time.Hour}, &out)
		if len(out.Replies) == 0 {
			return 0, ""
		}
		return out.Replies[0].Result.Code, out.Replies[0].Detail
	}
	for _, tt := range []struct {
		seeds []string
		want  string
	}{
		{nil, "no seed is given"},
		{[]string{"a:1", ""}, "seed 2 has 0 bytes"},
		{[]string{strings.Repeat("a", 300)}, "seed 1 has 300 bytes"},
		{many, "at most 256 are allowed"},
	} {
		if code, detail := join(tt.seeds...); code != core.CodeRefused || !strings.Contains(detail, tt.want) {
			t.Errorf("Join(%.30q) = %v %q; want refused, %q", tt.seeds, code, detail, tt.want)
		}
	}
	for i := range 16 {
		if code, detail := join("silent:1"); code != 0 {
			t.Fatalf("join %d ended with %v %q", i, code, detail)
		}
	}
	if code, _ := join("silent:1"); code != core.CodeOverloaded {
		t.Errorf("a join past the limit ended with %v", code)
	}
}

// TestSeedWhoseLayoutsMakeNoSense checks that a node joins nobody by layouts that
// no cluster has, says so, and goes on asking.
func TestSeedWhoseLayoutsMakeNoSense(t *testing.T) {
	w := newWorld(3)
	cfg := config("n2")
	cfg.Seeds = []string{"n1:1"}
	n := w.add(cfg)
	var asked core.Envelope
	w.sending = func(e *core.Envelope) { asked = *e }
	if err := n.begin(); err != nil {
		t.Fatal(err)
	}
	w.run(100 * time.Millisecond)
	l := layout(t, 16, "n1")
	answer := func(layouts core.LayoutState) {
		n.deliver(&core.Envelope{
			From: "n1", To: "n2", Cluster: 5, Req: asked.Req, Reply: true, Deadline: n.now().Mono + time.Second, Stamp: layouts.Stamp(),
			Msg: &core.GossipReply{State: core.GossipState{Cluster: 5, Members: []core.Member{record("n1")}, Layouts: layouts}},
		})
		w.run(100 * time.Millisecond)
	}
	answer(core.LayoutState{Live: []*ring.Layout{l}, Phase: core.PhaseCopy})
	if s := n.machine.Status(); s.Cluster != 0 || !strings.Contains(s.WaitsFor, "layouts that make no sense") || n.machine.Counters().Invalid != 1 {
		t.Errorf("in cluster %x, waits for %q, counters %+v", s.Cluster, s.WaitsFor, n.machine.Counters())
	}
	answer(core.LayoutState{Live: []*ring.Layout{l}, Phase: core.PhaseDone})
	if s := n.machine.Status(); s.Cluster != 5 || s.WaitsFor != "" {
		t.Errorf("in cluster %x, waits for %q", s.Cluster, s.WaitsFor)
	}
}

// TestRefusedInstanceSaysNothing checks that what an instance says which is not
// taken in, beside a live one of its ID, is not taken for that one's word: neither
// how new its disk is nor which layouts it goes by.
func TestRefusedInstanceSaysNothing(t *testing.T) {
	w, n := formed(t)
	live := record("n2")
	told := func(rec core.Member, stamp uint64) (remembered uint64) {
		e := n.gossip(rec, core.LayoutState{})
		e.Msg.(*core.Gossip).State.DiskStamp = stamp
		for _, sent := range n.deliver(e) {
			if reply, ok := sent.Msg.(*core.GossipReply); ok {
				remembered = reply.State.Remembers
			}
		}
		w.run(10 * time.Millisecond)
		return remembered
	}
	if got := told(live, 7); got != 7 {
		t.Errorf("of the live one's disk it remembers %d", got)
	}
	other := live
	other.Instance, other.Addr, other.Incarnation, other.Start = live.Instance+1, "other:1", live.Incarnation+1, live.Start+1
	told(other, 1000)
	if n.machine.Counters().Taken != 1 {
		t.Fatalf("the second instance is not refused: %+v", n.machine.Counters())
	}
	live.Heartbeat++
	if got := told(live, 8); got != 8 {
		t.Errorf("after the other one's word it remembers %d of the live one's disk", got)
	}
}

// TestAheadPeerIsAskedAtOnce checks that a shard's word of newer layouts does
// not wait for the next round, and that many such words are one message.
func TestAheadPeerIsAskedAtOnce(t *testing.T) {
	w, nodes := grown(t, 3)
	n := nodes[0]
	ahead := n.machine.Status().Layouts.Stamp()
	ahead.Layout.Number++
	report := func(stamp core.Stamp) (asked int) {
		n.step(func(now core.Now, out *core.Out) {
			n.machine.Report(now, []core.PeerReport{{Peer: "n2", OK: 1, Ahead: stamp}}, out)
			for _, e := range out.Sends {
				if e.To == "n2" && !e.Reply {
					asked++
				}
			}
		})
		return asked
	}
	w.run(time.Millisecond)
	if got := report(n.machine.Status().Layouts.Stamp()); got != 0 {
		t.Errorf("asked %d times because of a stamp that is not newer", got)
	}
	if first, second := report(ahead), report(ahead); first != 1 || second != 0 {
		t.Errorf("asked %d times, then %d times; want 1, then 0", first, second)
	}
	w.run(300 * time.Millisecond)
	if got := report(ahead); got != 1 {
		t.Errorf("asked %d times after a while; want 1", got)
	}
}

// TestLatenciesArePublishedWhenTheyMove checks when a view comes for latencies
// alone, and that an old view stays as it was.
func TestLatenciesArePublishedWhenTheyMove(t *testing.T) {
	w, nodes := grown(t, 2)
	n := nodes[0]
	measure := func(latency time.Duration) *core.View {
		for range 100 {
			n.step(func(now core.Now, out *core.Out) {
				n.machine.Report(now, []core.PeerReport{{Peer: "n2", OK: 1, Latency: latency}}, out)
			})
		}
		before := n.view
		w.run(1300 * time.Millisecond)
		if n.view == before {
			return nil
		}
		return n.view
	}
	first := measure(10 * time.Millisecond)
	if first == nil || first.Peers[0].P99 != 10*time.Millisecond || first.Peers[0].P95 != 10*time.Millisecond {
		t.Fatalf("view %+v; want a p95 and p99 of 10 ms", first)
	}
	if v := measure(11 * time.Millisecond); v != nil {
		t.Errorf("a tenth more brought the view %+v", v.Peers)
	}
	second := measure(30 * time.Millisecond)
	if second == nil || second.Peers[0].P99 != 30*time.Millisecond {
		t.Errorf("view %+v; want a p99 of 30 ms", second)
	}
	if first.Peers[0].P99 != 10*time.Millisecond {
		t.Error("an old view has changed")
	}
}

// TestRestartIsSeenAtOnce checks that peers learn a new start nonce, by which
// forwards are addressed, within moments.
func TestRestartIsSeenAtOnce(t *testing.T) {
	w, nodes := grown(t, 3)
	nodes[2].crash()
	w.run(time.Second)
	if err := nodes[2].begin(); err != nil {
		t.Fatal(err)
	}
	w.run(200 * time.Millisecond)
	for _, n := range nodes[:2] {
		if p, ok := n.view.Peer("n3"); !ok || p.Start != nodes[2].cfg.Start {
			t.Errorf("%s knows start %x of n3; want %x", n.cfg.Self, p.Start, nodes[2].cfg.Start)
		}
	}
}

// TestOldStartIsRefuted checks that a record of this node which it did not
// write, as a restored disk may leave behind, costs it a higher incarnation.
func TestOldStartIsRefuted(t *testing.T) {
	w, nodes := grown(t, 2)
	n := nodes[0]
	echo := record("n1")
	echo.Incarnation = 41
	e := n.gossip(record("n2"), core.LayoutState{})
	state := &e.Msg.(*core.Gossip).State
	state.Members = append(state.Members, echo)
	n.deliver(e)
	w.run(100 * time.Millisecond)
	if own := n.machine.Status().Members[0]; own.Incarnation != 42 {
		t.Errorf("incarnation %d; want 42", own.Incarnation)
	}
	if seen := nodes[1].machine.Status().Members[0]; seen.Incarnation != 42 {
		t.Errorf("n2 knows incarnation %d; want 42", seen.Incarnation)
	}
}

// TestWhoIsNotKnownIsNotLeftOut checks that a node which has a layout before it
// has all of its members' records does not plan without them.
func TestWhoIsNotKnownIsNotLeftOut(t *testing.T) {
	w, n := formed(t)
	current := n.machine.Status().Layouts.Live[0]
	var members []ring.Member
	for _, name := range []id.Node{"n1", "n2", "n3"} {
		members = append(members, ring.Member{ID: name, Weight: 1})
	}
	next, err := current.Plan(2, members, 3)
	if err != nil {
		t.Fatal(err)
	}
	n2 := record("n2")
	for range 20 {
		n2.Heartbeat++
		n.deliver(n.gossip(n2, core.LayoutState{Live: []*ring.Layout{next}, Phase: core.PhaseDone}))
		w.run(100 * time.Millisecond)
	}
	if s := n.machine.Status().Layouts.Stamp(); s.Layout != next.Name() {
		t.Errorf("n1 goes by %v without knowing n3; want %v", s, next.Name())
	}
	n.deliver(n.gossip(record("n3"), core.LayoutState{}))
	if s := n.machine.Status(); len(s.Members) != 3 || s.Layouts.Stamp().Layout != next.Name() {
		t.Errorf("n1 knows %d members and goes by %v", len(s.Members), s.Layouts.Stamp())
	}
}

// TestReportsOfTheLeftClusterDoNotCount checks that reports on the layouts of the
// cluster that a node has left count for nothing.
func TestReportsOfTheLeftClusterDoNotCount(t *testing.T) {
	w, _ := formed(t)
	n := w.add(config("n2"))
	if err := n.begin(); err != nil {
		t.Fatal(err)
	}
	w.run(10 * time.Millisecond)
	old := n.shards[0]
	n.join(addresses([]string{"n1"}))
	w.shards = func() time.Duration { return time.Hour }
	w.run(20 * time.Millisecond)
	for shard := range n.shards {
		old.Shard = shard
		n.step(func(now core.Now, out *core.Out) { n.machine.Shard(now, old, out) })
	}
	own := n.machine.Status().Members[1]
	if n.cluster != w.nodes[0].cluster || own.Stamp != (core.Stamp{}) || own.Synced != (ring.Name{}) {
		t.Errorf("in cluster %x, shows stamp %v, synced %v", n.cluster, own.Stamp, own.Synced)
	}
}

func TestNothingIsDueBeforeTheStart(t *testing.T) {
	m, err := membership.New(config("n1"), newStore())
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := m.Next(); ok {
		t.Errorf("Next = %v before Begin", at)
	}
	if v := m.View(); v != nil {
		t.Errorf("view %+v before Begin", v)
	}
	if s := m.Status(); s.Serving || s.WaitsFor == "" {
		t.Errorf("status %+v before Begin", s)
	}
}
