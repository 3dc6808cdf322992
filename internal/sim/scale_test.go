package sim_test

import (
	"cmp"
	"container/heap"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/membership"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

// scaleFlag lists the sizes of the clusters that are measured. The largest of
// docs/failure-detection.md takes minutes.
var scaleFlag = flag.String("sim.scale", "", "the cluster sizes that TestGossipScales and TestFailureDetection measure, with commas in between; a few small ones if empty")

// swarm is many membership machines alone in virtual time: shards that adopt
// and report at once, disks that are durable at once, and a network that only loses and delays. It counts
// what the machines send in the bytes that the transport would carry.
type swarm struct {
	rng    *rand.Rand
	now    time.Duration
	events swarmQueue
	seq    uint64
	nodes  []*swarmer
	byAddr map[string]*swarmer
	coder  wire.Encoder
	buf    []byte

	loss    float64
	refuses bool    // the machine of a dead process refuses what is sent to it
	pauses  float64 // share of the rounds in which a process stands still …
	pauseOf time.Duration

	bytes   uint64
	largest int // without layouts
	sent    uint64
	// changed is told of each change of an opinion.
	changed func(by *swarmer, c core.StatusChange)
}

// swarmer is one machine with its process.
type swarmer struct {
	cfg     membership.Config
	disk    swarmDisk
	machine *membership.Machine
	born    time.Duration
	up      bool
	start   uint64
	armed   time.Duration
	stalled time.Duration
	out     core.Out
}

type swarmDisk map[string][]byte

func (d swarmDisk) Get(key []byte) ([]byte, error) {
	if v, ok := d[string(key)]; ok {
		return v, nil
	}
	return nil, core.ErrNotFound
}

func (swarmDisk) Scan(_, _ []byte, _ core.Limit, _ func(_, _ []byte) bool) ([]byte, error) {
	return nil, nil
}

type swarmEvent struct {
	at  time.Duration
	seq uint64
	do  func()
}

type swarmQueue []swarmEvent

func (q swarmQueue) Len() int { return len(q) }
func (q swarmQueue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].at, q[j].at), cmp.Compare(q[i].seq, q[j].seq)) < 0
}
func (q swarmQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *swarmQueue) Push(x any)   { *q = append(*q, x.(swarmEvent)) }
func (q *swarmQueue) Pop() any {
	last := (*q)[len(*q)-1]
	(*q)[len(*q)-1] = swarmEvent{}
	*q = (*q)[:len(*q)-1]
	return last
}

// newSwarm returns a cluster of that size, whose nodes have just been started.
func newSwarm(t *testing.T, size int, seed uint64) *swarm {
	t.Helper()
	s := emptySwarm(seed)
	for i := range size {
		s.add(i)
		s.begin(t, s.nodes[i])
	}
	return s
}

func emptySwarm(seed uint64) *swarm {
	return &swarm{
		rng: rand.New(rand.NewPCG(seed, 1)), byAddr: make(map[string]*swarmer), buf: make([]byte, 1<<20),
		changed: func(*swarmer, core.StatusChange) {},
	}
}

// add makes a node. Addresses are as long as those of cloud machines.
func (s *swarm) add(i int) *swarmer {
	n := &swarmer{disk: make(swarmDisk)}
	n.cfg = membership.Config{
		Self: id.Node(fmt.Sprintf("node-%04d", i)), Addr: fmt.Sprintf("ip-10-0-%d-%d.eu-central-1.compute.internal:7171", i/256, i%256),
		Zone: fmt.Sprintf("eu-central-1%c", 'a'+i%3), Weight: 1, Instance: uint64(i + 1), Seed: s.rng.Uint64(), Shards: 1,
		Partitions: 1024, N: 3, R: 2, GossipInterval: time.Second, LayoutDelay: time.Second,
	}
	if i > 0 {
		n.cfg.Seeds = []string{s.nodes[s.rng.IntN(min(i, 3))].cfg.Addr}
	}
	s.nodes = append(s.nodes, n)
	s.byAddr[n.cfg.Addr] = n
	return n
}

func (s *swarm) begin(t *testing.T, n *swarmer) {
	t.Helper()
	n.cfg.Start = s.rng.Uint64()
	machine, err := membership.New(n.cfg, n.disk)
	if err != nil {
		t.Fatal(err)
	}
	n.machine, n.up, n.born, n.armed = machine, true, s.now, core.Never
	n.start++
	s.step(n, func(now core.Now) { n.machine.Begin(now, &n.out) })
}

func (s *swarm) after(d time.Duration, do func()) {
	s.seq++
	heap.Push(&s.events, swarmEvent{s.now + d, s.seq, do})
}

func (s *swarm) run(d time.Duration) {
	end := s.now + d
	for len(s.events) > 0 && s.events[0].at <= end {
		e := heap.Pop(&s.events).(swarmEvent)
		s.now = e.at
		e.do()
	}
	s.now = end
}

