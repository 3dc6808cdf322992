package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/histogram"
	"github.com/dynamo-kv/dynamo/internal/runtime"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/transport"
)

// Reading is everything that is shown at one time.
type Reading struct {
	Status    core.ClusterStatus
	Counters  core.Counters
	Queued    runtime.Queued
	Storage   storage.Stats
	Transport transport.Stats
	Build     Build
	Process   Process
	// Buckets are the bounds of those histograms that have none, since nobody
	// has them filled.
	Buckets []time.Duration
}

// families lists every metric, a file a line.
func families() []family {
	return slices.Concat(
		requestFamilies(),
		clusterFamilies(),
		callFamilies(),
		hintFamilies(),
		repairFamilies(),
		forgettingFamilies(),
		limitFamilies(),
		admissionFamilies(),
		storageFamilies(),
		damageFamilies(),
		transportFamilies(),
		buildFamilies(),
		processFamilies(),
	)
}

// family is one metric: a name with its labels, and how its series are read.
type family struct {
	name, help string
	kind       prometheus.ValueType
	labels     []string
	// read shows each series of a gauge or counter, and durations those of a
	// histogram; one of them is set. All that a reading can have is shown, at 0
	// where nothing has happened yet.
	read      func(r *Reading, show show)
	durations func(r *Reading, show showDurations)

	desc *prometheus.Desc
}

// show shows a series with the values of the family's labels.
type show func(value float64, labels ...string)

// showDurations shows a histogram likewise.
type showDurations func(h *histogram.Histogram, labels ...string)

// gauge returns a family of one series that goes up and down.
func gauge(name, help string, value func(*Reading) float64) family {
	return family{
		name: name, help: help, kind: prometheus.GaugeValue,
		read: func(r *Reading, show show) { show(value(r)) },
	}
}

// counter returns a family of one series that only grows.
func counter(name, help string, value func(*Reading) uint64) family {
	return family{
		name: name, help: help, kind: prometheus.CounterValue,
		read: func(r *Reading, show show) { show(float64(value(r))) },
	}
}

// gauges returns a family with labels.
func gauges(name, help string, labels []string, read func(*Reading, show)) family {
	return family{name: name, help: help, kind: prometheus.GaugeValue, labels: labels, read: read}
}

// counters returns a family with labels.
func counters(name, help string, labels []string, read func(*Reading, show)) family {
	return family{name: name, help: help, kind: prometheus.CounterValue, labels: labels, read: read}
}

// durations returns a family of histograms.
func durations(name, help string, labels []string, read func(*Reading, showDurations)) family {
	return family{name: name, help: help, labels: labels, durations: read}
}

// Collector collects the metrics of one node. Use New.
type Collector struct {
	read     func() (*Reading, bool)
	families []family
}

// New returns a collector of what read returns; false: there is nothing to
// show.
func New(read func() (*Reading, bool)) *Collector {
	c := &Collector{read: read, families: families()}
	for i := range c.families {
		f := &c.families[i]
		f.name = "dynamo_" + f.name
		f.desc = prometheus.NewDesc(f.name, f.help, f.labels, nil)
	}
	return c
}

// Describe names every metric.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for i := range c.families {
		to <- c.families[i].desc
	}
}

// Collect reads every metric.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	r, ok := c.read()
	if !ok {
		return
	}
	empty := histogram.New(r.Buckets)
	for i := range c.families {
		f := &c.families[i]
		if f.durations != nil {
			f.durations(r, func(h *histogram.Histogram, labels ...string) {
				if len(h.Bounds()) == 0 {
					h = &empty
				}
				to <- newDurations(f.desc, h, f.labels, labels)
			})
			continue
		}
		f.read(r, func(value float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
		})
	}
}

// Handler returns what answers GET and HEAD of /metrics: with the metrics of c,
// and those of the Go runtime and of the process.
func Handler(c *Collector, logger *slog.Logger) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	scrape := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: scrapeLog{logger},
		// One a scraper and some to spare: what is more waits for nothing.
		MaxRequestsInFlight: maxScrapes,
		EnableOpenMetrics:   true,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the method "+r.Method+" is not allowed here; use GET", http.StatusMethodNotAllowed)
			return
		}
		scrape.ServeHTTP(w, r)
	})
}

// maxScrapes bounds the scrapes at a time. Each has the loops asked in turn.
const maxScrapes = 4

// scrapeLog logs what went wrong with a scrape. That its scraper has gone is
// nobody's error.
type scrapeLog struct{ logger *slog.Logger }

// Println gets a text, and the error that it is about.
func (l scrapeLog) Println(v ...any) {
	level := slog.LevelError
	for _, part := range v {
		var gone *net.OpError
		if err, ok := part.(error); ok && errors.As(err, &gone) {
			level = slog.LevelDebug
		}
	}
	l.logger.Log(context.Background(), level, strings.TrimSuffix(fmt.Sprintln(v...), "\n"))
}
