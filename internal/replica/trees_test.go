package replica

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/merkle"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// log is a store that keeps its batches, so that a crash can take back the
// latest ones.
type log struct {
	pairs   map[string][]byte
	batches [][]core.Write
}

func newLog() *log { return &log{pairs: map[string][]byte{}} }

func (l *log) commit(batch []core.Write) {
	l.batches = append(l.batches, slices.Clone(batch))
	for _, w := range batch {
		if w.Delete {
			delete(l.pairs, string(w.Key))
		} else {
			l.pairs[string(w.Key)] = w.Value
		}
	}
}

// crash keeps a prefix of the batches.
func (l *log) crash(keep int) *log {
	after := newLog()
	for _, b := range l.batches[:keep] {
		after.commit(b)
	}
	return after
}

func (l *log) Get(key []byte) ([]byte, error) {
	if v, ok := l.pairs[string(key)]; ok {
		return v, nil
	}
	return nil, core.ErrNotFound
}

func (l *log) Scan(from, to []byte, limit core.Limit, f func(key, value []byte) bool) ([]byte, error) {
	size, n := 0, 0
	for _, k := range slices.Sorted(maps.Keys(l.pairs)) {
		if k < string(from) || to != nil && k >= string(to) {
			continue
		}
		if n > 0 && (n >= limit.Keys || size >= limit.Bytes) {
			return []byte(k), nil
		}
		n++
		size += len(k) + len(l.pairs[k])
		if !f([]byte(k), l.pairs[k]) {
			return nil, nil
		}
	}
	return nil, nil
}

// grove is a replica with trees, over a log.
type grove struct {
	*Replica
	log    *log
	out    core.Out
	starts uint64
	layout *ring.Layout
	shard  int
	shards int
}

// newGrove returns shard 1 of 2 of the node a, which owns some partitions of 8.
func newGrove(tb rapid.TB) *grove {
	members := []ring.Member{{ID: "a", Weight: 1}, {ID: "b", Weight: 1}}
	l, err := ring.Form(8, 2, members)
	if err != nil {
		tb.Fatal(err)
	}
	g := &grove{log: newLog(), layout: l, shard: 1, shards: 2}
	g.start()
	return g
}

func (g *grove) start() {
	g.starts++
	g.out.Reset()
	g.Replica = New(Config{Self: "a", Start: g.starts, Shard: g.shard, Shards: g.shards}, g.log)
	g.view(g.layout)
}

func (g *grove) view(live ...*ring.Layout) {
	g.SetView(&core.View{Self: "a", Layouts: core.LayoutState{Live: live, Phase: core.PhaseCopy}})
}

// flush commits what was written; the overlay keeps it until durable.
func (g *grove) flush(durable bool) {
	n := g.Flush()
	if len(g.out.Writes) > 0 {
		g.log.commit(g.out.Writes)
	}
	g.out.Reset()
	if durable {
		g.Durable(n)
	}
}

// keys are the few of this shard's partitions.
func (g *grove) keys() (keys []string) {
	for i := 0; len(keys) < 24; i++ {
		if k := fmt.Sprint("key-", i); int(g.layout.Partition([]byte(k)))%g.shards == g.shard {
			keys = append(keys, k)
		}
	}
	return keys
}

// rescan adds up a partition from what a reader sees, without the trees.
func (g *grove) rescan(tb rapid.TB, p ring.Partition) *merkle.Tree {
	tree := new(merkle.Tree)
	first, last := g.layout.Range(p)
	items, done, _ := g.Chunk(first, last, nil, core.Limit{Keys: 1000, Bytes: 1 << 20}, &g.out)
	if !done {
		tb.Fatal("a partition of more than 1000 keys")
	}
	for _, item := range items {
		leaf := merkle.LeafAt(uint64(ring.Hash(item.Key)), 3)
		tree.Change(leaf, merkle.Hash{}, merkle.Of(append(item.Set.AppendIdentity(nil), item.Key...)))
	}
	return tree
}

// requireRight holds every tree that serves to a rescan, leaf by leaf.
func (g *grove) requireRight(tb rapid.TB) {
	tb.Helper()
	for p := ring.Partition(g.shard); p < 8; p += ring.Partition(g.shards) {
		tree := g.Tree(p)
		if tree == nil {
			continue
		}
		want := g.rescan(tb, p)
		for i := range merkle.Leaves {
			if tree.Node(merkle.Leaf, i) != want.Node(merkle.Leaf, i) {
				tb.Fatalf("leaf %d of partition %d is not that of its keys", i, p)
			}
		}
		if tree.Root() != want.Root() {
			tb.Fatalf("the root of partition %d is not that of its keys", p)
		}
	}
	if g.Trees().Wrong > 0 {
		tb.Fatalf("%+v", g.Trees())
	}
}

