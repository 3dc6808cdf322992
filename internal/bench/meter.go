package bench

import (
	"errors"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	// maxLatency bounds what a histogram tells apart. It is far beyond any
	// deadline; what is longer counts as this.
	maxLatency = 10 * time.Minute
	// digits are the significant ones of a latency: 0.1 %.
	digits = 3
	// pointDigits are those of a point of the timeline, which is drawn.
	pointDigits = 2
	// stripes share the callers, so that they seldom wait for each other to
	// record, and a timeline has few histograms to join.
	stripes = 4
)

// histogram counts latencies in microseconds.
type histogram struct{ h *hdrhistogram.Histogram }

func newHistogram(digits int) histogram {
	return histogram{hdrhistogram.New(1, maxLatency.Microseconds(), digits)}
}

func (h histogram) record(d time.Duration) {
	_ = h.h.RecordValue(min(max(d, 0), maxLatency).Microseconds()) // within the bounds it cannot fail
}

// tally is what became of the operations of one kind in one segment.
type tally struct {
	answered histogram // from when it was due to the answer
	service  histogram // from when it was sent
	failed   histogram // from when it was due to the failure
	notFound int64
	errors   map[string]int64
}

func newTally() *tally {
	return &tally{newHistogram(digits), newHistogram(digits), newHistogram(digits), 0, map[string]int64{}}
}

func (t *tally) add(other *tally) {
	t.answered.h.Merge(other.answered.h)
	t.service.h.Merge(other.service.h)
	t.failed.h.Merge(other.failed.h)
	t.notFound += other.notFound
	for kind, n := range other.errors {
		t.errors[kind] += n
	}
}

// stripe is what some of the callers record.
type stripe struct {
	mu     sync.Mutex
	parts  [][ops]*tally // by segment; nil where there is nothing
	inTime int64         // answered before the end of the run

	recent recent
}

// recent is what has ended since the last point of the timeline.
type recent struct {
	answered histogram
	failed   int64
}

func newRecent() recent { return recent{answered: newHistogram(pointDigits)} }

func (r *recent) add(other recent) {
	r.answered.h.Merge(other.answered.h)
	r.failed += other.failed
}

// meter takes the measurements of a run.
type meter struct {
	segments *segments
	end      time.Time // of the run, as planned; zero if it has no planned end
	stripes  [stripes]stripe

	mu       sync.Mutex
	examples map[string]string // one error of each kind
}

func newMeter(start, end time.Time, settle time.Duration) *meter {
	m := &meter{segments: newSegments(start, settle), end: end, examples: map[string]string{}}
	for i := range m.stripes {
		m.stripes[i].recent = newRecent()
	}
	return m
}

// record takes an operation: when it was due, was sent and has ended.
func (m *meter) record(caller int, op Op, due, sent, ended time.Time, err error) {
	part := m.segments.at(due)
	s := &m.stripes[caller%stripes]
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tally(part, op)
	if err != nil && !errors.Is(err, ErrNotFound) {
		t.failed.record(ended.Sub(due))
		kind := kindOf(err)
		t.errors[kind]++
		s.recent.failed++
		m.example(kind, err)
		return
	}
	if err != nil {
		t.notFound++
	}
	t.answered.record(ended.Sub(due))
	t.service.record(ended.Sub(sent))
	s.recent.answered.record(ended.Sub(due))
	if m.end.IsZero() || !ended.After(m.end) {
		s.inTime++
	}
}

func (s *stripe) tally(part int, op Op) *tally {
	for len(s.parts) <= part {
		s.parts = append(s.parts, [ops]*tally{})
	}
	if s.parts[part][op] == nil {
		s.parts[part][op] = newTally()
	}
	return s.parts[part][op]
}

func (m *meter) example(kind string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.examples[kind] == "" {
		m.examples[kind] = err.Error()
	}
}

// Point is a short piece of a run, by when operations ended.
type Point struct {
	Seconds    float64 `json:"at_seconds"` // its end, since the run began
	Operations int64   `json:"operations"`
	Errors     int64   `json:"errors"`
	Rate       float64 `json:"ops_per_second"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	P999       float64 `json:"p99.9_ms"`
}

// take returns what has ended since it was called last.
func (m *meter) take() recent {
	all := newRecent()
	for i := range m.stripes {
		s := &m.stripes[i]
		s.mu.Lock()
		all.add(s.recent)
		s.recent.answered.h.Reset()
		s.recent.failed = 0
		s.mu.Unlock()
	}
	return all
}

// point returns the point of a run from one time to another.
func (r *recent) point(start, from, to time.Time) Point {
	h := r.answered
	p := Point{
		Seconds:    to.Sub(start).Seconds(),
		Operations: h.h.TotalCount(), Errors: r.failed,
		P50: h.at(50), P99: h.at(99), P999: h.at(99.9),
	}
	if length := to.Sub(from).Seconds(); length > 0 {
		p.Rate = float64(p.Operations) / length
	}
	return p
}

// at returns a percentile in milliseconds.
func (h histogram) at(percentile float64) float64 {
	return milliseconds(h.h.ValueAtPercentile(percentile))
}

func milliseconds(microseconds int64) float64 { return float64(microseconds) / 1000 }
