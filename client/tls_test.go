package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dynamo-kv/dynamo"
	"github.com/dynamo-kv/dynamo/client"
	"github.com/dynamo-kv/dynamo/internal/transport/tlstest"
)

// TestTLS: a client with a certificate works with nodes that ask for one, over a
// dialer of its own too, and knows all of them.
func TestTLS(t *testing.T) {
	secure := tlstest.Config(t)
	c := memoryConfig()
	c.TLS = secure
	nodes := startCluster(t, 3, c)
	var dialed atomic.Int64
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		dialed.Add(1)
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}
	for name, cfg := range map[string]*client.Config{"plain dialer": patient(), "own dialer": patient()} {
		cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: secure.RootCAs, Certificates: secure.Certificates}
		if name == "own dialer" {
			cfg.Dial = dial
		}
		cl := connect(t, cfg, nodes[0])
		for _, key := range []string{"a", "b", "c", "d"} { // whose first owners are not all the same
			if _, err := cl.Put(t.Context(), key, []byte("v"), nil, client.Overwrite()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if r, err := cl.Get(t.Context(), key); err != nil || len(r.Values) != 1 || string(r.Values[0].Data) != "v" {
				t.Errorf("%s: %v, %v", name, r, err)
			}
		}
	}
	if dialed.Load() == 0 {
		t.Error("the client's own dialer was not used")
	}
}

// TestTLSDialer: a dialer that speaks TLS itself works as well.
func TestTLSDialer(t *testing.T) {
	c := memoryConfig()
	c.TLS = tlstest.Config(t)
	nodes := startCluster(t, 1, c)
	cfg := patient()
	cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		own := c.TLS.Clone()
		own.NextProtos = []string{"h2"}
		d := tls.Dialer{Config: own}
		return d.DialContext(ctx, "tcp", addr)
	}
	if _, err := connect(t, cfg, nodes[0]).Put(t.Context(), "k", []byte("v"), nil); err != nil {
		t.Error(err)
	}
}

// TestTLSStrangers: whoever is not trusted learns nothing, on either side.
func TestTLSStrangers(t *testing.T) {
	secure := tlstest.Config(t)
	c := memoryConfig()
	c.TLS = secure
	nodes := startCluster(t, 1, c)
	other := tlstest.Config(t)
	for name, c := range map[string]struct {
		cfg  *tls.Config
		says string // empty: what comes first, an alert or the end of the connection, is chance
	}{
		"no TLS":                   {nil, "one that has TLS, and TLS is not configured here"},
		"no certificate":           {&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: secure.RootCAs}, ""},
		"a stranger's certificate": {&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: secure.RootCAs, Certificates: other.Certificates}, ""},
		"trusts somebody else":     {&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: other.RootCAs, Certificates: secure.Certificates}, "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			own := patient()
			own.TLS = c.cfg
			wantRefused(t, own, nodes[0], c.says)
		})
	}
}

// TestTLSOfNodesWithout: the error says that the node has no TLS.
func TestTLSOfNodesWithout(t *testing.T) {
	own := patient()
	own.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	wantRefused(t, own, startCluster(t, 1, memoryConfig())[0], "one that has no TLS, and TLS is configured here")
}

// wantRefused fails if the node tells a client anything, or if the error does not
// say why not: that of the first attempt, after which nobody waits any more.
func wantRefused(t *testing.T, cfg *client.Config, n *dynamo.Node, says string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg.Logger = slog.New(onLog(cancel))
	cl, err := client.New(ctx, []string{n.Addr()}, cfg)
	if err == nil {
		cl.Close()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the client got in: %v", err)
	} else if !strings.Contains(err.Error(), says) {
		t.Errorf("the error does not say %q: %v", says, err)
	}
}

// onLog is a handler that is called when there is something to log: here, that
// the topology must be asked of another node.
type onLog func()

func (f onLog) Enabled(context.Context, slog.Level) bool { return true }
func (f onLog) WithAttrs([]slog.Attr) slog.Handler       { return f }
func (f onLog) WithGroup(string) slog.Handler            { return f }

func (f onLog) Handle(context.Context, slog.Record) error {
	f()
	return nil
}
