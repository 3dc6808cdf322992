package replica

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// alike is a store of many keys, sorted, which all hold the same record.
type alike struct {
	keys   [][]byte
	record []byte
}

func (a *alike) Get(key []byte) ([]byte, error) {
	if _, ok := slices.BinarySearchFunc(a.keys, key, bytes.Compare); ok {
		return a.record, nil
	}
	return nil, core.ErrNotFound
}

func (a *alike) Scan(from, to []byte, limit core.Limit, f func(key, value []byte) bool) ([]byte, error) {
	i := sort.Search(len(a.keys), func(i int) bool { return bytes.Compare(a.keys[i], from) >= 0 })
	size := 0
	for n := 0; i < len(a.keys) && (to == nil || bytes.Compare(a.keys[i], to) < 0); i, n = i+1, n+1 {
		if n > 0 && (n >= limit.Keys || size >= limit.Bytes) {
			return a.keys[i], nil
		}
		size += len(a.keys[i]) + len(a.record)
		if !f(a.keys[i], a.record) {
			break
		}
	}
	return nil, nil
}

// newAlike returns a store of so many keys of the grove's shard, each with a
// value of 100 bytes.
func newAlike(b *testing.B, g *grove, n int) *alike {
	b.Helper()
	key := g.keys()[0]
	w := core.LocalWrite{Key: []byte(key), Write: version.Write{Data: make([]byte, 100)}}
	if r := g.Write(w, &g.out); r.Code != core.CodeOK {
		b.Fatal(r.Code)
	}
	g.flush(true)
	a := &alike{record: g.log.pairs[string(core.DataKey([]byte(key)))]}
	if len(a.record) == 0 {
		b.Fatal("there is no record")
	}
	for i := 0; len(a.keys) < n; i++ {
		if k := fmt.Append(nil, "user", i); int(g.layout.Partition(k))%g.shards == g.shard {
			a.keys = append(a.keys, core.DataKey(k))
		}
	}
	slices.SortFunc(a.keys, bytes.Compare)
	return a
}

// BenchmarkMerkleTreeBuild is what a node does for its hash trees after a
// crash: it scans every key, decodes its set, hashes it and adds it up. What
// the engine takes to read the keys comes on top.
func BenchmarkMerkleTreeBuild(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			g := newGrove(b)
			store := newAlike(b, g, n)
			b.ReportAllocs()
			for b.Loop() {
				g.starts++
				g.out.Reset()
				g.Replica = New(Config{Self: "a", Start: g.starts, Shard: g.shard, Shards: g.shards}, store)
				g.view(g.layout)
				for g.BuildTrees(core.Limit{Keys: 256, Bytes: 64 << 10}, &g.out) > 0 { // as a shard does it
				}
			}
			if r := g.Trees(); r.Building != 0 || r.Built != 4 {
				b.Fatalf("%+v", r)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/key")
		})
	}
}
