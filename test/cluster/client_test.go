package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	remote "github.com/dynamo-kv/dynamo/client"
)

// threeProcesses returns a cluster and a client of it.
func threeProcesses(t *testing.T) ([]*process, *remote.Client) {
	t.Helper()
	dir := t.TempDir()
	var nodes []*process
	for i := range 3 {
		id := fmt.Sprint("n", i+1)
		args := []string{"--gossip-interval", "200ms", "--partitions", "64"}
		if i > 0 {
			args = append(args, "--join", nodes[0].addr)
		}
		nodes = append(nodes, serve(t, id, "127.0.0.1:0", filepath.Join(dir, id), args...))
	}
	for _, p := range nodes {
		p.awaitMembers(3)
	}
	cfg := remote.DefaultConfig()
	cfg.Timeout = patientRequest // so that no error comes of a slow machine
	c, err := remote.New(t.Context(), []string{nodes[0].addr}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return nodes, c
}

// load is what callers ask of a client until it is stopped: each adds elements
// to keys that all share.
type load struct {
	t       *testing.T
	c       *remote.Client
	stop    chan struct{}
	done    atomic.Int64 // updates that succeeded
	callers sync.WaitGroup

	mu    sync.Mutex
	added map[string][]string // by key
}

const loadKeys = 64

func startLoad(t *testing.T, c *remote.Client, callers int) *load {
	t.Helper()
	l := &load{t: t, c: c, stop: make(chan struct{}), added: map[string][]string{}}
	for i := range callers {
		l.callers.Go(func() { l.run(i) })
	}
	return l
}

func (l *load) run(caller int) {
	for i := 0; ; i++ {
		select {
		case <-l.stop:
			return
		default:
		}
		key, element := fmt.Sprint("set-", (caller+i)%loadKeys), fmt.Sprintf("%d.%d", caller, i)
		_, err := l.c.Update(context.Background(), key, func(siblings []remote.Version) ([]byte, error) {
			siblings = append(siblings, remote.Version{Data: []byte(element)})
			return remote.Union(" ")(siblings)
		})
		if err != nil {
			l.t.Errorf("update of %s: %v", key, err)
			return
		}
		l.done.Add(1)
		l.mu.Lock()
		l.added[key] = append(l.added[key], element)
		l.mu.Unlock()
	}
}

// await waits until so many more updates have succeeded.
func (l *load) await(more int64) {
	l.t.Helper()
	goal := l.done.Load() + more
	await(l.t, fmt.Sprint(more, " more updates"), func() bool { return l.t.Failed() || l.done.Load() >= goal })
}

// check stops the load, and finds every element that was added.
func (l *load) check() {
	l.t.Helper()
	close(l.stop)
	l.callers.Wait()
	for key, added := range l.added {
		r, err := l.c.Get(l.t.Context(), key)
		if err != nil {
			l.t.Fatal(err)
		}
		var found []string
		for _, v := range r.Values {
			found = append(found, strings.Split(string(v.Data), " ")...)
		}
		for _, element := range added {
			if !slices.Contains(found, element) {
				l.t.Errorf("%s has lost %s", key, element)
			}
		}
	}
}

// TestClientGoesOnWithoutANode: a node is killed under load and comes back, and
// another one is killed. No request fails, and nothing that was added is lost.
func TestClientGoesOnWithoutANode(t *testing.T) {
	nodes, c := threeProcesses(t)
	l := startLoad(t, c, 8)
	l.await(200)
	nodes[0].kill() // the one that the client watches, too
	l.await(1000)
	nodes[0].restart()
	nodes[0].awaitMembers(3)
	l.await(200)
	nodes[1].kill()
	l.await(1000)
	l.check()
}

// TestClientPassesAStoppedNode: a node stands still under load, so that its
// connections stay open and nothing comes from it. The requests that it has are
// answered by others, and later ones do not wait for it.
func TestClientPassesAStoppedNode(t *testing.T) {
	nodes, c := threeProcesses(t)
	l := startLoad(t, c, 8)
	l.await(200)
	if err := nodes[1].cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	l.await(1000)
	if err := nodes[1].cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	l.await(200)
	l.check()
}
