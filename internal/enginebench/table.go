package enginebench

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Table shows reports side by side, for people.
func Table(reports []Report) string {
	if len(reports) == 0 {
		return ""
	}
	t := table{reports: reports}
	t.section("operations a second", func(r *Report) string { return r.Engine })
	for _, l := range loads() {
		t.load(l.name, func(f *Figures) string { return fmt.Sprintf("%.0f", f.Rate) })
	}
	t.section("CPU of an operation, µs", nil)
	for _, l := range loads() {
		t.load(l.name, func(f *Figures) string { return fmt.Sprintf("%.1f", f.CPU) })
	}
	t.section("99 of 100 take at most, ms", nil)
	for _, l := range loads() {
		t.load(l.name, func(f *Figures) string { return fmt.Sprintf("%.2f", f.P99) })
	}
	t.section("the store", nil)
	t.row("  opened after a kill, ms", func(r *Report) string {
		return r.opened(func(o *Opened) string { return fmt.Sprintf("%.0f", o.Milliseconds) })
	})
	t.row("  memory after that, MiB", func(r *Report) string {
		return r.opened(func(o *Opened) string { return mebibytes(o.RSS) })
	})
	t.row("  memory after the loads, MiB", func(r *Report) string { return mebibytes(r.RSS) })
	t.row("  memory at most, MiB", func(r *Report) string { return mebibytes(r.PeakRSS) })
	t.row("  disk after the loads, MiB", func(r *Report) string { return mebibytes(r.DiskBytes) })
	t.row("  puts had to wait for it, s", func(r *Report) string { return fmt.Sprintf("%.1f", r.Stalled) })
	return fmt.Sprintf("%d keys, values of %d bytes that do not compress, random keys\n", reports[0].Keys, reports[0].ValueBytes) + t.text()
}

// table has a column for each report. A section's rows follow its title.
type table struct {
	reports []Report
	rows    [][]string // the first cell is the label
}

func (t *table) row(label string, cell func(*Report) string) {
	cells := []string{label}
	for i := range t.reports {
		cells = append(cells, cell(&t.reports[i]))
	}
	t.rows = append(t.rows, cells)
}

func (t *table) load(name string, cell func(*Figures) string) {
	t.row("  "+name, func(r *Report) string { return r.figures(name, cell) })
}

// section begins one, with the heads of the columns where there are any.
func (t *table) section(title string, head func(*Report) string) {
	t.rows = append(t.rows, nil)
	if head == nil {
		head = func(*Report) string { return "" }
	}
	t.row(title, head)
}

// text aligns the labels on the left, and all else on the right.
func (t *table) text() string {
	width := 0
	for _, cells := range t.rows {
		if len(cells) > 0 {
			width = max(width, utf8.RuneCountInString(cells[0]))
		}
	}
	var b strings.Builder
	for _, cells := range t.rows {
		line := ""
		for i, cell := range cells {
			if i == 0 {
				line = cell + strings.Repeat(" ", width-utf8.RuneCountInString(cell))
				continue
			}
			line += fmt.Sprintf("%11s", cell)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// none stands where an engine has no such figure.
const none = "-"

func (r *Report) figures(name string, cell func(*Figures) string) string {
	for i := range r.Loads {
		if r.Loads[i].Name == name {
			return cell(&r.Loads[i])
		}
	}
	return none
}

func (r *Report) opened(cell func(*Opened) string) string {
	if r.Open == nil {
		return none
	}
	return cell(r.Open)
}

func mebibytes(n int64) string {
	if n == 0 {
		return none
	}
	return fmt.Sprint((n + 1<<19) >> 20)
}
