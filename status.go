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
	AntiEntropy     AntiEntropy
	Hints           Hints
	ReadRepair      ReadRepair
	Forgetting      Forgetting
	Background      Background
	Room            Room
}

// Room is how much room a node's storage has left.
type Room struct {
	// State is "plenty", "low", or "full": then the node takes no more writes
	// but deletes. Empty: nobody measures.
	State string
	// Free bytes of Total, and the marks at or below which the state is low and
	// full.
	Free, Total   uint64
	LowAt, FullAt uint64
}

// Background is how much background work a node lets itself do.
type Background struct {
	// Throttled says that requests are too slow for all of Admission.MaxSlots.
	Throttled bool
	Slots     int // that there are now
	Held      int // of them, by work that runs
	Wanted    int // that there is work for, that which runs included
	// BytesPerSecond is what all slots may move now; 0: there is no limit.
	BytesPerSecond int64
	P99            time.Duration // of the latest requests; 0: too few are known
}

// ReadRepair counts what reads that this node coordinated have repaired, since
// it started.
type ReadRepair struct {
	Sent    uint64 // to owners that were behind
	Own     uint64 // times that the node's own copy was behind
	Dropped uint64 // owners that were behind and are left to anti-entropy: too many at once
	Waited  uint64 // reads with BlockingRepair that could not answer at once
	Failed  uint64 // repairs that an owner has not acknowledged in time, or could not take
}

// Hints is what a node keeps for others that missed writes.
type Hints struct {
	Bytes, MaxBytes uint64
	Pending         map[string]uint64 // keys by the node that they are for
	Stored          uint64            // kept since the start, and Delivered since
	Delivered       uint64
	Refused         uint64 // for want of room, since the start
	Expired         uint64 // notes without data that grew too old, since the start
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
	// Datacentre is where it stands, as its configuration says.
	Datacentre string
	Status     string // alive, suspected or dead: the opinion of the node that is asked; none of one that has left
	State      string // joining, active, leaving or left: the member's own word
	// Breaker is the state of the circuit breaker that the node which is asked
	// keeps of this one: closed, open or half-open. Empty for itself.
	Breaker string
}

// Layout is the newest assignment of partitions to nodes.
type Layout struct {
	Version    uint64 // 0 before there is one
	Partitions int
	Replicas   int // N
	Owners     int // nodes that hold each key: N, or fewer in a small cluster
	// Stable says that no partition is on its way from one node to another.
	Stable bool
	// Blocked lists the nodes for which the partitions on their way wait
	// though they are suspected or dead: it goes on when they are back.
	Blocked []string
}

// AntiEntropy is how far a node has come with comparing what it holds to what
// the other owners of its partitions hold, and with repairing the difference.
type AntiEntropy struct {
	TreesBuilding int // partitions whose hash tree is not ready
	// Pairs are the partitions that this node compares, counted once for each
	// peer; of each two owners one begins. Compared are those that have been
	// compared since the node started or got a new layout.
	Pairs, Compared int
	// Since is a time after which every pair has been compared; zero before.
	Since    time.Time
	Repaired uint64 // keys, here or at a peer, since the start
}

func statusOf(st core.ClusterStatus) Status {
	out := Status{
		Node:            string(st.Self),
		Serving:         st.Serving,
		WaitsFor:        st.WaitsFor,
		Members:         make([]Member, len(st.Members)),
		Layout:          layoutOf(&st),
		UnderReplicated: st.UnderReplicated,
		AntiEntropy: AntiEntropy{
			TreesBuilding: st.Trees.Building, Pairs: st.Trees.Pairs, Compared: st.Trees.Compared, Repaired: st.Trees.Repaired,
		},
	}
	if st.Trees.Since > 0 {
		out.AntiEntropy.Since = time.Unix(0, int64(st.Trees.Since))
	}
	b := &st.Background
	out.Background = Background{
		Throttled: b.Throttled(), Slots: b.Slots, Held: b.Held, Wanted: b.Wanted, BytesPerSecond: b.BytesPerSecond, P99: b.P99,
	}
	if r := st.Room; r.Measured {
		out.Room = Room{State: r.State.String(), Free: r.Left, Total: r.Total, LowAt: r.Low, FullAt: r.Full}
	}
	out.ReadRepair = ReadRepair(st.Repairs)
	out.Hints = Hints{
		Bytes: st.Hints.Bytes, MaxBytes: st.Hints.Limit, Pending: make(map[string]uint64, len(st.Hints.Pending)),
		Stored: st.Hints.Stored, Delivered: st.Hints.Delivered, Refused: st.Hints.Refused, Expired: st.Hints.Expired,
	}
	for _, p := range st.Hints.Pending {
		out.Hints.Pending[string(p.Target)] = p.Keys
	}
	f := st.Forgetting
	out.Forgetting = Forgetting{Reaped: f.Reaped, Pruned: f.Pruned, Waiting: f.Waiting, BlockedBy: string(f.Blocker)}
	if f.Blocker != "" {
		out.Forgetting.BlockedSince = time.Unix(0, int64(f.BlockedSince))
	}
	if st.Cluster != 0 {
		out.Cluster = fmt.Sprintf("%016x", st.Cluster)
	}
	for i, m := range st.Members {
		out.Members[i] = Member{
			ID: string(m.ID), Address: m.Addr, Zone: m.Zone, Datacentre: m.Datacentre, Status: m.Status.String(), State: m.State.String(),
		}
		if m.ID != st.Self {
			out.Members[i].Breaker = m.Circuit.State.String()
		}
	}
	return out
}

func layoutOf(st *core.ClusterStatus) Layout {
	out := Layout{Replicas: st.Replicas, Stable: st.Layouts.Phase == core.PhaseDone}
	if live := st.Layouts.Live; len(live) > 0 {
		newest := live[len(live)-1]
		out.Version = newest.Name().Number
		out.Partitions = newest.Partitions()
		out.Replicas = newest.Replicas()
		out.Owners = newest.OwnerCount()
	}
	for _, n := range st.Blocking {
		out.Blocked = append(out.Blocked, string(n))
	}
	return out
}

// notReady says what Ready still waits for, empty when it is ready.
func notReady(st core.ClusterStatus) string {
	if !st.Serving {
		return st.WaitsFor
	}
	l := layoutOf(&st)
	switch {
	case l.Owners < l.Replicas:
		return fmt.Sprintf("%d of %d nodes are in the layout", l.Owners, l.Replicas)
	case !l.Stable:
		return fmt.Sprintf("layout %d is being filled", l.Version)
	}
	return ""
}
