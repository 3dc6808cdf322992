package client

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
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
