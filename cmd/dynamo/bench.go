package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynamo-kv/dynamo/internal/bench"
	"github.com/dynamo-kv/dynamo/internal/bench/keys"
)

// The bounds of a load.
const (
	maxBenchKeys    = 1_000_000_000 // keys have twelve digits; it is time that bounds them
	maxBenchValue   = 16 << 20      // what a node takes at most
	maxBenchCallers = 4096          // each has a connection or a stream's slot
	maxBenchRate    = 1_000_000     // a caller is woken for each operation
	maxBenchLength  = 24 * time.Hour
	minBenchLength  = 100 * time.Millisecond // a point of the timeline
	maxBenchNodes   = 16
	// peakLength is how long the closed loop runs of whose rate --rate takes a
	// share, unless the run is shorter.
	peakLength = 10 * time.Second
)

// benchmark is what the flags of dynamo bench say.
type benchmark struct {
	workload, op, distribution string
	phase, protocol, rate      string
	progress, plot             string
	keys, seed                 uint64
	valueBytes, callers        int
	duration, warmup, timeout  time.Duration
	addrs                      []string
	json, timeline             bool
	tls                        security
	self                       selfCluster
	faults                     faults

	// What follows from them:
	load      bench.Options
	rateFixed float64     // operations a second; 0 is a closed loop, or a share
	rateShare float64     // of the peak; 0 is none
	secure    *tls.Config // nil: the cluster has no TLS
}

const (
	phaseLoad = "load"
	phaseRun  = "run"
	phaseAll  = "all"
)

func newBench() *cobra.Command {
	var b benchmark
	cmd := &cobra.Command{
		Use:   "bench [--self | --addr HOST:PORT,...]",
		Short: "Put a load on a cluster and measure it",
		Long: `Write keys, put a load on them and measure it: on the running cluster of which
--addr names nodes, or with --self on one of its own, whose nodes are processes
of this machine that are gone afterwards.

Without --rate each caller asks again when it has its answer (closed loop),
which finds the most that the cluster does. With --rate requests are due at that
rate whatever becomes of those before (open loop), and a latency begins when its
request was due. --rate 70% takes a share of what a closed loop has found just
before.

The workloads are those of YCSB: a (half reads, half updates), b (5 % updates),
c (reads), d (reads of the newest keys, 5 % inserts), f (half of the operations
read a key and replace what they read). Puts overwrite what is stored.

The report has the CPU and the memory of each node, wherever it runs, from its
metrics. What cannot be read is said, and changes nothing else.

With --self every setting of 'dynamo serve' that does not name a place is taken
too, such as --engine memory, and goes to each node. The faults --kill-at,
--restart-at, --stop-at and --cont-at befall one of these nodes.`,
		Example: `  dynamo bench --self
  dynamo bench --self --engine memory --op get --value-size 100 --json
  dynamo bench --addr 10.0.0.1:7171,10.0.0.2:7171 --workload b --rate 5000
  dynamo bench --self --rate 70% --duration 60s \
    --kill-at 20s --restart-at 35s --plot kill.svg`,
		Args: arguments(0, 0),
	}
	b.register(cmd)
	cmd.AddCommand(newBenchEngines())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return b.run(cmd) }
	return cmd
}

func (b *benchmark) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringSliceVar(&b.addrs, "addr", []string{addrFromEnv()}, "host:port of nodes of the cluster, separated by commas; DYNAMO_ADDR sets the default")
	b.tls.registerClient(cmd)
	b.self.register(f)
	f.StringVar(&b.workload, "workload", "a", "what is done: a, b, c, d or f of YCSB")
	f.StringVar(&b.op, "op", "", "one operation instead of a workload: put or get")
	f.StringVar(&b.distribution, "distribution", "", "which keys: uniform, zipfian or latest (the workload's; uniform with --op)")
	f.StringVar(&b.phase, "phase", phaseAll, "load writes the keys, run does the workload, all does both")
	f.Uint64Var(&b.keys, "keys", 10_000, "how many keys there are")
	f.IntVar(&b.valueBytes, "value-size", 1024, "size of each value, in bytes")
	f.IntVar(&b.callers, "concurrency", 64, "how many callers ask at the same time")
	f.DurationVar(&b.duration, "duration", 10*time.Second, "how long it runs, without the writing of the keys")
	f.DurationVar(&b.warmup, "warmup", 0, "how long it runs before that without being measured")
	f.StringVar(&b.rate, "rate", "", "operations that become due each second, or a share of the peak, such as 70% (as many as there are answers)")
	f.DurationVar(&b.timeout, "timeout", 2*time.Second, "time that an operation has, 1ms to 1m")
	f.Uint64Var(&b.seed, "seed", 1, "of keys, values and operations: the same one asks the same again")
	f.StringVar(&b.protocol, "protocol", protocolGRPC, "how the cluster is asked: grpc, with the Go client, or http")
	b.faults.register(f)
	f.BoolVar(&b.json, "json", false, "print one JSON object instead of a table")
	f.BoolVar(&b.timeline, "timeline", false, "with --json: the points of the plot too")
	f.StringVar(&b.plot, "plot", "", "draw throughput and latency over time into this file, an .svg")
	f.StringVar(&b.progress, "progress", "auto", "to standard error each second: auto (on a terminal), lines or off")
}

