package antientropy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/storage/memory"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// scatter writes keys so that every pair of nodes differs in every way: only
// one has a key, one has an older set, both have concurrent ones.
func scatter(c *cluster, keys int) {
	for i := range keys {
		key := fmt.Sprint("key-", i)
		switch i % 4 {
		case 0:
			c.everywhere(key, "same")
		case 1:
			c.put(i%len(c.nodes), key, "alone")
		case 2:
			c.everywhere(key, "old")
			c.put(i%len(c.nodes), key, "newer here")
		case 3:
			for n := range c.nodes {
				c.put(n, key, fmt.Sprint("concurrent at ", n))
			}
		}
	}
}

func TestOwnersBecomeEqual(t *testing.T) {
	for name, shards := range map[string][]int{
		"shards alike":          {2, 2, 2},
		"shards of many counts": {1, 3, 4},
		"two nodes":             {5, 2},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 32, len(shards), shards...)
			scatter(c, 400)
			c.run(interval + time.Second)
			c.requireEqual(400)
			if got := c.counts(); got.Repaired == 0 || got.Differing == 0 || got.Exchanges == 0 || got.Wrong != 0 || got.Building != 0 {
				t.Errorf("counts %+v", got)
			}
		})
	}
}

// When all are equal, a round costs one question about the roots and its
// answer for each pair of shards, and nothing is sent twice.
func TestEqualOwnersSayLittle(t *testing.T) {
	c := newCluster(t, 32, 3, 2, 2, 2)
	scatter(c, 100)
	c.run(2 * interval)
	repaired := c.counts().Repaired
	messages := map[string]int{}
	c.seen = func(e *core.Envelope) { messages[fmt.Sprintf("%T", e.Msg)]++ }
	c.run(interval)
	asks := messages["*core.TreeCompare"]
	if least, most := 3*2, 2*3*2*2; asks < least || asks > most || len(messages) != 2 || messages["*core.TreeDiffer"] != asks {
		t.Errorf("messages %v; want %d to %d comparisons, each answered, and nothing else", messages, least, most)
	}
	if got := c.counts().Repaired; got != repaired {
		t.Errorf("%d keys repaired among equals", got-repaired)
	}
}

// Only what differs is exchanged, and after it neither has anything to tell.
func TestOnlyTheDifferenceIsExchanged(t *testing.T) {
	c := newCluster(t, 32, 2, 1, 1)
	for i := range 1000 {
		c.everywhere(fmt.Sprint("key-", i), "same")
	}
	c.put(0, "key-7", "newer")
	c.put(1, "only at the other", "x")
	keys := map[string]int{}
	c.seen = func(e *core.Envelope) {
		switch m := e.Msg.(type) {
		case *core.Apply:
			keys["apply "+string(m.Key)]++
		case *core.Read:
			keys["read "+string(m.Key)]++
		}
	}
	c.run(3 * interval)
	c.requireEqual(1001)
	for what, n := range keys {
		if n > 1 || what != "read key-7" && what != "apply key-7" && what != "read only at the other" && what != "apply only at the other" {
			t.Errorf("%s: %d times", what, n)
		}
	}
	if got := c.counts(); got.Repaired != 2 || got.Differing > 2 {
		t.Errorf("counts %+v; want 2 keys of 2 partitions", got)
	}
}

// Of each pair one node leads, and both carry about half.
func TestOneOfAPairLeads(t *testing.T) {
	a, b := New(Config{Self: "a"}, nil, new(admission.Gate)), New(Config{Self: "b"}, nil, new(admission.Gate))
	led := 0
	for p := range ring.Partition(1024) {
		if a.leads("b", p) == b.leads("a", p) {
			t.Fatalf("partition %d: both lead, or none", p)
		}
		if a.leads("b", p) {
			led++
		}
	}
	if led < 450 || led > 574 {
		t.Errorf("one node leads for %d of 1024 partitions", led)
	}
	for shard := range 8 {
		led := 0
		for p := shard; p < 1024; p += 8 {
			if a.leads("b", ring.Partition(p)) {
				led++
			}
		}
		if led < 32 || led > 96 {
			t.Errorf("of shard %d one node leads for %d of 128 partitions", shard, led)
		}
	}
}

