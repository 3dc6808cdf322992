package metrics_test

import (
	"errors"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/histogram"
	"github.com/dynamo-kv/dynamo/internal/metrics"
	"github.com/dynamo-kv/dynamo/internal/runtime"
	"github.com/dynamo-kv/dynamo/internal/storage"
	"github.com/dynamo-kv/dynamo/internal/transport"
)

func TestMembersByStatus(t *testing.T) {
	member := func(state core.State, status core.Status) core.MemberStatus {
		return core.MemberStatus{Member: core.Member{State: state}, Status: status}
	}
	r := metrics.Reading{Status: core.ClusterStatus{Members: []core.MemberStatus{
		member(core.Active, core.Alive), member(core.Joining, core.Alive), member(core.Active, core.Dead), member(core.Left, core.Dead),
	}}}
	wantLines(t, &r,
		`dynamo_cluster_members{status="alive"} 2`,
		`dynamo_cluster_members{status="dead"} 1`,
		`dynamo_cluster_members{status="suspected"} 0`,
	)
}

// Each other member has its series, and so has whoever something is still kept
// for.
func TestPendingHintsByTarget(t *testing.T) {
	r := metrics.Reading{Status: core.ClusterStatus{
		Self: "n1",
		Members: []core.MemberStatus{
			{Member: core.Member{ID: "n1", State: core.Active}},
			{Member: core.Member{ID: "n2", State: core.Active}},
			{Member: core.Member{ID: "n3", State: core.Active}},
			{Member: core.Member{ID: "n4", State: core.Left}},
			{Member: core.Member{ID: "n5", State: core.Left}},
		},
		Hints: core.HintReport{Pending: []core.HintsPending{{Target: "n3", Keys: 3}, {Target: "n5", Keys: 5}}},
	}}
	body := wantLines(t, &r,
		`dynamo_hints_pending{target="n2"} 0`,
		`dynamo_hints_pending{target="n3"} 3`,
		`dynamo_hints_pending{target="n5"} 5`,
	)
	for _, other := range []string{"n1", "n4"} {
		if strings.Contains(body, `target="`+other) {
			t.Errorf("there are hints for %s", other)
		}
	}
}

// Each figure of a status comes out as the metric that it is.
func TestFiguresOfAStatus(t *testing.T) {
	wantLines(t, &metrics.Reading{Status: core.ClusterStatus{
		Serving: true, UnderReplicated: true,
		Hints:     core.HintReport{Bytes: 70, Limit: 100, Stored: 9, Delivered: 6, Refused: 1, Expired: 2, Lost: 3},
		Trees:     core.TreeReport{Building: 4, Repaired: 5, Exchanges: 20, Differing: 21, Pairs: 22, Compared: 23, Built: 24, Loaded: 25, Wrong: 26},
		Repairs:   core.RepairReport{Sent: 30, Own: 1, Dropped: 32, Waited: 33, Failed: 34},
		Alarms:    core.Alarms{LostData: 7, Conflicts: 8},
		Leftovers: 10, PullsLeft: 11,
		Forgetting: core.Forgetting{Reaped: 12, Pruned: 13, Waiting: 14, Cancelled: 15, Blocker: "n3"},
	}},
		`dynamo_serving 1`,
		`dynamo_under_replicated 1`,
		`dynamo_hints_bytes 70`,
		`dynamo_hints_limit_bytes 100`,
		`dynamo_hints_stored_total 9`,
		`dynamo_hints_delivered_total 6`,
		`dynamo_hints_refused_total 1`,
		`dynamo_limits_hit_total{limit="hint_bytes"} 1`,
		`dynamo_hints_expired_total 2`,
		`dynamo_hints_lost_total 3`,
		`dynamo_hash_trees_building 4`,
		`dynamo_hash_trees_total{source="built"} 24`,
		`dynamo_hash_trees_total{source="loaded"} 25`,
		`dynamo_hash_trees_total{source="wrong"} 26`,
		`dynamo_antientropy_keys_synced_total 5`,
		`dynamo_antientropy_syncs_total 20`,
		`dynamo_antientropy_partitions_differing_total 21`,
		`dynamo_antientropy_pairs 22`,
		`dynamo_antientropy_pairs_compared 23`,
		`dynamo_read_repairs_total 31`,
		`dynamo_read_repairs_dropped_total 32`,
		`dynamo_blocking_reads_waited_total 33`,
		`dynamo_read_repairs_failed_total 34`,
		`dynamo_tombstones_reaped_total 12`,
		`dynamo_clock_entries_pruned_total 13`,
		`dynamo_forgetting_keys_waiting 14`,
		`dynamo_forgetting_rounds_cancelled_total 15`,
		`dynamo_forgetting_blocked 1`,
		`dynamo_lost_data_total 7`,
		`dynamo_conflicts_total 8`,
		`dynamo_leftover_partitions 10`,
		`dynamo_transfer_partitions_pending 11`,
	)
}

