package usage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/bench"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is what a fake node answers: its status, and its metrics at Begin and at
// End.
type node struct {
	*httptest.Server
	members []member
	metrics [2]string // "" is 404
	asked   atomic.Int64
}

func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/status" {
		_ = json.NewEncoder(w).Encode(map[string]any{"members": n.members})
		return
	}
	text := n.metrics[min(n.asked.Add(1), 2)-1]
	if text == "" {
		http.NotFound(w, r)
		return
	}
	_, _ = io.WriteString(w, text)
}

// shown returns metrics, of which some are of no matter here.
func shown(started, cpu string, rss, peak int64) string {
	return fmt.Sprintf(`# HELP process_cpu_seconds_total Total user and system CPU time spent in seconds.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total %s
process_cpu_seconds_total_of_others 77
process_resident_memory_bytes %d
dynamo_requests_total{op="get",status="ok"} 7
dynamo_process_start_time_seconds %s
dynamo_process_memory_peak_bytes %d
`, cpu, rss, started, peak)
}

// cluster returns nodes with these metrics, whose members the first one tells.
func cluster(t *testing.T, metrics ...[2]string) []*node {
	t.Helper()
	var nodes []*node
	for i, m := range metrics {
		n := &node{metrics: m}
		n.Server = httptest.NewServer(n)
		t.Cleanup(n.Close)
		nodes = append(nodes, n)
		nodes[0].members = append(nodes[0].members, member{fmt.Sprintf("n%d", i+1), n.addr(), "active"})
	}
	return nodes
}

func (n *node) addr() string { return n.Listener.Addr().String() }

func used(t *testing.T, nodes []*node, meanwhile func()) []bench.NodeUsage {
	t.Helper()
	m := New([]string{nodes[0].addr()}, nil)
	m.Begin(t.Context())
	meanwhile()
	return m.End(t.Context())
}

func expect(t *testing.T, got, want []bench.NodeUsage) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the nodes (-want +got):\n%s", diff)
	}
}

func nothing() {}

// Each node of the cluster has what it used between the two readings, and what
// it has in memory at the second.
func TestUsed(t *testing.T) {
	nodes := cluster(t,
		[2]string{shown("1.7957546558431e+09", "0.98", 1<<20, 2<<20), shown("1.7957546558431e+09", "1.72", 3<<20, 5<<20)},
		[2]string{shown("1.7957546559431e+09", "10", 1e6, 2e6), shown("1.7957546559431e+09", "10.5", 1.5e6, 2e6)},
	)
	nodes[0].members = append(nodes[0].members, member{"n0", "127.0.0.1:1", "left"})
	expect(t, used(t, nodes, nothing), []bench.NodeUsage{
		{ID: "n1", Used: &bench.Used{CPUSeconds: 0.74, RSS: 3 << 20, PeakRSS: 5 << 20}},
		{ID: "n2", Used: &bench.Used{CPUSeconds: 0.5, RSS: 1.5e6, PeakRSS: 2e6}},
	})
}

// Nodes of one process use it together.
func TestNodesOfOneProcess(t *testing.T) {
	one := [2]string{shown("7.25", "1", 0, 0), shown("7.25", "2", 0, 0)}
	nodes := cluster(t, one, [2]string{shown("7.26", "1", 0, 0), shown("7.26", "4", 0, 0)}, one)
	expect(t, used(t, nodes, nothing), []bench.NodeUsage{
		{ID: "n1", Used: &bench.Used{CPUSeconds: 1}}, {ID: "n2", Used: &bench.Used{CPUSeconds: 3}}, {ID: "n3", ProcessOf: "n1"},
	})
}

