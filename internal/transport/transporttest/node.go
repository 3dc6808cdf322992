package transporttest

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/transport"
)

const (
	// patience bounds the wait for what must happen.
	patience = 30 * time.Second

	// recorderSize is more than any test delivers.
	recorderSize = 1 << 16
)

// recorder is a handler that keeps what it is given.
type recorder struct {
	delivered, failed chan *core.Envelope
	hold              chan struct{} // Deliver waits until it is closed; nil: never
}

func newRecorder() *recorder {
	return &recorder{
		delivered: make(chan *core.Envelope, recorderSize),
		failed:    make(chan *core.Envelope, recorderSize),
	}
}

func (r *recorder) Deliver(e *core.Envelope) {
	if r.hold != nil {
		<-r.hold
	}
	r.delivered <- e
}

func (r *recorder) SendFailed(e *core.Envelope) { r.failed <- e }

// node is a transport under test with its handler.
type node struct {
	*recorder
	transport.Transport
	addr string
	mono func() time.Duration
}

// start returns a node whose clock began skew ago. The test's end closes it.
func start(t *testing.T, network Network, addr string, skew time.Duration) *node {
	t.Helper()
	return startWith(t, network, addr, skew, newRecorder())
}

func startWith(t *testing.T, network Network, addr string, skew time.Duration, r *recorder) *node {
	t.Helper()
	began := time.Now()
	n := &node{recorder: r, mono: func() time.Duration { return skew + time.Since(began) }}
	n.Transport, n.addr = network.Start(t, addr, n, n.mono)
	t.Cleanup(func() { n.close(t) })
	return n
}

func (n *node) close(t *testing.T) {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Errorf("closing a transport: %v", err)
	}
}

// request returns an envelope with that number and nearly M to live.
func (n *node) request(req uint64, m core.Message) *core.Envelope {
	return &core.Envelope{
		From: "sender", To: "receiver", Cluster: 1, Req: core.ReqID(req),
		Deadline: n.mono() + id.MaxMessageAge, Msg: m,
	}
}

func (n *node) reply(req uint64, m core.Message) *core.Envelope {
	e := n.request(req, m)
	e.Reply = true
	return e
}

// send fails the test if the envelope is not accepted.
func (n *node) send(t *testing.T, addr string, e *core.Envelope) {
	t.Helper()
	if !n.Send(addr, e) {
		t.Fatalf("envelope %d to %s is not accepted", e.Req, addr)
	}
}

// await returns the next envelope of c.
func await(t *testing.T, what string, c <-chan *core.Envelope) *core.Envelope {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case e := <-c:
		return e
	case <-timeout.C:
		t.Fatalf("no envelope is %s after %s", what, patience)
		return nil
	}
}

func (n *node) awaitDelivered(t *testing.T) *core.Envelope {
	t.Helper()
	return await(t, "delivered", n.delivered)
}

func (n *node) awaitFailed(t *testing.T) *core.Envelope {
	t.Helper()
	return await(t, "given back", n.failed)
}

// requireNone fails if anything is in c. It does not wait.
func requireNone(t *testing.T, what string, c <-chan *core.Envelope) {
	t.Helper()
	select {
	case e := <-c:
		t.Errorf("the %T %d is %s", e.Msg, e.Req, what)
	default:
	}
}
