package client

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/latency"
)

// publishEvery is after how many answers the percentile of a node is computed
// anew.
const publishEvery = 16

// node is one node of the cluster at one address.
type node struct {
	addr  string
	began time.Time // of the client: latencies are told by the time since
	links []*link
	turn  atomic.Uint32 // which link is next
	slow  atomic.Int64  // the p99 of its answers, in nanoseconds; 0: not known
	// stalled: it has let a request wait for too long, and answered none since.
	stalled atomic.Bool
	probed  atomic.Int64 // when it was probed, by the client's clock
	once    sync.Once    // starts the links

	throttle throttle

	// What follows is guarded by the client's mu.
	cancel  context.CancelFunc // ends the links; nil before they are started
	retired bool               // it is in the topology no more

	mu     sync.Mutex // guards what follows
	window *latency.Window
	fresh  int // answers since the percentile was computed
}

// put queues an attempt at one of the node's links.
func (n *node) put(a *attempt) error {
	n.once.Do(n.start)
	err := errDown
	first := n.turn.Add(1)
	for i := range uint32(len(n.links)) {
		if err = n.links[(first+i)%uint32(len(n.links))].put(a); err == nil {
			return nil
		}
	}
	return err
}

// start starts the links' goroutines, when the node is used for the first time.
func (n *node) start() {
	c := n.links[0].client
	ctx, cancel := context.WithCancel(c.ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	n.cancel = cancel
	if c.closed || n.retired {
		cancel()
		for _, l := range n.links {
			l.fail(linkClosed, nil)
		}
		return
	}
	for _, l := range n.links {
		c.running.Go(func() { l.run(ctx) })
	}
}

// live says whether the node can be expected to answer.
func (n *node) live() bool {
	for _, l := range n.links {
		if l.live() {
			return true
		}
	}
	return false
}

// took notes that the node has answered, after so long.
func (n *node) took(now time.Time, d time.Duration) {
	if n.stalled.Load() {
		n.stalled.Store(false)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.window.Add(now.Sub(n.began), d)
	if n.fresh++; n.fresh < publishEvery && n.slow.Load() != 0 {
		return
	}
	n.publish(now)
}

// late notes that the node has not answered within d, at once.
func (n *node) late(now time.Time, d time.Duration) {
	n.stalled.Store(true)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.window.Add(now.Sub(n.began), d)
	n.publish(now)
}

func (n *node) publish(now time.Time) {
	n.fresh = 0
	if p, ok := n.window.Percentiles(now.Sub(n.began), slowShare); ok {
		n.slow.Store(int64(max(p[0], 1)))
	}
}

// forget drops what is known of the node's latency: it is connected anew.
func (n *node) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stalled.Store(false)
	n.window, n.fresh = latency.New(latency.Default()), 0
	n.slow.Store(0)
}

// health is the class of a node when it is chosen: lower is better.
type health uint8

const (
	healthy   health = iota
	suspected        // by the node that told the topology
	dead             // by it, or it cannot be reached from here
)

func healthOf(h dynamov1.NodeHealth) health {
	switch h {
	case dynamov1.NodeHealth_NODE_HEALTH_SUSPECTED:
		return suspected
	case dynamov1.NodeHealth_NODE_HEALTH_DEAD:
		return dead
	case dynamov1.NodeHealth_NODE_HEALTH_ALIVE, dynamov1.NodeHealth_NODE_HEALTH_UNSPECIFIED:
	}
	return healthy
}