// requireSavedRight holds the trees in the store to the data beside them.
func requireSavedRight(tb rapid.TB, l *log, layout *ring.Layout) (saved int) {
	tb.Helper()
	for k, v := range l.pairs {
		p, ok := core.TreePartition([]byte(k))
		if !ok {
			continue
		}
		saved++
		root, _, err := SavedRoot(v)
		if err != nil {
			tb.Fatal(err)
		}
		var want merkle.Hash
		for k, v := range l.pairs {
			if !core.IsDataKey([]byte(k)) || layout.At(core.DataPosition([]byte(k))) != p {
				continue
			}
			set, err := StoredSet(v)
			if err != nil {
				tb.Fatal(err)
			}
			want = want.Plus(merkle.Of(HashInput(nil, core.ClientKey([]byte(k)), set)))
		}
		if root != want {
			tb.Fatalf("the saved tree of partition %d is not that of the data", p)
		}
	}
	return saved
}

func peerActor(n id.Node, start uint64) version.Actor {
	return version.Actor{Node: n, Epoch: version.Epoch{Start: start, Seq: 1}}
}

// step does one random thing.
func (g *grove) step(t *rapid.T, keys []string) {
	key := []byte(rapid.SampledFrom(keys).Draw(t, "key"))
	set, _ := g.Read(key, &g.out)
	switch rapid.IntRange(0, 11).Draw(t, "step") {
	case 0, 1, 2:
		ctx := version.Clock{}
		if rapid.Bool().Draw(t, "has seen all") {
			ctx = set.Clock
		}
		g.Write(core.LocalWrite{Key: key, Context: ctx, Write: version.Write{Tombstone: rapid.Bool().Draw(t, "tombstone")}}, &g.out)
	case 3, 4:
		start := rapid.Uint64Range(1, 3).Draw(t, "start")
		theirs, _ := set.Put(version.Clock{}, peerActor("b", start), version.Write{Data: []byte("x")})
		g.Apply(key, theirs, &g.out)
	case 5:
		g.Apply(key, set, &g.out) // changes nothing
	case 6:
		g.Remove(key, set, &g.out)
	case 7:
		g.Prune(key, set, &g.out)
	case 8:
		g.flush(rapid.Bool().Draw(t, "durable"))
	default:
		g.BuildTrees(core.Limit{Keys: rapid.IntRange(1, 5).Draw(t, "build"), Bytes: 1 << 20}, &g.out)
	}
}

// Trees follow every change, also while they are being built, and a saved tree
// is right after any crash.
func TestTreesFollowTheData(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newGrove(t)
		keys := g.keys()
		for range rapid.IntRange(1, 4).Draw(t, "starts") {
			for range rapid.IntRange(0, 60).Draw(t, "steps") {
				g.step(t, keys)
				g.requireRight(t)
			}
			g.flush(false)
			if rapid.Bool().Draw(t, "stops in order") {
				g.SaveTrees(&g.out)
				g.flush(false)
			}
			g.log = g.log.crash(rapid.IntRange(max(0, len(g.log.batches)-5), len(g.log.batches)).Draw(t, "kept"))
			requireSavedRight(t, g.log, g.layout)
			g.start()
		}
		for g.BuildTrees(core.Limit{Keys: 100, Bytes: 1 << 20}, &g.out) > 0 {
			t.Log("building")
		}
		g.requireRight(t)
		for p := ring.Partition(1); p < 8; p += 2 {
			if g.Tree(p) == nil {
				t.Fatalf("no tree of partition %d", p)
			}
		}
	})
}

func (g *grove) put(tb testing.TB, key string) {
	tb.Helper()
	if r := g.Write(core.LocalWrite{Key: []byte(key)}, &g.out); r.Code != core.CodeOK {
		tb.Fatal(r.Code)
	}
}

func (g *grove) build(tb testing.TB) {
	tb.Helper()
	for i := 0; g.BuildTrees(core.Limit{Keys: 100, Bytes: 1 << 20}, &g.out) > 0; i++ {
		if i > 100 {
			tb.Fatal("building does not end")
		}
	}
}

// plant stores keys durably and has the trees built.
func (g *grove) plant(tb testing.TB, keys ...string) {
	tb.Helper()
	for _, k := range keys {
		g.put(tb, k)
	}
	g.flush(true)
	g.build(tb)
}