// step steps a machine and carries out what comes of it.
func (s *swarm) step(n *swarmer, input func(core.Now)) {
	if left := n.stalled - s.now; left > 0 {
		start := n.start
		s.after(left, func() {
			if n.up && n.start == start {
				s.step(n, input)
			}
		})
		return
	}
	n.out.Reset()
	input(s.time(n))
	flush := n.machine.Flush()
	sends := slices.Clone(n.out.Sends)
	statuses := slices.Clone(n.out.Statuses)
	if len(n.out.Writes) > 0 {
		for _, w := range n.out.Writes {
			n.disk[string(w.Key)] = w.Value
		}
		s.later(n, func(now core.Now) { n.machine.Durable(now, flush, &n.out) })
	}
	if v := n.machine.View(); v != nil { // a shard that has nothing to copy
		r := core.ShardReport{Stamp: v.Stamp(), Synced: v.Stamp().Layout}
		s.later(n, func(now core.Now) { n.machine.Shard(now, r, &n.out) })
	}
	for i := range sends {
		s.send(n, &sends[i])
	}
	for _, c := range statuses {
		s.changed(n, c)
	}
	s.arm(n)
}

// later steps a machine in a moment, if it still runs.
func (s *swarm) later(n *swarmer, input func(core.Now)) {
	start := n.start
	s.after(time.Millisecond, func() {
		if n.up && n.start == start {
			s.step(n, input)
		}
	})
}

func (s *swarm) time(n *swarmer) core.Now {
	return core.Now{Mono: s.now - n.born, Wall: time.Hour + s.now}
}

func (s *swarm) arm(n *swarmer) {
	next, ok := n.machine.Next()
	if !ok || next >= n.armed {
		return
	}
	n.armed = next
	start := n.start
	s.after(max(0, n.born+next-s.now), func() {
		if !n.up || n.start != start || n.armed != next {
			return
		}
		n.armed = core.Never
		if s.pauses > 0 && s.rng.Float64() < s.pauses {
			n.stalled = s.now + s.pauseOf
		}
		s.step(n, func(now core.Now) { n.machine.Tick(now, &n.out) })
	})
}

// send encodes a message as the transport does, and carries it.
func (s *swarm) send(n *swarmer, e *core.Envelope) {
	encoded := s.coder.Encode(s.time(n).Mono, []core.Envelope{aged(e)}, func(size int) []byte {
		if size > len(s.buf) {
			s.buf = make([]byte, size)
		}
		return s.buf[:size]
	})
	s.sent++
	s.bytes += uint64(len(encoded))
	if layouts := gossipState(e).Layouts.Live; len(layouts) == 0 {
		s.largest = max(s.largest, len(encoded))
	}
	if s.rng.Float64() < s.loss {
		return
	}
	remaining := e.Deadline - s.time(n).Mono
	delay := time.Millisecond + time.Duration(s.rng.ExpFloat64()*float64(time.Millisecond))
	c := *e
	s.after(delay, func() {
		to := s.byAddr[c.Addr]
		if !to.up {
			if s.refuses && !c.Reply && n.up {
				s.step(n, func(now core.Now) { n.machine.SendFailed(now, &c, &n.out) })
			}
			return
		}
		c.Deadline = s.time(to).Mono + remaining - delay
		s.step(to, func(now core.Now) { to.machine.Deliver(now, &c, &to.out) })
	})
}

// age is what is added to the heartbeats in the bytes that are counted: half a
// year at one a second. A number takes four bytes then, for eight years.
const age = 1 << 24

// aged returns a message as it would be in a cluster of that age.
func aged(e *core.Envelope) core.Envelope {
	state := *gossipState(e)
	older := func(heartbeat uint64) uint64 {
		if heartbeat == 0 {
			return 0 // there is none
		}
		return heartbeat + age
	}
	state.Members = slices.Clone(state.Members)
	for i := range state.Members {
		m := &state.Members[i]
		m.Heartbeat, m.Changed = older(m.Heartbeat), older(m.Changed)
	}
	state.Digest.Chunk = slices.Clone(state.Digest.Chunk)
	for i := range state.Digest.Chunk {
		b := &state.Digest.Chunk[i]
		b.Heartbeats = slices.Clone(b.Heartbeats)
		for j := range b.Heartbeats {
			b.Heartbeats[j] = older(b.Heartbeats[j])
		}
	}
	state.Digest.Versions = slices.Clone(state.Digest.Versions)
	for i := range state.Digest.Versions {
		v := &state.Digest.Versions[i]
		v.Changed, v.Heartbeat = older(v.Changed), older(v.Heartbeat)
	}
	old := *e
	if _, ok := e.Msg.(*core.Gossip); ok {
		old.Msg = &core.Gossip{State: state}
	} else {
		old.Msg = &core.GossipReply{State: state}
	}
	return old
}

func gossipState(e *core.Envelope) *core.GossipState {
	switch m := e.Msg.(type) {
	case *core.Gossip:
		return &m.State
	case *core.GossipReply:
		return &m.State
	}
	return &core.GossipState{}
}

func (s *swarm) kill(n *swarmer) {
	n.up = false
	n.start++
}