// A node whose disk was wiped gets everything back, whoever leads.
func TestAWipedNodeBecomesWhole(t *testing.T) {
	c := newCluster(t, 16, 3, 2, 2, 2)
	scatter(c, 600)
	c.run(2 * interval)
	c.nodes[1].store = memory.New()
	c.start(c.nodes[1], 2)
	c.run(2 * interval)
	c.requireEqual(600)
}

func TestDirtyPartitionsGoFirst(t *testing.T) {
	c := newCluster(t, 32, 3, 2, 2, 2)
	c.run(2 * interval) // every pair has been compared
	key := "key-1"
	p := c.layout.Partition([]byte(key))
	c.put(0, key, "value")
	c.shardOf(c.nodes[0], []byte(key)).MarkDirty(p)
	c.run(time.Second)
	c.requireEqual(1)
	if s := c.shardOf(c.nodes[0], []byte(key)); len(s.dirty) != 0 {
		t.Errorf("still dirty: %+v", s.dirty[0])
	}
}

// One that becomes dirty again while it is compared is compared again.
func TestDirtyAgainIsComparedAgain(t *testing.T) {
	c := newCluster(t, 32, 2, 1, 1)
	c.run(interval + time.Second)
	compared := 0
	s := c.nodes[0].shards[0]
	p := c.layout.Partition([]byte("key-1"))
	c.seen = func(e *core.Envelope) {
		if m, ok := e.Msg.(*core.TreeCompare); ok && m.Level == 0 && e.From == "n1" {
			if compared++; compared == 1 {
				s.MarkDirty(p)
			}
		}
	}
	s.MarkDirty(p)
	c.run(5 * time.Second)
	if compared != 2 || len(s.dirty) != 0 {
		t.Errorf("compared %d times, dirty %v", compared, s.dirty)
	}
}

// A dirty partition stays so until every owner was there to be asked.
func TestDirtyPartitionsWaitForTheirOwners(t *testing.T) {
	c := newCluster(t, 32, 3, 2, 2, 2)
	c.dead["n3"] = true
	c.setViews()
	key := "key-1"
	p := c.layout.Partition([]byte(key))
	s := c.shardOf(c.nodes[0], []byte(key))
	c.put(0, key, "value")
	s.MarkDirty(p)
	s.MarkDirty(p)
	s.MarkDirty(p + 1) // of another shard
	c.run(time.Second)
	if len(s.dirty) != 1 || !slices.Equal(s.dirty[0].left, []id.Node{"n3"}) {
		t.Fatalf("dirty: %+v; want n3 left", s.dirty)
	}
	if !c.get(2, key).IsEmpty() {
		t.Error("a dead node was written to")
	}
	c.dead["n3"] = false
	c.setViews()
	c.run(5 * time.Second)
	c.requireEqual(1)
	if len(s.dirty) != 0 {
		t.Error("still dirty")
	}
}

func TestLossDelaysAndDoesNotPrevent(t *testing.T) {
	c := newCluster(t, 16, 3, 2, 3, 2)
	scatter(c, 200)
	n := 0
	c.cut = func(*core.Envelope) bool { n++; return n%4 == 0 }
	c.run(10 * interval)
	c.cut = nil
	c.run(2 * interval)
	c.requireEqual(200)
}

// What is repeated, and what comes twice, changes nothing.
func TestDuplicatesDoNoHarm(t *testing.T) {
	c := newCluster(t, 16, 3, 2, 2, 2)
	scatter(c, 200)
	var late []core.Envelope
	c.seen = func(e *core.Envelope) { late = append(late, *e) }
	c.run(2 * interval)
	c.seen = nil
	for _, e := range late {
		e.Deadline = c.now + time.Second
		c.flight = append(c.flight, e)
	}
	c.run(2 * interval)
	c.requireEqual(200)
}

