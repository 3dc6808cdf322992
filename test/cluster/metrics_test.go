package cluster

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// metric returns a series of a node's /metrics, −1 where it is not there.
func (p *process) metric(series string) float64 {
	p.t.Helper()
	a, err := p.do(http.MethodGet, "/metrics", nil)
	if err != nil || a.code != http.StatusOK {
		p.t.Fatalf("/metrics of %s: status %d, %v", p.id, a.code, err)
	}
	lines := bufio.NewScanner(bytes.NewReader(a.body))
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				p.t.Fatalf("%s of %s: %v", series, p.id, err)
			}
			return v
		}
	}
	return -1
}

// What three processes show of a killed node and of its return, over HTTP: its
// health, the hints that are kept for it, and their delivery. It is owner of
// all keys, so the two others keep markers for it.
func TestMetricsOfAKilledNode(t *testing.T) {
	a, b, c := trio(t)
	sum := func(series string) float64 { return a.metric(series) + b.metric(series) }
	const pending, delivered = `dynamo_hints_pending{target="n3"}`, `dynamo_hints_delivered_total`
	if got := a.metric(pending) + a.metric(`dynamo_cluster_members{status="dead"}`); got != 0 {
		t.Errorf("before the fault the dead members and pending hints are %v", got)
	}
	c.kill()
	const keys = 10
	for i := range keys {
		put, err := a.do(http.MethodPut, fmt.Sprintf("/v1/kv/key-%d?overwrite=true", i), []byte("v"))
		if err != nil || put.code != http.StatusNoContent {
			t.Fatalf("put: status %d, %v: %s", put.code, err, put.body)
		}
	}
	await(t, "hints for n3", func() bool { return sum(pending) >= keys })
	await(t, "n3 to be held for dead", func() bool { return a.metric(`dynamo_cluster_members{status="dead"}`) == 1 })
	for series, least := range map[string]float64{
		`dynamo_requests_total{op="put",status="ok"}`:      keys,
		`dynamo_request_duration_seconds_count{op="put"}`:  keys,
		`dynamo_quorum_total{result="met",type="write"}`:   keys,
		`dynamo_storage_fsync_duration_seconds_count`:      1,
		`dynamo_transport_dropped_total{reason="failed"}`:  1,
		`dynamo_transport_bytes_total{direction="sent"}`:   1,
		`dynamo_gossip_rounds_total`:                       1,
		`dynamo_gossip_duration_seconds_count`:             1,
		`process_resident_memory_bytes`:                    1,
		`dynamo_serving`:                                   1,
		`dynamo_requests_total{op="put",status="timeout"}`: 0,
	} {
		if got := a.metric(series); got < least {
			t.Errorf("%s is %v; want %v at least", series, got, least)
		}
	}
	c.restart()
	await(t, "n3 to be alive", func() bool { return a.metric(`dynamo_cluster_members{status="alive"}`) == 3 })
	await(t, "the hints to be delivered", func() bool { return sum(pending) == 0 && sum(delivered) >= keys })
}

// A node that was told so shows nothing.
func TestMetricsOffByFlag(t *testing.T) {
	p := serve(t, "n1", "127.0.0.1:0", filepath.Join(t.TempDir(), "n1"), "--metrics-enabled=false")
	if a, err := p.do(http.MethodGet, "/metrics", nil); err != nil || a.code != http.StatusNotFound {
		t.Errorf("/metrics: status %d, %v", a.code, err)
	}
}
