package httpjson

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/transport"
	"github.com/dynamo-kv/dynamo/internal/transport/outbox"
	"github.com/dynamo-kv/dynamo/internal/transport/pause"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

// Options of a Transport.
type Options struct {
	Self    id.Node              // whose hello peers get
	Handler transport.Handler    // what came in goes to
	Mono    func() time.Duration // the clock of deadlines
	Logger  *slog.Logger         // nil: none
	TLS     *tls.Config          // of connections to peers; nil: plain text

	// Dial connects to a host and port; nil means TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

// Transport sends to peers, and receives from them through Routes. Its methods
// may be called from any goroutine.
type Transport struct {
	self       id.Node
	handler    transport.Handler
	mono       func() time.Duration
	logger     *slog.Logger
	client     *Client
	bodies     budget
	fail       failer
	count      transport.Counters
	pauses     *pause.Counter
	encoders   sync.Pool // of *wire.Encoder: peers that send at the same time have one each
	complained atomic.Int64

	ctx       context.Context // of all that runs; ends with Close
	cancel    context.CancelFunc
	running   sync.WaitGroup // the watch
	peers     *outbox.Table
	closeOnce sync.Once

	mu      sync.RWMutex
	closed  bool
	inbound sync.WaitGroup // batches that are being received: added to under mu
}

var _ transport.Transport = (*Transport)(nil)

// New returns a transport that can send. It receives what is sent to Routes.
func New(o Options) (*Transport, error) {
	if _, err := id.ParseNode(string(o.Self)); err != nil {
		return nil, err
	}
	if o.Handler == nil || o.Mono == nil {
		return nil, errors.New("httpjson: Handler and Mono must be set")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t := &Transport{
		self: o.Self, handler: o.Handler, mono: o.Mono, logger: o.Logger,
		client: newClient(o.Dial, o.TLS), bodies: newBudget(),
		fail:     failAs(func(message string) any { return EnvelopesReply{Error: message} }, o.Logger),
		pauses:   pause.New(o.Mono),
		encoders: sync.Pool{New: func() any { return new(wire.Encoder) }},
		ctx:      ctx, cancel: cancel,
	}
	t.peers = outbox.NewTable(ctx, outbox.Options{
		Handler: o.Handler, Mono: o.Mono, Count: &t.count,
		Sender: func(p *outbox.Peer) outbox.Sender { return &sender{t: t, peer: p, pauses: t.pauses.Now()} },
	})
	t.running.Go(func() { t.pauses.Watch(ctx) })
	return t, nil
}

// Send queues e for the node at addr.
func (t *Transport) Send(addr string, e *core.Envelope) bool { return t.peers.Send(addr, e) }

// Reach ends the pause before the next attempt to send to addr.
func (t *Transport) Reach(addr string) { t.peers.Reach(addr) }

// enter says that a batch is about to be received. False: not any more. The
// caller ends it with inbound.Done.
func (t *Transport) enter() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.closed {
		return false
	}
	t.inbound.Add(1)
	return true
}

// Stats counts what the transport has done.
func (t *Transport) Stats() transport.Stats { return t.count.Stats() }

// Close ends all connections to peers, gives back what waits to be sent, and
// returns when no goroutine of the transport is left and no batch is being
// received. The connections from peers are their server's.
func (t *Transport) Close() error {
	t.closeOnce.Do(func() {
		t.mu.Lock()
		t.closed = true
		t.mu.Unlock()
		t.cancel()
		t.client.Close()
		t.peers.Close()
		t.running.Wait()
		t.inbound.Wait()
	})
	return nil
}

// connected is the key of a connection's pauses in its requests' contexts.
type connected struct{}

// ConnContext notes how often this process had stood still when a connection
// came in: its server must call it for each. What comes over a connection of
// before a pause is refused.
func (t *Transport) ConnContext(ctx context.Context, _ net.Conn) context.Context {
	return context.WithValue(ctx, connected{}, t.pauses.Now())
}
