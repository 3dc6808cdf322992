package antientropy

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// million makes TestFigures measure what docs/anti-entropy.md shows.
var million = flag.Bool("antientropy.million", false, "TestFigures with 1,000,000 keys, which takes a minute and 2 GiB")

const (
	figurePartitions = 1024 // the default
	figureShards     = 4    // the fewest by default
	figureValue      = 100  // bytes
	figureBound      = 50_000
)

// traffic counts what two nodes say to each other, as the wire has it: every
// envelope as a message of its own, which is the most that it can take.
type traffic struct {
	encoder           wire.Encoder
	messages, bytes   int
	roots, walk, sets int // bytes, by what they are for
}

func (f *traffic) take(now time.Duration, e *core.Envelope) {
	n := 0
	f.encoder.Encode(now, []core.Envelope{*e}, func(size int) []byte { n = size; return make([]byte, size) })
	f.messages++
	f.bytes += n
	switch m := e.Msg.(type) {
	case *core.TreeCompare:
		if m.Level == 0 {
			f.roots += n
			return
		}
		f.walk += n
	case *core.TreeDiffer:
		f.walk += n
	case *core.BucketAsk, *core.BucketReply:
		f.walk += n
	default:
		f.sets += n
	}
}

// figures is two nodes that hold the same keys.
type figures struct {
	*cluster
	keys int
	set  version.Siblings
}

func newFigures(t *testing.T, keys int) *figures {
	c := newCluster(t, figurePartitions, 2, figureShards, figureShards)
	c.run(2 * time.Second) // the empty trees are built
	set, _ := version.Siblings{}.Put(version.Clock{}, actor("node-1"), version.Write{ID: version.WriteID{1}, Data: make([]byte, figureValue)})
	f := &figures{cluster: c, keys: keys, set: set}
	for i := range keys {
		for n := range c.nodes {
			c.apply(n, keyOf(i), set)
		}
	}
	return f
}

func keyOf(i int) string { return fmt.Sprintf("user/%08d/profile", i) }

// differ makes k keys differ: a third is newer at the first node, a third newer
// at the second, and of a third both have siblings of their own. It returns
// how many more there are.
func (f *figures) differ(k, round int) {
	for j := range k {
		key := keyOf(j * (f.keys / k))
		for n := range f.nodes {
			if j%3 != n && j%3 != 2 {
				continue
			}
			w := version.Write{ID: version.WriteID{2, byte(round)}, Data: make([]byte, figureValue)}
			s := f.shardOf(f.nodes[n], []byte(key))
			s.replica.Write(core.LocalWrite{Key: []byte(key), Overwrite: true, Write: w}, &s.out)
			f.flush(f.nodes[n], s)
		}
	}
}

// round runs until every pair has been compared once more, and returns what was
// said meanwhile, how long it took in virtual time and in time of the processor.
func (f *figures) round() (said *traffic, paced, took time.Duration) {
	said = new(traffic)
	since := time.Hour + f.now
	for _, h := range f.nodes {
		for _, s := range h.shards {
			for _, p := range s.peers {
				p.due = f.now
			}
			s.reckon()
		}
	}
	last := f.now
	f.seen = func(e *core.Envelope) {
		said.take(f.now, e)
		last = f.now
	}
	from, began := f.now, cpu(f.tb)
	for f.counts().Since < since {
		f.run(time.Second)
	}
	f.seen = nil
	return said, last - from, cpu(f.tb) - began
}

// cpu returns the processor time of this process so far: other work on the
// machine does not count.
func cpu(tb testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestFigures shows what differences cost, and holds the smallest to its bound.
func TestFigures(t *testing.T) {
	keys, differ := 10_000, []int{0, 1, 100}
	if *million {
		keys, differ = 1_000_000, []int{0, 1, 100, 10_000}
	}
	f := newFigures(t, keys)
	var table strings.Builder
	fmt.Fprintf(&table, "%d keys, %d partitions, %d bytes a value\n", keys, figurePartitions, figureValue)
	fmt.Fprintf(&table, "| keys that differ | messages | bytes | of these roots | trees and lists | keys and sets | paced | CPU of both |\n")
	for i, k := range differ {
		f.differ(k, i)
		before := f.counts().Repaired
		said, paced, took := f.round()
		fmt.Fprintf(&table, "| %d | %d | %d | %d | %d | %d | %v | %v |\n", k, said.messages, said.bytes, said.roots, said.walk, said.sets,
			paced.Round(time.Millisecond), took.Round(time.Millisecond))
		if got := f.counts().Repaired - before; got != uint64(k) {
			t.Errorf("%d keys were repaired of %d", got, k)
		}
		if k <= 1 && said.bytes > figureBound {
			t.Errorf("%d bytes for %d keys that differ; at most %d are allowed", said.bytes, k, figureBound)
		}
	}
	f.requireEqual(keys)
	f.rebuild(&table)
	t.Logf("\n%s", &table)
}

// rebuild starts the first node anew without its saved trees, and builds them
// all without a pause.
func (f *figures) rebuild(table *strings.Builder) {
	h := f.nodes[0]
	roots := f.roots(h)
	f.start(h, figureShards)
	began, chunks := cpu(f.tb), 0
	for _, s := range h.shards {
		for s.replica.BuildTrees(core.Limit{Keys: buildKeys, Bytes: buildBytes}, &s.out) > 0 {
			chunks++
		}
	}
	took := cpu(f.tb) - began
	if !slices.Equal(roots, f.roots(h)) {
		f.tb.Error("the trees that were built are not those that followed the writes")
	}
	paced := time.Duration(chunks/figureShards) * buildBytes * time.Second / slotRate
	fmt.Fprintf(table, "building all trees: %v of CPU, %v with pauses in %d shards\n",
		took.Round(time.Millisecond), paced.Round(time.Millisecond), figureShards)
}

func (f *figures) roots(h *host) (roots []core.TreeHash) {
	for p := range ring.Partition(figurePartitions) {
		if tree := h.shards[int(p)%figureShards].replica.Tree(p); tree != nil {
			roots = append(roots, core.TreeHash(tree.Root()))
		}
	}
	return roots
}
