package main

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynamo-kv/dynamo"
)

const (
	// servingPoll is how often serve looks whether the node serves, to say so.
	servingPoll = 20 * time.Millisecond
	// waitingPause is how long a node may wait before serve says for what, and
	// waitingRepeat how long it is silent then, though that changes.
	waitingPause  = time.Second
	waitingRepeat = 10 * time.Second
)

func newServe() *cobra.Command {
	var s settings
	cmd := &cobra.Command{
		Use:   "serve --id ID [--listen HOST:PORT] [--join HOST:PORT,...]",
		Short: "Run one node",
		Long: `Run one node until it is interrupted.

Without --join it forms a cluster of its own when its data directory is new;
with --join it becomes a member of the cluster of the nodes at those addresses,
and waits for them for as long as it takes.

Every setting can be given as a flag, as an environment variable (DYNAMO_ID for
--id, DYNAMO_REQUEST_TIMEOUT for --request-timeout) or in a YAML file
(request-timeout: 300ms); flags come before the environment, and that before
the file. --print-config shows what would be used, as such a file.`,
		Example: `  dynamo serve --id n1
  dynamo serve --id n2 --listen 127.0.0.1:7172 --join 127.0.0.1:7171`,
		Args: arguments(0, 0),
	}
	s.register(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return s.serve(cmd) }
	return cmd
}

func (s *settings) serve(cmd *cobra.Command) error {
	if err := s.load(cmd); err != nil {
		return err
	}
	if s.print {
		out, err := s.yaml(cmd)
		if err != nil {
			return exitf(exitUsage, "the settings cannot be printed: %w", err)
		}
		return write(cmd, out)
	}
	logger, err := s.log.logger(cmd)
	if err != nil {
		return err
	}
	if s.id == "" {
		return usagef(cmd, "a node needs a name that stays the same over restarts: give it with --id, such as --id n1")
	}
	if s.config.TLS, err = s.tls.node(); err != nil {
		return usagef(cmd, "%v", err)
	}
	debug, err := listenDebug(cmd, s.debug)
	if err != nil {
		return err
	}
	defer debug.stop()
	s.config.Logger = logger
	node, err := dynamo.NewNode(s.id, s.listen, s.config)
	if err != nil {
		return usagef(cmd, "%s", inFlags(err))
	}
	if err := node.Start(); err != nil {
		return exitf(exitNode, "%w", err)
	}
	if open := s.open(); open != "" && !loopback(s.listen) {
		logger.Warn("other machines can reach this node, and "+open+": keep it in a network that you trust", "listen", s.listen)
	}
	err = s.runNode(cmd, node, debug)
	if stopErr := node.Stop(); err == nil && stopErr != nil {
		err = exitf(exitNode, "%w", stopErr)
	}
	return err
}

// open says what connections lack; empty: nothing.
func (s *settings) open() string {
	switch {
	case s.config.TLS == nil:
		return "connections are neither encrypted nor authenticated"
	case s.tls.ca == "":
		return "connections are encrypted but not authenticated"
	}
	return ""
}

// runNode says what the node does until the command is interrupted or the
// node has failed.
func (s *settings) runNode(cmd *cobra.Command, node *dynamo.Node, debug *debugServer) error {
	if err := printf(cmd, "node %s listens on %s\n", node.ID(), node.Addr()); err != nil {
		return err
	}
	if err := debug.say(cmd); err != nil {
		return err
	}
	served, err := waitServing(cmd, node)
	if err != nil {
		return err
	}
	if served {
		st := node.Status()
		err := printf(cmd, "node %s serves cluster %s, layout %d\n", node.ID(), st.Cluster, st.Layout.Version)
		if err != nil {
			return err
		}
		if note := overruled(st.Layout, s.config); note != "" {
			s.config.Logger.Warn(note)
		}
	}
	select {
	case <-cmd.Context().Done():
		return nil
	case <-node.Done():
		return exitf(exitNode, "the node had to stop: %w", node.Err())
	}
}

// overruled says which settings of a node are not those of its cluster, which
// were fixed when it was formed; empty: none.
func overruled(l dynamo.Layout, c *dynamo.Config) string {
	var faults []string
	for _, s := range []struct {
		name       string
		have, want int
	}{{"n", l.Replicas, c.N}, {"partitions", l.Partitions, c.Partitions}} {
		if s.have != s.want {
			faults = append(faults, fmt.Sprintf("%s is %d here and %d in the cluster", s.name, s.want, s.have))
		}
	}
	if len(faults) == 0 {
		return ""
	}
	return strings.Join(faults, ", ") + ", which goes by what it was formed with: give this node the same"
}

// waitServing says whether the node serves before it or the command ends, and
// prints what it waits for where that takes long.
func waitServing(cmd *cobra.Command, node *dynamo.Node) (bool, error) {
	ticker := time.NewTicker(servingPoll)
	defer ticker.Stop()
	said, next := "", time.Now().Add(waitingPause)
	for {
		st := node.Status()
		if st.Serving {
			return true, nil
		}
		if st.WaitsFor != said && time.Now().After(next) {
			said, next = st.WaitsFor, time.Now().Add(waitingRepeat)
			if err := printf(cmd, "node %s waits for %s\n", node.ID(), said); err != nil {
				return false, err
			}
		}
		select {
		case <-ticker.C:
		case <-node.Done():
			return false, nil
		case <-cmd.Context().Done():
			return false, nil
		}
	}
}

// loopback says whether only this machine can reach an address.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// plural returns "1 node", "2 nodes".
func plural(n int, noun string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
