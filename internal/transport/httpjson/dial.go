package httpjson

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/dynamo-kv/dynamo/internal/id"
)

// Hello is how a node greets who has connected: by it the caller knows that
// the node is there and speaks this protocol, before it hands anything over.
type Hello struct {
	Node     string `json:"node"`
	Protocol int    `json:"protocol"`
}

// protocol is the version of POST /rpc/envelopes.
const protocol = 1

// checkAddr refuses addresses that would lead elsewhere than to a host and
// port: they are gossiped, so any node may have made them up.
func checkAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return fmt.Errorf("the address %q is not host:port", addr)
	}
	return nil
}

// dialTCP connects to addr.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{
		Control:         limitSilence,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: pingAfter, Interval: pingAfter / 2, Count: 2},
	}
	return d.DialContext(ctx, "tcp", addr)
}

// dial connects to addr, in plain text without secrets, and waits for the hello,
// until ctx ends. A peer that accepts connections and says nothing, as a stopped
// process does, is so found out before anything is handed to it.
func dial(
	ctx context.Context, addr string, connect func(ctx context.Context, addr string) (net.Conn, error), secrets *tls.Config,
) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := connect(ctx, addr)
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		// A connection that is given up takes with it what has not left yet:
		// nothing of it may arrive much later.
		if err := tcp.SetLinger(0); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	if secrets != nil {
		conn = tls.Client(conn, secretsFor(secrets, addr))
	}
	if err := greet(ctx, conn, addr); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// secretsFor returns what a connection to addr goes by: the certificate must be
// for its host.
func secretsFor(secrets *tls.Config, addr string) *tls.Config {
	c := secrets.Clone()
	if host, _, err := net.SplitHostPort(addr); err == nil { // checkAddr has looked
		c.ServerName = host
	}
	c.NextProtos = []string{"http/1.1"}
	return c
}

// greet asks for the hello over a new connection and leaves it as it was.
func greet(ctx context.Context, conn net.Conn, addr string) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://peer"+HelloPath, http.NoBody)
	if err != nil {
		return err
	}
	req.Host = addr
	if err := req.Write(conn); err != nil {
		return because(ctx, err)
	}
	in := bufio.NewReader(io.LimitReader(conn, maxHelloBytes))
	res, err := http.ReadResponse(in, req)
	if err != nil {
		return because(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return because(ctx, err)
	}
	if err := checkHello(res, body); err != nil {
		return err
	}
	if in.Buffered() > 0 {
		return errors.New("the peer says more than its hello")
	}
	if !stop() {
		return because(ctx, errors.New("the hello came too late"))
	}
	return nil
}

func checkHello(res *http.Response, body []byte) error {
	if res.StatusCode != http.StatusOK || res.Close {
		return fmt.Errorf("the peer answers %s with %s; a node that speaks this protocol keeps the connection and says hello", HelloPath, res.Status)
	}
	var hello Hello
	if err := json.Unmarshal(body, &hello); err != nil {
		return fmt.Errorf("the peer's hello: %w", err)
	}
	if _, err := id.ParseNode(hello.Node); err != nil {
		return fmt.Errorf("the peer's hello: %w", err)
	}
	if hello.Protocol < protocol {
		return fmt.Errorf("node %s speaks version %d of the protocol; %d is the first that is understood here", hello.Node, hello.Protocol, protocol)
	}
	return nil
}

// because returns why ctx has ended if it has, since that is what the error of
// a connection then does not say.
func because(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
