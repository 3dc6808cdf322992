package node

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/breaker"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/latency"
	"github.com/dynamo-kv/dynamo/internal/room"
)

// MaxDrain is the most inputs that a loop steps before it flushes: enough for
// one fsync and one message a peer to serve many requests, few enough that the
// first of them does not wait long.
const MaxDrain = 256

// Options of a node's machines, checked by who builds them.
type Options struct {
	Self       id.Node
	Start      uint64 // nonce, drawn anew at each start of the process
	Instance   uint64 // of the data directory
	Addr       string // where peers reach this node
	Zone       string
	Datacentre string
	Weight     uint32
	Seed       uint64 // of the named random streams
	Shards     int    // 1 to core.MaxShards−1; the last number is Control's

	Partitions int // Q, when this node forms a cluster
	N, R, W    int
	Strict     bool // only owners count, unless a request says otherwise
	// MaxHintBytes is what hints may need, over all shards.
	MaxHintBytes uint64
	// RecordCacheBytes is what records that are kept in memory may need, over all
	// shards; 0: none are.
	RecordCacheBytes int
	// RepairBytes is what reads may keep at once to repair owners that are
	// behind, over all shards; 0: they repair none in the background.
	RepairBytes uint64

	PeerTimeout    time.Duration
	GossipInterval time.Duration
	SuspectPhi     float64       // of failure detection; 0 is the default
	DeadPhi        float64       // likewise
	LayoutDelay    time.Duration // how long membership must be unchanged before a plan
	LayoutAuto     bool
	ForceServe     bool     // a disk that may be an old copy is served without asking
	Seeds          []string // addresses; a fresh node with seeds never forms a cluster by itself
	// AntiEntropyInterval is how long two owners leave each other alone at most;
	// 0: this node compares with nobody by itself.
	AntiEntropyInterval time.Duration

	// Buckets are the bounds by which durations are counted; none: they are not.
	Buckets []time.Duration

	// Breaker is that of each peer, Retry how calls to peers are repeated; with
	// the zero values no breaker opens, and no call is repeated.
	Breaker breaker.Config
	Retry   backoff.Policy
	// Latency is that of the window of each peer; 0 is the default.
	Latency latency.Config
	// Select has the fastest known owner execute forwards and answer reads, and
	// ProbeShare is the share of requests that try another one besides.
	Select     bool
	ProbeShare float64
	// ReadAll asks all owners of a key at once, ReadHedge one more when those
	// that were asked are slow.
	ReadAll, ReadHedge bool

	TombstoneTTL      time.Duration // between the two rounds of forgetting, at least
	TombstoneInterval time.Duration // between two looks for what may be forgotten

	// Admit says whether background work keeps to Admission, which is the default
	// where it is zero; else it takes what it can.
	Admit     bool
	Admission admission.Limits
	// EngineWork says that the storage engine has background work of its own,
	// which holds slots as that of one shard more would: of number Shards.
	EngineWork bool

	// Room has the marks of the storage's room; the zero value is the default.
	Room room.Marks
}

// Route returns the loop that an inbound envelope belongs to: a shard's index,
// or −1 for Control.
func Route(e *core.Envelope, shards int) int {
	switch e.Msg.(type) {
	case *core.Gossip, *core.GossipReply:
		return -1
	}
	if e.Reply {
		if s := e.Req.Shard(); s < shards {
			return s
		}
		return -1
	}
	return int(e.Partition) % shards
}
