package main

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/dynamo-kv/dynamo/internal/storage"
)

// status is the part of /v1/status that the table shows.
type status struct {
	Node     string
	Cluster  string
	Serving  bool
	WaitsFor string `json:"waits_for"`
	Members  []struct {
		ID, Address, Datacentre, Zone, Status, State string
		Partitions                                   int
		Breaker                                      string
	}
	Layout struct {
		Version    uint64
		Partitions int
		Replicas   int
		Phase      string
	}
	UnderReplicated bool `json:"under_replicated"`
	Transition      struct {
		Pulls, Left int
		Blocked     []string
	}
	Leftovers   int
	AntiEntropy struct {
		TreesBuilding int `json:"trees_building"`
		Pairs         int
		Compared      int
		Since         time.Time
		KeysRepaired  uint64 `json:"keys_repaired"`
	} `json:"anti_entropy"`
	Hints struct {
		Bytes    uint64
		MaxBytes uint64 `json:"max_bytes"`
		Refused  uint64
		Pending  []struct {
			Target string
			Keys   int
		}
	}
	ReadRepair struct {
		Sent, Own, Dropped uint64
	} `json:"read_repair"`
	Background struct {
		Throttled bool
		Slots     int
		MaxSlots  int     `json:"max_slots"`
		P99       float64 `json:"p99_ms"`
		Threshold float64 `json:"threshold_ms"`
	}
	Room struct {
		State string
		Free  uint64 `json:"free_bytes"`
		Total uint64 `json:"total_bytes"`
		Full  uint64 `json:"full_at_bytes"`
	}
	Forgetting struct {
		BlockedBy *struct {
			ID    string
			Since time.Time
		} `json:"blocked_by"`
	}
}

func newStatus() *cobra.Command {
	var q request
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show a node's view of its cluster",
		Long: `Show a node's view of its cluster: the members, what the node thinks of their
health (STATUS: alive, suspected or dead), where they are in their life in the
cluster (STATE), and how many partitions they hold. Above them stands what is
not as it should be, such as keys that the node keeps for others that missed
writes.`,
		Example: `  dynamo status --addr 10.0.0.1:7171
  dynamo status --json | jq -r '.members[] | select(.status == "dead") | .id'`,
		Args: arguments(0, 0),
	}
	q.registerAddr(cmd, "print what the node sends, as JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var st status
		return q.show(cmd, &url.URL{Scheme: "http", Host: q.addr, Path: "/v1/status"}, &st, st.text)
	}
	return cmd
}

// text returns the status for people.
func (st *status) text(coloured bool) string {
	var b strings.Builder
	cluster := st.Cluster
	if cluster == "" {
		cluster = "none yet"
	}
	fmt.Fprintf(&b, "node %s, cluster %s\n", st.Node, cluster)
	fmt.Fprintf(&b, "layout %d, %s: %s, %s of each key\n", st.Layout.Version, st.Layout.Phase,
		plural(st.Layout.Partitions, "partition"), plural(st.Layout.Replicas, "replica"))
	if line := st.antiEntropy(); line != "" {
		fmt.Fprintf(&b, "%s\n", line)
	}
	for _, note := range st.notes() {
		fmt.Fprintf(&b, "%s\n", paint(note, yellow, coloured))
	}
	b.WriteString("\n")
	rows := [][]string{{"NODE", "ADDRESS", "ZONE", "STATUS", "STATE", "PARTITIONS"}}
	for _, m := range st.Members {
		zone := m.Zone
		if zone == "" {
			zone = "-"
		}
		status := m.Status
		if status == "none" {
			status = "-"
		}
		rows = append(rows, []string{m.ID, m.Address, zone, status, m.State, strconv.Itoa(m.Partitions)})
	}
	st.addDatacentres(rows)
	table(&b, rows, coloured)
	return b.String()
}

// addDatacentres adds a column to the rows of the members where any of them
// names one.
func (st *status) addDatacentres(rows [][]string) {
	named := false
	for _, m := range st.Members {
		named = named || m.Datacentre != ""
	}
	if !named {
		return
	}
	const column = 2 // before the zone, which is within it
	rows[0] = slices.Insert(rows[0], column, "DATACENTRE")
	for i, m := range st.Members {
		rows[i+1] = slices.Insert(rows[i+1], column, cmp.Or(m.Datacentre, "-"))
	}
}

