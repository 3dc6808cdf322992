package grpcstream

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/frame"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/transport/outbox"
	"github.com/dynamo-kv/dynamo/internal/transport/tlstest"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

// sink keeps what a transport hands over.
type sink struct{ delivered, failed chan *core.Envelope }

func newSink() *sink {
	return &sink{make(chan *core.Envelope, 2*outbox.MaxEnvelopes), make(chan *core.Envelope, 2*outbox.MaxEnvelopes)}
}

func (s *sink) Deliver(e *core.Envelope)    { s.delivered <- e }
func (s *sink) SendFailed(e *core.Envelope) { s.failed <- e }

// clock is a Mono that tests move on.
type clock struct{ now atomic.Int64 }

func (c *clock) mono() time.Duration { return time.Duration(c.now.Load()) }

func (c *clock) pass(d time.Duration) { c.now.Add(int64(d)) }

type testNode struct {
	*Transport
	*sink
	*clock
	addr string
}

// start returns a node that listens. The test's end closes it.
func start(t *testing.T, change func(*Options)) *testNode {
	t.Helper()
	n := &testNode{sink: newSink(), clock: new(clock)}
	o := Options{Self: "n1", Handler: n.sink, Mono: n.clock.mono}
	change(&o)
	var err error
	if n.Transport, err = New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	n.addr = serve(t, n.Transport, "")
	return n
}

func plain(*Options) {}

func (n *testNode) request(req uint64) *core.Envelope {
	return &core.Envelope{
		From: "n1", To: "n2", Req: core.ReqID(req), Deadline: n.clock.mono() + id.MaxMessageAge,
		Msg: &core.Read{Key: []byte("k")},
	}
}

func (n *testNode) send(t *testing.T, addr string, req uint64) {
	t.Helper()
	if !n.Send(addr, n.request(req)) {
		t.Fatalf("envelope %d is not accepted", req)
	}
}

func receive[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(30 * time.Second):
		t.Fatalf("%s: nothing after 30 seconds", what)
		panic("unreachable")
	}
}

func TestNewChecksItsOptions(t *testing.T) {
	good := Options{Self: "n1", Handler: newSink(), Mono: new(clock).mono}
	for name, breaks := range map[string]func(*Options){
		"self":    func(o *Options) { o.Self = "a~b" },
		"handler": func(o *Options) { o.Handler = nil },
		"mono":    func(o *Options) { o.Mono = nil },
	} {
		o := good
		breaks(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s is wrong, and New takes it", name)
		}
	}
}

// A node that accepts connections and says nothing, as a stopped process
// does, costs an outbox. What waits for it was never sent, and comes back.
func TestSilentPeer(t *testing.T) {
	a, c := start(t, plain), start(t, plain)
	ln := listen(t, "")
	accepted := make(chan net.Conn, 10)
	go func() {
		defer close(accepted)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	addr := ln.Addr().String()
	for req := range uint64(outbox.MaxEnvelopes) {
		a.send(t, addr, req)
	}
	if a.Send(addr, a.request(0)) {
		t.Error("the outbox of a silent peer is not bounded")
	}
	a.send(t, c.addr, 1)
	receive(t, "the other peer", c.delivered)

	conn := receive(t, "a connection", accepted)
	if len(a.failed) > 0 {
		t.Errorf("%d requests have come back already", len(a.failed))
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	for range outbox.MaxEnvelopes {
		receive(t, "what comes back", a.failed)
	}
	if s := a.Stats(); s.Sent.Envelopes != 1 || s.Failed != outbox.MaxEnvelopes {
		t.Errorf("the stats count %+v", s)
	}
}

// Addresses are gossiped. None makes a node do anything but connect by TCP.
func TestOddAddresses(t *testing.T) {
	a := start(t, plain)
	var config net.ListenConfig
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := config.Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 10)
	go func() {
		defer close(accepted)
		for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
			accepted <- conn
		}
	}()
	for i, addr := range []string{"", ":", "x", "%", "%zz:1", "a b:1", "127.0.0.1:99999", "[::1", "unix:" + socket, "unix://" + socket, "dns:///x"} {
		a.send(t, addr, uint64(i))
		if e := receive(t, addr, a.failed); e.Req != core.ReqID(i) {
			t.Errorf("%q: request %d comes back, want %d", addr, e.Req, i)
		}
	}
	if err := ln.Close(); err != nil {
		t.Error(err)
	}
	for conn := range accepted {
		t.Error("a Unix socket was connected to")
		_ = conn.Close()
	}
}

// A host name is resolved.
func TestHostNames(t *testing.T) {
	a, b := start(t, plain), start(t, plain)
	_, port, err := net.SplitHostPort(b.addr)
	if err != nil {
		t.Fatal(err)
	}
	a.send(t, net.JoinHostPort("localhost", port), 1)
	receive(t, "localhost", b.delivered)
}

// Close does not wait for a peer that is silent.
func TestCloseWhileConnecting(t *testing.T) {
	a := start(t, plain)
	ln := listen(t, "")
	defer func() { _ = ln.Close() }()
	a.send(t, ln.Addr().String(), 1)
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	began := time.Now()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took >= connectTimeout {
		t.Errorf("Close took %s", took)
	}
	if len(a.failed) != 1 {
		t.Errorf("%d requests have come back, want 1", len(a.failed))
	}
}

