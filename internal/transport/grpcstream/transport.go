package grpcstream

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

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

	// Dial connects to a host and port; nil means TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// Credentials of the connections to peers and of those from them; nil
	// means plain text.
	DialCredentials, ServeCredentials credentials.TransportCredentials
}

// Transport sends to peers and receives from them. Its methods may be called
// from any goroutine.
type Transport struct {
	self        id.Node
	handler     transport.Handler
	mono        func() time.Duration
	logger      *slog.Logger
	server      *grpc.Server
	dialOptions []grpc.DialOption
	count       transport.Counters
	pauses      *pause.Counter
	encoders    sync.Pool // of *wire.Encoder: peers that send at the same time have one each
	complained  atomic.Int64

	ctx       context.Context // of all that runs; ends with Close
	cancel    context.CancelFunc
	running   sync.WaitGroup // the watch
	peers     *outbox.Table
	closeOnce sync.Once
}

var _ transport.Transport = (*Transport)(nil)

// New returns a transport that can send. It receives once Serve is called.
func New(o Options) (*Transport, error) {
	if _, err := id.ParseNode(string(o.Self)); err != nil {
		return nil, err
	}
	if o.Handler == nil || o.Mono == nil {
		return nil, errors.New("grpcstream: Handler and Mono must be set")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Dial == nil {
		o.Dial = dialTCP
	}
	if o.DialCredentials == nil {
		o.DialCredentials = insecure.NewCredentials()
	}
	if o.ServeCredentials == nil {
		o.ServeCredentials = insecure.NewCredentials()
	}
	ctx, cancel := context.WithCancel(context.Background())
	t := &Transport{
		self: o.Self, handler: o.Handler, mono: o.Mono, logger: o.Logger,
		dialOptions: dialOptions(o.DialCredentials, o.Dial),
		pauses:      pause.New(o.Mono),
		encoders:    sync.Pool{New: func() any { return new(wire.Encoder) }},
		ctx:         ctx, cancel: cancel,
	}
	t.peers = outbox.NewTable(ctx, outbox.Options{
		Handler: o.Handler, Mono: o.Mono, Count: &t.count,
		Sender: func(p *outbox.Peer) outbox.Sender { return &sender{t: t, peer: p} },
	})
	t.server = newServer(t, o.ServeCredentials)
	t.running.Go(func() { t.pauses.Watch(ctx) })
	return t, nil
}

// Serve receives from the connections that ln accepts until Close, which also
// closes ln. It returns nil then. Further services of the node are served over
// the same connections; they may use frame.Message. It is called once.
func (t *Transport) Serve(ln net.Listener, services ...func(grpc.ServiceRegistrar)) error {
	for _, register := range services {
		register(t.server)
	}
	err := t.server.Serve(ln)
	if errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// Send queues e for the node at addr.
func (t *Transport) Send(addr string, e *core.Envelope) bool { return t.peers.Send(addr, e) }

// Reach ends the pause before the next attempt to connect to addr.
func (t *Transport) Reach(addr string) { t.peers.Reach(addr) }

// Stats counts what the transport has done.
func (t *Transport) Stats() transport.Stats { return t.count.Stats() }

// Close ends all connections, gives back what waits to be sent, and returns
// when no goroutine of the transport is left.
func (t *Transport) Close() error {
	t.closeOnce.Do(func() {
		t.cancel()
		t.server.Stop()
		t.peers.Close()
		t.running.Wait()
	})
	return nil
}
