package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/client"
	"github.com/dynamo-kv/dynamo/internal/frame"
	"github.com/dynamo-kv/dynamo/internal/transport/memconn"
)

// dialSilent connects to nodes that take what they are sent and say nothing, as a
// process does that is stopped.
func dialSilent(context.Context, string) (net.Conn, error) {
	here, there := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, there) }()
	return here, nil
}

// TestSilentNodes: the error says that nodes which were asked have not answered,
// and not how the client gave them up.
func TestSilentNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		cfg := client.DefaultConfig()
		cfg.Dial = dialSilent
		_, err := client.New(ctx, []string{"10.0.0.1:7171"}, cfg)
		if !errors.Is(err, client.ErrTimeout) || !strings.Contains(err.Error(), "10.0.0.1:7171: no topology within 5s") {
			t.Errorf("the error is %v", err)
		}
	})
}

// TestSilentNodesAreNotWaitedFor: with several addresses, one that says nothing
// keeps the client no longer from the next than a node has for an answer; when
// all have had that, each gets the time that a far one needs.
func TestSilentNodesAreNotWaitedFor(t *testing.T) {
	addrs := []string{"10.0.0.1:7171", "10.0.0.2:7171", "10.0.0.3:7171", "10.0.0.4:7171"}
	for _, c := range []struct {
		within time.Duration
		says   string
	}{
		{3 * time.Second, "no topology within 500ms"},
		{time.Minute, "no topology within 5s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			var mu sync.Mutex
			asked := map[string]int{}
			cfg := client.DefaultConfig()
			cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
				mu.Lock()
				asked[addr]++
				mu.Unlock()
				return dialSilent(ctx, addr)
			}
			ctx, cancel := context.WithTimeout(t.Context(), c.within)
			defer cancel()
			_, err := client.New(ctx, addrs, cfg)
			if !errors.Is(err, client.ErrTimeout) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("after %v the error is %v", c.within, err)
			}
			if len(asked) != len(addrs) {
				t.Errorf("in %v these were asked: %v; want all of %v", c.within, asked, addrs)
			}
		})
	}
}

// watchedNode is a fake node that counts who learns the topology from it.
type watchedNode struct {
	*fakeNode
	watches atomic.Int64
}

func (w *watchedNode) Watch(r *dynamov1.TopologyRequest, stream grpc.ServerStreamingServer[dynamov1.TopologyReply]) error {
	w.watches.Add(1)
	return w.fakeNode.Watch(r, stream)
}

// serve serves a node on the network until the test ends.
func (w *watchedNode) serve(t *testing.T, network *memconn.Network) {
	t.Helper()
	ln, err := network.Listen(w.addr)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(
		grpc.ForceServerCodecV2(frame.Codec{}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
	)
	dynamov1.RegisterKVServer(server, w)
	serve(t, server, ln)
}

// TestCutOffNodesAreGivenUp: a node that the network cuts off without a word is
// given up, though nobody asks for anything: the topology is learned from the other
// one, and what was sent and not answered ends. When it is back, it is asked again.
func TestCutOffNodesAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memconn.New()
		topology := &dynamov1.TopologyReply{Layout: 1, Partitions: 1, Replicas: 2, Width: 2, Owners: []uint32{0, 1}}
		nodes := map[string]*watchedNode{}
		for _, host := range []string{"n1", "n2"} {
			addr := host + ":7171"
			topology.Nodes = append(topology.Nodes, &dynamov1.TopologyNode{Id: host, Address: addr})
			nodes[host] = &watchedNode{fakeNode: &fakeNode{addr: addr, topology: topology, answer: succeeds, more: make(chan struct{})}}
		}
		for _, n := range nodes {
			n.serve(t, network)
		}
		cfg := client.DefaultConfig()
		cfg.Dial = network.Dialer("here")
		c, err := client.New(t.Context(), []string{"n1:7171", "n2:7171"}, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Get(t.Context(), key); err != nil { // n1 is the first owner
			t.Fatal(err)
		}
		for _, host := range []string{"n1", "n2"} {
			before := nodes["n1"].watches.Load() + nodes["n2"].watches.Load()
			watched := nodes[host].watches.Load() > 0
			network.Split([]string{"here"}, []string{host})
			if _, err := c.Get(t.Context(), key); err != nil {
				t.Errorf("a get while %s is cut off: %v", host, err)
			}
			<-time.After(time.Minute)
			if after := nodes["n1"].watches.Load() + nodes["n2"].watches.Load(); watched && after == before {
				t.Errorf("%s is cut off for a minute, and the topology still waits for it", host)
			}
			if pending := client.Pending(c); pending > 0 {
				t.Errorf("%s is cut off for a minute, and %d requests still wait for it", host, pending)
			}
			network.Heal()
			<-time.After(time.Minute)
		}
		asked := len(nodes["n1"].requests())
		if _, err := c.Get(t.Context(), key); err != nil || len(nodes["n1"].requests()) == asked {
			t.Errorf("a node that is back is not asked: %v", err)
		}
	})
}
