package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/dynamo-kv/dynamo/internal/bench"
)

// Chart is what is drawn.
type Chart struct {
	Title  string
	Points []bench.Point
	Marks  []bench.Mark
}

// The image's measures, in pixels.
const (
	width, height  = 960, 600
	left, right    = 74, 24 // room for the labels of the axes
	topOfRates     = 84
	bottomOfRates  = 284
	topOfLatencies = 334
	bottomOfAll    = 540
)

// The colours: well apart for eyes that do not tell red from green.
const (
	ink, faint, paper = "#333333", "#dddddd", "#ffffff"
	blue, orange      = "#0072b2", "#e69f00"
	purple, red       = "#8a4f9e", "#d62728"
)

// series is one line of a panel.
type series struct {
	name, colour string
	value        func(bench.Point) float64
}

func latencies() []series {
	return []series{
		{"p50", blue, func(p bench.Point) float64 { return p.P50 }},
		{"p99", orange, func(p bench.Point) float64 { return p.P99 }},
		{"p99.9", purple, func(p bench.Point) float64 { return p.P999 }},
	}
}

// SVG returns the image.
func SVG(c Chart) []byte {
	d := drawing{end: 1}
	for _, p := range c.Points {
		d.end = max(d.end, p.Seconds)
	}
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`,
		width, height, width, height)
	d.printf(`<rect width="%d" height="%d" fill="%s"/>`, width, height, paper)
	d.text(left, 24, "start", ink, `font-size="13"`, c.Title)
	d.seconds()
	d.rates(c.Points)
	d.latencies(c.Points)
	d.marks(c.Marks)
	d.printf(`</svg>`)
	return d.Bytes()
}

// drawing is an image in the making.
type drawing struct {
	bytes.Buffer
	end float64 // of the time that it shows, in seconds
}

func (d *drawing) printf(format string, args ...any) {
	d.Write(fmt.Appendf(nil, format+"\n", args...))
}

func (d *drawing) text(x, y float64, anchor, colour, more, text string) {
	d.printf(`<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s" %s>%s</text>`, x, y, anchor, colour, more, escaped(text))
}

func escaped(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer takes everything
	return b.String()
}

func (d *drawing) line(x1, y1, x2, y2 float64, colour, more string) {
	d.printf(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" %s/>`, x1, y1, x2, y2, colour, more)
}

// x is where a second is.
func (d *drawing) x(seconds float64) float64 {
	return left + (width-left-right)*min(seconds/d.end, 1)
}

// seconds draws the axis of time under both panels.
func (d *drawing) seconds() {
	step := roundStep(d.end / 10)
	for s := 0.0; s <= d.end+step/1000; s += step {
		d.line(d.x(s), topOfRates, d.x(s), bottomOfRates, faint, "")
		d.line(d.x(s), topOfLatencies, d.x(s), bottomOfAll, faint, "")
		d.text(d.x(s), bottomOfAll+18, "middle", ink, "", number(s))
	}
	d.text((left+width-right)/2, bottomOfAll+40, "middle", ink, "", "seconds since the run began")
}

// roundStep returns the least of 1, 2 and 5 times a power of ten that is at
// least so much.
func roundStep(least float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= least {
			return m * power
		}
	}
	return 10 * power
}

func number(f float64) string { return strconv.FormatFloat(f, 'g', 6, 64) }

// rates draws the upper panel: operations and errors a second, from zero.
func (d *drawing) rates(points []bench.Point) {
	lines := []series{
		{"operations", blue, func(p bench.Point) float64 { return p.Rate }},
		{"errors", red, errorRate(points)},
	}
	most := 1.0
	for _, p := range points {
		for _, l := range lines {
			most = max(most, l.value(p))
		}
	}
	step := roundStep(most / 4)
	top := math.Ceil(most/step) * step
	y := func(v float64) float64 { return bottomOfRates - (bottomOfRates-topOfRates)*v/top }
	for v := 0.0; v <= top+step/1000; v += step {
		d.line(left, y(v), width-right, y(v), faint, "")
		d.text(left-8, y(v)+4, "end", ink, "", number(v))
	}
	d.caption(topOfRates, "throughput, operations a second", lines)
	for _, l := range lines {
		d.curve(points, l, y)
	}
}

// errorRate returns the errors a second of a point, whose length is the
// distance from the one before.
func errorRate(points []bench.Point) func(bench.Point) float64 {
	length := make(map[float64]float64, len(points))
	last := 0.0
	for _, p := range points {
		length[p.Seconds], last = p.Seconds-last, p.Seconds
	}
	return func(p bench.Point) float64 {
		if length[p.Seconds] <= 0 {
			return 0
		}
		return float64(p.Errors) / length[p.Seconds]
	}
}

// latencies draws the lower panel, whose axis is logarithmic.
func (d *drawing) latencies(points []bench.Point) {
	least, most := math.Inf(1), 0.0
	for _, p := range points {
		for _, l := range latencies() {
			if v := l.value(p); v > 0 {
				least, most = min(least, v), max(most, v)
			}
		}
	}
	if most == 0 {
		least, most = 1, 10
	}
	from, to := math.Floor(math.Log10(least)), math.Ceil(math.Log10(most))
	to = max(to, from+1)
	y := func(v float64) float64 {
		if v <= 0 {
			return math.NaN() // nothing was answered
		}
		return bottomOfAll - (bottomOfAll-topOfLatencies)*(math.Log10(v)-from)/(to-from)
	}
	for e := from; e <= to; e++ {
		v := math.Pow(10, e)
		d.line(left, y(v), width-right, y(v), faint, "")
		d.text(left-8, y(v)+4, "end", ink, "", number(v))
	}
	d.caption(topOfLatencies, "latency, milliseconds, logarithmic", latencies())
	for _, l := range latencies() {
		d.curve(points, l, y)
	}
}

// caption names a panel and its lines.
func (d *drawing) caption(top float64, title string, lines []series) {
	d.text(left, top-10, "start", ink, `font-weight="bold"`, title)
	at := float64(width - right)
	for _, l := range slices.Backward(lines) {
		d.text(at, top-10, "end", ink, "", l.name)
		at -= 6.6*float64(len(l.name)) + 6
		d.line(at-18, top-14, at, top-14, l.colour, `stroke-width="3"`)
		at -= 32
	}
}

// curve draws a line through the points, with gaps where y is not a number.
func (d *drawing) curve(points []bench.Point, l series, y func(float64) float64) {
	path, drawing := []byte(nil), false
	for _, p := range points {
		at := y(l.value(p))
		if math.IsNaN(at) {
			drawing = false
			continue
		}
		command := "L"
		if !drawing {
			command = "M"
		}
		path = fmt.Appendf(path, "%s%.1f %.1f", command, d.x(p.Seconds), at)
		drawing = true
	}
	d.printf(`<path d="%s" fill="none" stroke="%s" stroke-width="1.5"/>`, path, l.colour)
}

// marks draws what happened, with its words at the top, on lines in turns so
// that neighbours do not cover each other.
func (d *drawing) marks(marks []bench.Mark) {
	for i, m := range marks {
		x := d.x(m.Seconds)
		d.line(x, 44, x, bottomOfAll, red, `stroke-dasharray="4 3"`)
		anchor, shift := "start", 4.0
		if x > width-160 {
			anchor, shift = "end", -4
		}
		d.text(x+shift, 54+13*float64(i%2), anchor, red, "", m.Name)
	}
}
