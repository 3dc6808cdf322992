package antientropy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/storage/memory"
	"github.com/dynamo-kv/dynamo/internal/version"
)

const interval = time.Minute

// cluster is a few nodes with everything that anti-entropy needs, in virtual
// time: messages arrive in the order in which they were sent, a moment later.
type cluster struct {
	tb     testing.TB
	layout *ring.Layout
	phase  core.Phase
	live   []*ring.Layout
	nodes  []*host
	now    time.Duration
	flight []core.Envelope
	// cut says that an envelope is lost, or where fails is set that it
	// provably never left.
	cut   func(e *core.Envelope) bool
	fails bool
	seen  func(e *core.Envelope) // every envelope that is sent
	dead  map[id.Node]bool
	told  func(core.PeerReport)
	open  map[id.Node]bool // those whose breakers are, at everybody
}

// host is a node: its store, and the shards over it.
type host struct {
	id     id.Node
	store  *memory.Engine
	shards []*shard
	starts uint64
}

type shard struct {
	*AntiEntropy
	replica *replica.Replica
	out     core.Out
}

// The share of each shard: a slot for the exchange and one for building trees,
// each of the rate that it has by default.
const (
	slots    = 2
	slotRate = 32 << 20 / 10
)

// newCluster returns nodes with so many shards each.
func newCluster(tb testing.TB, partitions, n int, shards ...int) *cluster {
	tb.Helper()
	c := &cluster{tb: tb, phase: core.PhaseDone, now: time.Second, dead: map[id.Node]bool{}, open: map[id.Node]bool{}}
	var members []ring.Member
	for i := range shards {
		members = append(members, ring.Member{ID: nodeName(i), Weight: 1})
	}
	layout, err := ring.Form(partitions, n, members)
	if err != nil {
		tb.Fatal(err)
	}
	c.layout, c.live = layout, []*ring.Layout{layout}
	for i, s := range shards {
		h := &host{id: nodeName(i), store: memory.New()}
		c.nodes = append(c.nodes, h)
		c.start(h, s)
	}
	return c
}

func nodeName(i int) id.Node { return id.Node(fmt.Sprintf("n%d", i+1)) }

// start runs a node on its store.
func (c *cluster) start(h *host, shards int) {
	h.starts++
	h.shards = nil
	for i := range shards {
		r := replica.New(replica.Config{Self: h.id, Start: h.starts, Shard: i, Shards: shards}, h.store)
		gate := new(admission.Gate)
		gate.Limit(c.now, slots, slotRate)
		h.shards = append(h.shards, &shard{
			AntiEntropy: New(Config{
				Self: h.id, Shard: i, Shards: shards, Interval: interval,
				Retry: backoff.Default(), Seed: uint64(len(h.id)) + h.starts,
			}, r, gate),
			replica: r,
		})
	}
	c.setView(h)
}

func (c *cluster) setView(h *host) {
	v := &core.View{Self: h.id, Cluster: 1, Layouts: core.LayoutState{Live: c.live, Phase: c.phase}}
	for _, m := range c.layout.Members() {
		if m.ID != h.id {
			status := core.Alive
			if c.dead[m.ID] {
				status = core.Dead
			}
			peer := core.Peer{ID: m.ID, Status: status}
			if c.open[m.ID] {
				peer.Circuit.State = core.CircuitOpen
			}
			v.Peers = append(v.Peers, peer)
		}
	}
	for _, s := range h.shards {
		s.replica.SetView(v)
		s.SetView(c.mono(), v, &s.out)
		c.flush(h, s)
	}
}

func (c *cluster) setViews() {
	for _, h := range c.nodes {
		c.setView(h)
	}
}

func (c *cluster) mono() core.Now { return core.Now{Mono: c.now, Wall: time.Hour + c.now} }

func (c *cluster) host(n id.Node) *host {
	i := slices.IndexFunc(c.nodes, func(h *host) bool { return h.id == n })
	return c.nodes[i]
}

// flush carries out the effects of a step: what is written is durable at once.
func (c *cluster) flush(h *host, s *shard) {
	if s.out.Failed != nil {
		c.tb.Fatal(s.out.Failed)
	}
	for _, r := range s.out.Reports {
		if c.told != nil {
			c.told(r)
		}
	}
	n := s.replica.Flush()
	h.store.Commit(s.out.Writes, core.NoSync, func(error) {})
	s.replica.Durable(n)
	for _, e := range slices.Concat(s.out.Sends, s.out.SendsHeld) {
		c.send(h, s, e)
	}
	s.out.Reset()
}

func (c *cluster) send(h *host, s *shard, e core.Envelope) {
	if e.Deadline <= c.now || e.Deadline > c.now+id.MaxMessageAge || e.From != h.id || e.Cluster != 1 {
		c.tb.Fatalf("at %v: %+v", c.now, e)
	}
	if c.seen != nil {
		c.seen(&e)
	}
	switch {
	case c.cut == nil || !c.cut(&e):
		c.flight = append(c.flight, e)
	case c.fails:
		s.out.Reset()
		s.SendFailed(c.mono(), &e, &s.out)
	}
}

