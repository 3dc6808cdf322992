package httpjson

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// benchNode is one end of a benchmark: it answers requests, and hands replies
// to the caller that waits.
type benchNode struct {
	t      *Transport
	peer   string // its address
	mono   func() time.Duration
	failed atomic.Int64
	wait   []chan struct{}
}

func (n *benchNode) Deliver(e *core.Envelope) {
	if e.Reply {
		n.wait[e.Req] <- struct{}{}
		return
	}
	reply := core.Envelope{
		From: e.To, To: e.From, Cluster: e.Cluster, Req: e.Req, Reply: true, Partition: e.Partition,
		Deadline: n.mono() + time.Second, Msg: &core.Applied{},
	}
	if !n.t.Send(n.peer, &reply) {
		n.failed.Add(1)
	}
}

func (n *benchNode) SendFailed(*core.Envelope) { n.failed.Add(1) }

func newBenchNode(b *testing.B, callers int) (*benchNode, string) {
	b.Helper()
	began := time.Now()
	n := &benchNode{mono: func() time.Duration { return time.Since(began) }}
	for range callers {
		n.wait = append(n.wait, make(chan struct{}, 1))
	}
	var err error
	if n.t, err = New(Options{Self: "n1", Handler: n, Mono: n.mono}); err != nil {
		b.Fatal(err)
	}
	served, addr := serve(b, n.t, "", nil)
	b.Cleanup(func() { _ = served.Close() })
	return n, addr
}

// BenchmarkRoundTrip is an Apply to another node and its Applied back, both
// nodes in this process, over loopback: what grpcstream's benchmark of that name
// does by the stream.
func BenchmarkRoundTrip(b *testing.B) {
	const size = 1024
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("value=%d/callers=%d", size, callers), func(b *testing.B) { roundTrips(b, size, callers) })
	}
}

func roundTrips(b *testing.B, size, callers int) {
	near, nearAddr := newBenchNode(b, callers)
	far, farAddr := newBenchNode(b, callers)
	near.peer, far.peer = farAddr, nearAddr
	actor := version.Actor{Node: "node-1", Epoch: version.Epoch{Start: 1 << 60, Seq: 12}}
	set, _ := version.Siblings{}.Put(version.Clock{}, actor, version.Write{
		ID: version.WriteID{1}, Timestamp: 1 << 60, Data: make([]byte, size),
	})
	apply := &core.Apply{Key: []byte("a key of usual length"), Set: set}

	call := func(caller int) {
		e := core.Envelope{
			From: "n1", To: "n2", Cluster: 1 << 60, Req: core.ReqID(caller),
			Deadline: near.mono() + time.Second, Msg: apply,
		}
		if near.t.Send(farAddr, &e) {
			<-near.wait[caller]
		} else {
			near.failed.Add(1)
		}
	}
	call(0) // connect
	before := near.t.Stats().Sent
	b.ReportAllocs()
	b.ResetTimer()
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				call(caller)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	after := near.t.Stats().Sent
	b.ReportMetric(float64(after.Envelopes-before.Envelopes)/float64(after.Messages-before.Messages), "envelopes/message")
	if n := near.failed.Load() + far.failed.Load(); n > 0 {
		b.Errorf("%d envelopes were not sent", n)
	}
}
