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
	running   sync.WaitGroup // the peers' goroutines and the watch
	closeOnce sync.Once

	mu     sync.RWMutex // Send reads, also while it puts
	closed bool
	peers  map[string]*peer
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
		peers: map[string]*peer{},
	}
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
func (t *Transport) Send(addr string, e *core.Envelope) bool {
	if t.put(addr, e) || t.addPeer(addr) && t.put(addr, e) {
		return true
	}
	t.count.Refused()
	return false
}

// put queues e if there is a peer at addr.
func (t *Transport) put(addr string, e *core.Envelope) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	p := t.peers[addr]
	return p != nil && p.queue.Put(e)
}

// addPeer sees to it that there is a peer for addr, and says whether there is:
// not after Close, and not when there are too many.
func (t *Transport) addPeer(addr string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return false
	case t.peers[addr] != nil:
		return true
	case len(t.peers) >= maxPeers:
		return false
	}
	p := newPeer(t, addr)
	t.peers[addr] = p
	t.running.Go(p.run)
	return true
}

// retire forgets a peer that nothing waits for, and says whether it did.
func (t *Transport) retire(p *peer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !p.queue.CloseIfEmpty() {
		return false
	}
	delete(t.peers, p.addr)
	return true
}

// Stats counts what the transport has done.
func (t *Transport) Stats() transport.Stats { return t.count.Stats() }

// Close ends all connections, gives back what waits to be sent, and returns
// when no goroutine of the transport is left.
func (t *Transport) Close() error {
	t.closeOnce.Do(func() {
		t.mu.Lock()
		t.closed = true
		t.mu.Unlock()
		t.cancel()
		t.server.Stop()
		t.running.Wait()
	})
	return nil
}
