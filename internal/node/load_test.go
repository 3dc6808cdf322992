package node_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// slotsOf returns the slots of all shards together.
func slotsOf(v *core.View) (n int) {
	for _, b := range v.Budgets {
		n += b.Slots
	}
	return n
}

// loaded returns Control of a node that serves, and its first view.
func loaded(t *testing.T, change func(*node.Options)) (*node.Control, *core.View) {
	t.Helper()
	o := controlOptions("a:1")
	change(&o)
	d := coretest.NewStore()
	c, err := node.NewControl(o, d)
	if err != nil {
		t.Fatal(err)
	}
	drain(c, d, c.Begin)
	v := c.View()
	if v == nil {
		t.Fatal("no view")
	}
	return c, v
}

// slow tells Control of requests that took so long.
func slow(c *node.Control, at, latency time.Duration, requests int) {
	c.Load(core.Now{Mono: at}, core.LoadReport{Latencies: slices.Repeat([]time.Duration{latency}, requests)})
}

func TestSlowRequestsTakeSlotsAway(t *testing.T) {
	c, v := loaded(t, func(*node.Options) {})
	if slotsOf(v) != 10 || len(v.Budgets) != 2 || v.Budgets[0].BytesPerSlot != 32<<20/10 {
		t.Fatalf("budgets %+v; want ten slots of 3.2 MiB/s each", v.Budgets)
	}
	slow(c, time.Second, 200*time.Millisecond, 50)
	fewer := c.View()
	if fewer == nil || slotsOf(fewer) != 5 || fewer.Revision != v.Revision || c.View() != nil {
		t.Fatalf("a view %+v after slow requests; want one with five slots", fewer)
	}
	b := c.Status().Background
	if !b.Throttled() || b.Slots != 5 || b.BytesPerSecond != 5*(32<<20/10) || b.P99 < 200*time.Millisecond || b.Shrunk != 1 {
		t.Errorf("background %+v", b)
	}
	// The slots that were taken away may still be held, so the other shard is not
	// given more than it has.
	if bounds, ok := c.SlotBounds(); !ok || bounds[0]+bounds[1] != 10 {
		t.Errorf("bounds %v", bounds)
	}
	for shard, budget := range fewer.Budgets {
		c.Load(core.Now{Mono: time.Second}, core.LoadReport{Shard: shard, Epoch: budget.Epoch, Held: budget.Slots})
	}
	if bounds, _ := c.SlotBounds(); bounds[0]+bounds[1] != 5 {
		t.Errorf("bounds %v when the shards have let go", bounds)
	}
}

// TestAdmissionKnobs: each does something.
func TestAdmissionKnobs(t *testing.T) {
	halves := func(v *core.View, c *node.Control, at, latency time.Duration, requests int) int {
		slow(c, at, latency, requests)
		if next := c.View(); next != nil {
			return slotsOf(next)
		}
		return slotsOf(v)
	}
	c, v := loaded(t, func(o *node.Options) { o.Admission.Target = time.Second })
	if got := halves(v, c, time.Second, 200*time.Millisecond, 50); got != 10 {
		t.Errorf("%d slots below the threshold", got)
	}
	_, v = loaded(t, func(o *node.Options) { o.Admission.MaxSlots = 4 })
	if slotsOf(v) != 4 || v.Budgets[0].BytesPerSlot != 32<<20/4 {
		t.Errorf("budgets %+v; want four slots that share the whole rate", v.Budgets)
	}
	c, _ = loaded(t, func(o *node.Options) { o.Admission.MinSlots = 3 })
	for i := range 5 {
		slow(c, time.Duration(i+1)*time.Second, time.Minute, 50)
	}
	if got := slotsOf(c.View()); got != 3 {
		t.Errorf("%d slots after a minute of slow requests; want the three that always stay", got)
	}
	_, v = loaded(t, func(o *node.Options) { o.Admission.BytesPerSecond = 1 << 20 })
	if v.Budgets[0].BytesPerSlot != 1<<20/10 {
		t.Errorf("%d bytes a slot", v.Budgets[0].BytesPerSlot)
	}
	// One slow request of twenty is above the p99 of twenty, and not of 1000.
	for window, want := range map[int]int{1000: 10, 20: 5} {
		c, v = loaded(t, func(o *node.Options) { o.Admission.Window = window })
		slow(c, time.Second, time.Millisecond, 999)
		if got := halves(v, c, time.Second, time.Minute, 1); got != want {
			t.Errorf("%d slots with a window of %d; want %d", got, window, want)
		}
	}
}

func TestWithoutAdmissionThereIsNoLimit(t *testing.T) {
	c, v := loaded(t, func(o *node.Options) { o.Admit = false })
	slow(c, time.Second, time.Minute, 50)
	b := c.Status().Background
	if v.Budgets != nil || c.View() != nil || b.Limited || b.Throttled() || b.P99 < time.Minute {
		t.Errorf("budgets %+v, background %+v; want no limit, and the p99 all the same", v.Budgets, b)
	}
}