// What cannot be known is not given, and the reason is.
func TestUnknown(t *testing.T) {
	well := shown("2", "5", 0, 0)
	nodes := cluster(t,
		[2]string{well, shown("3", "6", 0, 0)}, // another process, which has used more than the first already
		[2]string{well, shown("2", "4", 0, 0)}, // a counter that went back
		[2]string{"", well},
		[2]string{well, ""},
		[2]string{well, "process_cpu_seconds_total 7\n"},
		[2]string{well, "dynamo_process_start_time_seconds 2\n"},
		[2]string{well, shown("2", "much", 0, 0)},
		[2]string{well, well}, // it will be gone
		[2]string{well, shown("2", "5.5", 0, 0)},
	)
	got := used(t, nodes, func() {
		nodes[7].Close()
		nodes[0].members = append(nodes[0].members, member{"n10", nodes[1].addr(), "joining"})
	})
	for i, want := range []string{
		"its process was started anew meanwhile",
		"its process was started anew meanwhile",
		"its metrics are off",
		"its metrics are off",
		"its metrics have no dynamo_process_start_time_seconds",
		"its metrics have no process_cpu_seconds_total",
		`its process_cpu_seconds_total: strconv.ParseFloat: parsing "much": invalid syntax`,
		"connect: connection refused",
		"",
		"it has joined meanwhile",
	} {
		if i >= len(got) || got[i].ID != fmt.Sprintf("n%d", i+1) || !strings.HasSuffix(got[i].Unknown, want) || (got[i].Used == nil) != (want != "") {
			t.Fatalf("node %d of %+v; want %q", i+1, got, want)
		}
	}
	if len(got) != 10 {
		t.Errorf("%d nodes: %+v", len(got), got)
	}
}

// A node that left while it was measured is one of those that were.
func TestNodeThatLeaves(t *testing.T) {
	nodes := cluster(t,
		[2]string{shown("2", "5", 0, 0), shown("2", "6", 0, 0)},
		[2]string{shown("3", "5", 0, 0), shown("3", "7", 0, 0)},
	)
	got := used(t, nodes, func() { nodes[0].members = nodes[0].members[:1] })
	expect(t, got, []bench.NodeUsage{
		{ID: "n1", Used: &bench.Used{CPUSeconds: 1}}, {ID: "n2", Used: &bench.Used{CPUSeconds: 2}},
	})
}

// One address that answers is enough to know who the members are, with nobody
// waiting for those that do not; and where none does, each of them says why.
func TestAddressesThatDoNotAnswer(t *testing.T) {
	nodes := cluster(t, [2]string{shown("2", "5", 0, 0), shown("2", "6", 0, 0)})
	gone, stranger := httptest.NewServer(http.NotFoundHandler()), httptest.NewServer(http.NotFoundHandler())
	defer stranger.Close()
	gone.Close()
	away := []string{gone.Listener.Addr().String(), stranger.Listener.Addr().String()}
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hangs.Close()
	m := New(append(away, hangs.Listener.Addr().String(), nodes[0].addr()), nil)
	m.Begin(t.Context())
	expect(t, m.End(t.Context()), []bench.NodeUsage{{ID: "n1", Used: &bench.Used{CPUSeconds: 1}}})

	m = New(away, nil)
	m.Begin(t.Context())
	got := m.End(t.Context())
	if len(got) != 2 || got[0].ID != away[0] || got[1].ID != away[1] {
		t.Fatalf("%+v", got)
	}
	for _, n := range got {
		if !strings.HasPrefix(n.Unknown, "who the members are: dial tcp") || n.Used != nil {
			t.Errorf("%+v", n)
		}
	}
}

// A node that does not answer is given up, and a redirect is no answer.
func TestNoAnswer(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	late := errors.New("late")
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel(late)
		<-r.Context().Done()
	}))
	defer hangs.Close()
	elsewhere := httptest.NewServer(http.RedirectHandler("/", http.StatusFound))
	defer elsewhere.Close()
	m := New(nil, nil)
	if _, err := m.get(ctx, hangs.Listener.Addr().String(), "/metrics"); !errors.Is(err, late) {
		t.Errorf("the error is %v", err)
	}
	_, err := m.get(t.Context(), elsewhere.Listener.Addr().String(), "/metrics")
	if err == nil || err.Error() != "/metrics answers with status 302" {
		t.Errorf("the error is %v", err)
	}
}