// A node that stood still for longer than silence takes nothing from streams
// of before: nobody knows how old it is. Its peers connect again.
func TestStoppedReceiver(t *testing.T) {
	a, b := start(t, plain), start(t, plain)
	a.send(t, b.addr, 1)
	receive(t, "before", b.delivered)
	b.pass(silence + 1)
	a.send(t, b.addr, 2)
	var e *core.Envelope
	for req := uint64(3); e == nil; req++ {
		a.send(t, b.addr, req)
		e = soon(b.delivered)
	}
	if e.Req == 2 {
		t.Error("an envelope over a stream of before the pause is delivered")
	}
}

// soon returns what comes within a short time, or nil.
func soon(c <-chan *core.Envelope) *core.Envelope {
	select {
	case e := <-c:
		return e
	case <-time.After(20 * time.Millisecond):
		return nil
	}
}

// A node that stood still sends nothing over its connections of before.
func TestStoppedSender(t *testing.T) {
	dialled := make(chan net.Conn, 10)
	a, b := start(t, func(o *Options) {
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := dialTCP(ctx, addr)
			if err == nil {
				dialled <- conn
			}
			return conn, err
		}
	}), start(t, plain)
	a.send(t, b.addr, 1)
	receive(t, "before", b.delivered)
	before := receive(t, "the first connection", dialled)
	a.pass(silence + 1)
	a.send(t, b.addr, 2)
	if e := receive(t, "after", b.delivered); e.Req != 2 {
		t.Errorf("envelope %d arrives, want 2", e.Req)
	}
	receive(t, "a second connection", dialled)
	if err := before.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection of before the pause still stands: %v", err)
	}
}

// oddPeer is a server that does not keep to the protocol.
type oddPeer struct {
	dynamov1.UnimplementedPeerServer
	says [][]byte
}

func (o *oddPeer) Stream(stream grpc.BidiStreamingServer[dynamov1.Batch, dynamov1.Batch]) error {
	for _, b := range o.says {
		if err := stream.SendMsg(frame.Of(b)); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return nil
}

// Peers that answer with something else than a hello get nothing.
func TestOddPeers(t *testing.T) {
	hello := wire.EncodeHello("n2")
	for name, c := range map[string]struct {
		says [][]byte
		sent bool // something may be sent before it is found out
	}{
		"garbage":         {says: [][]byte{[]byte("hello")}},
		"no name":         {says: [][]byte{nil}},
		"a huge hello":    {says: [][]byte{make([]byte, maxHelloBytes+1)}},
		"two hellos":      {says: [][]byte{hello, hello}, sent: true},
		"no such service": {},
	} {
		t.Run(name, func(t *testing.T) {
			server := grpc.NewServer(grpc.ForceServerCodecV2(frame.Codec{}))
			defer server.Stop()
			if c.says != nil {
				dynamov1.RegisterPeerServer(server, &oddPeer{says: c.says})
			}
			ln := listen(t, "")
			served := make(chan error, 1)
			go func() { served <- server.Serve(ln) }()
			a := start(t, plain)
			for req := uint64(1); a.Stats().Failed == 0; req++ {
				a.send(t, ln.Addr().String(), req)
				soon(a.failed)
			}
			if !c.sent && a.Stats().Sent.Envelopes > 0 {
				t.Error("envelopes were sent to it")
			}
			server.Stop()
			if err := receive(t, "the server", served); err != nil {
				t.Error(err)
			}
		})
	}
}

// The bytes on the wire are plain protobuf: a client that was generated from
// peer.proto, without any of our encoding, is understood.
func TestPlainProtobufClient(t *testing.T) {
	b := start(t, plain)
	conn, err := grpc.NewClient(b.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	stream, err := dynamov1.NewPeerClient(conn).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	hello, err := stream.Recv()
	if err != nil || hello.From != "n1" {
		t.Fatalf("the hello is %v: %v", hello, err)
	}
	read := &dynamov1.Envelope{
		Req: 9, Remaining: 1000, Message: &dynamov1.Envelope_Read{Read: &dynamov1.Read{Key: []byte("k")}},
	}
	if err := stream.Send(&dynamov1.Batch{From: "x", Envelopes: []*dynamov1.Envelope{read}}); err != nil {
		t.Fatal(err)
	}
	if e := receive(t, "the read", b.delivered); e.From != "x" || e.Req != 9 {
		t.Errorf("the envelope %+v arrives", e)
	}
	if err := stream.Send(&dynamov1.Batch{From: "x", Envelopes: []*dynamov1.Envelope{{}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a malformed message is answered with %v", err)
	}
}

func TestTLS(t *testing.T) {
	config := tlstest.Config(t)
	secure := func(o *Options) {
		o.ServeCredentials = credentials.NewServerTLSFromCert(&config.Certificates[0])
		o.DialCredentials = credentials.NewClientTLSFromCert(config.RootCAs, "")
	}
	a, b, plainText := start(t, secure), start(t, secure), start(t, plain)
	a.send(t, b.addr, 1)
	receive(t, "over TLS", b.delivered)
	plainText.send(t, b.addr, 2)
	receive(t, "plain text to a node with TLS", plainText.failed)
	a.send(t, plainText.addr, 3)
	receive(t, "TLS to a node without", a.failed)
}