// So does each that the machines count, and what the shell's parts tell.
func TestFiguresOfCounters(t *testing.T) {
	r := metrics.Reading{
		Queued: runtime.Queued{Clients: 1, Peers: 2, MostClients: 3, MostPeers: 4, ClientsLimit: 5, PeersLimit: 6},
		Storage: storage.Stats{
			DiskBytes: 7, MemoryBytes: 8, Commits: 9, Fsyncs: 10, Keys: 50, LogBytes: 51, CacheHits: 52, CacheMisses: 53,
			Flushes: 54, Compactions: 55, CompactionDebt: 56, Levels: 57, Stalls: 58, Stalled: 1500 * time.Millisecond, Damaged: 59,
			Scrub:  storage.Scrub{Bytes: 64, Passes: 65, Found: 66, Done: 0.5},
			Level0: 63, StallsBy: [storage.StallReasons]storage.Stalls{{Count: 10, Spent: time.Second}, {Count: 20, Spent: 250 * time.Millisecond}},
		},
		Transport: transport.Stats{Sent: transport.Traffic{Envelopes: 11, Messages: 12, Bytes: 13}, Received: transport.Traffic{Envelopes: 14, Messages: 15, Bytes: 16}, Refused: 17, Failed: 18, Expired: 19, Unknown: 20, Invalid: 21},
		Build:     metrics.Build{Version: "v1", Revision: "abc", Go: "go9"},
		Process:   metrics.Process{Started: time.Unix(70, 500_000_000), Peak: 67},
	}
	c := &r.Counters
	c.Requests[core.OpPut][core.CodeQuorum] = 30
	c.Quorums[core.QuorumWrite][core.QuorumLost] = 31
	c.Fallbacks[core.QuorumRead] = 32
	c.Divergent, c.Hedges, c.Forwarded, c.Executed = 33, 34, 35, 36
	c.Limits[core.LimitSiblings] = 37
	c.Gossip.Rounds, c.Gossip.Foreign, c.Gossip.Invalid, c.Gossip.Expired, c.Gossip.Taken = 38, 39, 40, 41, 42
	c.Gossip.Plans, c.Gossip.Failed, c.Gossip.Stalls = 43, 44, 45
	c.AntiEntropy.Failed = 46
	c.Records = core.CacheCounters{Hits: 60, Misses: 61, Bytes: 62}
	c.Limits[core.LimitStorage] = 64
	r.Status.Room = core.RoomStatus{Measured: true, State: core.RoomFull, Left: 60, Total: 61, Low: 62, Full: 63}
	wantLines(t, &r,
		`dynamo_queue_depth{queue="client"} 1`,
		`dynamo_queue_depth{queue="peer"} 2`,
		`dynamo_queue_depth_max{queue="client"} 3`,
		`dynamo_queue_depth_max{queue="peer"} 4`,
		`dynamo_queue_limit{queue="client"} 5`,
		`dynamo_queue_limit{queue="peer"} 6`,
		`dynamo_storage_disk_bytes 7`,
		`dynamo_storage_memory_bytes 8`,
		`dynamo_storage_free_bytes 60`,
		`dynamo_storage_total_bytes 61`,
		`dynamo_storage_room_mark_bytes{state="low"} 62`,
		`dynamo_storage_room_mark_bytes{state="full"} 63`,
		`dynamo_storage_room_state{state="plenty"} 0`,
		`dynamo_storage_room_state{state="low"} 0`,
		`dynamo_storage_room_state{state="full"} 1`,
		`dynamo_storage_refused_writes_total 64`,
		`dynamo_storage_commits_total 9`,
		`dynamo_storage_fsyncs_total 10`,
		`dynamo_storage_keys 50`,
		`dynamo_storage_log_bytes 51`,
		`dynamo_storage_cache_requests_total{result="hit"} 52`,
		`dynamo_storage_cache_requests_total{result="miss"} 53`,
		`dynamo_record_cache_requests_total{result="hit"} 60`,
		`dynamo_record_cache_requests_total{result="miss"} 61`,
		`dynamo_record_cache_bytes 62`,
		`dynamo_storage_flushes_total 54`,
		`dynamo_storage_compactions_total 55`,
		`dynamo_storage_compaction_debt_bytes 56`,
		`dynamo_storage_read_amplification 57`,
		`dynamo_storage_level0_tables 63`,
		`dynamo_storage_stalls_total{reason="memory"} 10`,
		`dynamo_storage_stalls_total{reason="tables"} 20`,
		`dynamo_storage_stalls_total{reason="other"} 28`,
		`dynamo_storage_damaged_records_total 59`,
		`dynamo_storage_scrubbed_bytes_total 64`,
		`dynamo_storage_scrub_passes_total 65`,
		`dynamo_storage_scrub_damage_total 66`,
		`dynamo_storage_scrub_progress_ratio 0.5`,
		`dynamo_storage_stalled_seconds_total{reason="memory"} 1`,
		`dynamo_storage_stalled_seconds_total{reason="tables"} 0.25`,
		`dynamo_storage_stalled_seconds_total{reason="other"} 0.25`,
		`dynamo_transport_envelopes_total{direction="sent"} 11`,
		`dynamo_transport_messages_total{direction="sent"} 12`,
		`dynamo_transport_bytes_total{direction="sent"} 13`,
		`dynamo_transport_envelopes_total{direction="received"} 14`,
		`dynamo_transport_messages_total{direction="received"} 15`,
		`dynamo_transport_bytes_total{direction="received"} 16`,
		`dynamo_transport_dropped_total{reason="refused"} 17`,
		`dynamo_limits_hit_total{limit="outbox"} 17`,
		`dynamo_transport_dropped_total{reason="failed"} 18`,
		`dynamo_transport_dropped_total{reason="expired"} 19`,
		`dynamo_transport_dropped_total{reason="unknown"} 20`,
		`dynamo_transport_dropped_total{reason="invalid"} 21`,
		`dynamo_build_info{goversion="go9",revision="abc",version="v1"} 1`,
		`dynamo_process_start_time_seconds 70.5`,
		`dynamo_process_memory_peak_bytes 67`,
		`dynamo_requests_total{op="put",status="quorum"} 30`,
		`dynamo_requests_total{op="get",status="quorum"} 0`,
		`dynamo_quorum_total{result="lost",type="write"} 31`,
		`dynamo_quorum_fallbacks_total{type="read"} 32`,
		`dynamo_divergent_versions_total 33`,
		`dynamo_hedged_reads_total 34`,
		`dynamo_forwards_sent_total 35`,
		`dynamo_forwards_executed_total 36`,
		`dynamo_limits_hit_total{limit="siblings"} 37`,
		`dynamo_gossip_rounds_total 38`,
		`dynamo_gossip_dropped_total{reason="foreign"} 39`,
		`dynamo_gossip_dropped_total{reason="invalid"} 40`,
		`dynamo_gossip_dropped_total{reason="expired"} 41`,
		`dynamo_gossip_dropped_total{reason="taken"} 42`,
		`dynamo_layout_plans_total{result="made"} 43`,
		`dynamo_layout_plans_total{result="failed"} 44`,
		`dynamo_stalls_total 45`,
		`dynamo_antientropy_syncs_failed_total 46`,
		`dynamo_serving 0`,
		`dynamo_forgetting_blocked 0`,
	)
}

