package dynamo

import (
	"fmt"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// Status is what a node knows of its cluster: a snapshot.
type Status struct {
	Node    string
	Cluster string // 16 hexadecimal digits; empty before the node has one
	// Serving says that the node answers requests. WaitsFor says in words what
	// is missing otherwise.
	Serving  bool
	WaitsFor string
	Members  []Member // sorted by ID, this node included
	Layout   Layout
	// UnderReplicated says that there are fewer than N nodes to hold a key.
	UnderReplicated bool
	Forgetting      Forgetting
}

// Forgetting is how far a node has come with letting go of deleted keys, since
// it was started.
type Forgetting struct {
	Reaped  uint64 // deleted keys that it holds no more
	Pruned  uint64 // entries removed from the clocks of keys
	Waiting int    // deleted keys that will be forgotten if nothing changes until Config.TombstoneTTL has passed
	// BlockedBy is the member that keeps this node from forgetting: it does
	// not answer, or goes by other members. Empty: nobody.
	BlockedBy    string
	BlockedSince time.Time
}

// Member is a node as another one sees it.
type Member struct {
	ID      string
	Address string
	Zone    string
	Status  string // alive, suspected or dead: the opinion of the node that is asked
	State   string // joining, active, leaving or left: the member's own word
}

// Layout is the newest assignment of partitions to nodes.
type Layout struct {
	Version    uint64 // 0 before there is one
	Partitions int
	Replicas   int // N
	Owners     int // nodes that hold each key: N, or fewer in a small cluster
	// Stable says that no partition is on its way from one node to another.
	Stable bool
}

func statusOf(st core.ClusterStatus) Status {
	out := Status{
		Node:            string(st.Self),
		Serving:         st.Serving,
		WaitsFor:        st.WaitsFor,
		Members:         make([]Member, len(st.Members)),
		Layout:          Layout{Replicas: st.Replicas, Stable: st.Layouts.Phase == core.PhaseDone},
		UnderReplicated: st.UnderReplicated,
	}
	f := st.Forgetting
	out.Forgetting = Forgetting{Reaped: f.Reaped, Pruned: f.Pruned, Waiting: f.Waiting, BlockedBy: string(f.Blocker)}
	if f.Blocker != "" {
		out.Forgetting.BlockedSince = time.Unix(0, int64(f.BlockedSince))
	}
	if st.Cluster != 0 {
		out.Cluster = fmt.Sprintf("%016x", st.Cluster)
	}
	if live := st.Layouts.Live; len(live) > 0 {
		newest := live[len(live)-1]
		out.Layout.Version = newest.Name().Number
		out.Layout.Partitions = newest.Partitions()
		out.Layout.Replicas = newest.Replicas()
		out.Layout.Owners = newest.OwnerCount()
	}
	for i, m := range st.Members {
		out.Members[i] = Member{
			ID: string(m.ID), Address: m.Addr, Zone: m.Zone, Status: m.Status.String(), State: m.State.String(),
		}
	}
	return out
}

// notReady says what Ready still waits for, empty when it is ready.
func notReady(st core.ClusterStatus) string {
	if !st.Serving {
		return st.WaitsFor
	}
	l := statusOf(st).Layout
	switch {
	case l.Owners < l.Replicas:
		return fmt.Sprintf("%d of %d nodes are in the layout", l.Owners, l.Replicas)
	case !l.Stable:
		return fmt.Sprintf("layout %d is being filled", l.Version)
	}
	return ""
}