// build lets a shard build its hash trees over some keys, with a share of the
// node's slots or without one, for as long as a minute. It returns how long that
// took, and the most slots that it told of.
func build(t *testing.T, budgets []core.Budget) (took time.Duration, held int, built bool) {
	t.Helper()
	s := newBench(controlOptions("a:1"), owning(t, "n1", "n2", "n3"))
	const keys = 400
	for i := range keys {
		key := fmt.Append(nil, i)
		s.deliver("n2", key, &core.Apply{Key: key, Set: versionOf("n2", make([]byte, 100))})
		s.flush()
	}
	s.Shard = node.NewShard(s.options, 0, s.store) // which knows nothing of the trees there were
	v := stable(s.options.Self, s.layout)
	v.Budgets = budgets
	s.out.Reset()
	s.SetView(s.now, v, &s.out)
	began := s.now.Mono
	for s.now.Mono < began+time.Minute {
		for _, r := range s.out.Loads {
			held = max(held, r.Held)
		}
		s.flush()
		built = true
		for p := range s.layout.Partitions() {
			_, ok := s.Root(ring.Partition(p))
			built = built && ok
		}
		at, ok := s.Next()
		if built || !ok {
			break
		}
		s.now.Mono = max(s.now.Mono+time.Microsecond, at)
		s.Tick(s.now, &s.out)
	}
	return s.now.Mono - began, held, built
}

// TestShardsGoByTheirBudget: a shard's work holds the slots that it has been given,
// and takes what their rate says. Without a slot there is none.
func TestShardsGoByTheirBudget(t *testing.T) {
	free, _, built := build(t, nil)
	if !built {
		t.Fatal("without a budget the trees are not built")
	}
	slow, held, built := build(t, []core.Budget{{Epoch: 1, Slots: 1, BytesPerSlot: 64 << 10}})
	if !built || held != 1 || slow < free+time.Second {
		t.Errorf("with a slot of 64 KiB/s: built %t, %d slots held, in %v; without a limit in %v", built, held, slow, free)
	}
	if took, held, built := build(t, []core.Budget{{Epoch: 1, BytesPerSlot: 64 << 10}}); built || held != 0 {
		t.Errorf("without a slot: built %t, %d slots held, in %v", built, held, took)
	}
}

// TestSlotsComeBackByThemselves: Control looks after slots that were taken away in
// time, though nobody tells it of requests and no gossip is due.
func TestSlotsComeBackByThemselves(t *testing.T) {
	const wakes = 250 * time.Millisecond
	c, _ := loaded(t, func(o *node.Options) { o.GossipInterval = time.Minute })
	slow(c, time.Second, time.Minute, 50)
	if at, ok := c.Next(); !ok || at > time.Second+wakes {
		t.Errorf("after slow requests it looks again at %v", at)
	}
	c, _ = loaded(t, func(o *node.Options) { o.GossipInterval = time.Minute })
	c.Load(core.Now{Mono: time.Second}, core.LoadReport{Epoch: 1, Wanted: 20}) // more than there are
	if at, ok := c.Next(); !ok || at > time.Second+wakes {
		t.Errorf("with slots that others wait for it looks again at %v", at)
	}
}

func TestExpiredMessagesAreDropped(t *testing.T) {
	s := newFallback(t, 1<<20)
	e := s.request("a", []byte("k"), &core.Read{Key: []byte("k")})
	e.Deadline = s.now.Mono
	s.Deliver(s.now, e, &s.out)
	var c core.Counters
	s.Count(&c)
	if len(s.out.Sends) > 0 || c.ExpiredMessages != 1 {
		t.Errorf("%d answers, %d expired messages are counted", len(s.out.Sends), c.ExpiredMessages)
	}
}

// TestLateRequestsAreNotBegun: a request that has waited for most of its time is
// answered at once, and nothing of it is done.
func TestLateRequestsAreNotBegun(t *testing.T) {
	s := newBench(controlOptions("a:1"), owning(t, "n1", "n2", "n3"))
	s.now.Mono = 10 * time.Second
	out := &s.out
	for i, arrived := range []time.Duration{9 * time.Second, 4 * time.Second, 9 * time.Second} {
		deadline := []time.Duration{11 * time.Second, 14 * time.Second, 10 * time.Second}[i]
		out.Reset()
		s.Submit(s.now, &core.Request{
			Op: core.OpPut, Key: []byte("k"), Value: []byte("v"), Arrived: arrived, Deadline: deadline,
		}, out)
		late := i > 0
		if late != (len(out.Writes) == 0) || late != (len(out.Replies) == 1) {
			t.Fatalf("request %d: %d writes, answers %+v", i, len(out.Writes), out.Replies)
		}
		if late && (out.Replies[0].Result.Code != core.CodeOverloaded || out.Replies[0].Result.Outcome != core.NotWritten) {
			t.Errorf("request %d: %+v", i, out.Replies[0].Result)
		}
	}
	var c core.Counters
	if s.Count(&c); c.ExpiredRequests != 2 {
		t.Errorf("%d late requests are counted; want 2", c.ExpiredRequests)
	}
}
