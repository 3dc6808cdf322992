package bench

import (
	"maps"
	"slices"
	"time"
)

// Latency is a distribution, in milliseconds.
type Latency struct {
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99.9"`
	P9999 float64 `json:"p99.99"`
	Max   float64 `json:"max"`
}

// Figures are those of a run, of its operations of one kind, or of a segment.
type Figures struct {
	// Operations is how many were answered; those that failed are no part of
	// it, nor of Latency.
	Operations int64 `json:"operations"`
	// NotFound is how many of those were reads of a key that was not there.
	NotFound     int64            `json:"not_found"`
	Errors       int64            `json:"errors"`
	ErrorsByKind map[string]int64 `json:"errors_by_kind,omitempty"`
	// Latency begins when an operation was due, which in a closed loop is when
	// it was sent.
	Latency Latency `json:"latency_ms"`
	// Service, of an open loop, begins when it was sent: it is what a
	// measurement that omits the wait would show.
	Service *Latency `json:"service_ms,omitempty"`
	// ErrorLatency is how long operations took to fail.
	ErrorLatency *Latency `json:"error_latency_ms,omitempty"`
}

// Segment is a part of a run, see Mark.
type Segment struct {
	Name    string  `json:"name"`
	From    float64 `json:"from_seconds"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"ops_per_second"`
	Figures
}

// Result is what a run has shown.
type Result struct {
	Seconds float64 `json:"seconds"`
	// Rate counts what was answered before the planned end.
	Rate float64 `json:"ops_per_second"`
	Figures
	// NotStarted is how many operations of an open loop were due and never
	// sent, since all callers waited for answers: they have no latency, so
	// where there are any, more callers are needed to see it.
	NotStarted int64 `json:"not_started"`
	// Pause is the longest time for which this program itself did not get to
	// run when it should have: that much of the latencies is the machine's.
	Pause       float64            `json:"generator_pause_ms"`
	Interrupted bool               `json:"interrupted,omitempty"`
	ByOp        map[string]Figures `json:"by_op"`
	Examples    map[string]string  `json:"error_examples,omitempty"`
	Marks       []Mark             `json:"events,omitempty"`
	Segments    []Segment          `json:"segments,omitempty"`
	Timeline    []Point            `json:"-"`
}

// result sums the run up. It was cut short if it was ended before its plan was
// done.
func (r *run) result(cut bool) *Result {
	now := time.Now()
	if !r.end.IsZero() && (!cut || now.After(r.end)) {
		now = r.end // when the last answer came says nothing about the rate
	}
	out := &Result{
		Seconds: now.Sub(r.start).Seconds(), ByOp: map[string]Figures{},
		Examples: r.examples, Marks: r.segments.marks, Timeline: r.points,
		Interrupted: now.Before(r.end), Pause: milliseconds(r.pause.Microseconds()),
	}
	all, inTime := newTally(), int64(0)
	byOp, bySegment := [ops]*tally{}, make([]*tally, len(r.segments.parts))
	for i := range r.stripes {
		inTime += r.stripes[i].inTime
		for part, tallies := range r.stripes[i].parts {
			for op, t := range tallies {
				if t == nil {
					continue
				}
				all.add(t)
				join(&byOp[op], t)
				join(&bySegment[part], t)
			}
		}
	}
	open := r.plan.Rate > 0
	out.Figures = all.figures(open)
	out.Rate = float64(inTime) / out.Seconds
	if open {
		due := min(r.total, uint64(out.Seconds*r.plan.Rate))
		out.NotStarted = max(0, int64(due)-int64(min(r.next.Load(), r.total)))
	}
	for op, t := range byOp {
		if t != nil {
			out.ByOp[Op(op).String()] = t.figures(open)
		}
	}
	if len(out.Marks) > 0 {
		out.Segments = r.segmentsOf(bySegment, now)
	}
	return out
}

// join adds t to sum, which it makes where there is none.
func join(sum **tally, t *tally) {
	if *sum == nil {
		*sum = newTally()
	}
	(*sum).add(t)
}

func (r *run) segmentsOf(tallies []*tally, end time.Time) []Segment {
	var out []Segment
	for i, p := range r.segments.parts {
		until := end
		if i+1 < len(r.segments.parts) && r.segments.parts[i+1].from.Before(end) {
			until = r.segments.parts[i+1].from
		}
		if length := until.Sub(p.from).Seconds(); length > 0 {
			join(&tallies[i], newTally())
			s := Segment{Name: p.name, From: p.from.Sub(r.start).Seconds(), Seconds: length}
			s.Figures = tallies[i].figures(r.plan.Rate > 0)
			s.Rate = float64(s.Operations) / length
			out = append(out, s)
		}
	}
	return out
}

func (t *tally) figures(open bool) Figures {
	f := Figures{
		Operations: t.answered.h.TotalCount(), NotFound: t.notFound,
		Latency: t.answered.latency(), ErrorsByKind: maps.Clone(t.errors),
	}
	for _, n := range t.errors {
		f.Errors += n
	}
	if open {
		service := t.service.latency()
		f.Service = &service
	}
	if f.Errors > 0 {
		failed := t.failed.latency()
		f.ErrorLatency = &failed
	}
	return f
}

func (h histogram) latency() Latency {
	return Latency{
		Mean: h.h.Mean() / 1000, P50: h.at(50), P99: h.at(99), P999: h.at(99.9), P9999: h.at(99.99),
		Max: milliseconds(h.h.Max()),
	}
}

// Kinds returns the kinds of errors, sorted.
func (f *Figures) Kinds() []string { return slices.Sorted(maps.Keys(f.ErrorsByKind)) }
