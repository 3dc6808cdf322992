package metrics

import (
	"github.com/dynamo-kv/dynamo/internal/core"
)

// requestOps are the operations of clients. OpInspect is for people.
func requestOps() []core.Op { return []core.Op{core.OpGet, core.OpPut, core.OpDelete} }

// requestCodes are how they end.
func requestCodes() []core.Code {
	return []core.Code{
		core.CodeOK, core.CodeNotFound, core.CodeQuorum, core.CodeTimeout, core.CodeOverloaded,
		core.CodeTooManySiblings, core.CodeSetTooLarge, core.CodeClockTooLong, core.CodeStorageFull, core.CodeNotReady, core.CodeStopped,
	}
}

func quorumKinds() []core.QuorumKind {
	return []core.QuorumKind{core.QuorumRead, core.QuorumWrite, core.QuorumRepair}
}

func quorumResults() []core.QuorumResult {
	return []core.QuorumResult{core.QuorumMet, core.QuorumLost, core.QuorumExpired}
}

func requestFamilies() []family {
	return []family{
		durations("request_duration_seconds", "Time from a client's request to its answer.",
			[]string{"op"}, func(r *Reading, show showDurations) {
				for _, op := range requestOps() {
					show(&r.Counters.Durations[op], op.String())
				}
			}),
		counters("requests_total", "Requests of clients, by how they ended.",
			[]string{"op", "status"}, func(r *Reading, show show) {
				for _, op := range requestOps() {
					for _, code := range requestCodes() {
						show(float64(r.Counters.Requests[op][code]), op.String(), code.String())
					}
				}
			}),
		counters("quorum_total", "Quorums that this node ran as a coordinator, by how they ended.",
			[]string{"type", "result"}, func(r *Reading, show show) {
				for _, kind := range quorumKinds() {
					for _, result := range quorumResults() {
						show(float64(r.Counters.Quorums[kind][result]), kind.String(), result.String())
					}
				}
			}),
		counters("quorum_fallbacks_total", "Fallbacks that stood in for owners in quorums that were met.",
			[]string{"type"}, func(r *Reading, show show) {
				for _, kind := range []core.QuorumKind{core.QuorumRead, core.QuorumWrite} {
					show(float64(r.Counters.Fallbacks[kind]), kind.String())
				}
			}),
		counter("divergent_versions_total", "Reads that found several versions of which none replaces another.",
			func(r *Reading) uint64 { return r.Counters.Divergent }),
		counter("hedged_reads_total", "Owners that were asked since others were slower than they use to be.",
			func(r *Reading) uint64 { return r.Counters.Hedges }),
		counter("forwards_sent_total", "Writes that this node handed to an owner, each attempt counted.",
			func(r *Reading) uint64 { return r.Counters.Forwarded }),
		counter("forwards_executed_total", "Writes that other nodes handed to this one and that it has executed.",
			func(r *Reading) uint64 { return r.Counters.Executed }),
	}
}