// deliver brings the first envelope under way to its receiver, as node.Shard
// does.
func (c *cluster) deliver() {
	e := c.flight[0]
	c.flight = c.flight[1:]
	h := c.host(e.To)
	if e.Reply {
		s := h.shards[e.Req.Shard()]
		s.Deliver(c.mono(), &e, &s.out)
		c.flush(h, s)
		return
	}
	s := h.shards[int(e.Partition)%len(h.shards)]
	reply := e
	reply.From, reply.To, reply.Reply, reply.Deadline = e.To, e.From, true, c.now+time.Second
	switch m := e.Msg.(type) {
	case *core.Apply:
		reply.Msg = &core.Applied{}
		if _, why := s.replica.Apply(m.Key, m.Set, &s.out); why != 0 {
			reply.Msg = &core.Refused{Why: why}
		}
		s.out.Sends = append(s.out.Sends, reply)
	case *core.Read:
		set, _ := s.replica.Read(m.Key, &s.out)
		reply.Msg = &core.ReadReply{Set: set}
		s.out.Sends = append(s.out.Sends, reply)
	default:
		s.Serve(c.mono(), &e, &s.out)
	}
	c.flush(h, s)
}

// run lets time pass.
func (c *cluster) run(d time.Duration) {
	c.tb.Helper()
	for end := c.now + d; ; {
		for steps := 0; len(c.flight) > 0; steps++ {
			if steps > 1_000_000 {
				c.tb.Fatal("the nodes do not stop talking")
			}
			c.now += 100 * time.Microsecond
			c.deliver()
		}
		next := core.Never
		for _, h := range c.nodes {
			for _, s := range h.shards {
				if at, ok := s.Next(); ok {
					next = min(next, at)
				}
			}
		}
		if next > end {
			c.now = max(c.now, end)
			return
		}
		c.now = max(c.now, next)
		for _, h := range c.nodes {
			for _, s := range h.shards {
				if at, ok := s.Next(); ok && at <= c.now {
					s.Tick(c.mono(), &s.out)
					if _, news := s.Report(c.mono()); news && s.told.Pairs < 0 {
						c.tb.Fatal("a report without sense")
					}
					c.flush(h, s)
				}
			}
		}
	}
}

// put writes a key at one node alone.
func (c *cluster) put(n int, key, value string) {
	h := c.nodes[n]
	s := c.shardOf(h, []byte(key))
	s.replica.Write(core.LocalWrite{Key: []byte(key), Write: version.Write{Data: []byte(value)}}, &s.out)
	c.flush(h, s)
}

func (c *cluster) apply(n int, key string, set version.Siblings) {
	h := c.nodes[n]
	s := c.shardOf(h, []byte(key))
	s.replica.Apply([]byte(key), set, &s.out)
	c.flush(h, s)
}

func (c *cluster) shardOf(h *host, key []byte) *shard {
	return h.shards[int(c.layout.Partition(key))%len(h.shards)]
}

func (c *cluster) get(n int, key string) version.Siblings {
	h := c.nodes[n]
	s := c.shardOf(h, []byte(key))
	set, _ := s.replica.Read([]byte(key), &s.out)
	return set
}

// everywhere writes a key that all nodes hold alike.
func (c *cluster) everywhere(key, value string) {
	set, _ := version.Siblings{}.Put(version.Clock{}, actor("old"), version.Write{Data: []byte(value)})
	for n := range c.nodes {
		c.apply(n, key, set)
	}
}

func actor(n id.Node) version.Actor {
	return version.Actor{Node: n, Epoch: version.Epoch{Start: 9, Seq: 1}}
}

// counts adds up what the nodes have counted.
func (c *cluster) counts() (sum core.TreeReport) {
	for _, h := range c.nodes {
		for _, s := range h.shards {
			sum = sum.Plus(s.Counters())
		}
	}
	return sum
}

// requireEqual checks that all owners hold the same keys with the same sets,
// and that their trees say so.
func (c *cluster) requireEqual(keys int) {
	c.tb.Helper()
	for p := range ring.Partition(c.layout.Partitions()) {
		first, last := c.layout.Range(p)
		var want []core.Item
		for i, owner := range c.layout.Owners(p) {
			h := c.host(owner)
			s := h.shards[int(p)%len(h.shards)]
			items, done, _ := s.replica.Chunk(first, last, nil, core.Limit{Keys: 1 << 20, Bytes: 1 << 30}, &s.out)
			if !done {
				c.tb.Fatal("too many keys")
			}
			if s.replica.Tree(p) == nil {
				c.tb.Fatalf("%v has no tree of partition %d", owner, p)
			}
			if i == 0 {
				want = items
				keys -= len(items)
				continue
			}
			same := slices.EqualFunc(items, want, func(a, b core.Item) bool {
				return string(a.Key) == string(b.Key) && a.Set.Equal(b.Set)
			})
			first := c.host(c.layout.Owners(p)[0])
			root := first.shards[int(p)%len(first.shards)].replica.Tree(p).Root()
			if !same || s.replica.Tree(p).Root() != root {
				c.tb.Fatalf("%v holds another partition %d than %v: %d keys and %d", owner, p, first.id, len(items), len(want))
			}
		}
	}
	if keys != 0 {
		c.tb.Fatalf("%d keys are missing, or too many", keys)
	}
}