func TestBackgroundWork(t *testing.T) {
	var r metrics.Reading
	r.Status.Background = core.Background{
		Limited: true, Slots: 3, MaxSlots: 10, Held: 2, Wanted: 5, BytesPerSecond: 7, Target: 100 * time.Millisecond,
		P99: 150 * time.Millisecond, Shrunk: 8, Waits: 9,
	}
	r.Counters.ExpiredRequests, r.Counters.ExpiredMessages = 11, 12
	r.Counters.Limits[core.LimitUnderWay] = 13
	wantLines(t, &r,
		`dynamo_background_throttled 1`,
		`dynamo_background_slots 3`,
		`dynamo_background_slots_max 10`,
		`dynamo_background_slots_held 2`,
		`dynamo_background_slots_wanted 5`,
		`dynamo_background_bytes_per_second 7`,
		`dynamo_background_waits_total 9`,
		`dynamo_background_slowdowns_total 8`,
		`dynamo_foreground_p99_seconds 0.15`,
		`dynamo_foreground_threshold_seconds 0.1`,
		`dynamo_expired_total{what="request"} 11`,
		`dynamo_expired_total{what="message"} 12`,
		`dynamo_limits_hit_total{limit="under_way"} 13`,
	)
	r.Status.Background.Slots = 10
	wantLines(t, &r, `dynamo_background_throttled 0`)
}

