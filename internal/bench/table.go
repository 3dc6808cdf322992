package bench

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// NodeUsage is what a node has used while it was measured. One of Used,
// ProcessOf and Unknown is set.
type NodeUsage struct {
	ID string `json:"id"`
	*Used
	// ProcessOf is the node that has the same process: what both use together
	// is said there.
	ProcessOf string `json:"process_of,omitempty"`
	Unknown   string `json:"unknown,omitempty"` // why it is not known
}

// Used is what a process has used.
type Used struct {
	CPUSeconds float64 `json:"cpu_seconds"`
	RSS        int64   `json:"rss_bytes,omitempty"`      // at the end; 0: not known
	PeakRSS    int64   `json:"peak_rss_bytes,omitempty"` // since the process was started; 0: not known
}

// Report is a run with what it was a run of.
type Report struct {
	Workload     string  `json:"workload"`
	Distribution string  `json:"distribution"`
	Phase        string  `json:"phase"`
	Protocol     string  `json:"protocol"`
	Keys         uint64  `json:"keys"`
	ValueBytes   int     `json:"value_bytes"`
	Concurrency  int     `json:"concurrency"`
	Seed         uint64  `json:"seed"`
	TargetRate   float64 `json:"target_rate,omitempty"` // of an open loop
	// PeakRate is what a closed loop before the run has found, where the rate
	// was a share of it.
	PeakRate float64 `json:"peak_ops_per_second,omitempty"`
	*Result
	Load *Result `json:"load,omitempty"` // the writing of the keys, where it came first
	// Nodes are those of the cluster, and CPUPerOperation what they used
	// together for an operation: 0 where that of one of them is not known.
	Nodes           []NodeUsage `json:"nodes,omitempty"`
	CPUPerOperation float64     `json:"cpu_us_per_operation,omitempty"`
	// GeneratorCPU is what this program itself has used: on a machine that it
	// shares with the nodes they do without it.
	GeneratorCPU float64 `json:"generator_cpu_seconds"`
}

// Spent puts what the nodes have used into the report of its operations.
func (r *Report) Spent(nodes []NodeUsage) {
	r.Nodes = nodes
	total := 0.0
	for _, n := range nodes {
		if n.Unknown != "" {
			return
		}
		if n.Used != nil {
			total += n.CPUSeconds
		}
	}
	if r.Operations > 0 {
		r.CPUPerOperation = total * 1e6 / float64(r.Operations)
	}
}

// Title says what was run, on one line.
func (r *Report) Title() string { return r.asked() + ", " + r.asking() }

// asked says what was asked for.
func (r *Report) asked() string {
	what := r.Workload
	if _, err := ParseWorkload(what); err == nil {
		what = "workload " + what
	}
	return what + fmt.Sprintf(": %s keys, %d of them with %d bytes", r.Distribution, r.Keys, r.ValueBytes)
}

// asking says how it was asked for.
func (r *Report) asking() string {
	how := fmt.Sprintf("%d callers through %s, ", r.Concurrency, r.Protocol)
	switch {
	case r.TargetRate > 0 && r.PeakRate > 0:
		return how + fmt.Sprintf("%.0f operations a second, %.0f %% of the peak", r.TargetRate, 100*r.TargetRate/r.PeakRate)
	case r.TargetRate > 0:
		return how + fmt.Sprintf("%.0f operations a second", r.TargetRate)
	}
	return how + "closed loop"
}

// Table returns the report for people.
func (r *Report) Table() string {
	var b strings.Builder
	b.WriteString(r.asked() + "\n" + r.asking() + "\n")
	if r.Load != nil {
		fmt.Fprintf(&b, "the keys were written in %.1f s, %.0f a second\n", r.Load.Seconds, r.Load.Rate)
	}
	fmt.Fprintf(&b, "\n%d operations in %.1f s: %.0f a second\n", r.Operations, r.Seconds, r.Rate)
	r.notes(&b)
	b.WriteString("\n")
	r.latencies(&b)
	r.usage(&b)
	return b.String()
}

// longPause is from how many milliseconds on a pause of this program is worth
// a word: the ordinary ones of a busy machine are shorter.
const longPause = 100

// notes says what else a reader must know of the figures.
func (r *Report) notes(b *strings.Builder) {
	if r.Interrupted {
		b.WriteString("It was interrupted: these are the figures until then.\n")
	}
	if r.NotFound > 0 {
		fmt.Fprintf(b, "%d reads found no such key\n", r.NotFound)
	}
	if r.NotStarted > 0 {
		fmt.Fprintf(b, "%d operations were due and never sent, since all callers waited: the latencies would be higher with them\n", r.NotStarted)
	}
	if r.Pause >= longPause {
		fmt.Fprintf(b, "this program itself stood still for up to %.0f ms: the machine has too much to do for these figures\n", r.Pause)
	}
	if r.Errors > 0 {
		fmt.Fprintf(b, "%d failed:\n", r.Errors)
	}
	for _, kind := range r.Kinds() {
		fmt.Fprintf(b, "  %d %s, such as: %s\n", r.ErrorsByKind[kind], kind, strings.TrimPrefix(r.Examples[kind], kind+": "))
	}
	for _, m := range r.Marks {
		fmt.Fprintf(b, "at %.1f s: %s\n", m.Seconds, m.Name)
	}
}

// latencies is the table of latencies, in milliseconds.
func (r *Report) latencies(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(format string, args ...any) {
		_, _ = w.Write(fmt.Appendf(nil, format, args...)) // a strings.Builder takes everything
	}
	row("latency, ms\tops\tops/s\terrors\tmean\tp50\tp99\tp99.9\tp99.99\tmax\t\n")
	line := func(name string, rate float64, f *Figures) {
		l := f.Latency
		row("%s\t%d\t%.0f\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n",
			name, f.Operations, rate, f.Errors, l.Mean, l.P50, l.P99, l.P999, l.P9999, l.Max)
	}
	line("all", r.Rate, &r.Figures)
	if r.Service != nil {
		line("since it was sent", r.Rate, &Figures{Operations: r.Operations, Errors: r.Errors, Latency: *r.Service})
	}
	for o := range ops {
		if f, ok := r.ByOp[o.String()]; ok && len(r.ByOp) > 1 {
			line(o.String(), float64(f.Operations)/r.Seconds, &f)
		}
	}
	for i := range r.Segments {
		line(r.Segments[i].Name, r.Segments[i].Rate, &r.Segments[i].Figures)
	}
	_ = w.Flush() // likewise
}

func (r *Report) usage(b *strings.Builder) {
	switch {
	case r.CPUPerOperation > 0:
		fmt.Fprintf(b, "\n%.1f µs of CPU an operation on the nodes together\n", r.CPUPerOperation)
	case len(r.Nodes) > 0:
		b.WriteString("\nthe CPU of an operation is not known\n")
	}
	for _, n := range r.Nodes {
		fmt.Fprintf(b, "  %s: %s\n", n.ID, n.text())
	}
}

func (n *NodeUsage) text() string {
	switch {
	case n.Unknown != "":
		return "not known, " + n.Unknown
	case n.Used == nil:
		return "in the process of " + n.ProcessOf
	}
	out := fmt.Sprintf("%.1f s of CPU", n.CPUSeconds)
	if n.RSS > 0 {
		out += fmt.Sprintf(", %d MiB in memory", n.RSS>>20)
	}
	if n.PeakRSS > 0 {
		out += fmt.Sprintf(", %d at most since it was started", n.PeakRSS>>20)
	}
	return out
}