// A peer that is provably not there ends the exchange at once, and what has
// been compared is not compared again.
func TestAnExchangeGoesOnWhereItBrokeOff(t *testing.T) {
	c := newCluster(t, 16, 2, 1, 1)
	scatter(c, 300)
	applies := 0
	c.fails = true
	c.cut = func(e *core.Envelope) bool {
		if _, ok := e.Msg.(*core.Apply); ok && e.From == "n1" {
			applies++
		}
		return applies == 20
	}
	reports := 0
	s := c.nodes[0].shards[0]
	c.run(interval)
	var left []ring.Partition
	for _, p := range s.peers {
		left = append(left, p.left...)
	}
	if len(left) == 0 || len(left) == len(s.peers[0].shared) {
		t.Fatalf("%d of %d partitions left", len(left), len(s.peers[0].shared))
	}
	if got := s.Counters(); got.Since != 0 || got.Compared != got.Pairs-len(left) {
		t.Errorf("%+v with %d left", got, len(left))
	}
	applies = 100
	c.seen = func(e *core.Envelope) {
		if m, ok := e.Msg.(*core.TreeCompare); ok && e.From == "n1" && m.Level == 0 && reports == 0 {
			reports++
			if len(m.Nodes) != len(left) {
				t.Errorf("%d roots are compared; want the %d that were left", len(m.Nodes), len(left))
			}
		}
	}
	c.run(2 * interval)
	c.requireEqual(300)
	if got := s.Counters(); got.Since == 0 || got.Compared != got.Pairs {
		t.Errorf("%+v", got)
	}
}

// Anti-entropy that is off answers all the same.
func TestOffAnswersAndDoesNotAsk(t *testing.T) {
	c := newCluster(t, 16, 2, 1, 1)
	s := c.nodes[0].shards[0]
	s.config.Interval = 0
	c.setViews()
	scatter(c, 200)
	asked := map[id.Node]int{}
	c.seen = func(e *core.Envelope) {
		if !e.Reply {
			asked[e.From]++
		}
	}
	s.MarkDirty(3)
	c.run(2 * interval)
	if asked["n1"] > 0 || asked["n2"] == 0 {
		t.Errorf("asked: %v", asked)
	}
}

// In a transition those compare who own a partition in the layout that reads
// go by, and a new stamp ends what is under way.
func TestTransitions(t *testing.T) {
	c := newCluster(t, 16, 3, 1, 1, 1)
	members := slices.Clone(c.layout.Members())
	next, err := c.layout.Plan(2, append(members, ring.Member{ID: "n4", Weight: 1}), 3)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{id: "n4", store: memory.New()}
	c.nodes = append(c.nodes, h)
	c.live, c.phase = []*ring.Layout{c.layout, next}, core.PhaseCopy
	c.start(h, 1)
	c.setViews()
	for i := range 300 {
		c.put(i%3, fmt.Sprint("key-", i), "x")
	}
	c.run(2 * interval)
	c.requireEqual(300)
	if n := h.store.Stats().Keys; n != 0 {
		t.Errorf("a new owner got %d keys while it was to copy them", n)
	}
	c.phase, c.layout = core.PhaseMoved, next
	c.setViews()
	c.run(2 * interval)
	c.requireEqual(300)
}

// A stamp that is older than the peer's is refused there: the exchange ends,
// and Control hears of it.
func TestStaleStampsEndTheExchange(t *testing.T) {
	c := newCluster(t, 16, 2, 1, 1)
	s := c.nodes[0].shards[0]
	c.now += interval
	s.Tick(c.mono(), &s.out)
	if len(s.out.Sends) != 1 || s.session == nil {
		t.Fatalf("%d sends", len(s.out.Sends))
	}
	ask := s.out.Sends[0]
	s.out.Reset()
	ahead := core.Stamp{Layout: ring.Name{Number: 9}}
	s.Deliver(c.mono(), &core.Envelope{From: ask.To, Req: ask.Req, Reply: true, Stamp: ahead, Msg: &core.Refused{Why: core.RefusedStale}}, &s.out)
	if s.session != nil || len(s.out.Reports) != 1 || s.out.Reports[0].Ahead != ahead {
		t.Errorf("session %v, reports %+v", s.session, s.out.Reports)
	}
	if at, ok := s.Next(); !ok || at > c.now+retryPause {
		t.Errorf("the next try is at %v", at)
	}
}

