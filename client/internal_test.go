package client

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/latency"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// FuzzReplies: whatever a node answers makes a result or an error.
func FuzzReplies(f *testing.F) {
	f.Fuzz(func(t *testing.T, message []byte) {
		var m dynamov1.Replies
		if m.UnmarshalVT(message) != nil {
			return
		}
		c := &Client{}
		c.topology.Store(&topology{width: 1, owners: []uint16{0}, nodes: make([]member, 1)}) // of a node without an address
		for _, reply := range m.Replies {
			for _, o := range []op{opGet, opPut, opDelete} {
				r := newRequest()
				r.op, r.open = o, 1 // another attempt is under way: nothing is asked anew
				ended, err := c.judge(r, &attempt{to: new(node), reply: reply})
				if !ended || err != nil || o != opGet {
					continue
				}
				result, err := resultOf([]byte("k"), reply.GetGot())
				if (result == nil) == (err == nil) {
					t.Fatalf("%v, %v", result, err)
				}
			}
		}
	})
}

// FuzzTopology: what is accepted has owners for every key.
func FuzzTopology(f *testing.F) {
	f.Fuzz(func(t *testing.T, message, key []byte) {
		var m dynamov1.TopologyReply
		if m.UnmarshalVT(message) != nil {
			return
		}
		top, err := parseTopology(&m)
		if err != nil {
			return
		}
		owners := top.ownersOf(key)
		if len(owners) != int(m.Width) || len(owners) == 0 {
			t.Fatalf("%d owners of %d", len(owners), m.Width)
		}
		for _, o := range owners {
			_ = top.nodes[o]
		}
	})
}

func TestCorpora(t *testing.T) {
	for _, fuzzer := range []string{"FuzzReplies", "FuzzTopology"} {
		seeds, err := os.ReadDir(filepath.Join("testdata", "fuzz", fuzzer))
		if err != nil || len(seeds) == 0 {
			t.Errorf("%s has no corpus: %v", fuzzer, err)
		}
	}
}

// TestPartitions: a key is where the ring has it.
func TestPartitions(t *testing.T) {
	for _, partitions := range []int{1, 2, 64, 1 << 16} {
		l, err := ring.Form(partitions, 1, []ring.Member{{ID: "a", Weight: 1}})
		if err != nil {
			t.Fatal(err)
		}
		m := &dynamov1.TopologyReply{Partitions: uint32(partitions), Width: 1}
		for p := range partitions {
			m.Owners = append(m.Owners, uint32(p%maxNodes))
		}
		for range maxNodes {
			m.Nodes = append(m.Nodes, &dynamov1.TopologyNode{})
		}
		top, err := parseTopology(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"", "a", "b", "some key", "another key"} {
			if got, want := top.ownersOf([]byte(key))[0], uint16(int(l.Partition([]byte(key)))%maxNodes); got != want {
				t.Errorf("%d partitions: %q is in %d, want %d", partitions, key, got, want)
			}
		}
	}
}

