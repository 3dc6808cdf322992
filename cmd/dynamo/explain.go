package main

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// explained is the part of /v1/explain/{key} that the table shows.
type explained struct {
	Node      string
	Position  string
	Partition int
	Phase     string
	Equal     bool
	Layouts   []struct {
		Name   string
		Owners []string
	}
	Nodes []explainedNode
}

type explainedNode struct {
	ID, Role, Status, Error string
	Held                    struct {
		Layout, Phase string
		Copy          explainedSet
		Hint          *struct {
			Owners []struct {
				ID    string
				Data  bool
				Since time.Time
			}
			Kept explainedSet
		}
	}
}

type explainedSet struct{ Siblings []explainedSibling }

type explainedSibling struct {
	Dot struct {
		Actor   string
		Counter uint64
	}
	Clock     map[string]uint64
	Timestamp time.Time
	Tombstone bool
	Bytes     int
}

func (v *explainedSibling) dot() string { return fmt.Sprintf("%s:%d", v.Dot.Actor, v.Dot.Counter) }

func newExplain() *cobra.Command {
	var q request
	cmd := &cobra.Command{
		Use:   "explain KEY",
		Short: "Show where a key belongs, and what each of its nodes holds of it",
		Long: `Show where a key belongs, and what each of its nodes holds of it: its position
on the ring and its partition, the layout, the owners in order and the fallbacks
that stand in for them, and for each of these nodes the dot and the size of
every sibling, tombstones included, or why the node has not answered. Hints that
are kept of the key are shown beside that. Below stands when each of these
siblings was written, and its clock: what its writer had seen. Values are not
shown.`,
		Example: `  dynamo explain greeting
  dynamo explain greeting --json | jq '.nodes[] | {id, copy: .held.copy}'`,
		Args: arguments(1, 1),
	}
	q.registerAddr(cmd, "print what the node sends, as JSON")
	cmd.Flags().DurationVar(&q.timeout, "timeout", 0, "time that the nodes have to answer, 1ms to 1m (as the node is configured)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return q.explain(cmd, args[0]) }
	return cmd
}

func (q *request) explain(cmd *cobra.Command, key string) error {
	if key == "" {
		return usagef(cmd, "the key is empty; a key has 1 to 2048 bytes")
	}
	query := url.Values{}
	if cmd.Flags().Changed("timeout") {
		query.Set("timeout", q.timeout.String())
	}
	var e explained
	return q.show(cmd, pathURL(q.addr, "/v1/explain/", key, query), &e, func(coloured bool) string { return e.text(key, coloured) })
}

// text returns the explanation for people.
func (e *explained) text(key string, coloured bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "key %q: position %s, partition %d\n", key, e.Position, e.Partition)
	for i, l := range e.Layouts {
		what := e.Phase
		if i < len(e.Layouts)-1 {
			what = "on its way out"
		}
		fmt.Fprintf(&b, "layout %s, %s: owners %s\n", l.Name, what, strings.Join(l.Owners, ", "))
	}
	for _, note := range e.notes() {
		fmt.Fprintf(&b, "%s\n", paint(note, yellow, coloured))
	}
	b.WriteString("\n")
	rows := [][]string{{"NODE", "ROLE", "STATUS", "HOLDS", "BYTES", "DOT"}}
	for i := range e.Nodes {
		rows = append(rows, e.Nodes[i].rows()...)
	}
	table(&b, rows, coloured)
	if siblings := e.siblings(); len(siblings) > 1 {
		b.WriteString("\n")
		table(&b, siblings, coloured)
	}
	return b.String()
}

// siblings has the time and the clock of each sibling that any node holds, an
// entry of the clock a line. Where nodes hold one with different clocks, each of
// these has its lines.
func (e *explained) siblings() [][]string {
	rows := [][]string{{"DOT", "TIME", "CLOCK"}}
	seen := map[string]bool{}
	add := func(s *explainedSet) {
		for i := range s.Siblings {
			dot, clock := s.Siblings[i].dot(), clockTexts(s.Siblings[i].Clock)
			name := fmt.Sprint(dot, clock)
			if seen[name] {
				continue
			}
			seen[name] = true
			at := s.Siblings[i].Timestamp.Format(time.RFC3339)
			for _, entry := range clock {
				rows = append(rows, []string{dot, at, entry})
				dot, at = "", ""
			}
		}
	}
	for i := range e.Nodes {
		add(&e.Nodes[i].Held.Copy)
		if hint := e.Nodes[i].Held.Hint; hint != nil {
			add(&hint.Kept)
		}
	}
	return rows
}

// notes says what is not as it should be.
func (e *explained) notes() []string {
	var notes []string
	if !e.Equal {
		notes = append(notes, "the owners do not hold the same, or have not all answered")
	}
	for i := range e.Nodes {
		n := &e.Nodes[i]
		if n.Error != "" {
			notes = append(notes, fmt.Sprintf("%s has not answered: %s", n.ID, n.Error))
			continue
		}
		if newest := e.Layouts[len(e.Layouts)-1].Name; n.Held.Layout != newest || n.Held.Phase != e.Phase {
			notes = append(notes, fmt.Sprintf("%s goes by layout %s, %s", n.ID, n.Held.Layout, n.Held.Phase))
		}
		if n.Held.Hint == nil {
			continue
		}
		for _, o := range n.Held.Hint.Owners {
			what := "keeps the key for " + o.ID
			if !o.Data {
				what = fmt.Sprintf("notes since %s that %s missed a write", o.Since.Format(time.RFC3339), o.ID)
			}
			notes = append(notes, n.ID+" "+what)
		}
	}
	return notes
}

// rows has a line for each sibling of a node's own copy and of what it keeps
// for others, or one that says that there is none.
func (n *explainedNode) rows() [][]string {
	if n.Error != "" {
		return [][]string{{n.ID, n.Role, n.Status, "?", "-", "-"}}
	}
	rows := n.Held.Copy.rows(n, "")
	if n.Held.Hint != nil {
		rows = append(rows, n.Held.Hint.Kept.rows(n, " (hint)")...)
	}
	if len(rows) == 0 {
		rows = [][]string{{n.ID, n.Role, n.Status, "nothing", "-", "-"}}
	}
	return rows
}

func (s *explainedSet) rows(n *explainedNode, where string) [][]string {
	var rows [][]string
	for i := range s.Siblings {
		v := &s.Siblings[i]
		what := "value"
		if v.Tombstone {
			what = "tombstone"
		}
		rows = append(rows, []string{n.ID, n.Role, n.Status, what + where, strconv.Itoa(v.Bytes), v.dot()})
	}
	return rows
}

// clockTexts has the entries of a clock, its actors in order; "-" where it has
// none.
func clockTexts(clock map[string]uint64) []string {
	if len(clock) == 0 {
		return []string{"-"}
	}
	parts := make([]string, 0, len(clock))
	for actor, counter := range clock {
		parts = append(parts, fmt.Sprintf("%s:%d", actor, counter))
	}
	slices.Sort(parts)
	return parts
}
