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
	w := httptest.NewRecorder()
	metrics.Handler(s).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`dynamo_cluster_members{status="alive"} 2`,
		`dynamo_cluster_members{status="dead"} 1`,
		`dynamo_cluster_members{status="suspected"} 0`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("no %s in\n%s", want, w.Body)
		}
	}
}

func TestHints(t *testing.T) {
	s := source{Hints: core.HintReport{
		Bytes: 70, Pending: []core.HintsPending{{Target: "n2", Keys: 3}, {Target: "n3", Keys: 1}}, Stored: 9, Delivered: 6, Refused: 2,
	}}
	w := httptest.NewRecorder()
	metrics.Handler(s).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`dynamo_hints_pending{target="n2"} 3`,
		`dynamo_hints_pending{target="n3"} 1`,
		`dynamo_hints_bytes 70`,
		`dynamo_hints_stored_total 9`,
		`dynamo_hints_delivered_total 6`,
		`dynamo_hints_refused_total 2`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("no %s in\n%s", want, w.Body)
		}
	}
}