// check takes the flags apart. It reports the first that is wrong.
func (b *benchmark) check(cmd *cobra.Command) error {
	f := cmd.Flags()
	for _, c := range []struct {
		ok     bool
		format string
		args   []any
	}{
		{!f.Changed("op") || !f.Changed("workload"), "a workload and an op were given; give one of them", nil},
		{b.keys >= 1 && b.keys <= maxBenchKeys, "keys is %d; 1 to %d are allowed", []any{b.keys, maxBenchKeys}},
		{b.valueBytes >= 0 && b.valueBytes <= maxBenchValue, "value-size is %d; 0 to %d are allowed", []any{b.valueBytes, maxBenchValue}},
		{b.callers >= 1 && b.callers <= maxBenchCallers, "concurrency is %d; 1 to %d are allowed", []any{b.callers, maxBenchCallers}},
		{inBenchLength(b.duration), "duration is %v; %v to %v are allowed", []any{b.duration, minBenchLength, maxBenchLength}},
		{b.warmup >= 0 && b.warmup <= maxBenchLength, "warmup is %v; 0s to %v are allowed", []any{b.warmup, maxBenchLength}},
		{b.timeout >= time.Millisecond && b.timeout <= time.Minute, "timeout is %v; 1ms to 1m are allowed", []any{b.timeout}},
		{b.phase == phaseLoad || b.phase == phaseRun || b.phase == phaseAll, "phase is %q; load, run and all are allowed", []any{b.phase}},
		{b.progress == "auto" || b.progress == "lines" || b.progress == "off", "progress is %q; auto, lines and off are allowed", []any{b.progress}},
		{b.plot == "" || strings.HasSuffix(b.plot, ".svg"), "plot is %q; a file whose name ends in .svg is allowed", []any{b.plot}},
		{b.plot == "" || b.phase != phaseLoad, "a plot is of a run, and the phase is load; leave one of them out", nil},
		{!b.timeline || b.json, "timeline is a part of the JSON object; give --json too", nil},
		{!b.self.on || !f.Changed("addr"), "addresses and --self were given; give one of them", nil},
		{b.self.on || len(b.addrs) > 0, "there is no address; name a node with --addr, or use --self", nil},
		{!b.self.on || b.phase != phaseRun, "phase is run, and the nodes of --self are new and have no keys; use all", nil},
	} {
		if !c.ok {
			return usagef(cmd, c.format, c.args...)
		}
	}
	for _, part := range []func() error{
		b.checkAddrs, b.checkRate, b.checkLoad, b.checkProtocol, b.checkPlot,
		func() error { return b.checkSecurity(f) },
		func() error { return b.self.check(f) },
		func() error { return b.faults.check(f, b) },
	} {
		if err := part(); err != nil {
			return usagef(cmd, "%v", err)
		}
	}
	return nil
}

func inBenchLength(d time.Duration) bool { return d >= minBenchLength && d <= maxBenchLength }

func (b *benchmark) checkAddrs() error {
	for _, addr := range b.addrs {
		if err := checkAddr(addr); err != nil {
			return err
		}
	}
	return nil
}

// checkPlot looks for the directory of the plot before there is anything to draw.
func (b *benchmark) checkPlot() error {
	if b.plot == "" {
		return nil
	}
	if info, err := os.Stat(filepath.Dir(b.plot)); err != nil || !info.IsDir() {
		return fmt.Errorf("plot is %q; a file in a directory that exists is allowed", b.plot)
	}
	return nil
}

// checkRate reads a rate or a share.
func (b *benchmark) checkRate() error {
	if b.rate == "" {
		return nil
	}
	text, share := strings.CutSuffix(b.rate, "%")
	n, err := strconv.ParseFloat(text, 64)
	most := float64(maxBenchRate)
	if share {
		most = 1000
	}
	if err != nil || !(n > 0 && n <= most) {
		return fmt.Errorf("rate is %q; a number up to %d is allowed, or a share of the peak up to 1000%%, such as 70%%", b.rate, maxBenchRate)
	}
	if share {
		b.rateShare = n / 100
	} else {
		b.rateFixed = n
	}
	return nil
}

