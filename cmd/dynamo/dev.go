package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynamo-kv/dynamo"
)

const (
	// maxDevNodes bounds a cluster in one process: it is for trying things
	// out.
	maxDevNodes = 16
	// progressPause is how often dev says what it still waits for.
	progressPause = time.Second
	// acquaintPause is how often dev looks whether its nodes know each other's
	// addresses: news is there within a few rounds of gossip.
	acquaintPause = 10 * time.Millisecond
	// News travels faster than between machines, where it would cost more.
	devGossipInterval = 200 * time.Millisecond
	devLayoutDelay    = 200 * time.Millisecond
)

// dev is what the flags of dynamo dev say.
type dev struct {
	nodes, port int
	data        string
	log         logging
}

func newDev() *cobra.Command {
	var d dev
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a cluster on this machine, in one process",
		Long: `Run a cluster on this machine, in one process, until it is interrupted: to try
things out and to develop against. It is kept in memory, or with --data in a
directory, where a later run with the same directory finds it.`,
		Example: `  dynamo dev
  dynamo dev --nodes 5 --data ./dev-cluster`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().IntVar(&d.nodes, "nodes", 3, fmt.Sprintf("how many nodes, 1 to %d", maxDevNodes))
	cmd.Flags().StringVar(&d.data, "data", "", "keep the cluster in this directory")
	cmd.Flags().IntVar(&d.port, "port", 7171, "port of the first node; the others follow, and a free one stands in for one in use")
	d.log.register(cmd)
	return cmd
}

func (d *dev) run(cmd *cobra.Command) error {
	if d.nodes < 1 || d.nodes > maxDevNodes {
		return usagef(cmd, "nodes is %d; 1 to %d are allowed", d.nodes, maxDevNodes)
	}
	if d.port < 0 || d.port+d.nodes > 1<<16 {
		return usagef(cmd, "port is %d; 0 to %d are allowed for %s", d.port, 1<<16-d.nodes, plural(d.nodes, "node"))
	}
	logger, err := d.log.logger(cmd)
	if err != nil {
		return err
	}
	nodes, err := d.start(logger)
	if err == nil {
		err = d.runNodes(cmd, nodes)
	}
	if stopErr := stopAll(nodes); err == nil && stopErr != nil {
		err = exitf(exitNode, "%w", stopErr)
	}
	return err
}