// antiEntropy says how far the node is with comparing what it holds.
func (st *status) antiEntropy() string {
	a := &st.AntiEntropy
	if a.Pairs == 0 {
		return ""
	}
	line := fmt.Sprintf("anti-entropy: %d of %s compared", a.Compared, plural(a.Pairs, "pair"))
	if !a.Since.IsZero() {
		line += ", each since " + a.Since.Format(time.RFC3339)
	}
	line += "; " + plural(int(a.KeysRepaired), "key") + " repaired"
	if a.TreesBuilding > 0 {
		line += "; " + plural(a.TreesBuilding, "hash tree") + " to build"
	}
	return line
}

// notes says what is not as it should be.
func (st *status) notes() []string {
	var notes []string
	if !st.Serving {
		notes = append(notes, "this node does not serve yet: it waits for "+st.WaitsFor)
	}
	if st.UnderReplicated {
		notes = append(notes, fmt.Sprintf("under-replicated: fewer than %s", plural(st.Layout.Replicas, "node")))
	}
	if st.Transition.Left > 0 {
		notes = append(notes, fmt.Sprintf("this node copies what the layout gives it: %d of %s left",
			st.Transition.Left, plural(st.Transition.Pulls, "partition")))
	}
	if len(st.Transition.Blocked) > 0 {
		notes = append(notes, "the change of the layout goes on when these nodes are back: "+strings.Join(st.Transition.Blocked, ", "))
	}
	if st.Leftovers > 0 {
		notes = append(notes, fmt.Sprintf("this node holds keys of %s that it does not own", plural(st.Leftovers, "partition")))
	}
	for _, m := range st.Members {
		if m.Breaker == "open" || m.Breaker == "half-open" {
			notes = append(notes, fmt.Sprintf("this node does not call %s, which did not answer: its circuit breaker is %s", m.ID, m.Breaker))
		}
	}
	for _, p := range st.Hints.Pending {
		notes = append(notes, fmt.Sprintf("this node keeps %s for %s until it can be reached", plural(p.Keys, "key"), p.Target))
	}
	if st.Hints.Refused > 0 {
		notes = append(notes, fmt.Sprintf("hints are full, or were: %s of %s, %d refused",
			storage.Size(st.Hints.Bytes), storage.Size(st.Hints.MaxBytes), st.Hints.Refused))
	}
	if n := st.ReadRepair.Dropped; n > 0 {
		notes = append(notes, fmt.Sprintf("reads found more owners behind than they may repair at once: %d left to anti-entropy", n))
	}
	if b := &st.Background; b.Throttled {
		notes = append(notes, fmt.Sprintf("slow requests slow background work down: p99 %.0f ms, threshold %.0f ms, %d of %s",
			b.P99, b.Threshold, b.Slots, plural(b.MaxSlots, "slot")))
	}
	switch r := &st.Room; r.State {
	case "full":
		notes = append(notes, fmt.Sprintf("this node has no room left: %s of %s are free, and at %s it takes no more writes but deletes",
			storage.Size(r.Free), storage.Size(r.Total), storage.Size(r.Full)))
	case "low":
		notes = append(notes, fmt.Sprintf("this node has little room left: %s of %s are free, and it is full at %s",
			storage.Size(r.Free), storage.Size(r.Total), storage.Size(r.Full)))
	}
	if by := st.Forgetting.BlockedBy; by != nil {
		notes = append(notes, fmt.Sprintf("deleted keys are kept: since %s node %s does not confirm that they may be forgotten",
			by.Since.Format(time.RFC3339), by.ID))
	}
	return notes
}

// The colours, as the terminal's escape codes.
const (
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	plain  = "\x1b[0m"
)

func paint(s, colour string, coloured bool) string {
	if !coloured || colour == "" {
		return s
	}
	return colour + s + plain
}

// table prints rows in aligned columns, two spaces apart. Colours do not
// count as width.
func table(b *strings.Builder, rows [][]string, coloured bool) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range rows {
		for i, cell := range row {
			b.WriteString(paint(cell, colourOf(cell), coloured))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		b.WriteByte('\n')
	}
}

// colourOf returns the colour of a member's status.
func colourOf(cell string) string {
	switch cell {
	case "alive":
		return green
	case "suspected":
		return yellow
	case "dead":
		return red
	}
	return ""
}
