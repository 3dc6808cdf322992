package runtime_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/runtime"
	"github.com/dynamo-kv/dynamo/internal/storage/memory"
	"github.com/dynamo-kv/dynamo/internal/transport/memnet"
)

const compareEach = 10 * time.Second

// member is a node over a store that outlives it.
type member struct {
	*runtime.Runtime
	store  *memory.Engine
	starts uint64
	wiped  uint64                 // times
	change func(*runtime.Options) // nil: nothing
}

// members starts three nodes that own everything together.
func members(t *testing.T, network *memnet.Network, change func(*runtime.Options)) []*member {
	t.Helper()
	all := []*member{{}, {}, {}}
	for i, m := range all {
		m.store, m.change = memory.New(), change
		m.start(t, network, i)
	}
	for _, m := range all {
		await(t, m.Runtime, func(s core.ClusterStatus) bool {
			return len(s.Members) == 3 && !s.UnderReplicated && s.Layouts.Phase == core.PhaseDone && allActive(s)
		})
	}
	return all
}

func (m *member) start(t *testing.T, network *memnet.Network, i int) {
	t.Helper()
	m.starts++
	o := runtime.Options{
		Engine: m.store,
		Logger: slog.New(slog.DiscardHandler),
		Connect: func(h runtime.Handler, mono func() time.Duration) (runtime.Transport, error) {
			return network.Transport(string(name(i)), h, mono)
		},
		Node: node.Options{
			Self: name(i), Start: m.starts<<8 + uint64(i), Instance: m.wiped<<8 + uint64(i+1), Addr: string(name(i)), Weight: 1, Seed: m.starts,
			Shards: 4, Partitions: 32, N: 3, R: 2, W: 2, PeerTimeout: 300 * time.Millisecond,
			GossipInterval: time.Second, LayoutDelay: time.Second, LayoutAuto: true, AntiEntropyInterval: compareEach,
			TombstoneTTL: id.MinTombstoneTTL, TombstoneInterval: time.Hour,
			Admit: true, Admission: admission.DefaultLimits(),
		},
	}
	if i > 0 {
		o.Node.Seeds = []string{string(name(0))}
	}
	if m.change != nil {
		m.change(&o)
	}
	r, err := runtime.New(o)
	if err != nil {
		t.Fatal(err)
	}
	m.Runtime = r
	t.Cleanup(func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	})
}

// data returns what a store holds for clients' keys, as one text.
func (m *member) data(t *testing.T) (keys int, all []byte) {
	t.Helper()
	from, to := core.AllData()
	_, err := m.store.Scan(from, to, core.Limit{Keys: 1 << 20, Bytes: 1 << 30}, func(k, v []byte) bool {
		keys++
		all = append(append(all, k...), v[len(v)-20:]...) // the set's end: its start has local fields
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys, all
}

func (m *member) savedTrees(t *testing.T) (n int) {
	t.Helper()
	from, to := core.SavedTrees()
	if _, err := m.store.Scan(from, to, core.Limit{Keys: 1000, Bytes: 1 << 30}, func(_, _ []byte) bool {
		n++
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

func (m *member) put(t *testing.T, i int) {
	t.Helper()
	key := fmt.Appendf(nil, "key-%d", i)
	q := &core.Request{Op: core.OpPut, Key: key, Value: bytes.Repeat(key, 5), Options: core.Options{Overwrite: true}}
	if r := m.Do(t.Context(), q, 2*time.Second); r.Outcome != core.Written {
		t.Fatalf("put %s: %v", key, r.Code)
	}
}

// awaitRound waits until every pair has been compared after now: each node
// begins with its part of them.
func awaitRound(t *testing.T, all []*member) {
	t.Helper()
	began := time.Duration(time.Now().UnixNano())
	for _, m := range all {
		await(t, m.Runtime, func(s core.ClusterStatus) bool { return s.Serving && s.Trees.Since > began })
	}
	synctest.Wait()
}

// A member whose disk was wiped becomes whole again by anti-entropy alone: the
// layout does not change, nobody reads, and nothing else knows what it lacks.
func TestAWipedMemberBecomesWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New(1)
		all := members(t, network, nil)
		for i := range 300 {
			all[i%3].put(t, i)
		}
		wiped := all[2]
		if err := wiped.Stop(); err != nil {
			t.Fatal(err)
		}
		wiped.store = memory.New()
		wiped.wiped++
		wiped.start(t, network, 2)
		awaitRound(t, all)
		want, content := all[0].data(t)
		got, mine := wiped.data(t)
		if want != 300 || got != want || !bytes.Equal(mine, content) {
			t.Errorf("%d keys of %d, all equal: %v", got, want, bytes.Equal(mine, content))
		}
		if s := wiped.Status().Trees; s.Pairs == 0 || s.Since == 0 || s.Building != 0 {
			t.Errorf("the status says %+v", s)
		}
		// The status follows within a second. Who led for which keys is a race.
		await(t, wiped.Runtime, func(core.ClusterStatus) bool {
			return all[0].Status().Trees.Repaired+all[1].Status().Trees.Repaired+wiped.Status().Trees.Repaired > 0
		})
	})
}

// A node that stops in order saves its hash trees, and the next start takes
// them over; the first write to a partition removes what was saved of it.
func TestTreesSurviveAStopInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memnet.New(1)
		all := members(t, network, nil)
		for i := range 300 {
			all[0].put(t, i)
		}
		awaitRound(t, all) // which needs every tree
		m := all[1]
		if n := m.savedTrees(t); n != 0 {
			t.Errorf("%d trees are saved while it runs", n)
		}
		if err := m.Stop(); err != nil {
			t.Fatal(err)
		}
		saved := m.savedTrees(t)
		if saved != 32 {
			t.Errorf("%d trees were saved of 32", saved)
		}
		m.start(t, network, 1)
		await(t, m.Runtime, func(s core.ClusterStatus) bool { return s.Trees.Loaded+s.Trees.Built >= 32 })
		if s := m.Status().Trees; int(s.Loaded) != saved || s.Built != 0 || s.Wrong != 0 {
			t.Errorf("after the next start: %+v", s)
		}
		all[0].put(t, 0)
		synctest.Wait()
		if n := m.savedTrees(t); n != saved-1 {
			t.Errorf("%d trees are saved after a write; want %d", n, saved-1)
		}
	})
}

// What nobody compares is nothing that is left to compare, for which an alert
// would wait in vain.
func TestNoPairsWithoutAntiEntropy(t *testing.T) {
	for every, want := range map[time.Duration]int{compareEach: 3 * 32, 0: 0} {
		synctest.Test(t, func(t *testing.T) {
			nodes := members(t, memnet.New(1), func(o *runtime.Options) { o.Node.AntiEntropyInterval = every })
			<-time.After(10 * time.Second) // virtual, by when shards have told of what they share
			pairs := 0
			for _, m := range nodes {
				pairs += m.Status().Trees.Pairs
			}
			if pairs != want {
				t.Errorf("with an interval of %v there are %d pairs; want %d", every, pairs, want)
			}
		})
	}
}