// A peer that answers nonsense gets the blame, and nothing else happens.
func TestNonsenseIsRefused(t *testing.T) {
	c := newCluster(t, 16, 2, 1, 1)
	c.put(0, "key-1", "x")
	p := c.layout.Partition([]byte("key-1"))
	s := c.nodes[1].shards[0]
	for name, m := range map[string]core.Message{
		"a level that is none": &core.TreeCompare{Level: 3, Nodes: []uint32{0}, Hashes: make([]core.TreeHash, 1)},
		"a node that is none":  &core.TreeCompare{Level: 1, Nodes: []uint32{32}, Hashes: make([]core.TreeHash, 1)},
		"too few hashes":       &core.TreeCompare{Level: 1, Nodes: []uint32{1, 2}, Hashes: make([]core.TreeHash, 1)},
		"out of order":         &core.TreeCompare{Level: 0, Nodes: []uint32{2, 2}, Hashes: make([]core.TreeHash, 2)},
		"no leaves":            &core.BucketAsk{},
		"leaves out of order":  &core.BucketAsk{Leaves: []uint32{2, 1}},
		"a leaf that is none":  &core.BucketAsk{Leaves: []uint32{1024}},
	} {
		s.out.Reset()
		s.Serve(c.mono(), &core.Envelope{From: "n1", Partition: p, Msg: m}, &s.out)
		if len(s.out.Sends) != 1 || len(s.out.Writes) != 0 {
			t.Fatalf("%s: %+v", name, s.out)
		}
		if r, ok := s.out.Sends[0].Msg.(*core.Refused); !ok || r.Why != core.RefusedInvalid {
			t.Errorf("%s is answered by %T", name, s.out.Sends[0].Msg)
		}
	}
	s.out.Reset()
	s.Serve(c.mono(), &core.Envelope{From: "n1", Partition: 99, Msg: &core.BucketAsk{Leaves: []uint32{1}}}, &s.out)
	if _, ok := s.out.Sends[0].Msg.(*core.Refused); !ok {
		t.Errorf("a partition that is none is answered by %T", s.out.Sends[0].Msg)
	}
	s.out.Reset()
	ask := &core.BucketAsk{Leaves: []uint32{0, 1}, After: []byte("a key of anywhere")}
	s.Serve(c.mono(), &core.Envelope{From: "n1", Partition: p, Msg: ask}, &s.out)
	if _, ok := s.out.Sends[0].Msg.(*core.BucketReply); !ok {
		t.Errorf("a key of another partition is answered by %T", s.out.Sends[0].Msg)
	}
}

// Keys that were not asked for end the exchange.
func TestForeignKeysAreNotTaken(t *testing.T) {
	for name, twist := range map[string]func(m *core.BucketReply){
		"another partition's": func(m *core.BucketReply) { m.Keys = []core.KeyHash{{Key: []byte("key-2")}} },
		"twice":               func(m *core.BucketReply) { m.Keys = append(m.Keys, m.Keys...) },
		"more of none":        func(m *core.BucketReply) { m.Keys, m.More = nil, true },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 16, 2, 1, 1)
			c.put(0, "key-1", "x")
			c.put(1, "key-1", "y")
			reads := 0
			c.seen = func(e *core.Envelope) {
				switch m := e.Msg.(type) {
				case *core.BucketReply:
					twist(m)
				case *core.Read:
					reads++
				}
			}
			c.run(interval)
			if reads > 0 || c.counts().Repaired > 0 {
				t.Errorf("%d keys were asked for", reads)
			}
		})
	}
}

