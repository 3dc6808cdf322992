package membership

import (
	"math"
	"time"

	"github.com/dynamo-kv/dynamo/internal/latency"
)

// latencies is how fast a peer has answered of late.
type latencies struct {
	window   *latency.Window // nil before the first sample: most peers of a large cluster are never asked
	fresh    bool            // a sample came since the percentiles were computed
	computed time.Duration   // when that was
	p95, p99 time.Duration   // as the shards know them
}

func (l *latencies) add(now, sample time.Duration, c latency.Config) {
	if l.window == nil {
		l.window = latency.New(c)
	}
	l.window.Add(now, sample)
	l.fresh = true
}

// refresh takes the percentiles over if one has moved enough to matter to
// callers. It computes them only where there is a new sample, or old ones may
// have aged: in a large cluster most peers are not asked for anything.
func (l *latencies) refresh(now time.Duration, c latency.Config) (moved bool) {
	if l.window == nil || !l.fresh && now-l.computed <= c.MaxAge/10 {
		return false
	}
	l.fresh, l.computed = false, now
	var p95, p99 time.Duration
	if p, ok := l.window.Percentiles(now, 0.95, 0.99); ok {
		p95, p99 = p[0], p[1]
	}
	if !differs(l.p95, p95) && !differs(l.p99, p99) {
		return false
	}
	l.p95, l.p99 = p95, p99
	return true
}

func differs(old, now time.Duration) bool {
	return math.Abs(float64(now-old)) > latencyMoved*float64(old)
}