// stopAll stops the nodes, all at once: one that waits for another's answer
// would else take its time.
func stopAll(nodes []*dynamo.Node) error {
	var wg sync.WaitGroup
	errs := make([]error, len(nodes))
	for i, node := range nodes {
		wg.Go(func() { errs[i] = node.Stop() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// start starts the nodes, the first of which the others join. With an error
// it returns those that it had started.
func (d *dev) start(logger *slog.Logger) (nodes []*dynamo.Node, err error) {
	for i := range d.nodes {
		config := d.config(i)
		config.Logger = logger
		if i > 0 {
			config.Seeds = []string{nodes[0].Addr()}
		}
		node, err := startDevNode(fmt.Sprintf("n%d", i+1), d.port, i, config)
		if err != nil {
			return nodes, exitf(exitNode, "%w", err)
		}
		nodes = append(nodes, node)
	}
	return nodes, nil
}

// config returns the configuration of the node with index i.
func (d *dev) config(i int) *dynamo.Config {
	c := dynamo.DefaultConfig()
	c.N = min(c.N, d.nodes)
	c.R, c.W = c.N/2+1, c.N/2+1
	c.GossipInterval, c.LayoutDelay = devGossipInterval, devLayoutDelay
	c.StorageEngine = "memory"
	if d.data != "" {
		c.StorageEngine, c.StoragePath = "pebble", filepath.Join(d.data, fmt.Sprintf("n%d", i+1))
	}
	return c
}

// startDevNode starts a node on its port, or on a free one where that is in
// use.
func startDevNode(id string, port, i int, config *dynamo.Config) (*dynamo.Node, error) {
	if port > 0 {
		node, err := startAt(id, port+i, config)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return node, err
		}
	}
	return startAt(id, 0, config)
}

func startAt(id string, port int, config *dynamo.Config) (*dynamo.Node, error) {
	node, err := dynamo.NewNode(id, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), config)
	if err != nil {
		return nil, err
	}
	return node, node.Start()
}

// runNodes waits until the cluster is complete, says what can be done with
// it, and waits for the end.
func (d *dev) runNodes(cmd *cobra.Command, nodes []*dynamo.Node) error {
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	for _, node := range nodes {
		go func() {
			select {
			case <-node.Done():
				cancel(exitf(exitNode, "node %s had to stop: %w", node.ID(), node.Err()))
			case <-ctx.Done():
			}
		}()
	}
	err := waitReady(ctx, cmd.ErrOrStderr(), nodes)
	if err == nil {
		err = waitAcquainted(ctx, nodes)
	}
	if err == nil {
		err = write(cmd, []byte(d.welcome(nodes)))
	}
	if err != nil && ctx.Err() == nil {
		return err
	}
	<-ctx.Done()
	if cause := context.Cause(ctx); cmd.Context().Err() == nil {
		return cause
	}
	return nil
}

// waitReady waits until every node has the layout that all nodes are in, and
// says now and then what is missing.
func waitReady(ctx context.Context, w io.Writer, nodes []*dynamo.Node) error {
	said := ""
	for _, node := range nodes {
		for {
			pause, cancel := context.WithTimeout(ctx, progressPause)
			err := node.Ready(pause)
			cancel()
			if err == nil {
				break
			}
			var e *dynamo.Error
			if ctx.Err() != nil || !errors.As(err, &e) || !errors.Is(err, dynamo.ErrTimeout) {
				return err
			}
			if line := fmt.Sprintf("waiting for node %s: %s\n", node.ID(), e.Detail); line != said {
				said = line
				if _, err := io.WriteString(w, line); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// waitAcquainted waits until every node knows the others where they are. One
// that comes back with its data serves at once, and would still look for them
// where they were.
func waitAcquainted(ctx context.Context, nodes []*dynamo.Node) error {
	addrs := make(map[string]string, len(nodes))
	for _, node := range nodes {
		addrs[node.ID()] = node.Addr()
	}
	ticker := time.NewTicker(acquaintPause)
	defer ticker.Stop()
	for _, node := range nodes {
		for !knows(node.Status(), addrs) {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// knows says that a node's status has each of the members at its address.
func knows(st dynamo.Status, addrs map[string]string) bool {
	found := 0
	for _, m := range st.Members {
		if addrs[m.ID] == m.Address {
			found++
		}
	}
	return found == len(addrs)
}

// welcome says where the nodes are and what to do next.
func (d *dev) welcome(nodes []*dynamo.Node) string {
	var b strings.Builder
	kept := "It is in memory, and gone when it stops; --data DIR keeps it."
	if d.data != "" {
		kept = "It is kept in " + d.data + "."
	}
	fmt.Fprintf(&b, "A cluster of %s runs in this process.\n%s\n\n", plural(len(nodes), "node"), kept)
	for _, node := range nodes {
		fmt.Fprintf(&b, "  %s  http://%s\n", node.ID(), node.Addr())
	}
	program := programName()
	first, last := nodes[0].Addr(), nodes[len(nodes)-1].Addr()
	fmt.Fprintf(&b, "\nTry, in another terminal:\n\n")
	fmt.Fprintf(&b, "  %s put greeting hello%s\n", program, addrFlag(first))
	fmt.Fprintf(&b, "  %s get greeting%s\n", program, addrFlag(last))
	fmt.Fprintf(&b, "  %s status%s\n", program, addrFlag(first))
	fmt.Fprintf(&b, "\nCtrl-C stops it.\n")
	return b.String()
}

func addrFlag(addr string) string {
	if addr == defaultAddr {
		return ""
	}
	return " --addr " + addr
}

// programName returns how this program is called in the next command.
func programName() string {
	if path, err := exec.LookPath("dynamo"); err == nil && filepath.IsAbs(path) {
		return "dynamo"
	}
	self, err := os.Executable()
	switch {
	case err == nil && strings.Contains(self, "go-build"): // where go run puts what it builds
		return "go run ./cmd/dynamo"
	case strings.ContainsRune(os.Args[0], filepath.Separator):
		return os.Args[0]
	}
	return "dynamo"
}
