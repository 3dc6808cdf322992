package httpjson

import (
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/transport"
	"github.com/dynamo-kv/dynamo/internal/transport/transporttest"
)

func TestMain(m *testing.M) {
	// A server that closes a connection first waits for half a second, so that
	// its last answer arrives.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

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

// served is a transport with its server, which its Close ends.
type served struct {
	*Transport
	server *http.Server
	ended  chan error
}

func (s *served) Close() error {
	err := s.server.Close()
	if ended := <-s.ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	s.ended <- http.ErrServerClosed // for the next call
	return errors.Join(err, s.Transport.Close())
}

// serve makes t listen on addr. Watch, which may be nil, sees its requests.
func serve(tb testing.TB, t *Transport, addr string, watch func(*http.Request)) (*served, string) {
	tb.Helper()
	ln := listen(tb, addr)
	mux := http.NewServeMux()
	for path, h := range t.Routes() {
		mux.Handle(path, h)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if watch != nil {
			watch(r)
		}
		mux.ServeHTTP(w, r)
	})
	s := &served{
		Transport: t, ended: make(chan error, 1),
		server: &http.Server{Handler: handler, ConnContext: t.ConnContext, ReadHeaderTimeout: time.Minute},
	}
	go func() { s.ended <- s.server.Serve(ln) }()
	return s, ln.Addr().String()
}

func (loopback) Start(tb testing.TB, addr string, h transport.Handler, mono func() time.Duration) (transport.Transport, string) {
	tb.Helper()
	t, err := New(Options{Self: "n1", Handler: h, Mono: mono})
	if err != nil {
		tb.Fatal(err)
	}
	return serve(tb, t, addr, nil)
}

// Inject is a peer of its own that sends b: as JSON where it is a batch, and
// as it is where it is none.
func (loopback) Inject(tb testing.TB, addr string, b []byte) error {
	tb.Helper()
	batch := new(dynamov1.Batch)
	if err := batch.UnmarshalVT(b); err == nil {
		if b, err = (protojson.MarshalOptions{UseEnumNumbers: true}).Marshal(batch); err != nil {
			tb.Fatal(err)
		}
	}
	client := NewClient(nil)
	defer client.Close()
	raw, status, err := client.post(tb.Context(), addr, EnvelopesPath, b, maxReplyBytes, func() {})
	if err != nil {
		return err
	}
	return failure(status, raw)
}
