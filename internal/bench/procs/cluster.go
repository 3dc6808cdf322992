package procs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

const (
	// patience bounds the wait for a cluster to form, or for a node to come
	// back: they take seconds.
	patience = 2 * time.Minute
	// readyPoll is how often a node is asked how far it is.
	readyPoll = 50 * time.Millisecond
	// askTimeout bounds one such question.
	askTimeout = 2 * time.Second
	// layoutDelay is how long the nodes wait for more of them before they
	// share the partitions out: they are started one right after the other.
	layoutDelay = "200ms"
)

// Cluster is some nodes on this machine.
type Cluster struct {
	dir   string
	nodes []*Node
}

// Config says what a cluster is made of.
type Config struct {
	// Program is the dynamo program, and Name how it is called.
	Program, Name string
	Nodes         int
	// Args are further arguments of dynamo serve.
	Args []string
}

// Start starts the nodes, which are ready for Ready when it returns. Close
// must be called unless there is an error.
func Start(ctx context.Context, c Config) (*Cluster, error) {
	dir, err := os.MkdirTemp("", "dynamo-bench-")
	if err != nil {
		return nil, fmt.Errorf("no directory for the nodes: %w", err)
	}
	cluster := &Cluster{dir: dir}
	for i := range c.Nodes {
		n := newNode(c, fmt.Sprintf("n%d", i+1), dir)
		if i > 0 {
			n.args = append(n.args, "--join", cluster.nodes[0].Addr())
		}
		if err := n.start(ctx, "127.0.0.1:0"); err != nil {
			return nil, errors.Join(err, cluster.Close())
		}
		cluster.nodes = append(cluster.nodes, n)
	}
	return cluster, nil
}

// Close kills the nodes and removes what they have stored: nobody needs it.
func (c *Cluster) Close() error {
	for _, n := range c.nodes {
		n.end()
	}
	return os.RemoveAll(c.dir)
}

// Nodes returns the nodes.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Addrs returns where the nodes listen.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		addrs[i] = n.Addr()
	}
	return addrs
}

// Ready waits until every node knows all of them and each owns its share of
// the partitions.
func (c *Cluster) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, n := range c.nodes {
		if err := n.await(ctx, func(s status) string { return s.waitsFor(len(c.nodes)) }); err != nil {
			return err
		}
	}
	return nil
}

// status is what matters of the answer to GET /v1/status.
type status struct {
	Serving  bool     `json:"serving"`
	WaitsFor string   `json:"waits_for"`
	Members  []member `json:"members"`
	Layout   struct {
		Phase string `json:"phase"`
	} `json:"layout"`
}

type member struct {
	Partitions int `json:"partitions"`
}

// waitsFor says what is missing until so many nodes share the partitions, or
// nothing.
func (s *status) waitsFor(nodes int) string {
	owners := 0
	for _, m := range s.Members {
		if m.Partitions > 0 {
			owners++
		}
	}
	switch {
	case !s.Serving:
		return "it does not serve: " + s.WaitsFor
	case owners < nodes:
		return fmt.Sprintf("%d of %d nodes own partitions", owners, nodes)
	case s.Layout.Phase != "stable":
		return "partitions are on their way"
	}
	return ""
}

// await asks the node until nothing is missing.
func (n *Node) await(ctx context.Context, missing func(status) string) error {
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for {
		s, err := n.status(ctx)
		what := missing(s)
		if err == nil && what == "" {
			return nil
		}
		select {
		case <-ticker.C:
		case <-n.exited():
			return fmt.Errorf("node %s has ended: %s", n.id, n.said())
		case <-ctx.Done():
			if err != nil {
				what = err.Error()
			}
			return fmt.Errorf("node %s is not ready: %s: %w", n.id, what, context.Cause(ctx))
		}
	}
}

func (n *Node) status(ctx context.Context) (s status, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.Addr()+"/v1/status", http.NoBody)
	if err != nil {
		return s, err
	}
	req.Close = true // the load has connections of its own
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, err
	}
	defer func() { _ = resp.Body.Close() }() // it was only read
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("status %d", resp.StatusCode)
	}
	return s, json.NewDecoder(resp.Body).Decode(&s)
}
