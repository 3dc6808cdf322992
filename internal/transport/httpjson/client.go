package httpjson

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
)

// StatusError is an answer that is not a success.
type StatusError struct {
	Status  int    // of HTTP
	Message string // what the node says
}

// Error returns the node's words.
func (e *StatusError) Error() string {
	return fmt.Sprintf("status %d: %s", e.Status, e.Message)
}

// Client asks nodes by the peer protocol, over connections that it keeps. Its
// methods may be called from any goroutine; Close ends it.
type Client struct {
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	pool   *http.Transport
	http   *http.Client
}

// NewClient returns a client without connections, which are in plain text
// without secrets.
func NewClient(secrets *tls.Config) *Client { return newClient(nil, secrets) }

func newClient(connect func(ctx context.Context, addr string) (net.Conn, error), secrets *tls.Config) *Client {
	if connect == nil {
		connect = dialTCP
	}
	c := &Client{}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.pool = &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(c.ctx, cancel)() //nolint:contextcheck // Close ends what is under way
			return dial(ctx, addr, connect, secrets)
		},
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleTimeout,
		MaxResponseHeaderBytes: maxHelloBytes,
		DisableCompression:     true,
	}
	c.http = &http.Client{Transport: c.pool, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // a node redirects nobody
	}}
	return c
}

// Close ends the requests under way and all connections.
func (c *Client) Close() {
	c.cancel()
	c.pool.CloseIdleConnections()
}

// Get asks the node at addr for its own copy of a key.
func (c *Client) Get(ctx context.Context, addr string, q *GetRequest) (out GetReply, err error) {
	err = c.call(ctx, addr, GetPath, q, &out)
	return out, err
}

// Put has the node at addr merge versions into its own copy of a key.
func (c *Client) Put(ctx context.Context, addr string, q *PutRequest) (out PutReply, err error) {
	err = c.call(ctx, addr, PutPath, q, &out)
	return out, err
}

// Gossip tells the node at addr of members and asks for those that it knows.
func (c *Client) Gossip(ctx context.Context, addr string, q *GossipRequest) (out GossipReply, err error) {
	err = c.call(ctx, addr, GossipPath, q, &out)
	return out, err
}

// Sync compares what the node at addr holds of a range.
func (c *Client) Sync(ctx context.Context, addr string, q *SyncRequest) (out SyncReply, err error) {
	err = c.call(ctx, addr, SyncPath, q, &out)
	return out, err
}

// Hint has the node at addr keep versions for another one.
func (c *Client) Hint(ctx context.Context, addr string, q *HintRequest) (out HintReply, err error) {
	err = c.call(ctx, addr, HintPath, q, &out)
	return out, err
}

// call sends q as JSON and decodes the answer into out, that of a failure too.
// The error of one is a *StatusError.
func (c *Client) call(ctx context.Context, addr, path string, q, out any) error {
	body, err := json.Marshal(q)
	if err != nil {
		return err
	}
	raw, status, err := c.post(ctx, addr, path, body, maxSetBody, func() {})
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("the answer of %s to %s with status %d: %w", addr, path, status, err)
	}
	return failure(status, raw)
}

// failure returns nil for the answer of a success.
func failure(status int, raw []byte) error {
	if status == http.StatusOK {
		return nil
	}
	var said struct {
		Error string `json:"error"`
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		said.Error = "an answer that is not JSON"
	}
	return &StatusError{Status: status, Message: said.Error}
}

// post sends a body and returns the answer's, of at most limit bytes. It calls
// begun, once, before anything of the request can reach the peer: where it has
// not, nothing ever will.
func (c *Client) post(ctx context.Context, addr, path string, body []byte, limit int64, begun func()) (raw []byte, status int, err error) {
	if err := checkAddr(addr); err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)() //nolint:contextcheck // Close ends what is under way
	var once sync.Once                       // a connection that was closed while idle is replaced by another
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { once.Do(begun) }})
	u := url.URL{Scheme: "http", Host: addr, Path: path}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return nil, 0, err
	}
	raw, err = io.ReadAll(io.LimitReader(res.Body, limit+1))
	err = errors.Join(err, res.Body.Close())
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("an answer of more than %d bytes", limit)
	}
	return raw, res.StatusCode, err
}

// forget closes the connections that nothing is sent over.
func (c *Client) forget() { c.pool.CloseIdleConnections() }
