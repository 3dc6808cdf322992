package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/metrics"
)

type source core.ClusterStatus

func (s source) Status() core.ClusterStatus { return core.ClusterStatus(s) }

func TestMembersByStatus(t *testing.T) {
	member := func(state core.State, status core.Status) core.MemberStatus {
		return core.MemberStatus{Member: core.Member{State: state}, Status: status}
	}
	s := source{Members: []core.MemberStatus{
		member(core.Active, core.Alive), member(core.Joining, core.Alive), member(core.Active, core.Dead), member(core.Left, core.Dead),
	}}
	wantLines(t, s,
		`dynamo_cluster_members{status="alive"} 2`,
		`dynamo_cluster_members{status="dead"} 1`,
		`dynamo_cluster_members{status="suspected"} 0`,
	)
}

func TestHints(t *testing.T) {
	wantLines(t, source{
		Hints: core.HintReport{
			Bytes: 70, Limit: 100, Pending: []core.HintsPending{{Target: "n2", Keys: 3}},
			Stored: 9, Delivered: 6, Refused: 1, Expired: 2,
		},
		Trees:     core.TreeReport{Building: 4, Repaired: 5},
		Alarms:    core.Alarms{LostData: 7, Conflicts: 8},
		Leftovers: 10, PullsLeft: 11,
		Forgetting: core.Forgetting{Reaped: 12, Pruned: 13, Waiting: 14, Cancelled: 15, Blocker: "n3"},
	},
		`dynamo_hints_pending{target="n2"} 3`,
		`dynamo_hints_bytes 70`,
		`dynamo_hints_limit_bytes 100`,
		`dynamo_hints_stored_total 9`,
		`dynamo_hints_delivered_total 6`,
		`dynamo_hints_refused_total 1`,
		`dynamo_hints_expired_total 2`,
		`dynamo_hash_trees_building 4`,
		`dynamo_anti_entropy_keys_repaired_total 5`,
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

func TestNothingBlocksForgetting(t *testing.T) {
	wantLines(t, source{}, `dynamo_forgetting_blocked 0`)
}

// wantLines fails unless the metrics of s have these lines.
func wantLines(t *testing.T, s source, lines ...string) {
	t.Helper()
	w := httptest.NewRecorder()
	metrics.Handler(s).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, want := range lines {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("no %s in\n%s", want, w.Body)
		}
	}
}
