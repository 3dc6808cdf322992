package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dynamo-kv/dynamo/internal/bench"
	"github.com/dynamo-kv/dynamo/internal/bench/httpkv"
)

// The values of --protocol.
const protocolHTTP = "http"

func protocols() []string { return []string{protocolHTTP} }

func (b *benchmark) checkProtocol() error {
	for _, p := range protocols() {
		if b.protocol == p {
			return nil
		}
	}
	return fmt.Errorf("protocol is %q; %v are allowed", b.protocol, protocols())
}

// database is a cluster that is measured.
type database interface {
	bench.DB
	Close()
}

// connect returns the cluster once it has answered a request.
func (b *benchmark) connect(ctx context.Context) (database, error) {
	db := httpkv.New(b.addrs, b.callers, b.timeout)
	ctx, cancel := context.WithTimeout(ctx, b.timeout)
	defer cancel()
	err := db.Get(ctx, "user")
	if err != nil && !errors.Is(err, bench.ErrNotFound) {
		db.Close()
		return nil, err
	}
	return db, nil
}
