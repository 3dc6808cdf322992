package node_test

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

const cluster = 77

// owning returns a layout of these members, up to three of which own each of its
// eight partitions.
func owning(t *testing.T, nodes ...id.Node) *ring.Layout {
	t.Helper()
	var members []ring.Member
	for _, n := range nodes {
		members = append(members, ring.Member{ID: n, Weight: 1})
	}
	l, err := ring.Form(8, 3, members)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// stable returns a node's view of a layout whose members are alive.
func stable(self id.Node, l *ring.Layout) *core.View {
	v := &core.View{Self: self, Cluster: cluster, Layouts: core.LayoutState{Live: []*ring.Layout{l}, Phase: core.PhaseDone}}
	for _, m := range l.Members() {
		if m.ID != self {
			v.Peers = append(v.Peers, core.Peer{ID: m.ID, Start: 1, Status: core.Alive})
		}
	}
	return v
}

// bench is the only shard of a node. The test plays its peers and its disk.
type bench struct {
	*node.Shard
	options node.Options
	store   *coretest.Store
	layout  *ring.Layout
	now     core.Now
	out     core.Out
	last    core.ShardReport // before the latest flush
}

func newBench(o node.Options, l *ring.Layout) *bench {
	o.Shards = 1
	b := &bench{options: o, store: coretest.NewStore(), layout: l, now: core.Now{Mono: time.Second}}
	b.start()
	return b
}

// start starts the shard anew over what its store holds.
func (b *bench) start() {
	b.Shard = node.NewShard(b.options, 0, b.store)
	b.SetView(b.now, stable(b.options.Self, b.layout), &b.out)
	b.flush()
}

// flush makes the effects so far durable.
func (b *bench) flush() {
	for _, r := range b.out.Shards {
		b.last = r
	}
	n := b.Flush()
	b.store.Commit(b.out.Writes)
	b.out.Reset()
	b.Durable(b.now, n, &b.out)
}

// request returns a peer's request, by the layout that there is.
func (b *bench) request(from id.Node, key []byte, m core.Message) *core.Envelope {
	return &core.Envelope{
		From: from, To: b.options.Self, Cluster: cluster, Req: 7, Partition: b.layout.Partition(key),
		Stamp: core.Stamp{Layout: b.layout.Name(), Phase: core.PhaseDone}, Deadline: b.now.Mono + time.Second, Msg: m,
	}
}

func (b *bench) deliver(from id.Node, key []byte, m core.Message) {
	b.Deliver(b.now, b.request(from, key, m), &b.out)
}

// versionOf returns a set of one version that another node has minted.
func versionOf(n id.Node, data []byte) version.Siblings {
	a := version.Actor{Node: n, Epoch: version.Epoch{Start: 3, Seq: 1}}
	set, _ := version.Siblings{}.Put(version.Clock{}, a, version.Write{ID: version.WriteID{9}, Data: data})
	return set
}
