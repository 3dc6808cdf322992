package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/dynamo-kv/dynamo/internal/bench"
	"github.com/dynamo-kv/dynamo/internal/bench/plot"
	"github.com/dynamo-kv/dynamo/internal/bench/usage"
	"github.com/dynamo-kv/dynamo/internal/self"
)

// watch runs what is measured, and has in the report what it has shown and what
// the nodes and this program have used for it. The nodes are asked at the end
// also where ctx has ended, and the run with it.
func (b *benchmark) watch(ctx context.Context, report *bench.Report, run func() (*bench.Result, error)) (err error) {
	nodes := usage.New(b.addrs, b.secure)
	nodes.Begin(ctx)
	own := self.CPU()
	if report.Result, err = run(); err != nil {
		return err
	}
	report.GeneratorCPU = (self.CPU() - own).Seconds()
	report.Spent(nodes.End(context.WithoutCancel(ctx)))
	return nil
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