// save is a stop in order.
func (g *grove) save() {
	for g.SaveTrees(&g.out) {
		g.flush(true)
	}
	g.flush(true)
}

func TestTreesAreSavedAndTakenOver(t *testing.T) {
	g := newGrove(t)
	keys := g.keys()
	g.plant(t, keys...)
	if r := g.Trees(); r.Built != 4 || r.Loaded != 0 || r.Building != 0 {
		t.Fatalf("%+v", r)
	}
	g.save()
	saved := requireSavedRight(t, g.log, g.layout)
	if saved == 0 {
		t.Fatal("nothing was saved")
	}

	g.start()
	g.build(t)
	if r := g.Trees(); int(r.Loaded) != saved || r.Built+r.Loaded != 4 {
		t.Errorf("%+v after %d were saved", r, saved)
	}
	if g.SaveTrees(&g.out); len(g.out.Writes) != 0 {
		t.Errorf("%d trees are saved again", len(g.out.Writes))
	}
	g.requireRight(t)

	// The first write to a partition takes its saved tree away, with itself.
	g.put(t, keys[0])
	if n := len(g.out.Writes); n != 2 || !g.out.Writes[0].Delete {
		t.Fatalf("%d writes; want the tree's removal and the record's", n)
	}
	g.put(t, keys[0])
	if n := len(g.out.Writes); n != 3 {
		t.Errorf("%d writes after a second put; want 3", n)
	}
	g.flush(true)
	if n := requireSavedRight(t, g.log, g.layout); n != saved-1 {
		t.Errorf("%d saved trees are left of %d", n, saved)
	}
	g.requireRight(t)
}

// A write that comes before the trees are looked for takes its tree over.
func TestAnEarlyWriteTakesTheTreeOver(t *testing.T) {
	g := newGrove(t)
	keys := g.keys()
	g.plant(t, keys...)
	g.SaveTrees(&g.out)
	g.flush(true)
	g.start()
	g.put(t, keys[3])
	p := g.layout.Partition([]byte(keys[3]))
	if g.Tree(p) == nil || g.Trees().Loaded != 1 {
		t.Fatalf("%+v", g.Trees())
	}
	g.requireRight(t)
	g.build(t)
	if r := g.Trees(); r.Wrong != 0 || r.Built != 0 && int(r.Built) != 4-int(r.Loaded) {
		t.Errorf("%+v", r)
	}
	g.requireRight(t)
}

func TestADamagedSavedTreeIsBuiltAnew(t *testing.T) {
	for name, damage := range map[string]func(b []byte) []byte{
		"another format":     func(b []byte) []byte { return append([]byte{9}, b[1:]...) },
		"another cluster":    func(b []byte) []byte { return append([]byte{b[0], 4}, b[2:]...) },
		"a flipped bit":      func(b []byte) []byte { return append(b[:len(b)-1:len(b)-1], b[len(b)-1]^1) },
		"nothing left of it": func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGrove(t)
			g.plant(t, g.keys()...)
			g.SaveTrees(&g.out)
			g.flush(true)
			for k, v := range g.log.pairs {
				if _, ok := core.TreePartition([]byte(k)); ok {
					g.log.pairs[k] = damage(v)
				}
			}
			g.start()
			g.build(t)
			if r := g.Trees(); r.Loaded != 0 || r.Built != 4 {
				t.Errorf("%+v", r)
			}
			g.requireRight(t)
			g.put(t, g.keys()[0])
			if first := g.out.Writes[0]; !first.Delete {
				t.Error("what cannot be read stays beside what is written")
			}
		})
	}
}

// A tree that does not fit its data is found when its keys are listed, and
// built anew while it serves.
func TestAWrongTreeIsBuiltAnew(t *testing.T) {
	g := newGrove(t)
	keys := g.keys()
	g.plant(t, keys...)
	p := g.layout.Partition([]byte(keys[0]))
	leaf := g.trees.leaf(core.DataKey([]byte(keys[0])))
	g.trees.part(p).tree.Change(leaf, merkle.Hash{}, merkle.Hash{7, 7})

	limit := core.Limit{Keys: 100, Bytes: 1 << 20}
	if found, more := g.Bucket(p, leaf, nil, &limit, &g.out); len(found) != 1 || more || limit.Keys != 99 {
		t.Fatalf("%d keys, more %v, limit %+v", len(found), more, limit)
	}
	if g.Trees().Building != 1 || g.Tree(p) == nil {
		t.Fatal("it is not being built, or does not serve meanwhile")
	}
	g.Bucket(p, leaf, nil, &limit, &g.out) // once is enough
	g.put(t, keys[0])
	g.build(t)
	if r := g.Trees(); r.Wrong != 1 || r.Building != 0 {
		t.Errorf("%+v", r)
	}
	want := g.rescan(t, p)
	if g.Tree(p).Root() != want.Root() {
		t.Error("it is still wrong")
	}
}

