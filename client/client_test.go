package client_test

import (
	"errors"
	"testing"

	"github.com/dynamo-kv/dynamo/client"
)

func TestReadModifyWrites(t *testing.T) {
	nodes := startCluster(t, 3, memoryConfig())
	c := connect(t, nil, nodes[0])
	ctx := t.Context()
	if r, err := c.Get(ctx, "k"); !errors.Is(err, client.ErrKeyNotFound) || r == nil || len(r.Values) != 0 {
		t.Fatalf("a key that was never written: %v, %v", r, err)
	}
	seen, err := c.Put(ctx, "k", []byte("a"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.Put(ctx, "k", []byte("b"), nil); err != nil {
		t.Fatal(err)
	}
	r, err := c.Get(ctx, "k")
	if err != nil || len(r.Values) != 2 {
		t.Fatalf("%v, %v", r, err)
	}
	if o := r.Values[0].VectorClock.Compare(r.Values[1].VectorClock); o != client.Concurrent {
		t.Errorf("siblings are %v", o)
	}
	if _, err = c.Put(ctx, "k", []byte("c"), r.Context); err != nil {
		t.Fatal(err)
	}
	if r, err = c.Get(ctx, "k"); err != nil || len(r.Values) != 1 || string(r.Values[0].Data) != "c" {
		t.Fatalf("%v, %v", r, err)
	}
	if _, err = c.Put(ctx, "other", nil, seen); !errors.Is(err, client.ErrInvalidContext) {
		t.Errorf("the context of another key: %v", err)
	}
	if _, err = c.Delete(ctx, "k", nil, client.Overwrite()); err != nil {
		t.Fatal(err)
	}
	if _, err = c.Get(ctx, "k"); !errors.Is(err, client.ErrKeyNotFound) {
		t.Errorf("a deleted key: %v", err)
	}
}
