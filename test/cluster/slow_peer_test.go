package cluster

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestStoppedPeerSlowsNobody: one of three nodes is stopped by SIGSTOP, while its
// connections stand. Requests that two nodes are enough for are answered in thirty
// seconds, all of them, though a node has sixty to answer another: whoever waited
// for the stopped one would end with a 504.
func TestStoppedPeerSlowsNobody(t *testing.T) {
	const requests = 6000
	dir := t.TempDir()
	var nodes []*process
	for i := range 3 {
		id := fmt.Sprint("n", i+1)
		args := []string{
			"--request-timeout", "60s", "--peer-timeout", "60s", "--gossip-interval", "10s", "--layout-delay", "0s",
			"--engine", "memory", "--partitions", "64", "--anti-entropy-interval", "0s",
		}
		if i > 0 {
			args = append(args, "--join", nodes[0].addr)
		}
		nodes = append(nodes, serve(t, id, "127.0.0.1:0", filepath.Join(dir, id), args...))
	}
	for _, p := range nodes {
		p.awaitMembers(3)
	}
	value := strings.Repeat("v", 1000)
	stopped := nodes[2]
	if err := stopped.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	each(t, requests, func(i int) error {
		key, p := fmt.Sprint("key-", i), nodes[i%2]
		code, body, err := p.put(key, value, "?overwrite=true&timeout=30s")
		if err == nil && code != http.StatusNoContent {
			err = fmt.Errorf("put through %s: %d %s", p.id, code, body)
		}
		if err != nil {
			return err
		}
		code, body, _, err = nodes[(i+1)%2].get(key, "?timeout=30s")
		if err == nil && (code != http.StatusOK || body != value) {
			err = fmt.Errorf("get through %s: %d %.100s", p.id, code, body)
		}
		return err
	})
	if err := stopped.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	// It is there again, and serves what it has missed.
	await(t, "the stopped node to answer with what was written", func() bool {
		code, body, _, err := stopped.get(fmt.Sprint("key-", requests-1), "?timeout=30s")
		return err == nil && code == http.StatusOK && body == value
	})
}
