package metrics

import (
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

func hintFamilies() []family {
	return []family{
		gauges("hints_pending", "Keys that this node keeps for another one, which missed a write of them.",
			[]string{"target"}, func(r *Reading, show show) {
				for _, p := range pending(&r.Status) {
					show(float64(p.Keys), string(p.Target))
				}
			}),
		gauge("hints_bytes", "Bytes of the hints that this node keeps.",
			func(r *Reading) float64 { return float64(r.Status.Hints.Bytes) }),
		gauge("hints_limit_bytes", "Bytes of hints from which on new ones are refused.",
			func(r *Reading) float64 { return float64(r.Status.Hints.Limit) }),
		counter("hints_stored_total", "Keys that were kept for another node.",
			func(r *Reading) uint64 { return r.Status.Hints.Stored }),
		counter("hints_delivered_total", "Keys that another node has durably taken over.",
			func(r *Reading) uint64 { return r.Status.Hints.Delivered }),
		counter("hints_refused_total", "Hints that were refused for want of room.",
			func(r *Reading) uint64 { return r.Status.Hints.Refused }),
		counter("hints_expired_total", "Markers, which hold no data, that grew too old; anti-entropy brings what they stood for.",
			func(r *Reading) uint64 { return r.Status.Hints.Expired }),
		counter("hints_lost_total", "Hints that the disk has lost; their owners have the writes from each other.",
			func(r *Reading) uint64 { return r.Status.Hints.Lost }),
	}
}

// pending returns what is kept for each other member that has not left, and
// for whoever something is kept for beside those.
func pending(st *core.ClusterStatus) []core.HintsPending {
	all := []core.HintsPending{}
	kept := make(map[id.Node]uint64, len(st.Hints.Pending))
	for _, p := range st.Hints.Pending {
		kept[p.Target] = p.Keys
	}
	for _, m := range st.Members {
		if m.ID != st.Self && m.State != core.Left {
			all = append(all, core.HintsPending{Target: m.ID, Keys: kept[m.ID]})
			delete(kept, m.ID)
		}
	}
	for _, p := range st.Hints.Pending {
		if _, ok := kept[p.Target]; ok {
			all = append(all, p)
		}
	}
	return all
}