func (b *benchmark) checkLoad() error {
	w, err := bench.ParseWorkload(b.workload)
	if b.op != "" {
		w, err = bench.ParseOp(b.op)
	}
	if err != nil {
		return err
	}
	d := w.Distribution
	if b.distribution != "" {
		if d, err = keys.Parse(b.distribution); err != nil {
			return err
		}
	}
	b.load = bench.Options{
		Workload: w, Distribution: d, Keys: b.keys, ValueBytes: b.valueBytes,
		Callers: b.callers, Timeout: b.timeout, Seed: b.seed,
	}
	return nil
}

// run starts a cluster, if it is to be an own one, and measures.
func (b *benchmark) run(cmd *cobra.Command) (err error) {
	if err := b.check(cmd); err != nil {
		return err
	}
	ctx := cmd.Context()
	if b.self.on {
		if err := b.self.start(ctx); err != nil {
			return stoppedOr(ctx, exitNode, err)
		}
		defer func() {
			if closeErr := b.self.cluster.Close(); err == nil && closeErr != nil {
				err = exitf(exitNode, "%w", closeErr)
			}
		}()
		if err := b.self.cluster.Ready(ctx); err != nil {
			return stoppedOr(ctx, exitNode, err)
		}
		b.addrs = b.self.cluster.Addrs()
	}
	db, err := b.connect(ctx)
	if err != nil && !b.self.on && ctx.Err() == nil {
		return &exitError{
			code: exitUnreachable, err: err,
			hint: "Start a cluster with 'dynamo dev', name a node with --addr, or have one started with --self.",
		}
	}
	if err != nil {
		return stoppedOr(ctx, exitUnreachable, err)
	}
	defer db.Close()
	report, err := b.measure(ctx, cmd, db)
	if err != nil {
		return stoppedOr(ctx, exitNotDone, err)
	}
	return b.print(cmd, report)
}

// stoppedOr returns an error with a code, or that of an interrupt where that
// is what has ended ctx.
func stoppedOr(ctx context.Context, code int, err error) error {
	if ctx.Err() != nil {
		return exitf(exitNotDone, "it was interrupted before there was anything to report")
	}
	return exitf(code, "%w", err)
}

// measure carries out the phases.
func (b *benchmark) measure(ctx context.Context, cmd *cobra.Command, db bench.DB) (*bench.Report, error) {
	load := bench.New(db, b.load)
	report := &bench.Report{
		Workload: b.load.Workload.Name, Distribution: string(b.load.Distribution), Phase: b.phase,
		Protocol: b.protocol, Keys: b.keys, ValueBytes: b.valueBytes, Concurrency: b.callers, Seed: b.seed,
	}
	show := flaggedProgress(cmd.ErrOrStderr(), b.progress)
	defer show.end()
	fill := func() (*bench.Result, error) {
		filled, err := load.Fill(ctx, show.ofLoad("load"))
		if err != nil {
			return nil, fmt.Errorf("writing the keys: %w", err)
		}
		return filled, nil
	}
	var err error
	if b.phase == phaseLoad {
		return report, b.watch(ctx, report, fill)
	}
	if b.phase == phaseAll {
		if report.Load, err = fill(); err != nil {
			return nil, err
		}
	}
	plan, err := b.plan(ctx, load, report, show)
	if err != nil {
		return nil, err
	}
	return report, b.watch(ctx, report, func() (*bench.Result, error) { return load.Run(ctx, plan) })
}

// plan returns the run that is measured, after those that come before it.
func (b *benchmark) plan(ctx context.Context, load *bench.Load, report *bench.Report, show *progress) (bench.Plan, error) {
	plan := bench.Plan{Duration: b.duration, Rate: b.rateFixed, Events: b.faults.events(b.self.cluster), Settle: b.faults.settle}
	if b.rateShare > 0 {
		peak, err := load.Run(ctx, bench.Plan{Duration: min(peakLength, b.duration), Progress: show.ofLoad("peak")})
		if err != nil {
			return plan, err
		}
		report.PeakRate = peak.Rate
		plan.Rate = peak.Rate * b.rateShare
		if plan.Rate <= 0 {
			return plan, fmt.Errorf("nothing was answered in the closed loop of whose rate a share was to be taken (%v)", peak.Examples)
		}
	}
	report.TargetRate = plan.Rate
	if b.warmup > 0 {
		if _, err := load.Run(ctx, bench.Plan{Duration: b.warmup, Rate: plan.Rate, Progress: show.ofLoad("warmup")}); err != nil {
			return plan, err
		}
	}
	plan.Progress = show.ofLoad("run")
	return plan, ctx.Err()
}
