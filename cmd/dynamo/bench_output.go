package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynamo-kv/dynamo/internal/bench"
	"github.com/dynamo-kv/dynamo/internal/bench/plot"
	"github.com/dynamo-kv/dynamo/internal/bench/procs"
)

// usage is what this program and its nodes use in a time.
type usage struct {
	report        *bench.Report
	nodes         []*procs.Node
	before, after []procs.Usage // empty where it is not known
	own, ownAfter time.Duration
}

func (b *benchmark) watchUsage(report *bench.Report) *usage {
	u := &usage{report: report}
	if b.self.cluster != nil {
		u.nodes = b.self.cluster.Nodes()
	}
	return u
}

func (u *usage) begin() { u.before, u.own = u.now() }

func (u *usage) stop() { u.after, u.ownAfter = u.now() }

// now returns what each node has used since it was started, and this program.
func (u *usage) now() (nodes []procs.Usage, own time.Duration) {
	for _, n := range u.nodes {
		used, err := n.Usage()
		if err != nil {
			nodes = nil // not on this system
			break
		}
		nodes = append(nodes, used)
	}
	return nodes, procs.OwnCPU()
}

// sum puts it into the report, of so many operations.
func (u *usage) sum(operations int64) {
	u.report.GeneratorCPU = (u.ownAfter - u.own).Seconds()
	if len(u.before) == 0 || len(u.after) != len(u.before) {
		return
	}
	total := time.Duration(0)
	for i, n := range u.nodes {
		used := u.after[i].CPU - u.before[i].CPU
		total += used
		u.report.Nodes = append(u.report.Nodes, bench.NodeUsage{
			ID: n.ID(), CPUSeconds: used.Seconds(), RSS: u.after[i].RSS, PeakRSS: u.after[i].PeakRSS,
		})
	}
	if operations > 0 {
		u.report.CPUPerOperation = float64(total.Nanoseconds()) / 1e3 / float64(operations)
	}
}

// print prints the report, and draws it where that was asked for: last, so that
// what was measured is there even if it cannot be drawn.
func (b *benchmark) print(cmd *cobra.Command, r *bench.Report) error {
	if err := b.printReport(cmd, r); err != nil || b.plot == "" {
		return err
	}
	image := plot.SVG(plot.Chart{Title: r.Title(), Points: r.Timeline, Marks: r.Marks})
	if err := os.WriteFile(b.plot, image, 0o644); err != nil { //nolint:gosec // an image is to be looked at
		return exitf(exitUsage, "the plot: %w", err)
	}
	return nil
}

func (b *benchmark) printReport(cmd *cobra.Command, r *bench.Report) error {
	if !b.json {
		return write(cmd, []byte(r.Table()))
	}
	if b.timeline {
		return printJSON(cmd, struct {
			*bench.Report
			Timeline []bench.Point `json:"timeline"`
		}{r, r.Timeline})
	}
	return printJSON(cmd, r)
}