// Trees are kept for what this node owns, and only for that.
func TestTreesOfWhatIsOwned(t *testing.T) {
	g := newGrove(t)
	alone, err := ring.Form(8, 1, []ring.Member{{ID: "a", Weight: 1}, {ID: "b", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	g.layout = alone
	g.start()
	keys := g.keys()
	for _, k := range keys {
		g.put(t, k) // leftovers among them
	}
	g.build(t)
	for p := ring.Partition(1); p < 8; p += 2 {
		if has := g.Tree(p) != nil; has != alone.Owns("a", p) {
			t.Errorf("a tree of partition %d: %v", p, has)
		}
	}
	if g.Tree(0) != nil || g.Tree(99) != nil {
		t.Error("trees of other shards, or of no partition")
	}
	g.requireRight(t)
	all, err := ring.Form(8, 2, alone.Members())
	if err != nil {
		t.Fatal(err)
	}
	g.view(all)
	g.build(t)
	g.view(all, alone)
	g.requireRight(t)
	for p := ring.Partition(1); p < 8; p += 2 {
		if g.Tree(p) == nil {
			t.Errorf("no tree of partition %d", p)
		}
	}
	g.view(alone)
	if r := g.Trees(); r.Building != 0 {
		t.Errorf("%+v", r)
	}
}

// A bucket is listed in pieces, in the store's order, and each key once.
func TestBucketsGoOnWhereTheyStopped(t *testing.T) {
	g := newGrove(t)
	keys := g.keys()
	g.plant(t, keys...)
	p := g.layout.Partition([]byte(keys[0]))
	listed := 0
	for leaf := range merkle.Leaves {
		var after []byte
		for {
			limit := core.Limit{Keys: 1, Bytes: 1}
			found, more := g.Bucket(p, leaf, after, &limit, &g.out)
			listed += len(found)
			if !more {
				break
			}
			after = core.DataKey(found[len(found)-1].Key)
		}
	}
	want := 0
	for _, k := range keys {
		if g.layout.Partition([]byte(k)) == p {
			want++
		}
	}
	if listed != want {
		t.Errorf("%d keys are listed of %d", listed, want)
	}
	limit := core.Limit{Keys: 1, Bytes: 1}
	if found, more := g.Bucket(p, 0, core.DataKey([]byte("\xff")), &limit, &g.out); len(found) > 1 || more && len(found) == 0 {
		t.Errorf("%d keys after a strange one", len(found))
	}
}

func TestTreesStopTheNodeWhenTheStoreFails(t *testing.T) {
	h := newHarness(t)
	l, err := ring.Form(8, 1, []ring.Member{{ID: "a", Weight: 1}})
	if err != nil {
		t.Fatal(err)
	}
	h.SetView(&core.View{Self: "a", Layouts: core.LayoutState{Live: []*ring.Layout{l}, Phase: core.PhaseDone}})
	h.store.Broken = fmt.Errorf("broken")
	if h.BuildTrees(core.Limit{Keys: 1, Bytes: 1}, &h.out); h.out.Failed == nil {
		t.Error("building goes on over a broken store")
	}
	h.out.Reset()
	limit := core.Limit{Keys: 1, Bytes: 1}
	if h.Bucket(0, 0, nil, &limit, &h.out); h.out.Failed == nil {
		t.Error("listing goes on over a broken store")
	}
}

// BenchmarkTreeUpdate is what a write pays for its tree: the hashes of the old
// and of the new set, and three sums.
func BenchmarkTreeUpdate(b *testing.B) {
	g := newGrove(b)
	key := []byte(g.keys()[0])
	g.build(b)
	dataKey := core.DataKey(key)
	for _, actors := range []int{1, 3, 10} {
		var before version.Siblings
		for i := range actors {
			before, _ = before.Put(before.Clock, peerActor(id.Node(fmt.Sprint("node-", i)), 1<<60), version.Write{Data: make([]byte, 100)})
		}
		after, _ := before.Put(before.Clock, peerActor("node-0", 1<<60), version.Write{Data: make([]byte, 100)})
		b.Run(fmt.Sprintf("actors=%d", actors), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.changeTree(dataKey, record{set: before}, record{set: after}, &g.out)
				before, after = after, before
			}
		})
	}
}
