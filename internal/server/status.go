package server

import (
	"fmt"
	"net/http"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// statusJSON is the body of /v1/status.
type statusJSON struct {
	Node            string         `json:"node"`
	Cluster         string         `json:"cluster"` // 16 hexadecimal digits, empty before there is one
	Serving         bool           `json:"serving"`
	WaitsFor        string         `json:"waits_for,omitempty"`
	Members         []memberJSON   `json:"members"`
	Layout          layoutJSON     `json:"layout"`
	UnderReplicated bool           `json:"under_replicated"`
	Transition      transitionJSON `json:"transition"`
	Leftovers       int            `json:"leftovers"` // partitions with keys here that this node does not own
	AntiEntropy     treesJSON      `json:"anti_entropy"`
	Hints           hintsJSON      `json:"hints"`
	ReadRepair      repairsJSON    `json:"read_repair"`
	Forgetting      forgettingJSON `json:"forgetting"`
	Background      backgroundJSON `json:"background"`
	Room            *roomJSON      `json:"room,omitempty"` // nothing: it is not measured
}

// roomJSON is how much room the storage has left, and the marks at which it is
// low and full.
type roomJSON struct {
	State string `json:"state"`
	Free  uint64 `json:"free_bytes"`
	Total uint64 `json:"total_bytes"`
	Low   uint64 `json:"low_at_bytes"`
	Full  uint64 `json:"full_at_bytes"`
}

// backgroundJSON is how much background work the node lets itself do.
type backgroundJSON struct {
	Throttled      bool    `json:"throttled"`
	Slots          int     `json:"slots"`
	MaxSlots       int     `json:"max_slots"`
	Held           int     `json:"held"`
	Wanted         int     `json:"wanted"`
	BytesPerSecond int64   `json:"bytes_per_second"` // 0: there is no limit
	P99            float64 `json:"p99_ms"`           // 0: too few requests are known
	Threshold      float64 `json:"threshold_ms"`
}

// repairsJSON counts what reads have repaired since the start of the process.
type repairsJSON struct {
	Sent    uint64 `json:"sent"`
	Own     uint64 `json:"own"` // this node's own copy
	Dropped uint64 `json:"dropped"`
	Waited  uint64 `json:"waited"` // blocking reads
	Failed  uint64 `json:"failed"`
}

// hintsJSON is what this node keeps for others that missed writes. The counts
// from stored on run from the start of the process.
type hintsJSON struct {
	Records   uint64        `json:"records"` // keys
	Bytes     uint64        `json:"bytes"`
	MaxBytes  uint64        `json:"max_bytes"`
	Pending   []pendingJSON `json:"pending"`
	Stored    uint64        `json:"stored"`
	Delivered uint64        `json:"delivered"`
	Refused   uint64        `json:"refused"`
	Expired   uint64        `json:"expired"`
}

type pendingJSON struct {
	Target string `json:"target"`
	Keys   uint64 `json:"keys"`
}

// forgettingJSON counts since the start of the process.
type forgettingJSON struct {
	Reaped    uint64       `json:"reaped"`    // keys removed from this node: they were deleted
	Pruned    uint64       `json:"pruned"`    // clock entries removed from this node
	Waiting   int          `json:"waiting"`   // keys for whose second round this node waits
	Cancelled uint64       `json:"cancelled"` // rounds of this node that were given up
	BlockedBy *blockerJSON `json:"blocked_by,omitempty"`
}

// blockerJSON is the member that rounds wait for.
type blockerJSON struct {
	ID    string    `json:"id"`
	Since time.Time `json:"since"`
}

type memberJSON struct {
	ID         string `json:"id"`
	Address    string `json:"address"`
	Zone       string `json:"zone"`
	Datacentre string `json:"datacentre"`
	Status     string `json:"status"` // this node's opinion: alive, suspected, dead; none of one that has left
	State      string `json:"state"`  // joining, active, leaving, left
	Partitions int    `json:"partitions"`
	// Breaker is the state of this node's circuit breaker for it: closed, open,
	// half-open; absent for this node itself.
	Breaker string `json:"breaker,omitempty"`
}

type layoutJSON struct {
	Version    uint64 `json:"version"`
	Name       string `json:"name"` // number and digest
	Partitions int    `json:"partitions"`
	Replicas   int    `json:"replicas"`
	Phase      string `json:"phase"`
}

// transitionJSON counts the partitions that the transition under way brings
// to this node.
type transitionJSON struct {
	Pulls int `json:"pulls"`
	Left  int `json:"left"`
	// Blocked lists the members that it waits for though they are suspected or
	// dead.
	Blocked []id.Node `json:"blocked,omitempty"`
}

// treesJSON is how far this node has come with comparing what it holds to what
// the other owners hold.
type treesJSON struct {
	Building int       `json:"trees_building"` // partitions without a hash tree yet
	Pairs    int       `json:"pairs"`          // partitions to compare, once for each peer
	Compared int       `json:"compared"`       // those of them that have been since the start or a new layout
	Since    time.Time `json:"since,omitzero"` // every pair has been compared after this; absent before
	Repaired uint64    `json:"keys_repaired"`  // since the start, here or at a peer
}

func treesOf(r core.TreeReport) treesJSON {
	out := treesJSON{Building: r.Building, Pairs: r.Pairs, Compared: r.Compared, Repaired: r.Repaired}
	if r.Since > 0 {
		out.Since = time.Unix(0, int64(r.Since)).UTC()
	}
	return out
}

// healthJSON is the body of /health.
type healthJSON struct {
	Status   string `json:"status"` // serving, waiting
	Node     string `json:"node"`
	WaitsFor string `json:"waits_for,omitempty"`
	Room     string `json:"room,omitempty"` // low, full
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	if !isRead(r.Method) {
		s.notAllowed(w, r, "GET, HEAD")
		return
	}
	s.writeJSON(w, http.StatusOK, statusOf(s.backend.Status()))
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	if !isRead(r.Method) {
		s.notAllowed(w, r, "GET, HEAD")
		return
	}
	st := s.backend.Status()
	if st.Serving {
		s.writeJSON(w, http.StatusOK, healthJSON{Status: "serving", Node: string(st.Self), Room: roomOf(st.Room)})
		return
	}
	w.Header().Set("Retry-After", retryAfter)
	s.writeJSON(w, http.StatusServiceUnavailable,
		healthJSON{Status: "waiting", Node: string(st.Self), WaitsFor: st.WaitsFor})
}

// roomOf returns what health says of the room: nothing where there is plenty. A
// full node serves reads, and hands writes to others.
func roomOf(r core.RoomStatus) string {
	if r.State == core.RoomPlenty {
		return ""
	}
	return r.State.String()
}

func isRead(method string) bool { return method == http.MethodGet || method == http.MethodHead }

func statusOf(st core.ClusterStatus) statusJSON {
	out := statusJSON{
		Node:            string(st.Self),
		Serving:         st.Serving,
		WaitsFor:        st.WaitsFor,
		Members:         make([]memberJSON, len(st.Members)),
		Layout:          layoutJSON{Replicas: st.Replicas, Phase: st.Layouts.Phase.String()},
		UnderReplicated: st.UnderReplicated,
		Transition:      transitionJSON{Pulls: st.Pulls, Left: st.PullsLeft, Blocked: st.Blocking},
		Leftovers:       st.Leftovers,
		AntiEntropy:     treesOf(st.Trees),
		Hints:           hintsOf(st.Hints),
		ReadRepair:      repairsJSON(st.Repairs),
	}
	out.Forgetting = forgettingOf(st.Forgetting)
	out.Background = backgroundOf(&st.Background)
	if r := st.Room; r.Measured {
		out.Room = &roomJSON{State: r.State.String(), Free: r.Left, Total: r.Total, Low: r.Low, Full: r.Full}
	}
	if st.Cluster != 0 {
		out.Cluster = fmt.Sprintf("%016x", st.Cluster)
	}
	var loads map[id.Node]int
	if live := st.Layouts.Live; len(live) > 0 {
		newest := live[len(live)-1]
		out.Layout.Version = newest.Name().Number
		out.Layout.Name = newest.Name().String()
		out.Layout.Partitions = newest.Partitions()
		out.Layout.Replicas = newest.Replicas()
		loads = loadsOf(newest)
	}
	for i, m := range st.Members {
		out.Members[i] = memberJSON{
			ID: string(m.ID), Address: m.Addr, Zone: m.Zone, Datacentre: m.Datacentre,
			Status: m.Status.String(), State: m.State.String(), Partitions: loads[m.ID],
		}
		if m.ID != st.Self {
			out.Members[i].Breaker = m.Circuit.State.String()
		}
	}
	return out
}

func hintsOf(h core.HintReport) hintsJSON {
	out := hintsJSON{
		Records: h.Records, Bytes: h.Bytes, MaxBytes: h.Limit, Pending: make([]pendingJSON, len(h.Pending)),
		Stored: h.Stored, Delivered: h.Delivered, Refused: h.Refused, Expired: h.Expired,
	}
	for i, p := range h.Pending {
		out.Pending[i] = pendingJSON{Target: string(p.Target), Keys: p.Keys}
	}
	return out
}

func backgroundOf(b *core.Background) backgroundJSON {
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	return backgroundJSON{
		Throttled: b.Throttled(), Slots: b.Slots, MaxSlots: b.MaxSlots, Held: b.Held, Wanted: b.Wanted,
		BytesPerSecond: b.BytesPerSecond, P99: ms(b.P99), Threshold: ms(b.Target),
	}
}

func forgettingOf(f core.Forgetting) forgettingJSON {
	out := forgettingJSON{Reaped: f.Reaped, Pruned: f.Pruned, Waiting: f.Waiting, Cancelled: f.Cancelled}
	if f.Blocker != "" {
		out.BlockedBy = &blockerJSON{ID: string(f.Blocker), Since: time.Unix(0, int64(f.BlockedSince)).UTC()}
	}
	return out
}

// loadsOf counts the partitions that each member owns in l.
func loadsOf(l *ring.Layout) map[id.Node]int {
	loads := make(map[id.Node]int, len(l.Members()))
	for p := range l.Partitions() {
		for _, n := range l.Owners(ring.Partition(p)) {
			loads[n]++
		}
	}
	return loads
}
