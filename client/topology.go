package client

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/latency"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// topology is who owns which keys: immutable.
type topology struct {
	cluster uint64
	layout  uint64
	bits    int // the cluster has 1<<bits partitions
	width   int // owners of a partition
	owners  []uint16
	nodes   []member
}

// member is a node in a topology.
type member struct {
	*node  // nil where its address is not known
	addr   string
	health health
}

// parseTopology checks a reply. The nodes of the result are not set.
func parseTopology(m *dynamov1.TopologyReply) (*topology, error) {
	q := m.Partitions
	switch {
	case q == 0 || q > maxPartitions || q&(q-1) != 0:
		return nil, fmt.Errorf("a topology has %d partitions; powers of two up to %d are allowed", q, maxPartitions)
	case len(m.Nodes) == 0 || len(m.Nodes) > maxNodes:
		return nil, fmt.Errorf("a topology has %d nodes; 1 to %d are allowed", len(m.Nodes), maxNodes)
	case m.Width == 0 || uint64(m.Width)*uint64(q) != uint64(len(m.Owners)):
		return nil, fmt.Errorf("a topology has %d owners of %d partitions; each has %d", len(m.Owners), q, m.Width)
	}
	t := &topology{
		cluster: m.Cluster, layout: m.Layout, bits: bits.TrailingZeros32(q), width: int(m.Width),
		owners: make([]uint16, len(m.Owners)), nodes: make([]member, len(m.Nodes)),
	}
	for i, o := range m.Owners {
		if int(o) >= len(m.Nodes) {
			return nil, fmt.Errorf("a topology has the owner %d of %d nodes", o, len(m.Nodes))
		}
		t.owners[i] = uint16(o)
	}
	for i, n := range m.Nodes {
		if _, _, err := net.SplitHostPort(n.GetAddress()); err == nil {
			t.nodes[i].addr = n.GetAddress()
		}
		t.nodes[i].health = healthOf(n.GetHealth())
	}
	return t, nil
}

// ownersOf returns the owners of a key, as indexes into nodes, in order.
func (t *topology) ownersOf(key []byte) []uint16 {
	p := int(uint64(ring.Hash(key)) >> (64 - uint(t.bits))) // a shift by 64 gives 0
	return t.owners[p*t.width : (p+1)*t.width]
}

// follow learns the topology, and goes on learning it until the client is
// closed. It watches one node after another.
func (c *Client) follow() {
	rng := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	failed := 0
	for i := rng.IntN(len(c.seeds)); c.ctx.Err() == nil; i++ {
		addrs := c.known()
		addr := addrs[i%len(addrs)]
		learned, err := c.watch(addr, c.patience(failed, len(addrs)))
		if c.ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.failure = fmt.Errorf("%s: %s", addr, c.untold(err))
		c.mu.Unlock()
		c.logger.Debug("the topology must be asked of another node", "addr", addr, "error", err)
		if learned {
			failed = 0
		}
		failed++
		if failed < len(addrs) && failed > 1 {
			continue // there are others to be asked at once
		}
		pause, _ := reconnect().Delay(failed, rng)
		if !sleep(c.ctx, pause) {
			return
		}
	}
}

// patience returns how long a node may take to tell the topology. Where there are
// others, each has as long as for any answer when it is asked first, so that one
// that stands still does not keep a program from starting; from then on it has the
// time that one far away needs.
func (c *Client) patience(failed, addrs int) time.Duration {
	if failed >= addrs || addrs == 1 {
		return connectTimeout
	}
	return min(c.cfg.AttemptTimeout, connectTimeout)
}

// known returns the addresses that may be asked: those that were given, and
// those of the nodes.
func (c *Client) known() []string {
	addrs := append([]string(nil), c.seeds...)
	if t := c.topology.Load(); t != nil {
		for _, m := range t.nodes {
			if m.addr != "" {
				addrs = append(addrs, m.addr)
			}
		}
	}
	return addrs
}

// watch learns the topology from one node until that ends, and says whether
// there was any. The node has so long for the first.
func (c *Client) watch(addr string, patience time.Duration) (learned bool, err error) {
	conn, err := c.connect(addr)
	if err != nil {
		return false, err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithCancelCause(c.ctx)
	defer cancel(nil)
	late := time.AfterFunc(patience, func() {
		cancel(fmt.Errorf("no topology within %v: it does not answer, or has no layout yet", patience))
	})
	defer late.Stop()
	stream, err := dynamov1.NewKVClient(conn).Watch(ctx, &dynamov1.TopologyRequest{})
	if err != nil {
		return false, causeOf(ctx, err)
	}
	for {
		m, err := stream.Recv()
		if err != nil {
			return learned, causeOf(ctx, err)
		}
		t, err := parseTopology(m)
		if err != nil {
			return learned, err
		}
		late.Stop()
		learned = true
		if err := c.install(t); err != nil {
			return learned, err
		}
	}
}

// reason returns what has ended a connection, or that it did not come about,
// without what gRPC says around it.
func reason(err error) string {
	text := status.Convert(err).Message()
	if _, dialling, ok := strings.Cut(text, dialFailed); ok {
		return strings.TrimSuffix(dialling, `"`)
	}
	return text
}

// dialFailed is how gRPC begins to say that there was no connection.
const dialFailed = "Error while dialing: "

// untold returns why a node has told no topology, and what to do where TLS, of
// which the text says little, may be the reason.
func (c *Client) untold(err error) string {
	text, s := reason(err), status.Convert(err)
	switch {
	case s.Code() != codes.Unavailable || strings.Contains(s.Message(), dialFailed):
	case c.cfg.TLS == nil:
		text += "; this is no node, or one that has TLS, and TLS is not configured here"
	case strings.Contains(text, "does not look like a TLS handshake"):
		text += "; this is no node, or one that has no TLS, and TLS is configured here"
	}
	return text
}

// causeOf returns why ctx has ended if it has, since that is what gRPC's error
// then does not say.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// install makes t the topology, unless it is older than the one there is. The
// error is that it is one of another cluster: its node has taken the address of
// one of ours.
func (c *Client) install(t *topology) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.topology.Load()
	switch {
	case before != nil && before.cluster != t.cluster:
		return fmt.Errorf("the node belongs to the cluster %016x; this is a client of %016x", t.cluster, before.cluster)
	case c.closed || before != nil && before.layout > t.layout:
		return nil
	}
	used := map[string]*node{}
	for i := range t.nodes {
		m := &t.nodes[i]
		if m.addr == "" {
			continue
		}
		n := c.nodes[m.addr]
		if n == nil {
			n = c.newNode(m.addr)
		}
		m.node = n
		used[m.addr] = n
	}
	for addr, n := range c.nodes {
		if used[addr] == nil {
			n.retire() // what waits there is asked elsewhere
		}
	}
	c.nodes = used
	c.topology.Store(t)
	c.once.Do(func() { close(c.learned) })
	return nil
}

// retire ends the links of a node that is not in the topology any more.
func (n *node) retire() {
	n.retired = true
	if n.cancel != nil {
		n.cancel()
	}
}

// newNode returns a node that is not connected.
func (c *Client) newNode(addr string) *node {
	n := &node{addr: addr, began: c.began, window: latency.New(latency.Default())}
	for range c.cfg.Connections {
		n.links = append(n.links, newLink(c, n))
	}
	return n
}