// Equal dots with different bytes cannot be repaired, and stop nothing else.
func TestAConflictStopsNothingElse(t *testing.T) {
	c := newCluster(t, 16, 2, 1, 1)
	for n, value := range []string{"one", "other"} {
		set, _ := version.Siblings{}.Put(version.Clock{}, actor("x"), version.Write{Data: []byte(value)})
		more, _ := set.Put(version.Clock{}, actor(nodeName(n)), version.Write{Data: []byte("more")})
		c.apply(n, "key-1", more)
	}
	for i := 2; i < 100; i++ {
		c.put(i%2, fmt.Sprint("key-", i), "x")
	}
	c.run(2 * interval)
	for i := 2; i < 100; i++ {
		key := fmt.Sprint("key-", i)
		if !c.get(0, key).Equal(c.get(1, key)) {
			t.Fatalf("%s differs", key)
		}
	}
	conflicts := uint64(0)
	for _, h := range c.nodes {
		conflicts += h.shards[0].replica.Alarms().Conflicts
	}
	if conflicts == 0 {
		t.Error("the conflict was not counted")
	}
}

// Nothing leaves faster than the limits say.
func TestRepairIsPaced(t *testing.T) {
	c := newCluster(t, 1, 2, 1, 1)
	for i := range 1000 {
		c.put(0, fmt.Sprint("key-", i), "x")
	}
	c.run(time.Second) // the trees are there
	began, keys := c.now, 0
	var last time.Duration
	c.seen = func(e *core.Envelope) {
		switch e.Msg.(type) {
		case *core.Apply, *core.Read:
			keys++
			last = c.now
		}
	}
	s := c.nodes[0].shards[0]
	s.MarkDirty(0)
	c.run(10 * time.Second)
	if keys != 1000 {
		t.Fatalf("%d keys were exchanged", keys)
	}
	least := time.Duration(keys) * admission.MessageCost * time.Second / slotRate
	const ahead = 50 * time.Millisecond // a slot may be, by some of that
	if took := last - began; took < least-ahead {
		t.Errorf("%d keys in %v; the rate allows them in %v", keys, took, least)
	}
}

// One peer with much to repair does not keep the others from their turns.
func TestTurnsEnd(t *testing.T) {
	c := newCluster(t, 1, 3, 1, 1, 1)
	c.run(2 * interval)
	s := c.nodes[0].shards[0]
	const keys = 2000
	large := make([]byte, 2*int(turn/time.Second)*slotRate/keys) // two turns' worth
	set, _ := version.Siblings{}.Put(version.Clock{}, actor("x"), version.Write{Data: large})
	for i := range keys {
		c.apply(0, fmt.Sprint("key-", i), set)
		c.apply(2, fmt.Sprint("key-", i), set)
	}
	c.put(2, "of n3", "x")
	s.MarkDirty(0)
	c.run(turn + 5*time.Second)
	if c.get(0, "of n3").IsEmpty() {
		t.Error("n3 has not had its turn")
	}
	c.run(2 * interval)
	c.requireEqual(keys + 1)
}

// The interval is kept.
func TestEachPairIsComparedWithinTheInterval(t *testing.T) {
	c := newCluster(t, 32, 3, 2, 2, 2)
	c.run(interval + time.Second)
	for range 20 {
		c.run(interval / 4)
		for _, h := range c.nodes {
			for _, s := range h.shards {
				if r := s.Counters(); r.Since == 0 || time.Hour+c.now-r.Since > interval+time.Second {
					t.Fatalf("%v at %v: %+v", h.id, c.now, r)
				}
			}
		}
	}
}

func TestNothingIsDueWithoutALayout(t *testing.T) {
	r := replica.New(replica.Config{Self: "n1", Start: 1, Shard: 0, Shards: 1}, coretest.NewStore())
	a := New(Config{Self: "n1", Shard: 0, Shards: 1, Interval: interval, Seed: 1}, r, new(admission.Gate))
	if at, ok := a.Next(); ok {
		t.Errorf("due at %v", at)
	}
	a.MarkDirty(0)
	var out core.Out
	a.Tick(core.Now{Mono: time.Hour}, &out)
	if len(out.Sends) > 0 || len(a.dirty) > 0 {
		t.Error("it does something before it knows of anybody")
	}
}
