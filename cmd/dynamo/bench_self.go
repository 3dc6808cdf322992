package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dynamo-kv/dynamo/internal/bench"
	"github.com/dynamo-kv/dynamo/internal/bench/procs"
)

// selfCluster is a cluster of processes of dynamo bench's own.
type selfCluster struct {
	on       bool
	nodes    int
	settings settings       // to check what is passed on
	passed   *pflag.FlagSet // the flags of dynamo serve that are
	args     []string
	cluster  *procs.Cluster
}

// ownSettings are the settings of dynamo serve that differ between the nodes
// of a cluster, or that this program itself decides on.
func ownSettings() []string {
	return []string{
		"id", "listen", "data", "join", "advertise-addr", "zone", "weight", "layout-delay", "force-serve",
		"tls-cert", "tls-key", "tls-ca",
	}
}

// register adds the flags. The settings of the nodes are not shown in the
// help: they are those of dynamo serve.
func (s *selfCluster) register(f *pflag.FlagSet) {
	f.BoolVar(&s.on, "self", false, "start a cluster for it on this machine, of which nothing is left afterwards (TMPDIR is where it is kept)")
	f.IntVar(&s.nodes, "nodes", 3, fmt.Sprintf("with --self: how many nodes, 1 to %d", maxBenchNodes))
	serve := &cobra.Command{}
	s.settings.register(serve)
	s.passed = pflag.NewFlagSet("serve", pflag.ContinueOnError)
	serve.Flags().VisitAll(func(flag *pflag.Flag) {
		if slices.Contains(ownSettings(), flag.Name) || slices.Contains(commandOnly(), flag.Name) {
			return
		}
		flag.Hidden = true
		s.passed.AddFlag(flag)
		f.AddFlag(flag)
	})
}

// check collects what is passed on to the nodes.
func (s *selfCluster) check(f *pflag.FlagSet) error {
	var given []string
	s.passed.VisitAll(func(flag *pflag.Flag) {
		if f.Changed(flag.Name) {
			given = append(given, flag.Name)
			s.args = append(s.args, fmt.Sprintf("--%s=%s", flag.Name, flag.Value))
		}
	})
	switch {
	case !s.on && f.Changed("nodes"):
		return errors.New("nodes is for a cluster of its own; give --self too")
	case !s.on && len(given) > 0:
		return fmt.Errorf("%s is a setting of nodes; it is for those of --self", given[0])
	case s.nodes < 1 || s.nodes > maxBenchNodes:
		return fmt.Errorf("nodes is %d; 1 to %d are allowed", s.nodes, maxBenchNodes)
	}
	if err := s.settings.config.Validate(); err != nil {
		return errors.New(inFlags(err))
	}
	return nil
}

// start starts the nodes.
func (s *selfCluster) start(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("this program cannot find itself, to start nodes: %w", err)
	}
	s.cluster, err = procs.Start(ctx, procs.Config{Program: program, Name: os.Args[0], Nodes: s.nodes, Args: s.args})
	return err
}

// faults are what befalls a node in the middle of a run.
type faults struct {
	kill, restart, stop, resume time.Duration // 0 is never
	node                        string        // empty is the last one
	settle                      time.Duration
}

func (s *faults) register(f *pflag.FlagSet) {
	f.DurationVar(&s.kill, "kill-at", 0, "with --self: when a node is killed, counted from the beginning of the run")
	f.DurationVar(&s.restart, "restart-at", 0, "with --kill-at: when it is started again")
	f.DurationVar(&s.stop, "stop-at", 0, "with --self: when a node is stopped in its tracks (SIGSTOP)")
	f.DurationVar(&s.resume, "cont-at", 0, "with --stop-at: when it goes on (SIGCONT)")
	f.StringVar(&s.node, "fault-node", "", "which node that is: n1, n2, ... (the last)")
	f.DurationVar(&s.settle, "settle", time.Second, "how long after each of these the figures are kept apart")
}

// check checks the faults against the rest.
func (s *faults) check(f *pflag.FlagSet, b *benchmark) error {
	some := s.kill != 0 || s.restart != 0 || s.stop != 0 || s.resume != 0
	if s.node == "" {
		s.node = fmt.Sprintf("n%d", b.self.nodes)
	}
	switch {
	case some && !b.self.on:
		return errors.New("a fault is for a node of an own cluster; give --self too")
	case some && b.phase == phaseLoad:
		return errors.New("a fault happens in a run, and the phase is load; use all")
	case s.kill != 0 && s.stop != 0:
		return errors.New("kill-at and stop-at were given; give one of them, for there is one fault a run")
	case s.restart != 0 && s.kill == 0:
		return fmt.Errorf("restart-at is %v, and nothing is killed before; give --kill-at too", s.restart)
	case s.resume != 0 && s.stop == 0:
		return fmt.Errorf("cont-at is %v, and nothing is stopped before; give --stop-at too", s.resume)
	case s.restart != 0 && s.restart <= s.kill:
		return fmt.Errorf("restart-at is %v; it must come after kill-at, which is %v", s.restart, s.kill)
	case s.resume != 0 && s.resume <= s.stop:
		return fmt.Errorf("cont-at is %v; it must come after stop-at, which is %v", s.resume, s.stop)
	case !some && (f.Changed("fault-node") || f.Changed("settle")):
		return errors.New("fault-node and settle are about a fault; give --kill-at or --stop-at too")
	case !inBenchLength(s.settle):
		return fmt.Errorf("settle is %v; %v to %v are allowed", s.settle, minBenchLength, maxBenchLength)
	}
	for _, at := range []time.Duration{s.kill, s.restart, s.stop, s.resume} {
		if at < 0 || at >= b.duration {
			return fmt.Errorf("a fault is at %v; it must be within the run, which lasts %v", at, b.duration)
		}
	}
	names := make([]string, b.self.nodes)
	for i := range names {
		names[i] = fmt.Sprintf("n%d", i+1)
	}
	if some && !slices.Contains(names, s.node) {
		return fmt.Errorf("fault-node is %q; n1 to n%d are allowed", s.node, b.self.nodes)
	}
	return nil
}

// events returns the faults as a run has them.
func (s *faults) events(c *procs.Cluster) []bench.Event {
	if c == nil {
		return nil
	}
	i := slices.IndexFunc(c.Nodes(), func(n *procs.Node) bool { return n.ID() == s.node })
	n := c.Nodes()[max(i, 0)]
	simple := func(what string, do func() error) func(context.Context, func(string)) error {
		return func(_ context.Context, mark func(string)) error {
			mark(n.ID() + " " + what)
			return do()
		}
	}
	restart := func(ctx context.Context, mark func(string)) error {
		mark(n.ID() + " started")
		if err := n.Restart(ctx); err != nil {
			return err
		}
		if err := n.Serves(ctx); err != nil {
			return err
		}
		mark(n.ID() + " serves")
		return nil
	}
	var events []bench.Event
	for _, e := range []bench.Event{
		{At: s.kill, Do: simple("killed", n.Kill)},
		{At: s.restart, Do: restart},
		{At: s.stop, Do: simple("stopped", n.Stop)},
		{At: s.resume, Do: simple("goes on", n.Continue)},
	} {
		if e.At > 0 {
			events = append(events, e)
		}
	}
	return events
}
