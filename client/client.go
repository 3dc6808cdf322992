package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/dynamo-kv/dynamo/internal/frame"
)

// Client reads and writes keys of a cluster. Its methods may be called by
// several goroutines at once.
type Client struct {
	cfg      Config
	seeds    []string // the addresses that were given
	logger   *slog.Logger
	began    time.Time
	dial     []grpc.DialOption
	topology atomic.Pointer[topology]
	learned  chan struct{} // closed with the first topology
	requests sync.Pool     // of *request
	budget   budget

	ctx     context.Context // of all that runs; ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup
	once    sync.Once // closes learned

	mu      sync.Mutex // guards what follows
	nodes   map[string]*node
	failure error // why the latest node told no topology, or no more
	closed  bool
}

// New returns a client of the cluster that the nodes at the addresses belong
// to. It asks any of them for the cluster's topology, and returns when it has
// it or when ctx ends; after that it finds the nodes by itself, and ctx does not
// matter any more. A nil cfg is [DefaultConfig]. cfg is copied.
//
// The error wraps ErrInvalidConfig and names every fault, or ErrTimeout and says
// why no node has answered.
func New(ctx context.Context, addrs []string, cfg *Config) (*Client, error) {
	if cfg == nil {
		cfg = DefaultConfig()
	}
	if err := cfg.check(checkAddrs(addrs)); err != nil {
		return nil, err
	}
	c := &Client{
		cfg: *cfg, seeds: slices.Clone(addrs), logger: cfg.Logger, began: time.Now(),
		learned: make(chan struct{}), nodes: map[string]*node{},
		requests: sync.Pool{New: func() any { return newRequest() }},
	}
	if c.logger == nil {
		c.logger = slog.New(slog.DiscardHandler)
	}
	c.dial = dialOptions(cfg)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.running.Go(c.follow)
	select {
	case <-c.learned:
		return c, nil
	case <-ctx.Done():
		c.Close()
		kind, why := ErrTimeout, errUnanswered
		if errors.Is(ctx.Err(), context.Canceled) {
			kind = context.Canceled
		}
		if c.failure != nil {
			why = c.failure
		}
		return nil, &Error{Op: "connect", Kind: kind, Detail: fmt.Sprint("no node has told the topology: ", why), Cause: ctx.Err()}
	}
}

// Close ends the client: requests under way fail with ErrClosed, and their
// outcome is unknown. It returns when nothing of the client is left. It is
// idempotent.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
}

// connect returns a connection to addr that is not connected yet: its first
// stream does that, once.
func (c *Client) connect(addr string) (*grpc.ClientConn, error) {
	target := url.URL{Scheme: "passthrough", Path: "/" + addr} // the dialer resolves it
	return grpc.NewClient(target.String(), c.dial...)
}

func dialOptions(cfg *Config) []grpc.DialOption {
	secure := insecure.NewCredentials()
	if cfg.TLS != nil {
		secure = credentials.NewTLS(cfg.TLS) // which copies it
	}
	dial := cfg.Dial
	if dial == nil {
		dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(secure),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(frame.Codec{}),
			grpc.MaxCallRecvMsgSize(maxReplyBytes),
		),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout, PermitWithoutStream: true}),
		grpc.WithReadBufferSize(ioBuffer),
		grpc.WithWriteBufferSize(ioBuffer),
		grpc.WithInitialWindowSize(window),
		grpc.WithInitialConnWindowSize(window),
		// When to connect again, and what may be sent twice, is decided here.
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
		grpc.WithContextDialer(dial),
	}
}
