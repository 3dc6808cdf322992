package dynamo

import (
	"errors"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// kindAndLabels is what the documentation says of a metric beside its meaning.
type kindAndLabels struct{ Kind, Labels string }

// documented reads the tables of docs/metrics.md.
func documented(t *testing.T) map[string]kindAndLabels {
	t.Helper()
	page, err := os.ReadFile("docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tables, ok := strings.Cut(string(page), "<!-- metrics: begin -->")
	tables, _, end := strings.Cut(tables, "<!-- metrics: end -->")
	if !ok || !end {
		t.Fatal("docs/metrics.md does not mark where its tables begin and end")
	}
	row := regexp.MustCompile("(?m)^\\| `(dynamo_[a-z0-9_]+)` \\| ([a-z]+) \\| ([^|]*)\\| [^|]+ \\|$")
	out := map[string]kindAndLabels{}
	for _, m := range row.FindAllStringSubmatch(tables, -1) {
		labels := strings.NewReplacer("`", "", " ", "").Replace(m[3])
		if _, twice := out[m[1]]; twice {
			t.Errorf("%s is documented twice", m[1])
		}
		out[m[1]] = kindAndLabels{m[2], labels}
	}
	if rows := strings.Count(tables, "\n| `"); rows != len(out) {
		t.Errorf("%d of %d rows of docs/metrics.md are understood", len(out), rows)
	}
	return out
}

// gather returns the metrics of a node as a program that embeds it has them.
func gather(t *testing.T, n *Node) []*dto.MetricFamily {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(n.Metrics())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// docs/metrics.md has every metric that a node shows, with its kind and labels,
// and no other.
func TestMetricsAreDocumented(t *testing.T) {
	nodes := startCluster(t, 2, memoryConfig(2))
	shown := map[string]kindAndLabels{}
	for _, f := range gather(t, nodes[0]) {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		shown[f.GetName()] = kindAndLabels{strings.ToLower(f.GetType().String()), strings.Join(labels, ",")}
		for _, m := range f.GetMetric() {
			if f.GetHelp() == "" || len(m.GetLabel()) != len(labels) {
				t.Errorf("%s has no help, or series with other labels", f.GetName())
			}
		}
	}
	sorted := documented(t)
	for name, k := range sorted {
		labels := strings.Split(k.Labels, ",")
		slices.Sort(labels)
		sorted[name] = kindAndLabels{k.Kind, strings.Join(labels, ",")}
	}
	if diff := cmp.Diff(sorted, shown); diff != "" {
		t.Errorf("docs/metrics.md and a node (-page +node):\n%s", diff)
	}
}

// docs/metrics.md says what each value of a label is, in a row of a metric with
// that label or, of limits, in their table.
func TestLabelValuesAreDocumented(t *testing.T) {
	page, err := os.ReadFile("docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	_, limits, ok := strings.Cut(string(page), "## Limits\n")
	if !ok {
		t.Fatal("docs/metrics.md has no limits")
	}
	rows := map[string]string{"limit": limits} // by label
	for _, m := range regexp.MustCompile("(?m)^\\| `dynamo_[a-z0-9_]+` \\| [a-z]+ \\| ([^|]+)\\| ([^|]+) \\|$").FindAllSubmatch(page, -1) {
		for _, label := range regexp.MustCompile("[a-z]+").FindAllString(string(m[1]), -1) {
			rows[label] += string(m[2]) + "\n"
		}
	}
	anything := append(perMember(), "version", "revision", "goversion")
	for _, f := range gather(t, startCluster(t, 2, memoryConfig(2))[0]) {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				word := regexp.MustCompile(`(^|[^\w.-])` + regexp.QuoteMeta(l.GetValue()) + `($|[^\w-])`)
				if !slices.Contains(anything, l.GetName()) && !word.MatchString(rows[l.GetName()]) {
					t.Errorf("nothing is said of %s{%s=%q}", f.GetName(), l.GetName(), l.GetValue())
				}
			}
		}
	}
}

// scrape returns what a node answers at /metrics.
func scrape(t *testing.T, n *Node) (status int, body string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.Addr()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	r, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(r.Body)
	if err := errors.Join(err, r.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(all)
}

// A node's endpoint has what its collector has, and the program's metrics
// besides; each in the classic form.
func TestMetricsEndpoint(t *testing.T) {
	nodes := startCluster(t, 1, memoryConfig(1))
	put(t, nodes[0], "k", "v", nil)
	status, body := scrape(t, nodes[0])
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	for _, f := range gather(t, nodes[0]) {
		if !strings.Contains(body, "# TYPE "+f.GetName()+" ") {
			t.Errorf("/metrics has no %s", f.GetName())
		}
	}
	for _, want := range []string{
		"\ngo_goroutines ", "\nprocess_open_fds ",
		"\ndynamo_requests_total{op=\"put\",status=\"ok\"} 1\n",
		"\ndynamo_requests_total{op=\"delete\",status=\"clock_too_long\"} 0\n",
		"\ndynamo_request_duration_seconds_bucket{op=\"put\",le=\"+Inf\"} 1\n",
		"\ndynamo_request_duration_seconds_count{op=\"delete\"} 0\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics has no %q", want)
		}
	}
}

// Nodes of one process say that they are: what the process uses is theirs
// together.
func TestMetricsOfTheProcess(t *testing.T) {
	nodes := startCluster(t, 2, memoryConfig(2))
	const started = "dynamo_process_start_time_seconds"
	first, second := value(t, nodes[0], started, ""), value(t, nodes[1], started, "")
	if now := float64(time.Now().Unix()); first != second || first > now+1 || first < now-86_400 {
		t.Errorf("the nodes' process was started at %f and at %f", first, second)
	}
	if got := value(t, nodes[0], "dynamo_process_memory_peak_bytes", ""); got < 1<<20 {
		t.Errorf("at most %v bytes were in memory", got)
	}
}

func TestMetricsOff(t *testing.T) {
	c := memoryConfig(1)
	c.Metrics.Enabled = false
	nodes := startCluster(t, 1, c)
	put(t, nodes[0], "k", "v", nil)
	if status, body := scrape(t, nodes[0]); status != http.StatusNotFound {
		t.Errorf("/metrics answers %d: %s", status, body)
	}
	if f := gather(t, nodes[0]); len(f) != 0 {
		t.Errorf("there are %d metrics", len(f))
	}
}

func TestMetricsBuckets(t *testing.T) {
	c := memoryConfig(1)
	c.Metrics.Buckets = []time.Duration{time.Millisecond, 1500 * time.Millisecond}
	nodes := startCluster(t, 1, c)
	histograms := 0
	for _, f := range gather(t, nodes[0]) {
		for _, m := range f.GetMetric() {
			h := m.GetHistogram()
			if h == nil {
				continue
			}
			histograms++
			if b := h.GetBucket(); len(b) != 2 || b[0].GetUpperBound() != 0.001 || b[1].GetUpperBound() != 1.5 {
				t.Errorf("the buckets of %s are %v", f.GetName(), b)
			}
		}
	}
	if histograms == 0 {
		t.Error("there is no histogram")
	}
}

// Metrics are there before the node and after it, so that whoever registers
// them need not follow its life.
func TestMetricsOverANodesLife(t *testing.T) {
	n, err := NewNode("n1", "127.0.0.1:0", inDirectory(t, memoryConfig(1)))
	if err != nil {
		t.Fatal(err)
	}
	if f := gather(t, n); len(f) != 0 {
		t.Errorf("%d metrics before the start", len(f))
	}
	if err := n.Start(); err != nil {
		t.Fatal(err)
	}
	put(t, n, "k", "v", nil)
	gather(t, n)
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	for _, f := range gather(t, n) {
		if f.GetName() == "dynamo_requests_total" {
			return
		}
	}
	t.Error("after the stop there are no requests any more")
}

// One program may have several nodes in one registry.
func TestMetricsOfSeveralNodes(t *testing.T) {
	nodes := startCluster(t, 2, memoryConfig(2))
	registry := prometheus.NewPedanticRegistry()
	for _, n := range nodes {
		prometheus.WrapRegistererWith(prometheus.Labels{"node": n.ID()}, registry).MustRegister(n.Metrics())
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "dynamo_serving" && len(f.GetMetric()) == 2 {
			return
		}
	}
	t.Error("there are not the metrics of two nodes")
}

// value returns a series of a node without labels, or with one of that value.
func value(t *testing.T, n *Node, name, label string) float64 {
	t.Helper()
	for _, f := range gather(t, n) {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(m.GetLabel()) == 0 || m.GetLabel()[0].GetValue() == label {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatalf("there is no %s of %q", name, label)
	return 0
}

func TestMetricsOfADisk(t *testing.T) {
	c := memoryConfig(1)
	c.StorageEngine, c.StoragePath = durableOr("pebble"), t.TempDir()
	n := startCluster(t, 1, c)[0]
	before := value(t, n, "dynamo_storage_fsync_duration_seconds", "")
	put(t, n, "k", "v", nil)
	if got := value(t, n, "dynamo_storage_fsync_duration_seconds", ""); got <= before {
		t.Errorf("a put takes the timed syncs from %v to %v", before, got)
	}
	for _, name := range []string{
		"dynamo_storage_fsyncs_total", "dynamo_storage_disk_bytes", "dynamo_storage_log_bytes", "dynamo_storage_memory_bytes",
		"dynamo_storage_commits_total",
	} {
		if c.StorageEngine == "bolt" && name == "dynamo_storage_log_bytes" {
			continue // it has no log
		}
		if value(t, n, name, "") <= 0 {
			t.Errorf("%s is 0", name)
		}
	}
}

func TestMetricsOfUnderReplication(t *testing.T) {
	c := memoryConfig(2)
	n := startNode(t, "n1", c)
	if value(t, n, "dynamo_under_replicated", "") != 1 || value(t, n, "dynamo_serving", "") != 1 {
		t.Error("a node alone that wants two copies does not show it")
	}
	second := c.clone()
	second.Seeds = []string{n.Addr()}
	waitReady(t, startNode(t, "n2", second))
	waitReady(t, n)
	if value(t, n, "dynamo_under_replicated", "") != 0 {
		t.Error("two nodes have two copies, and one of them does not show it")
	}
}

// What this node holds for another is shown under the other's name, from the
// moment that it is known.
func TestMetricsByTarget(t *testing.T) {
	nodes := startCluster(t, 2, memoryConfig(2))
	if got := value(t, nodes[0], "dynamo_hints_pending", "n2"); got != 0 {
		t.Errorf("%v keys are kept for n2", got)
	}
}
