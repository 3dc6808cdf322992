package grpcstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/frame"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

var (
	errConnectTimeout = fmt.Errorf("no connection and hello within %s", connectTimeout)
	errSendTimeout    = fmt.Errorf("a message did not leave within %s", sendTimeout)
	errClosed         = errors.New("the connection was closed by this node")
)

// link is a connection to a peer with its one stream, over which the peer has
// said hello. One goroutine sends.
type link struct {
	conn    *grpc.ClientConn
	stream  grpc.ClientStream
	cancel  context.CancelCauseFunc // ends the stream
	overdue *time.Timer             // ends it when a message does not leave
	born    time.Time
	pauses  uint64        // of this process, when the stream was opened
	broken  chan struct{} // closed when the stream has ended
	err     error         // why it has; set before broken is closed
}

// dialOptions are those of all connections of a transport.
func dialOptions(creds credentials.TransportCredentials, dial func(context.Context, string) (net.Conn, error)) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(
			grpc.ForceCodecV2(frame.Codec{}),
			grpc.MaxCallSendMsgSize(id.MaxMessageBytes+messageSlack),
			grpc.MaxCallRecvMsgSize(maxHelloBytes),
		),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: pingAfter, Timeout: pingTimeout, PermitWithoutStream: true,
		}),
		grpc.WithReadBufferSize(ioBuffer),
		grpc.WithWriteBufferSize(ioBuffer),
		grpc.WithMaxHeaderListSize(maxHeaderBytes),
		// One attempt a connection, and never the same message twice: when to
		// connect again is for the peer's goroutine to decide.
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
		grpc.WithContextDialer(dial),
	}
}

// dialTCP connects to a host and port, and to nothing else: gRPC's own dialer
// would also open the Unix socket that an address gossiped by a hostile node
// may name.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// dial connects to addr and waits for the hello. The link ends with ctx.
func dial(ctx context.Context, addr string, options []grpc.DialOption) (*link, error) {
	target := url.URL{Scheme: "passthrough", Path: "/" + addr} // the dialer resolves it
	conn, err := grpc.NewClient(target.String(), options...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	l := &link{conn: conn, cancel: cancel, broken: make(chan struct{})}
	late := time.AfterFunc(connectTimeout, func() { cancel(errConnectTimeout) })
	err = l.greet(ctx)
	if err == nil && !late.Stop() {
		err = errConnectTimeout
	}
	if err != nil {
		late.Stop()
		cancel(errClosed)
		return nil, errors.Join(err, conn.Close())
	}
	l.born = time.Now()
	l.overdue = time.AfterFunc(sendTimeout, func() { cancel(errSendTimeout) })
	l.overdue.Stop()
	go l.watch(ctx)
	return l, nil
}

// greet opens the stream and takes the peer's hello.
func (l *link) greet(ctx context.Context) error {
	stream, err := dynamov1.NewPeerClient(l.conn).Stream(ctx)
	if err != nil {
		return because(ctx, err)
	}
	l.stream = stream
	var m frame.Message
	if err := stream.RecvMsg(&m); err != nil {
		return because(ctx, err)
	}
	defer m.Free()
	_, err = wire.DecodeHello(m.Bytes())
	return err
}

// because returns why ctx has ended if it has, since that is what gRPC's
// error then does not say.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// watch waits for the end of the stream. A peer sends nothing after its hello.
func (l *link) watch(ctx context.Context) {
	defer close(l.broken)
	var m frame.Message
	if err := l.stream.RecvMsg(&m); err != nil {
		l.err = because(ctx, err)
		return
	}
	m.Free()
	l.err = errors.New("the peer sent a message after its hello; only the hello is expected")
	l.cancel(l.err)
}

// whole says whether the stream still stands, as far as is known.
func (l *link) whole() bool {
	select {
	case <-l.broken:
		return false
	default:
		return true
	}
}

// send hands m to the stream. An error ends the link; whether the peer has got
// the message is then unknown.
func (l *link) send(m *frame.Message) error {
	l.overdue.Reset(sendTimeout)
	defer l.overdue.Stop()
	return l.stream.SendMsg(m)
}

// close ends the link and waits for it. It returns why the stream had ended.
func (l *link) close() error {
	l.overdue.Stop()
	l.cancel(errClosed)
	<-l.broken
	return errors.Join(l.err, l.conn.Close())
}
