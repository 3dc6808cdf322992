package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynamo-kv/dynamo/internal/enginebench"
)

// The bounds of what is measured of an engine.
const (
	maxEngineKeys = 100_000_000
	maxLoadLength = time.Hour
)

// engineBench is what the flags of dynamo bench engines say.
type engineBench struct {
	options  enginebench.Options
	engines  []string
	dir      string
	progress string
	json     bool
	alone    string // what this process is one of: see the constants
}

// What a process of its own does with one engine.
const (
	aloneMeasure = "measure" // and then waits to be killed
	aloneReopen  = "reopen"
)

func newBenchEngines() *cobra.Command {
	var b engineBench
	cmd := &cobra.Command{
		Use:   "engines [--dir DIR] [--engine NAME,...]",
		Short: "Measure the storage engines beside each other",
		Long: `Measure the storage engines beside each other, without a cluster: synced and
unsynced puts, gets and scans, what an operation costs of a processor, how long
a store takes to open after a kill, and how much memory and disk it needs.

Give --dir on the disk where nodes are to keep their data: synced puts measure
little else than that disk. Each engine runs in a process and in a directory of
its own, which are gone afterwards. The keys are written first; then each load
runs for --duration, so all engines take about as long.

docs/storage.md says how to read the table, and which engine suits whom.`,
		Example: `  dynamo bench engines
  dynamo bench engines --dir /var/lib/dynamo --engine pebble,lss --keys 1000000
  dynamo bench engines --value-size 100 --duration 10s --json`,
		Args: arguments(0, 0),
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&b.dir, "dir", os.TempDir(), "an existing directory, in which each engine gets one of its own")
	f.StringSliceVar(&b.engines, "engine", enginebench.Names(), "which engines, separated by commas")
	f.Uint64Var(&b.options.Keys, "keys", 100_000, "how many keys there are")
	f.IntVar(&b.options.ValueBytes, "value-size", 1024, "size of each value, in bytes")
	f.DurationVar(&b.options.Length, "duration", 3*time.Second, "how long each of the seven loads runs, for each engine")
	f.BoolVar(&b.json, "json", false, "print one JSON object instead of a table")
	f.StringVar(&b.progress, "progress", "auto", "to standard error: auto (on a terminal), lines or off")
	f.StringVar(&b.alone, "alone", "", "")
	_ = f.MarkHidden("alone") // it exists
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return b.run(cmd) }
	return cmd
}

func (b *engineBench) check(cmd *cobra.Command) error {
	for _, c := range []struct {
		ok     bool
		format string
		args   []any
	}{
		{len(b.engines) > 0, "there is no engine; name one of %s", []any{strings.Join(enginebench.Names(), ", ")}},
		{b.options.Keys >= 1 && b.options.Keys <= maxEngineKeys, "keys is %d; 1 to %d are allowed", []any{b.options.Keys, maxEngineKeys}},
		{b.options.ValueBytes >= 0 && b.options.ValueBytes <= maxBenchValue, "value-size is %d; 0 to %d are allowed", []any{b.options.ValueBytes, maxBenchValue}},
		{b.options.Length >= time.Millisecond && b.options.Length <= maxLoadLength, "duration is %v; 1ms to %v are allowed", []any{b.options.Length, maxLoadLength}},
		{b.progress == "auto" || b.progress == "lines" || b.progress == "off", "progress is %q; auto, lines and off are allowed", []any{b.progress}},
	} {
		if !c.ok {
			return usagef(cmd, c.format, c.args...)
		}
	}
	for _, e := range b.engines {
		if !slices.Contains(enginebench.Names(), e) {
			return usagef(cmd, "engine %q is not known; there are: %s", e, strings.Join(enginebench.Names(), ", "))
		}
	}
	return nil
}