func TestTopologiesRefused(t *testing.T) {
	node := []*dynamov1.TopologyNode{{}}
	for name, m := range map[string]*dynamov1.TopologyReply{
		"nothing":               {},
		"no nodes":              {Partitions: 1, Width: 1, Owners: []uint32{0}},
		"three partitions":      {Partitions: 3, Width: 1, Owners: []uint32{0, 0, 0}, Nodes: node},
		"many partitions":       {Partitions: 1 << 17, Width: 1, Owners: make([]uint32, 1<<17), Nodes: node},
		"no owners":             {Partitions: 2, Nodes: node},
		"too few owners":        {Partitions: 2, Width: 1, Owners: []uint32{0}, Nodes: node},
		"an owner that is none": {Partitions: 1, Width: 1, Owners: []uint32{1}, Nodes: node},
		"many nodes":            {Partitions: 1, Width: 1, Owners: []uint32{0}, Nodes: make([]*dynamov1.TopologyNode, maxNodes+1)},
	} {
		if _, err := parseTopology(m); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestInstall: neither an older topology nor one of another cluster takes the
// place of the one there is.
func TestInstall(t *testing.T) {
	c := &Client{learned: make(chan struct{})}
	install := func(cluster, layout uint64) error {
		return c.install(&topology{cluster: cluster, layout: layout, nodes: []member{{addr: "a:1"}}})
	}
	for _, s := range []struct {
		cluster, layout, want uint64
		fails                 bool
	}{{7, 3, 3, false}, {7, 2, 3, false}, {8, 9, 3, true}, {7, 4, 4, false}, {7, 4, 4, false}} {
		if err := install(s.cluster, s.layout); (err != nil) != s.fails {
			t.Errorf("layout %d of cluster %d: %v", s.layout, s.cluster, err)
		}
		if got := c.topology.Load(); got.cluster != 7 || got.layout != s.want {
			t.Errorf("after layout %d of cluster %d it is %d of %d", s.layout, s.cluster, got.layout, got.cluster)
		}
	}
	sick := &topology{cluster: 7, layout: 4, nodes: []member{{addr: "a:1", health: dead}}}
	if err := c.install(sick); err != nil || c.topology.Load() != sick {
		t.Errorf("the same layout, with a node that has died since: %v", err)
	}
}

// TestNodesThatLeave: a node that is in the topology no more is not connected to
// any more, and what waits for it is asked elsewhere.
func TestNodesThatLeave(t *testing.T) {
	_, c := queued(t)
	c.learned = make(chan struct{})
	if err := c.install(&topology{layout: 1, nodes: []member{{addr: "a:1"}, {addr: "b:1"}}}); err != nil {
		t.Fatal(err)
	}
	leaves, stays := c.nodes["a:1"], c.nodes["b:1"]
	leaves.once.Do(leaves.start)
	if err := c.install(&topology{layout: 2, nodes: []member{{addr: "b:1"}}}); err != nil {
		t.Fatal(err)
	}
	c.running.Wait() // for its links, of which none is left
	if err := leaves.put(&attempt{of: newRequest(), to: leaves}); !errors.Is(err, errDown) {
		t.Errorf("a node that has left: %v", err)
	}
	if c.nodes["b:1"] != stays || len(c.nodes) != 1 {
		t.Errorf("the nodes are %v", c.nodes)
	}
}

// TestKnownAddresses: the topology may be asked of all that were given and of all
// nodes.
func TestKnownAddresses(t *testing.T) {
	c := &Client{seeds: []string{"s:1"}}
	c.topology.Store(&topology{nodes: []member{{addr: "a:1"}, {}, {addr: "b:1"}}})
	if got := c.known(); !slices.Equal(got, []string{"s:1", "a:1", "b:1"}) {
		t.Errorf("%q", got)
	}
}

// TestPick: whom a request goes to, and to whom next, by what is known of three
// owners and of a fourth node.
func TestPick(t *testing.T) {
	const fast, slow = time.Millisecond, time.Second
	type state struct {
		health  health
		slow    time.Duration
		stalled bool
		down    bool
	}
	for name, test := range map[string]struct {
		states    [4]state
		overwrite bool
		want      string
	}{
		"all are well":             {[4]state{}, false, "0123"},
		"the first is slow":        {[4]state{{slow: slow}, {slow: fast}}, false, "1023"},
		"and it is an overwrite":   {[4]state{{slow: slow}, {slow: fast}}, true, "0123"},
		"the first is suspected":   {[4]state{{health: suspected}}, true, "1203"},
		"the first stands still":   {[4]state{{stalled: true}}, true, "1203"},
		"the first cannot be had":  {[4]state{{down: true}}, true, "1230"},
		"the first is dead":        {[4]state{{health: dead}}, true, "1230"},
		"all owners are dead":      {[4]state{{health: dead}, {health: dead}, {health: dead}}, false, "3012"},
		"one is only slow":         {[4]state{{health: dead}, {slow: slow}, {health: suspected, slow: fast}}, false, "1230"},
		"suspicion is above death": {[4]state{{health: dead}, {health: dead}, {health: suspected}, {health: dead}}, false, "2013"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Client{began: time.Now()}
			top := &topology{width: 3, owners: []uint16{0, 1, 2}, nodes: make([]member, len(test.states))}
			for i, s := range test.states {
				n := &node{addr: fmt.Sprint(i)}
				n.links = []*link{newLink(c, n)}
				n.slow.Store(int64(s.slow))
				n.stalled.Store(s.stalled)
				n.probed.Store(math.MaxInt64 / 2) // so that nobody is probed
				if s.down {
					n.links[0].fail(linkDown, nil)
				}
				top.nodes[i] = member{node: n, addr: n.addr, health: s.health}
			}
			c.topology.Store(top)
			r, got := newRequest(), ""
			r.overwrite = test.overwrite
			for n := c.pick(r); n != nil; n = c.pick(r) {
				r.tried = append(r.tried, n)
				got += n.addr
			}
			if got != test.want {
				t.Errorf("it goes to %s; want %s", got, test.want)
			}
		})
	}
}

// TestManyEnds: leaving the loop early ends what is under way, and waits for it.
func TestManyEnds(t *testing.T) {
	var running atomic.Int64
	in := func(yield func(int) bool) {
		for i := 0; yield(i); i++ {
		}
	}
	for out := range many(t.Context(), in, func(ctx context.Context, i int) int {
		running.Add(1)
		defer running.Add(-1)
		if i > 0 {
			<-ctx.Done()
		}
		return i
	}) {
		if out > 0 {
			t.Error(out)
		}
		break
	}
	if n := running.Load(); n > 0 {
		t.Errorf("%d are still under way", n)
	}
}

func TestBudget(t *testing.T) {
	var b budget
	n := 0
	for b.spend() {
		n++
	}
	if n != maxSpent/repetition {
		t.Errorf("%d repetitions at once", n)
	}
	for range repetition {
		b.earn()
	}
	if !b.spend() || b.spend() {
		t.Error("ten requests do not earn one repetition")
	}
	for range 10 * maxSpent {
		b.earn()
	}
	n = 0
	for b.spend() {
		n++
	}
	if n != maxSpent/repetition {
		t.Errorf("%d repetitions at once after a pause", n)
	}
}

// TestNodesRecover: a node that was slow, or stood still, is chosen again when
// it has shown that it is not.
func TestNodesRecover(t *testing.T) {
	now := time.Now()
	n := &node{began: now, window: latency.New(latency.Default())}
	for range 100 {
		n.took(now, time.Millisecond)
	}
	fast := n.slow.Load()
	n.late(now, time.Second)
	if !n.stalled.Load() {
		t.Error("a node that stands still is not noticed")
	}
	n.took(now, time.Second)
	n.late(now, time.Second)
	if n.slow.Load() != int64(time.Second) || !clearlySlower(n.slow.Load(), fast) || clearlySlower(fast, n.slow.Load()) {
		t.Errorf("a node that answers twice after a second has a p99 of %v", time.Duration(n.slow.Load()))
	}
	for range 100 + publishEvery {
		n.took(now, time.Millisecond)
	}
	if n.stalled.Load() || n.slow.Load() != fast {
		t.Errorf("it stands still: %t; its p99 is %v", n.stalled.Load(), time.Duration(n.slow.Load()))
	}
	n.forget()
	if n.slow.Load() != 0 {
		t.Error("a node that is connected anew is known")
	}
}

// queued returns a link that is not connected yet, to a node that is not started,
// and a client of that node alone.
func queued(t *testing.T) (*link, *Client) {
	t.Helper()
	c := &Client{cfg: *DefaultConfig(), nodes: map[string]*node{}, requests: sync.Pool{New: func() any { return newRequest() }}}
	c.ctx, c.cancel = context.WithCancel(t.Context())
	t.Cleanup(c.cancel)
	n := &node{addr: "a:1", window: latency.New(latency.Default())}
	l := newLink(c, n)
	n.links = []*link{l}
	n.once.Do(func() {})
	c.topology.Store(&topology{width: 1, owners: []uint16{0}, nodes: []member{{node: n, addr: n.addr}}})
	return l, c
}

// TestQueuesAreBounded: what a connection has no room for waits for some until its
// time is up, and was not written then.
func TestQueuesAreBounded(t *testing.T) {
	l, c := queued(t)
	for range maxQueued {
		if err := l.put(&attempt{of: newRequest(), to: l.node}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.put(&attempt{of: newRequest(), to: l.node}); !errors.Is(err, errFull) {
		t.Errorf("one more than may wait: %v", err)
	}
	_, err := c.Put(t.Context(), "k", nil, nil, WithTimeout(50*time.Millisecond))
	if e, ok := errors.AsType[*Error](err); !ok || !errors.Is(err, ErrOverloaded) || e.Outcome != NotWritten {
		t.Errorf("a put that has found no room: %v", err)
	}
}

// TestGivenUpRequestsAreNotSent: what its caller has given up while it waited for a
// connection is not sent when there is one.
func TestGivenUpRequestsAreNotSent(t *testing.T) {
	l, c := queued(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := c.Put(ctx, "k", nil, nil)
		ended <- err
	}()
	<-l.wake // it is queued
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("a put that was cancelled: %v", err)
	}
	var e encoder
	dropped, more := l.take(&e, nil)
	if len(dropped) != 1 || more || len(e.requests.Requests) != 0 || len(l.pending) != 0 {
		t.Errorf("%d dropped, %d in the message, %d pending, more: %t", len(dropped), len(e.requests.Requests), len(l.pending), more)
	} else if string(dropped[0].of.key) != "k" {
		t.Error("the request was used again while an attempt of it was under way")
	}
}

// TestOverloadIsNoTimeout: a request that is turned away ends as overloaded where its
// time would be up before the next attempt, and goes on where it would not.
func TestOverloadIsNoTimeout(t *testing.T) {
	for left, ends := range map[time.Duration]bool{10 * time.Millisecond: true, time.Minute: false} {
		c, r := &Client{}, newRequest()
		r.op, r.deadline = opPut, time.Now().Add(left)
		ended, err := c.judge(r, &attempt{to: new(node), reply: heldBack(opPut)})
		if e, ok := errors.AsType[*Error](err); ended != ends || ok != ends || ok && (!errors.Is(err, ErrOverloaded) || e.Outcome != NotWritten) {
			t.Errorf("with %v left: ended %t, %v", left, ended, err)
		}
		if !ends && (!r.pausing || c.budget.spent.Load() == 0) {
			t.Error("it goes on without a pause, or without being counted")
		}
	}
}

// TestPauses: overloaded nodes are asked again after pauses that double up to a
// second, and those that cannot be reached after short ones.
func TestPauses(t *testing.T) {
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		policy backoff.Policy
		least  []time.Duration // of which a fifth may be missing: jitter
	}{
		"overloaded":  {relief(), []time.Duration{20 * ms, 40 * ms, 80 * ms, 160 * ms, 320 * ms, 640 * ms, 1000 * ms, 1000 * ms}},
		"unreachable": {recovery(), []time.Duration{10 * ms, 20 * ms, 40 * ms, 50 * ms, 50 * ms}},
	} {
		r := newRequest()
		for i, least := range test.least {
			before := time.Now()
			r.pause(test.policy)
			if pause := r.next.Sub(before); !r.pausing || pause < least*8/10 {
				t.Errorf("%s: pause %d is %v; want %v, a fifth more or less", name, i+1, pause, least)
			}
		}
	}
}

// TestLateRequestsAreNotSent: what waited for its connection until its time was up
// is not in the message, and what has time left is.
func TestLateRequestsAreNotSent(t *testing.T) {
	l, _ := queued(t)
	now := time.Now()
	for _, left := range []time.Duration{-time.Millisecond, time.Minute, 0} {
		r := newRequest()
		r.deadline = now.Add(left)
		if err := l.put(&attempt{of: r, to: l.node}); err != nil {
			t.Fatal(err)
		}
	}
	var e encoder
	late, more := l.take(&e, nil)
	if len(late) != 2 || more || len(e.requests.Requests) != 1 || len(l.pending) != 1 {
		t.Errorf("%d late ones, %d in the message, %d pending, more: %t", len(late), len(e.requests.Requests), len(l.pending), more)
	}
	for _, a := range late {
		if !a.sent.IsZero() {
			t.Error("a late request counts as sent: its write would be unknown")
		}
	}
}

func TestClearlySlower(t *testing.T) {
	const ms = int64(time.Millisecond)
	for _, c := range []struct {
		p, fastest int64
		want       bool
	}{
		{0, ms, false},
		{ms, ms, false},
		{5 * ms, ms, false},        // it may be noise
		{7 * ms, ms, true},         // more than the slack, and the factor
		{100 * ms, 60 * ms, false}, // not twice as slow
		{130 * ms, 60 * ms, true},
	} {
		if got := clearlySlower(c.p, c.fastest); got != c.want {
			t.Errorf("%v beside %v: %t", time.Duration(c.p), time.Duration(c.fastest), got)
		}
	}
}
