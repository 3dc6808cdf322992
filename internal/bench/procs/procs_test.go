package procs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// nodeEnv makes this test program a node: what the tests here need of one.
const nodeEnv = "PROCS_TEST_NODE"

func TestMain(m *testing.M) {
	if os.Getenv(nodeEnv) != "" {
		if err := fakeNode(os.Args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	goleak.VerifyTestMain(m)
}

// fakeNode listens, tells of its status, and never ends by itself.
func fakeNode(args []string) error {
	value := func(flag string) string {
		i := slices.Index(args, flag)
		if i < 0 {
			return ""
		}
		return args[i+1]
	}
	if value("--engine") == "none" {
		return fmt.Errorf("there is no such engine")
	}
	if len(args) < 2 || args[0] != "dynamo" || args[1] != "serve" || os.Getenv("DYNAMO_ENGINE") != "" {
		return fmt.Errorf("it was called as %q", args)
	}
	if err := os.MkdirAll(value("--data"), 0o700); err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", value("--listen"))
	if err != nil {
		return err
	}
	fmt.Printf("node %s listens on %s\n", value("--id"), l.Addr())
	fmt.Printf("node %s serves cluster 0123456789abcdef, layout 1\n", value("--id"))
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"serving":true,"members":[{"partitions":8},{"partitions":8}],"layout":{"phase":"stable"}}`)
	}))
}

func config(t *testing.T, args ...string) Config {
	t.Helper()
	t.Setenv(nodeEnv, "1")
	t.Setenv("DYNAMO_ENGINE", "memory") // not for the nodes
	t.Setenv("TMPDIR", t.TempDir())
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Config{Program: program, Name: "dynamo", Nodes: 2, Args: args}
}

func left(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(os.TempDir(), "dynamo-bench-*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func start(t *testing.T) *Cluster {
	t.Helper()
	c, err := Start(t.Context(), config(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if found := left(t); len(found) > 0 {
			t.Errorf("%v is left", found)
		}
	})
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCluster(t *testing.T) {
	c := start(t)
	if len(c.Addrs()) != 2 || c.Addrs()[0] == c.Addrs()[1] || c.Nodes()[1].ID() != "n2" {
		t.Errorf("the nodes listen on %q", c.Addrs())
	}
	if args := strings.Join(c.Nodes()[1].args, " "); !strings.Contains(args, "--join "+c.Addrs()[0]) {
		t.Errorf("the second node has %s", args)
	}
	if len(left(t)) != 1 {
		t.Error("the nodes have no directory")
	}
}

func TestKilledNodeComesBack(t *testing.T) {
	c := start(t)
	n := c.Nodes()[1]
	addr, first := n.Addr(), n.current()
	if err := n.Kill(); err != nil {
		t.Fatal(err)
	}
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr); err == nil {
		_ = conn.Close()
		t.Error("a node that was killed listens")
	}
	if err := n.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Serves(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n.Addr() != addr || n.current() == first {
		t.Errorf("it came back on %s, not %s", n.Addr(), addr)
	}
}

// awaitStopped waits until the system says that the process has stopped.
func awaitStopped(t *testing.T, n *Node) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.current().cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(stat), ") T ") {
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatal("it does not stop")
		}
	}
}

func TestStoppedNodeGoesOn(t *testing.T) {
	c := start(t)
	n := c.Nodes()[0]
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	awaitStopped(t, n)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if s, err := n.status(ctx); err == nil {
		t.Errorf("a node that was stopped answers %+v", s)
	}
	if err := n.Continue(); err != nil {
		t.Fatal(err)
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if err := n.Stop(); err != nil { // Close must end it all the same
		t.Fatal(err)
	}
}

func TestNodeThatCannotStart(t *testing.T) {
	_, err := Start(t.Context(), config(t, "--engine", "none"))
	if err == nil || !strings.Contains(err.Error(), "node n1 has ended: there is no such engine") {
		t.Errorf("the error is %v", err)
	}
	if found := left(t); len(found) > 0 {
		t.Errorf("%v is left", found)
	}
	c := config(t)
	c.Program = filepath.Join(t.TempDir(), "none")
	if _, err := Start(t.Context(), c); err == nil || !strings.Contains(err.Error(), "node n1 cannot be started") {
		t.Errorf("the error is %v", err)
	}
}

func TestReadyEndsWithItsContext(t *testing.T) {
	c := start(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Ready(ctx); err == nil || !strings.Contains(err.Error(), "node n1 is not ready") {
		t.Errorf("the error is %v", err)
	}
}

func TestWaitsFor(t *testing.T) {
	var s status
	s.WaitsFor = "the others"
	for _, step := range []struct {
		want   string
		change func()
	}{
		{"it does not serve: the others", func() { s.Serving = true }},
		{"0 of 1 nodes own partitions", func() { s.Members = append(s.Members, member{Partitions: 1}) }},
		{"partitions are on their way", func() { s.Layout.Phase = "stable" }},
		{"", func() {}},
	} {
		if got := s.waitsFor(1); got != step.want {
			t.Errorf("it waits for %q, want %q", got, step.want)
		}
		step.change()
	}
}

func TestLimited(t *testing.T) {
	var l limited
	w := bufio.NewWriterSize(&l, 16)
	for range maxSaid {
		if _, err := w.WriteString("abc"); err != nil {
			t.Fatal(err)
		}
	}
	if got := l.String(); len(got) != maxSaid || !strings.HasPrefix(got, "abcabc") {
		t.Errorf("%d bytes are kept: %.20s", len(got), got)
	}
}