func (b *engineBench) run(cmd *cobra.Command) error {
	if err := b.check(cmd); err != nil {
		return err
	}
	if b.alone != "" {
		return b.runAlone(cmd)
	}
	dir, err := os.MkdirTemp(b.dir, "dynamo-engines-")
	if err != nil {
		return exitf(exitUsage, "a directory for the engines: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // what is left says its name
	p := flaggedProgress(cmd.ErrOrStderr(), b.progress)
	defer p.end()
	var reports []enginebench.Report
	for _, engine := range b.engines {
		r, err := b.measure(cmd.Context(), engine, filepath.Join(dir, engine), p)
		if err != nil {
			return stoppedOr(cmd.Context(), exitNode, fmt.Errorf("%s: %w", engine, err))
		}
		reports = append(reports, r)
	}
	p.end()
	if b.json {
		return printJSON(cmd, struct {
			Engines []enginebench.Report `json:"engines"`
		}{reports})
	}
	return write(cmd, []byte(enginebench.Table(reports)))
}

// measure has one engine measured by processes of its own.
func (b *engineBench) measure(ctx context.Context, engine, dir string, p *progress) (r enginebench.Report, err error) {
	if err := b.child(ctx, aloneMeasure, engine, dir, p, &r); err != nil {
		return r, err
	}
	if enginebench.Durable(engine) {
		r.Open = new(enginebench.Opened)
		err = b.child(ctx, aloneReopen, engine, dir, p, r.Open)
	}
	return r, errors.Join(err, os.RemoveAll(dir))
}

// said is a line that a process of one engine prints: what it is about, or
// what it has found.
type said struct {
	Stage string          `json:"stage,omitempty"`
	Found json.RawMessage `json:"found,omitempty"`
}

// child runs a process that does one thing with one engine, takes what it has
// found, and kills it.
func (b *engineBench) child(ctx context.Context, what, engine, dir string, p *progress, found any) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	var stderr strings.Builder
	child := exec.CommandContext(ctx, program, "bench", "engines", "--alone", what, "--engine", engine, "--dir", dir,
		"--keys", fmt.Sprint(b.options.Keys), "--value-size", fmt.Sprint(b.options.ValueBytes), "--duration", b.options.Length.String())
	child.Stderr = &stderr
	stdin, err := child.StdinPipe() // whose end tells the child that this process is gone
	if err != nil {
		return err
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		return err
	}
	if err := child.Start(); err != nil {
		return err
	}
	got, err := b.listen(stdout, func(stage string) { p.show(0, engine+": "+stage) })
	_ = child.Process.Kill() // as a crash does, so that the next one finds what that leaves
	_, _ = child.Process.Wait()
	_ = stdin.Close()
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted")
	case err != nil:
		return fmt.Errorf("its process: %w", err)
	case got == nil:
		return errors.New(strings.TrimPrefix(strings.TrimSpace(stderr.String()), "dynamo: "))
	}
	return json.Unmarshal(got, found)
}

// listen takes the lines of a child until it has told what it has found, or
// has ended without: found is nil.
func (b *engineBench) listen(from io.Reader, stage func(string)) (found []byte, err error) {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		var s said
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			return nil, err
		}
		if s.Found != nil {
			return s.Found, nil
		}
		stage(s.Stage)
	}
	return nil, lines.Err()
}

// runAlone is the process of one engine.
func (b *engineBench) runAlone(cmd *cobra.Command) error {
	o := b.options
	o.Engine, o.Dir = b.engines[0], b.dir
	tell := func(s any) error {
		line, err := json.Marshal(s)
		if err != nil {
			return err
		}
		return write(cmd, append(line, '\n'))
	}
	foundIt := func(v any) error {
		return tell(struct {
			Found any `json:"found"`
		}{v})
	}
	if b.alone == aloneReopen {
		_ = tell(said{Stage: "opening"}) // who does not listen has gone, which the last line finds
		opened, err := enginebench.Reopen(o)
		if err != nil {
			return exitf(exitNode, "opening what the kill has left: %w", err)
		}
		return foundIt(opened)
	}
	r, closer, err := enginebench.Measure(cmd.Context(), o, func(stage string) { _ = tell(said{Stage: stage}) })
	if err != nil {
		return exitf(exitNode, "%w", err)
	}
	if err := foundIt(r); err != nil {
		return errors.Join(err, closer())
	}
	_, _ = io.Copy(io.Discard, cmd.InOrStdin()) // until it is killed, or whoever would do that is gone
	return closer()
}
