package replica

import (
	"fmt"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// BenchmarkWrite is a put as its coordinator does it, over a store that costs
// nothing: of 10,000 keys in use with the clock entries of three nodes, eight to
// a flush.
func BenchmarkWrite(b *testing.B) {
	for _, size := range []int{100, 1 << 10} {
		b.Run(fmt.Sprintf("bytes=%d", size), func(b *testing.B) { benchmarkWrite(b, size) })
	}
}

func benchmarkWrite(b *testing.B, size int) {
	const keys, perFlush = 10_000, 8
	l, err := ring.Form(64, 1, []ring.Member{{ID: "a", Weight: 1}})
	if err != nil {
		b.Fatal(err)
	}
	r := New(Config{Self: "a", Start: 1, Shard: 0, Shards: 1, CacheBytes: 64 << 20}, coretest.NewStore())
	r.SetView(&core.View{Self: "a", Layouts: core.LayoutState{Live: []*ring.Layout{l}, Phase: core.PhaseCopy}})
	var out core.Out
	var set version.Siblings
	for i := range 3 {
		set, _ = set.Put(set.Clock, peerActor(id.Node(fmt.Sprint("node-", i)), 1<<60), version.Write{Data: make([]byte, size)})
	}
	flush := func() {
		out.Reset()
		r.Durable(r.Flush())
	}
	names := make([][]byte, keys)
	for i := range names {
		names[i] = fmt.Appendf(nil, "key-%06d", i*7919%keys)
		if _, why := r.Apply(names[i], set, &out); why != 0 {
			b.Fatal(why)
		}
		flush()
	}
	for r.BuildTrees(core.Limit{Keys: 1000, Bytes: 1 << 20}, &out) > 0 {
	}
	value := make([]byte, size)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		w := core.LocalWrite{Key: names[n%keys], Overwrite: true, Write: version.Write{Data: value}}
		if res := r.Write(w, &out); res.Code != core.CodeOK {
			b.Fatal(res.Code)
		}
		if n%perFlush == 0 {
			flush()
		}
	}
}
