package grpcstream

import (
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	grpcpeer "google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/frame"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

// server receives the streams of peers.
type server struct {
	dynamov1.UnimplementedPeerServer
	t *Transport
}

func newServer(t *Transport, creds credentials.TransportCredentials) *grpc.Server {
	s := grpc.NewServer(
		grpc.Creds(creds),
		grpc.ForceServerCodecV2(frame.Codec{}),
		grpc.ConnectionTimeout(connectTimeout),
		grpc.MaxRecvMsgSize(id.MaxMessageBytes+messageSlack),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.InitialWindowSize(window),
		grpc.InitialConnWindowSize(window),
		grpc.ReadBufferSize(ioBuffer),
		grpc.WriteBufferSize(ioBuffer),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	)
	dynamov1.RegisterPeerServer(s, &server{t: t})
	return s
}

// Stream greets the peer and delivers what it sends, until one of the two
// ends the stream.
func (s *server) Stream(stream grpc.BidiStreamingServer[dynamov1.Batch, dynamov1.Batch]) error {
	pauses := s.t.pauses.Now()
	hello := frame.Of(wire.EncodeHello(s.t.self))
	if err := stream.SendMsg(hello); err != nil {
		return err
	}
	var d wire.Decoder
	for {
		var m frame.Message
		if err := stream.RecvMsg(&m); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if s.t.pauses.Now() != pauses {
			m.Free()
			return status.Errorf(codes.Unavailable, "node %s stood still for more than %s: connect again", s.t.self, silence)
		}
		if err := s.t.receive(&d, &m); err != nil {
			s.t.complain(stream, err)
			return status.Error(codes.InvalidArgument, err.Error())
		}
	}
}

// receive delivers the envelopes of a message and frees it.
func (t *Transport) receive(d *wire.Decoder, m *frame.Message) error {
	defer m.Free()
	b := m.Bytes()
	r, err := d.Decode(t.mono(), b, t.handler.Deliver)
	t.count.Received(r.Delivered, r.Unknown, len(b), err)
	return err
}

// complain logs that a peer sent what is malformed, now and then.
func (t *Transport) complain(stream grpc.ServerStream, err error) {
	now, last := time.Now().UnixNano(), t.complained.Load()
	if now-last < int64(complainEvery) || !t.complained.CompareAndSwap(last, now) {
		return
	}
	addr := "unknown"
	if p, ok := grpcpeer.FromContext(stream.Context()); ok {
		addr = p.Addr.String()
	}
	t.logger.Warn("a peer has sent a malformed message; its stream was ended", "from", addr, "error", err)
}
