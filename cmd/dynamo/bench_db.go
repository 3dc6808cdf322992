package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/dynamo-kv/dynamo/client"
	"github.com/dynamo-kv/dynamo/internal/bench"
	"github.com/dynamo-kv/dynamo/internal/bench/httpkv"
)

// The values of --protocol.
const (
	protocolGRPC = "grpc"
	protocolHTTP = "http"
)

func protocols() []string { return []string{protocolGRPC, protocolHTTP} }

func (b *benchmark) checkProtocol() error {
	if !slices.Contains(protocols(), b.protocol) {
		return fmt.Errorf("protocol is %q; %s are allowed", b.protocol, strings.Join(protocols(), " and "))
	}
	return nil
}

// checkSecurity reads the files of TLS, which are for clusters that run already.
func (b *benchmark) checkSecurity(f *pflag.FlagSet) (err error) {
	switch {
	case b.self.on && (f.Changed("tls-ca") || f.Changed("tls-cert") || f.Changed("tls-key")):
		return errors.New("the nodes of --self have no TLS; leave its files out")
	case b.self.on: // what the environment has is for others
		return nil
	case b.tls != security{} && b.protocol == protocolHTTP:
		return errors.New("a cluster with TLS is measured with --protocol grpc only")
	}
	b.secure, err = b.tls.client()
	return err
}

// database is a cluster that is measured.
type database interface {
	bench.DB
	Close()
}

// connect returns the cluster once it has answered a request.
func (b *benchmark) connect(ctx context.Context) (database, error) {
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	if b.protocol == protocolHTTP {
		db := httpkv.New(b.addrs, b.callers, b.timeout)
		if err := db.Get(ctx, "user"); err != nil && !errors.Is(err, bench.ErrNotFound) {
			db.Close()
			return nil, err
		}
		return db, nil
	}
	config := client.DefaultConfig()
	config.Timeout, config.TLS = b.timeout, b.secure
	config.AttemptTimeout = min(config.AttemptTimeout, b.timeout)
	c, err := client.New(ctx, b.addrs, config)
	if e, ok := errors.AsType[*client.Error](err); ok {
		return nil, errors.New(e.Detail)
	}
	if err != nil {
		return nil, err
	}
	return clientDB{c}, nil
}

// clientDB is a cluster behind the Go client.
type clientDB struct{ *client.Client }

// Get implements bench.DB.
func (c clientDB) Get(ctx context.Context, key string) error {
	_, err := c.Client.Get(ctx, key)
	return failure(err)
}

// Put implements bench.DB.
func (c clientDB) Put(ctx context.Context, key string, value []byte) error {
	_, err := c.Client.Put(ctx, key, value, nil, client.Overwrite())
	return failure(err)
}

// Modify implements bench.DB.
func (c clientDB) Modify(ctx context.Context, key string, value []byte) error {
	found, err := c.Client.Get(ctx, key)
	if err != nil && !errors.Is(err, client.ErrKeyNotFound) {
		return failure(err)
	}
	_, err = c.Client.Put(ctx, key, value, found.Context)
	return failure(err)
}

// failure returns an error of the client as a load counts it. The kinds are
// called as in the HTTP API.
func failure(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, client.ErrKeyNotFound) {
		return bench.ErrNotFound
	}
	for _, k := range []struct {
		err  error
		kind string
	}{
		{client.ErrTimeout, bench.KindTimeout},
		{client.ErrQuorum, "quorum"},
		{client.ErrOverloaded, "overloaded"},
		{client.ErrTooLarge, "too_large"},
		{client.ErrTooManySiblings, "too_many_siblings"},
		{client.ErrClockTooLong, "clock_too_long"},
		{client.ErrStorageFull, "storage_full"},
		{client.ErrInvalidRequest, "invalid_request"},
		{client.ErrInvalidContext, "invalid_context"},
	} {
		if errors.Is(err, k.err) {
			return &bench.Failure{Kind: k.kind, Err: err}
		}
	}
	return err
}