// A histogram shows its classic buckets and its native ones at once.
func TestHistogramsInBothForms(t *testing.T) {
	h := histogram.New([]time.Duration{time.Millisecond, time.Second})
	observed := []time.Duration{time.Nanosecond, time.Millisecond, 3 * time.Millisecond, 3 * time.Millisecond, 5 * time.Second}
	for _, d := range observed {
		h.Observe(d)
	}
	var r metrics.Reading
	r.Counters.Durations[core.OpGet] = h
	wantLines(t, &r,
		`dynamo_request_duration_seconds_bucket{op="get",le="0.001"} 2`,
		`dynamo_request_duration_seconds_bucket{op="get",le="1"} 4`,
		`dynamo_request_duration_seconds_bucket{op="get",le="+Inf"} 5`,
		`dynamo_request_duration_seconds_sum{op="get"} 5.007000001`,
		`dynamo_request_duration_seconds_count{op="get"} 5`,
	)
	got := gathered(t, &r, "dynamo_request_duration_seconds", "get").GetHistogram()
	if got.GetZeroCount() != 1 || got.GetSchema() != histogram.Schema {
		t.Errorf("%d observations are about zero, the schema is %d", got.GetZeroCount(), got.GetSchema())
	}
	counts := native(got)
	if len(counts) != 3 {
		t.Errorf("the native buckets are %v; want three", counts)
	}
	for _, d := range observed[1:] {
		// The bucket that ends at or next above d.
		at := int32(math.Ceil(math.Log2(d.Seconds())*8 - 1e-9))
		want := int64(1)
		if d == 3*time.Millisecond {
			want = 2
		}
		if counts[at] != want {
			t.Errorf("native bucket %d, of %v, has %d; want %d", at, d, counts[at], want)
		}
	}
}

// native returns the native buckets that a histogram shows, by their numbers.
func native(h *dto.Histogram) map[int32]int64 {
	counts := make(map[int32]int64)
	at, count, next := int32(0), int64(0), 0
	for _, span := range h.GetPositiveSpan() {
		at += span.GetOffset()
		for range span.GetLength() {
			count += h.GetPositiveDelta()[next]
			next++
			counts[at] = count
			at++
		}
	}
	return counts
}

// gathered returns the series of a metric with a label of that value.
func gathered(t *testing.T, r *metrics.Reading, name, label string) *dto.Metric {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.New(func() (*metrics.Reading, bool) { return r, true }))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m
			}
		}
	}
	t.Fatalf("there is no %s of %s", name, label)
	return nil
}

// Where there is nothing to read, there is nothing to see.
func TestNothingToShow(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.New(func() (*metrics.Reading, bool) { return nil, false }))
	families, err := registry.Gather()
	if err != nil || len(families) != 0 {
		t.Errorf("%d families, error %v", len(families), err)
	}
}

// wantLines fails unless the metrics of r have these lines, and returns all.
func wantLines(t *testing.T, r *metrics.Reading, lines ...string) string {
	t.Helper()
	handler := metrics.Handler(metrics.New(func() (*metrics.Reading, bool) { return r, true }), slog.New(slog.DiscardHandler))
	w := httptest.NewRecorder()
	q := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	handler.ServeHTTP(w, q)
	for _, want := range lines {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("no %s in\n%s", want, w.Body)
		}
	}
	return w.Body.String()
}

// TestMethods: metrics are read, whatever else a client asks for.
func TestMethods(t *testing.T) {
	handler := metrics.Handler(metrics.New(func() (*metrics.Reading, bool) { return nil, false }), slog.New(slog.DiscardHandler))
	for method, want := range map[string]int{
		http.MethodGet: http.StatusOK, http.MethodHead: http.StatusOK,
		http.MethodPost: http.StatusMethodNotAllowed, http.MethodDelete: http.StatusMethodNotAllowed,
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, "/metrics", nil))
		if w.Code != want || (w.Header().Get("Allow") != "") != (want != http.StatusOK) {
			t.Errorf("%s: status %d, Allow %q", method, w.Code, w.Header().Get("Allow"))
		}
	}
}

// brokenWriter is the connection of a scraper that has gone.
type brokenWriter struct {
	header http.Header
	err    error
}

func (w *brokenWriter) Header() http.Header       { return w.header }
func (w *brokenWriter) WriteHeader(int)           {}
func (w *brokenWriter) Write([]byte) (int, error) { return 0, w.err }

// TestScraperThatHasGone: what is wrong with a scrape is an error in the log,
// and not that nobody waits for its answer any more.
func TestScraperThatHasGone(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		level string
	}{
		{"its connection is closed", &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}, "DEBUG"},
		{"its time is up", &net.OpError{Op: "write", Net: "tcp", Err: os.ErrDeadlineExceeded}, "DEBUG"},
		{"anything else", errors.New("no such luck"), "ERROR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var log strings.Builder
			logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			handler := metrics.Handler(metrics.New(func() (*metrics.Reading, bool) { return nil, false }), logger)
			w := &brokenWriter{header: http.Header{}, err: tt.err}
			handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
			for line := range strings.SplitSeq(strings.TrimSpace(log.String()), "\n") {
				if !strings.Contains(line, "level="+tt.level) || !strings.Contains(line, tt.err.Error()) {
					t.Errorf("%s; want %s of %v", line, tt.level, tt.err)
				}
			}
		})
	}
}