// knows counts the nodes whose record of n is as told.
func (s *swarm) knows(n *swarmer, ok func(core.Member) bool) (count int) {
	for _, o := range s.nodes {
		if !o.up {
			continue
		}
		members := o.machine.Status().Members
		i, found := slices.BinarySearchFunc(members, n.cfg.Self, func(m core.MemberStatus, n id.Node) int { return cmp.Compare(m.ID, n) })
		if found && ok(members[i].Member) {
			count++
		}
	}
	return count
}

// rounds runs until all nodes that are up know of n what is told, and returns
// how many gossip intervals that took.
func (s *swarm) rounds(t *testing.T, n *swarmer, ok func(core.Member) bool) float64 {
	t.Helper()
	up := 0
	for _, o := range s.nodes {
		if o.up {
			up++
		}
	}
	began := s.now
	for s.knows(n, ok) < up {
		if s.now-began > 100*time.Second {
			t.Fatalf("only %d of %d nodes know it after 100 rounds", s.knows(n, ok), up)
		}
		s.run(100 * time.Millisecond)
	}
	return (s.now - began).Seconds()
}

// settle runs until every node knows every other one.
func (s *swarm) settle(t *testing.T) {
	t.Helper()
	began := s.now
	for _, n := range s.nodes {
		for len(n.machine.Status().Members) < len(s.nodes) {
			if s.now-began > 5*time.Minute {
				t.Fatalf("%s knows %d of %d members after 5 minutes", n.cfg.Self, len(n.machine.Status().Members), len(s.nodes))
			}
			s.run(time.Second)
		}
	}
}

// sizes returns those of -sim.scale, or others.
func sizes(t *testing.T, others ...int) []int {
	t.Helper()
	if *scaleFlag == "" {
		return others
	}
	var sizes []int
	for part := range strings.SplitSeq(*scaleFlag, ",") {
		var n int
		if _, err := fmt.Sscan(part, &n); err != nil || n < 2 || n >= id.MaxMembers {
			t.Fatalf("-sim.scale has %q; sizes from 2 to %d are allowed, with commas in between", part, id.MaxMembers-1)
		}
		sizes = append(sizes, n)
	}
	return sizes
}

// TestGossipScales prints how far gossip carries, by the size of the cluster.
func TestGossipScales(t *testing.T) {
	for _, size := range sizes(t, 10, 100) {
		began := time.Now()
		s := newSwarm(t, size, 1)
		s.settle(t)
		formed, growing := s.now, s.largest
		s.run(20 * time.Second)
		s.bytes, s.sent, s.largest = 0, 0, 0
		const steady = 20 * time.Second
		s.run(steady)
		perNode := float64(s.bytes) / steady.Seconds() / float64(size)
		messages := float64(s.sent) / steady.Seconds() / float64(size)
		largest := s.largest

		joiner := s.add(size)
		s.begin(t, joiner)
		join := s.rounds(t, joiner, func(core.Member) bool { return true })

		again := s.nodes[size/2]
		s.kill(again)
		s.run(time.Second)
		s.begin(t, again)
		restart := s.rounds(t, again, func(m core.Member) bool { return m.Incarnation == 2 })
		t.Logf("%4d nodes: a join %.1f rounds, an incarnation %.1f rounds; %.0f bytes a node and second in %.1f messages, the largest %d; formed in %v, the largest message %d bytes; real time %v",
			size, join, restart, perNode, messages, largest, formed, growing, time.Since(began).Round(time.Millisecond))
		if most := math.Log2(float64(size)); join > most || restart > most {
			t.Errorf("%d nodes: more than log2(n) = %.1f rounds until all know", size, most)
		}
		if perNode > 10_000 {
			t.Errorf("%d nodes: %.0f bytes a node and second; at most 10,000 are allowed", size, perNode)
		}
		if growing > membership.MaxMessageBytes || s.largest > membership.MaxMessageBytes {
			t.Errorf("%d nodes: a message of %d bytes; at most %d are allowed", size, max(growing, s.largest), membership.MaxMessageBytes)
		}
	}
}

// TestGossipOfLongRecords lets nodes find each other whose records are as long
// as they may be, so that no message has room for all of them.
func TestGossipOfLongRecords(t *testing.T) {
	s := emptySwarm(3)
	long := strings.Repeat("a", 250)
	for i := range 60 {
		n := s.add(i)
		delete(s.byAddr, n.cfg.Addr)
		n.cfg.Self = id.Node(fmt.Sprintf("%s-%03d", long[:60], i))
		n.cfg.Addr, n.cfg.Zone, n.cfg.Datacentre = fmt.Sprintf("%s%03d:7171", long, i), long[:64], long[:64]
		s.byAddr[n.cfg.Addr] = n
		s.begin(t, n)
	}
	s.settle(t)
	if s.largest > membership.MaxMessageBytes {
		t.Errorf("a message of %d bytes; at most %d are allowed", s.largest, membership.MaxMessageBytes)
	}
	t.Logf("60 nodes know each other after %v; the largest message had %d bytes", s.now, s.largest)
}
