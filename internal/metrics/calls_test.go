package metrics_test

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/metrics"
)

// Each other member has the states of its breaker and its latencies.
func TestBreakersByPeer(t *testing.T) {
	r := metrics.Reading{Status: core.ClusterStatus{
		Self: "n1",
		Members: []core.MemberStatus{
			{Member: core.Member{ID: "n1", State: core.Active}},
			{Member: core.Member{ID: "n2", State: core.Active}},
			{
				Member: core.Member{ID: "n3", State: core.Active}, Circuit: core.Circuit{State: core.CircuitOpen},
				Changes: core.CircuitChanges{Opened: 3, HalfOpened: 2, Closed: 1}, P95: time.Millisecond, P99: 2 * time.Millisecond,
			},
		},
	}}
	r.Counters.Calls = core.CallCounters{Retries: 4, Probes: 5}
	wantLines(t, &r,
		`dynamo_circuit_breaker_state{peer="n2",state="closed"} 1`,
		`dynamo_circuit_breaker_state{peer="n2",state="open"} 0`,
		`dynamo_circuit_breaker_state{peer="n3",state="closed"} 0`,
		`dynamo_circuit_breaker_state{peer="n3",state="open"} 1`,
		`dynamo_circuit_breaker_state{peer="n3",state="half-open"} 0`,
		`dynamo_circuit_breaker_transitions_total{peer="n3",to="open"} 3`,
		`dynamo_circuit_breaker_transitions_total{peer="n3",to="half-open"} 2`,
		`dynamo_circuit_breaker_transitions_total{peer="n3",to="closed"} 1`,
		`dynamo_peer_latency_seconds{peer="n3",quantile="0.95"} 0.001`,
		`dynamo_peer_latency_seconds{peer="n3",quantile="0.99"} 0.002`,
		`dynamo_peer_latency_seconds{peer="n2",quantile="0.99"} 0`,
		`dynamo_call_retries_total 4`,
		`dynamo_latency_probes_total 5`,
	)
}
