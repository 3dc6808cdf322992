package dynamo

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/storage/engines"
)

// ageDisk makes a data directory look as if it was last in use an hour ago.
func ageDisk(t *testing.T, o storage.Options) {
	t.Helper()
	engine, _, err := engines.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	// Format 1, the stamp, no stamps of others.
	stamp := binary.AppendUvarint([]byte{1}, uint64(time.Now().Add(-time.Hour).UnixNano()))
	done := make(chan error, 1)
	engine.Commit([]core.Write{{Key: core.ControlKey("stamps"), Value: append(stamp, 0)}}, core.Sync, func(err error) { done <- err })
	if err := errors.Join(<-done, engine.Close()); err != nil {
		t.Fatal(err)
	}
}

// until waits until the condition holds, looking whenever the status changes.
func until(t *testing.T, n *Node, what string, ok func(Status) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		p := n.parts.Load()
		changed := p.runtime.Changed()
		if ok(n.Status()) {
			return
		}
		select {
		case <-changed:
		case <-p.replaced:
		case <-n.Done():
			t.Fatalf("the node stops while it should %s: %v", what, n.Err())
		case <-ctx.Done():
			t.Fatalf("the node does not %s: %+v", what, n.Status())
		}
	}
}

// diskCluster returns three nodes with directories of their own, n3 apart, and
// n3's configuration.
func diskCluster(t *testing.T) (nodes []*Node, third *Config) {
	t.Helper()
	dir := t.TempDir()
	config := func(id string) *Config {
		c := memoryConfig(3)
		c.StorageEngine, c.StoragePath = durableOr("pebble"), filepath.Join(dir, id)
		return c
	}
	nodes = []*Node{startNode(t, "n1", config("n1")), startNode(t, "n2", config("n2")), startNode(t, "n3", config("n3"))}
	for _, n := range nodes[1:] {
		if err := n.Join([]string{nodes[0].Addr()}); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		waitReady(t, n)
	}
	return nodes, config("n3")
}

func stop(t *testing.T, n *Node) {
	t.Helper()
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
}

// TestOldDiskIsSetAside: an old copy of a node's data directory, put back,
// serves nothing, is set aside, and the node comes back empty.
func TestOldDiskIsSetAside(t *testing.T) {
	nodes, c := diskCluster(t)
	put(t, nodes[0], "k", "old", nil, Overwrite(), WithW(3))
	stop(t, nodes[2])
	saved := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(saved, os.DirFS(c.StoragePath)); err != nil {
		t.Fatal(err)
	}
	again := startNode(t, "n3", c)
	waitReady(t, again)
	put(t, nodes[0], "k", "new", nil, Overwrite(), WithW(3))
	stop(t, again)
	if err := errors.Join(os.RemoveAll(c.StoragePath), os.Rename(saved, c.StoragePath)); err != nil {
		t.Fatal(err)
	}
	restored, err := NewNode("n3", "127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	ageDisk(t, restored.storage())
	restored = startNode(t, "n3", c) // it may hear of its age at any moment from now on
	addr := restored.Addr()
	changes, err := restored.Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := restored.Join([]string{nodes[0].Addr()}); err != nil { // this, and what follows, outlives the old parts
		t.Errorf("joining while it begins anew: %v", err)
	}
	waitReady(t, restored)
	aside := func() []string {
		found, err := filepath.Glob(filepath.Join(c.StoragePath, "aside-*-"+c.StorageEngine))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	until(t, restored, "begin anew", func(s Status) bool { return s.Serving && len(aside()) > 0 })
	if restored.Addr() != addr {
		t.Errorf("it listens at %s; it did at %s", restored.Addr(), addr)
	}
	if found := aside(); len(found) != 1 {
		t.Errorf("set aside are %v", found)
	}
	own := restored.parts.Load().runtime.Do(t.Context(), &core.Request{Op: core.OpInspect, Key: []byte("k")}, time.Minute)
	for _, v := range own.Set.Live() {
		if string(v.Data) == "old" {
			t.Error("it holds what its old disk held")
		}
	}
	for range 3 {
		wantValues(t, get(t, restored, "k"), "new")
	}
	stop(t, nodes[1])
	for change := range changes { // that a subscription outlives the old parts
		if change.Member == "n2" && change.To == "dead" {
			break
		}
	}
}

// TestOldDiskWaitsForWord: with nobody to ask, an old disk is not served,
// unless its node is told to.
func TestOldDiskWaitsForWord(t *testing.T) {
	nodes, c := diskCluster(t)
	put(t, nodes[0], "k", "v", nil, Overwrite(), WithW(3))
	for _, n := range nodes {
		stop(t, n)
	}
	ageDisk(t, nodes[2].storage())
	n := startNode(t, "n3", c)
	if s := n.Status(); s.Serving || !strings.Contains(s.WaitsFor, "0 of 2 other members have spoken") {
		t.Errorf("status %+v", s)
	}
	if _, err := n.Get(t.Context(), "k"); !errors.Is(err, ErrNotReady) {
		t.Errorf("a get: %v", err)
	}
	stop(t, n)
	c.ForceServe = true
	n = startNode(t, "n3", c)
	if s := n.Status(); !s.Serving {
		t.Errorf("status %+v", s)
	}
	r, err := n.Get(t.Context(), "k", WithR(1))
	if err != nil {
		t.Fatal(err)
	}
	wantValues(t, r, "v")
}
