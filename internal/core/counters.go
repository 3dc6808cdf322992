package core

import "github.com/dynamo-kv/dynamo/internal/histogram"

// Counters is what machines count for metrics, since the start of the process.
// A machine owns its own and counts in plain fields: it takes no lock, looks
// nothing up and allocates nothing. A plain assignment is a snapshot, which is
// what the shell takes when somebody asks.
type Counters struct {
	// Requests of clients that were answered, those apart that are turned away
	// by a full queue: Op and Code are the indexes.
	Requests [Ops][Codes]uint64
	// Quorums that this node ran as a coordinator, and the fallbacks that stood
	// in for owners in those that were met.
	Quorums   [QuorumKinds][QuorumResults]uint64
	Fallbacks [QuorumKinds]uint64
	// Divergent reads found several versions of which none replaces another.
	Divergent uint64
	// Hedges are owners asked beside those that were slower than they use to be.
	Hedges uint64
	// Forwarded writes were handed to an owner; Executed ones came from another
	// node.
	Forwarded, Executed uint64
	// Limits counts how often a limit was reached.
	Limits [Limits]uint64
	// Requests of clients and messages of peers that were dropped without being
	// begun, since their time was up, or too little of it left.
	ExpiredRequests, ExpiredMessages uint64

	Gossip      GossipCounters
	AntiEntropy AntiEntropyCounters
	Calls       CallCounters
	Records     CacheCounters

	// What the shell fills. Durations of requests, by Op, run from their arrival
	// to the moment when the answer leaves their loop. Drains is how long a loop
	// took for what it steps a shard by at a time. Both include the reads of the
	// disk, which a machine's own time does not show.
	Durations [Ops]histogram.Histogram
	Drains    histogram.Histogram
}

// GossipCounters are those of membership.
type GossipCounters struct {
	Rounds    uint64              // regular ones
	Durations histogram.Histogram // from a question to its answer
	Foreign   uint64              // messages of other clusters
	Invalid   uint64              // messages and records that no valid node sends
	Expired   uint64              // messages past their deadline
	Taken     uint64              // records of a second instance of a live ID
	Plans     uint64              // layouts planned here
	Failed    uint64              // plans that could not be made
	Stalls    uint64              // times that this node itself had stood still
}

// AntiEntropyCounters are those of anti-entropy, beside its TreeReport.
type AntiEntropyCounters struct {
	Durations histogram.Histogram // of exchanges with a peer that have ended
	Failed    uint64              // exchanges that broke off: the peer did not answer as it must
}

// CacheCounters are those of the replicas' caches of records.
type CacheCounters struct {
	Hits, Misses uint64 // reads of records that are not of a write under way
	Bytes        uint64 // that it holds now
}

// Add adds what o has counted.
func (c *Counters) Add(o *Counters) {
	for op := range c.Requests {
		plus(c.Requests[op][:], o.Requests[op][:])
		c.Durations[op].Add(&o.Durations[op])
	}
	for kind := range c.Quorums {
		plus(c.Quorums[kind][:], o.Quorums[kind][:])
	}
	plus(c.Fallbacks[:], o.Fallbacks[:])
	plus(c.Limits[:], o.Limits[:])
	c.ExpiredRequests += o.ExpiredRequests
	c.ExpiredMessages += o.ExpiredMessages
	c.Divergent += o.Divergent
	c.Hedges += o.Hedges
	c.Forwarded += o.Forwarded
	c.Executed += o.Executed
	c.Gossip.add(&o.Gossip)
	c.AntiEntropy.Durations.Add(&o.AntiEntropy.Durations)
	c.AntiEntropy.Failed += o.AntiEntropy.Failed
	c.Drains.Add(&o.Drains)
	c.Records.Hits += o.Records.Hits
	c.Records.Misses += o.Records.Misses
	c.Records.Bytes += o.Records.Bytes
	c.Calls.Retries += o.Calls.Retries
	c.Calls.Probes += o.Calls.Probes
}

func (g *GossipCounters) add(o *GossipCounters) {
	g.Durations.Add(&o.Durations)
	g.Rounds += o.Rounds
	g.Foreign += o.Foreign
	g.Invalid += o.Invalid
	g.Expired += o.Expired
	g.Taken += o.Taken
	g.Plans += o.Plans
	g.Failed += o.Failed
	g.Stalls += o.Stalls
}

func plus(to, from []uint64) {
	for i, n := range from {
		to[i] += n
	}
}

// QuorumKind is what a quorum is for.
type QuorumKind uint8

// The kinds of quorum that are counted.
const (
	QuorumRead   QuorumKind = iota // R replicas that answer
	QuorumWrite                    // W replicas that have it on disk
	QuorumRepair                   // R owners that hold what a blocking read returns

	// QuorumKinds is their number.
	QuorumKinds = iota
)

// String returns the kind as metrics show it.
func (k QuorumKind) String() string {
	switch k {
	case QuorumRead:
		return "read"
	case QuorumWrite:
		return "write"
	case QuorumRepair:
		return "repair"
	}
	return "unknown"
}

// QuorumResult is how a quorum ended.
type QuorumResult uint8

// The results.
const (
	QuorumMet     QuorumResult = iota
	QuorumLost                 // too many replicas had failed
	QuorumExpired              // the deadline came first

	// QuorumResults is their number.
	QuorumResults = iota
)

// String returns the result as metrics show it.
func (r QuorumResult) String() string {
	switch r {
	case QuorumMet:
		return "met"
	case QuorumLost:
		return "lost"
	case QuorumExpired:
		return "expired"
	}
	return "unknown"
}

// LimitName is a limit whose reaching is counted where it is met. Some more
// are counted elsewhere: what hints need, and what waits for a peer.
type LimitName uint8

// The limits.
const (
	LimitClients    LimitName = iota // requests of clients that wait for a loop
	LimitPeers                       // requests of peers that wait for a loop
	LimitRequests                    // requests under way in a shard
	LimitStragglers                  // answered writes that still await replicas
	LimitForwards                    // forwards that a shard remembers
	LimitRepairs                     // what read repairs may hold
	LimitSiblings                    // versions of a key
	LimitSetBytes                    // bytes of a key's versions
	LimitClock                       // entries of a key's clock
	LimitMembers                     // members of a cluster
	LimitUnderWay                    // requests under way in a shard, while they are slow
	LimitStorage                     // room of the storage: a write or a peer's message was refused

	// Limits is their number.
	Limits = iota
)

// String returns the limit's name, as metrics show it.
func (l LimitName) String() string {
	switch l {
	case LimitClients:
		return "client_queue"
	case LimitPeers:
		return "peer_queue"
	case LimitRequests:
		return "requests"
	case LimitStragglers:
		return "stragglers"
	case LimitForwards:
		return "forwards"
	case LimitRepairs:
		return "repairs"
	case LimitSiblings:
		return "siblings"
	case LimitSetBytes:
		return "set_bytes"
	case LimitClock:
		return "clock_entries"
	case LimitMembers:
		return "members"
	case LimitUnderWay:
		return "under_way"
	case LimitStorage:
		return "storage"
	}
	return "unknown"
}
