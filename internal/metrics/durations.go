package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/dynamo-kv/dynamo/internal/histogram"
)

// durationsMetric shows a histogram in both of its forms at once: with the
// classic buckets, which every scraper takes, and with the native ones for
// those that ask for them. client_golang makes such histograms only where it
// also counts, with a lookup for each observation; the shards count theirs in
// fields of their own.
type durationsMetric struct {
	desc *prometheus.Desc
	dto  dto.Histogram
	tags []*dto.LabelPair
}

func newDurations(desc *prometheus.Desc, h *histogram.Histogram, names, values []string) *durationsMetric {
	m := &durationsMetric{desc: desc, tags: make([]*dto.LabelPair, len(names))}
	for i, name := range names {
		m.tags[i] = &dto.LabelPair{Name: new(name), Value: new(values[i])}
	}
	m.dto.SampleCount = new(h.Count())
	m.dto.SampleSum = new(h.Sum().Seconds())
	for i, bound := range h.Bounds() {
		m.dto.Bucket = append(m.dto.Bucket, &dto.Bucket{
			UpperBound: new(bound.Seconds()), CumulativeCount: new(h.UpTo(i)),
		})
	}
	m.dto.Schema = new(int32(histogram.Schema))
	m.dto.ZeroThreshold = new(float64(histogram.Threshold))
	m.dto.ZeroCount = new(h.Short())
	m.dto.PositiveSpan, m.dto.PositiveDelta = spans(h)
	return m
}

// spans returns the native buckets that have something, as runs of neighbours,
// each count as the difference to the one before.
func spans(h *histogram.Histogram) (spans []*dto.BucketSpan, deltas []int64) {
	next := 0 // where the latest run ends
	before := int64(0)
	for i := range histogram.Exponential {
		n := int64(h.Bucket(i))
		if n == 0 {
			continue
		}
		switch at := histogram.BucketIndex(i); {
		case len(spans) == 0:
			spans = append(spans, &dto.BucketSpan{Offset: new(int32(at)), Length: new(uint32(1))})
		case i == next:
			*spans[len(spans)-1].Length++
		default:
			spans = append(spans, &dto.BucketSpan{Offset: new(int32(i - next)), Length: new(uint32(1))})
		}
		next = i + 1
		deltas = append(deltas, n-before)
		before = n
	}
	return spans, deltas
}

// Desc implements prometheus.Metric.
func (m *durationsMetric) Desc() *prometheus.Desc { return m.desc }

// Write implements prometheus.Metric.
func (m *durationsMetric) Write(to *dto.Metric) error {
	to.Label = m.tags
	to.Histogram = &m.dto
	return nil
}

// DefaultBuckets are the bounds of the classic buckets where nobody chooses
// others: from what a request in memory takes to what nobody waits for.
func DefaultBuckets() []time.Duration {
	return []time.Duration{
		100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
		10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
		100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
	}
}
