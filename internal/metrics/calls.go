package metrics

import (
	"github.com/dynamo-kv/dynamo/internal/core"
)

func circuitStates() []core.CircuitState {
	return []core.CircuitState{core.CircuitClosed, core.CircuitOpen, core.CircuitHalfOpen}
}

// peersOf calls f for each other member that has not left.
func peersOf(r *Reading, f func(m *core.MemberStatus)) {
	for i := range r.Status.Members {
		if m := &r.Status.Members[i]; m.ID != r.Status.Self && m.State != core.Left {
			f(m)
		}
	}
}

func callFamilies() []family {
	return []family{
		gauges("circuit_breaker_state", "1 for the state that this node's breaker for another one is in, else 0.",
			[]string{"peer", "state"}, func(r *Reading, show show) {
				peersOf(r, func(m *core.MemberStatus) {
					for _, s := range circuitStates() {
						show(one(m.Circuit.State == s), string(m.ID), s.String())
					}
				})
			}),
		counters("circuit_breaker_transitions_total", "Changes of a breaker to a state.",
			[]string{"peer", "to"}, func(r *Reading, show show) {
				peersOf(r, func(m *core.MemberStatus) {
					show(float64(m.Changes.Closed), string(m.ID), core.CircuitClosed.String())
					show(float64(m.Changes.Opened), string(m.ID), core.CircuitOpen.String())
					show(float64(m.Changes.HalfOpened), string(m.ID), core.CircuitHalfOpen.String())
				})
			}),
		gauges("peer_latency_seconds", "How long the latest requests of this node to another one took, by which owners are chosen and reads hedged; 0: not known.",
			[]string{"peer", "quantile"}, func(r *Reading, show show) {
				peersOf(r, func(m *core.MemberStatus) {
					show(m.P95.Seconds(), string(m.ID), "0.95")
					show(m.P99.Seconds(), string(m.ID), "0.99")
				})
			}),
		counter("call_retries_total", "Requests to other nodes that were repeated since they had failed.",
			func(r *Reading) uint64 { return r.Counters.Calls.Retries }),
		counter("latency_probes_total", "Owners that were read from only to know how fast they are.",
			func(r *Reading) uint64 { return r.Counters.Calls.Probes }),
	}
}
