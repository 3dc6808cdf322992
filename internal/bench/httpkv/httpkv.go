package httpkv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/dynamo-kv/dynamo/internal/bench"
)

// maxAnswer bounds an answer: a key's siblings, 32 MiB of them, in base64.
const maxAnswer = 64 << 20

// contextHeader carries the context of a read into the write that follows.
const contextHeader = "Dynamo-Context"

// The kinds of failures, beside the codes that the nodes answer with.
const (
	kindUnreachable = "unreachable" // no node could be connected to
	kindConnection  = "connection"  // it broke off in the middle of a request
	kindProtocol    = "protocol"    // what answers is no node
)

// DB is a cluster behind its HTTP API. It asks its nodes in turns. A node
// that refuses a connection, or breaks it off, is replaced by the next one,
// which for an Overwrite and a read is safe; one that merely does not answer
// takes the request's time.
type DB struct {
	client  *http.Client
	addrs   []string
	timeout string // parameter of each request
	next    atomic.Uint64
}

// New returns the cluster of the nodes at addrs, of which there is at least
// one, for that many callers.
func New(addrs []string, callers int, timeout time.Duration) *DB {
	return &DB{
		client: &http.Client{Transport: &http.Transport{
			MaxIdleConns: 0, MaxIdleConnsPerHost: callers, // every caller keeps a connection
			DisableCompression: true,
		}},
		addrs: addrs, timeout: timeout.String(),
	}
}

// Close closes the connections.
func (d *DB) Close() { d.client.CloseIdleConnections() }

// Get implements bench.DB.
func (d *DB) Get(ctx context.Context, key string) error {
	_, err := d.do(ctx, http.MethodGet, key, "", "", nil)
	return err
}

// Put implements bench.DB.
func (d *DB) Put(ctx context.Context, key string, value []byte) error {
	_, err := d.do(ctx, http.MethodPut, key, "&overwrite", "", value)
	return err
}

// Modify implements bench.DB.
func (d *DB) Modify(ctx context.Context, key string, value []byte) error {
	seen, err := d.do(ctx, http.MethodGet, key, "", "", nil)
	if err != nil && !errors.Is(err, bench.ErrNotFound) {
		return err
	}
	_, err = d.do(ctx, http.MethodPut, key, "", seen, value)
	return err
}

// do asks one node after the other until one takes the request, and returns
// the context in the answer.
func (d *DB) do(ctx context.Context, method, key, query, seen string, body []byte) (string, error) {
	first := d.next.Add(1)
	var failed error
	for i := range uint64(len(d.addrs)) {
		addr := d.addrs[(first+i)%uint64(len(d.addrs))]
		resp, err := d.send(ctx, addr, method, key, query, seen, body)
		if err == nil {
			return read(resp)
		}
		failed = unanswered(ctx, err)
		if ctx.Err() != nil {
			break
		}
	}
	return "", failed
}

func (d *DB) send(ctx context.Context, addr, method, key, query, seen string, body []byte) (*http.Response, error) {
	var content io.Reader
	if method == http.MethodPut {
		content = bytes.NewReader(body)
	}
	target := "http://" + addr + "/v1/kv/" + url.PathEscape(key) + "?timeout=" + d.timeout + query
	req, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return nil, err
	}
	if seen != "" {
		req.Header.Set(contextHeader, seen)
	}
	return d.client.Do(req)
}

// unanswered returns the failure of a request that got no answer.
func unanswered(ctx context.Context, err error) error {
	kind := kindConnection
	switch e, ok := errors.AsType[*url.Error](err); {
	case ctx.Err() != nil || ok && e.Timeout():
		kind = bench.KindTimeout
	case dialled(err):
		kind = kindUnreachable
	}
	return &bench.Failure{Kind: kind, Err: err}
}

// read takes an answer in.
func read(resp *http.Response) (seen string, err error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return "", &bench.Failure{Kind: kindConnection, Err: err}
	}
	seen = resp.Header.Get(contextHeader)
	if resp.StatusCode < http.StatusBadRequest {
		return seen, nil
	}
	var answer struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Error.Code == "" {
		return "", &bench.Failure{Kind: kindProtocol, Err: fmt.Errorf("status %d, which is no answer of a node", resp.StatusCode)}
	}
	if answer.Error.Code == "not_found" {
		return seen, bench.ErrNotFound
	}
	return "", &bench.Failure{Kind: answer.Error.Code, Err: errors.New(answer.Error.Message)}
}

// dialled says whether an error is that no connection could be made.
func dialled(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "dial"
}
