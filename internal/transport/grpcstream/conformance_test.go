package grpcstream

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/frame"
	"github.com/dynamo-kv/dynamo/internal/transport"
	"github.com/dynamo-kv/dynamo/internal/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	transporttest.Run(t, func(testing.TB) transporttest.Network { return loopback{} })
}

// loopback makes transports that listen on the loopback interface.
type loopback struct{}

func listen(tb testing.TB, addr string) net.Listener {
	tb.Helper()
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	var config net.ListenConfig
	ln, err := config.Listen(tb.Context(), "tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	return ln
}

func (loopback) Unused(tb testing.TB) string {
	tb.Helper()
	ln := listen(tb, "")
	if err := ln.Close(); err != nil {
		tb.Fatal(err)
	}
	return ln.Addr().String()
}

func (loopback) Start(tb testing.TB, addr string, h transport.Handler, mono func() time.Duration) (transport.Transport, string) {
	tb.Helper()
	t, err := New(Options{Self: "n1", Handler: h, Mono: mono})
	if err != nil {
		tb.Fatal(err)
	}
	return t, serve(tb, t, addr)
}

// serve makes t listen on addr; its Close ends that.
func serve(tb testing.TB, t *Transport, addr string) string {
	tb.Helper()
	ln := listen(tb, addr)
	t.running.Go(func() {
		if err := t.Serve(ln); err != nil {
			tb.Errorf("serving: %v", err)
		}
	})
	return ln.Addr().String()
}

// Inject is a peer of its own that sends b after the hello.
func (loopback) Inject(tb testing.TB, addr string, b []byte) error {
	tb.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(frame.Codec{})))
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	stream, err := dynamov1.NewPeerClient(conn).Stream(ctx)
	if err != nil {
		return err
	}
	var hello, more frame.Message
	if err := stream.RecvMsg(&hello); err != nil {
		return err
	}
	hello.Free()
	if err := stream.SendMsg(frame.Of(b)); err != nil {
		return err
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if err := stream.RecvMsg(&more); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
