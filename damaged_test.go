package dynamo

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// own returns the values of a node's own copy of a key.
func own(t *testing.T, n *Node, key string) (values []string) {
	t.Helper()
	r := n.parts.Load().runtime.Do(t.Context(), &core.Request{Op: core.OpInspect, Key: []byte(key)}, time.Minute)
	for _, v := range r.Set.Live() {
		values = append(values, string(v.Data))
	}
	return values
}

// flip changes a byte of a stored value on the disk, and reports whether it
// was found.
func flip(t *testing.T, dir, value string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "lss", "*.seg"))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(b, []byte(value)); at >= 0 {
			found = true
			b[at] ^= 1
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return found
}

// TestDamagedRecordComesBack: a byte that the disk of one node has changed costs
// that node the record, which it notices when it looks at it, and anti-entropy
// brings it back from the other owners, with nobody reading the key.
func TestDamagedRecordComesBack(t *testing.T) {
	dir := t.TempDir()
	config := func(id string) *Config {
		c := memoryConfig(3)
		c.StorageEngine, c.StoragePath = "lss", filepath.Join(dir, id)
		c.AntiEntropyInterval = 50 * time.Millisecond
		return c
	}
	nodes := []*Node{startNode(t, "n1", config("n1")), startNode(t, "n2", config("n2")), startNode(t, "n3", config("n3"))}
	for _, n := range nodes[1:] {
		if err := n.Join([]string{nodes[0].Addr()}); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range nodes {
		waitReady(t, n)
	}
	const value = "a value that is not to be lost"
	put(t, nodes[0], "k", value, nil, Overwrite(), WithW(3))
	put(t, nodes[0], "beside", "it", nil, Overwrite(), WithW(3))
	stop(t, nodes[2])
	if !flip(t, config("n3").StoragePath, value) {
		t.Fatal("the value is nowhere on the disk")
	}
	again := startNode(t, "n3", config("n3"))
	waitReady(t, again)
	if values := own(t, again, "k"); len(values) != 0 && values[0] != value {
		t.Fatalf("the damaged record reads %q", values)
	}
	if n := again.parts.Load().engine.Stats().Damaged; n != 1 {
		t.Errorf("%d damaged records counted, want 1", n)
	}
	if values := own(t, again, "beside"); len(values) != 1 {
		t.Errorf("the record beside it reads %q", values)
	}
	deadline := time.After(patience)
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		if values := own(t, again, "k"); len(values) == 1 && values[0] == value {
			return
		}
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("it does not come back; the node: %v", again.Err())
		}
	}
}
