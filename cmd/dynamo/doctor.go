package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dynamo-kv/dynamo/internal/doctor"
	"github.com/dynamo-kv/dynamo/internal/storage"
)

func newDoctor() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor DIR",
		Short: "Check the data directory of a node that does not run",
		Long: `Check the data directory of a node that does not run: every checksum that its
engine keeps, every record, and one against the other, as saved hash trees
against the data. It says whose directory it is, what is in it and what is
damaged, with the keys that are lost and what to do. It changes nothing in the
directory, keeps nodes out of it meanwhile, and refuses one that a node has
open.

It exits with 0 if all is well, 1 if something is damaged, and 2 if it could not
check.`,
		Example: `  dynamo doctor /var/lib/dynamo
  dynamo doctor /var/lib/dynamo --json | jq -r '.damage[] | .key'`,
		Args: arguments(1, 1),
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		endAtOnce() // it has nothing to put in order
		return examine(cmd, args[0], asJSON)
	}
	return cmd
}

func examine(cmd *cobra.Command, dir string, asJSON bool) error {
	p := newProgress(cmd.ErrOrStderr())
	p.begin("checking")
	report, err := doctor.Check(doctor.Options{Dir: dir, Progress: p.ofCheck})
	p.end()
	if err != nil {
		return exitf(exitUsage, "%w", err)
	}
	out := []byte(diagnosis{report}.text(colours(cmd.OutOrStdout())))
	if asJSON {
		if out, err = json.Marshal(report); err != nil {
			return exitf(exitUsage, "the report: %w", err)
		}
		out = append(out, '\n')
	}
	if err := write(cmd, out); err != nil {
		return err
	}
	if !report.Healthy {
		return exitf(exitDamaged, "%s: %s damaged", dir, plural(len(report.Damage)+report.MoreDamage, "place"))
	}
	return nil
}

// diagnosis is a report for people.
type diagnosis struct{ *doctor.Report }

// maxShown bounds the damage that is shown. The rest is in the JSON.
const maxShown = 20

func (d diagnosis) text(coloured bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "node %s, cluster %s, engine %s\n", d.Node, cmp.Or(d.Cluster, "none yet"), d.Engine)
	if l := d.Layout; l != nil {
		fmt.Fprintf(&b, "layout %s, %s: owns %d of %s, %s of each key\n",
			l.Name, l.Phase, l.Owned, plural(l.Partitions, "partition"), plural(l.Replicas, "replica"))
	}
	if d.Stamped != nil {
		fmt.Fprintf(&b, "last in use at %s\n", d.Stamped.Format(time.RFC3339))
	}
	for _, n := range d.Notes {
		fmt.Fprintf(&b, "%s\n", paint(n, yellow, coloured))
	}
	if d.MoreNotes > 0 {
		fmt.Fprintf(&b, "%s\n", paint(fmt.Sprintf("and %d more of the kind", d.MoreNotes), yellow, coloured))
	}
	b.WriteString("\n")
	table(&b, d.counts(), coloured)
	if sizes := d.siblings(); sizes != nil {
		b.WriteString("\n")
		table(&b, sizes, coloured)
	}
	if hints := d.pending(); hints != nil {
		b.WriteString("\n")
		table(&b, hints, coloured)
	}
	b.WriteString("\n")
	d.verdict(&b, coloured)
	return b.String()
}

func (d diagnosis) counts() [][]string {
	return [][]string{
		{"KEYS", "DELETED", "TOMBSTONES", "BYTES", "HINTS", "HASH TREES"},
		{
			number(d.Data.Keys), number(d.Data.Deleted), number(d.Data.Tombstones), storage.Size(d.Data.Bytes),
			number(d.Hints.Records), fmt.Sprintf("%d of %d right", d.Trees.Equal, d.Trees.Saved),
		},
	}
}

func number(n uint64) string { return strconv.FormatUint(n, 10) }

// siblings has how many keys have how many siblings, nil where none has any.
func (d diagnosis) siblings() [][]string {
	if len(d.Data.Siblings) == 0 || len(d.Data.Siblings) == 1 && d.Data.Siblings[0].To == 1 {
		return nil
	}
	rows := [][]string{{"SIBLINGS", "KEYS"}}
	for _, s := range d.Data.Siblings {
		of := strconv.Itoa(s.From)
		if s.To > s.From {
			of += " to " + strconv.Itoa(s.To)
		}
		rows = append(rows, []string{of, number(s.Keys)})
	}
	return rows
}

// pending has for whom hints are kept, nil where none are.
func (d diagnosis) pending() [][]string {
	if len(d.Hints.Pending) == 0 {
		return nil
	}
	rows := [][]string{{"HINTS FOR", "KEYS", "MARKERS ONLY"}}
	for _, p := range d.Hints.Pending {
		rows = append(rows, []string{p.Target, number(p.Keys), number(p.Marked)})
	}
	return rows
}

// verdict says what is damaged, and what to do.
func (d diagnosis) verdict(b *strings.Builder, coloured bool) {
	if d.Healthy {
		fmt.Fprintf(b, "%s\n", paint("healthy: nothing is damaged", green, coloured))
		return
	}
	colour := red
	if d.Worst == doctor.CostNothing {
		colour = yellow
	}
	for i := range d.Damage {
		if i == maxShown {
			break
		}
		fmt.Fprintf(b, "%s\n", paint(damageText(&d.Damage[i]), colour, coloured))
	}
	if more := len(d.Damage) + d.MoreDamage - maxShown; more > 0 {
		fmt.Fprintf(b, "and %d more; --json lists up to %d\n", more, doctor.MaxDamage)
	}
	fmt.Fprintf(b, "\n%s\n", advice(d.Worst))
}

// damageText is one line on damage: what it costs, where it is, and what it is.
func damageText(d *doctor.Damage) string {
	costs := map[doctor.Cost]string{
		doctor.CostNothing: "costs nothing", doctor.CostRecord: "record lost", doctor.CostStore: "node stops",
	}
	line := costs[d.Cost] + ": "
	if d.Record != "" {
		line += d.Record
		if d.Key != "" && d.Partition != nil {
			line += fmt.Sprintf(", partition %d", *d.Partition)
		}
		line += ": "
	}
	line += d.What
	if d.File != "" {
		line += " (" + d.File
		if d.Offset != nil {
			line += " at " + strconv.FormatInt(*d.Offset, 10)
		}
		line += ")"
	}
	return line
}

// advice says what to do.
func advice(worst doctor.Cost) string {
	switch worst {
	case doctor.CostStore:
		return `The node would not start from this, or stop when it comes upon it. Move the
directory away and start the node with an empty one, as one whose disk was lost:
the other owners fill it again. Its hints are lost then. See docs/runbook.md.`
	case doctor.CostRecord:
		return `Start the node. It knows a lost record when it comes upon it, and has it from the
other owners then; reading the key ('dynamo explain KEY') is enough. See
docs/runbook.md.`
	case doctor.CostNothing:
	}
	return `Nothing is lost, and the node starts. But something has changed what was
written: look after the disk.`
}
