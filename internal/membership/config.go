package membership

import (
	"cmp"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/dynamo-kv/dynamo/internal/breaker"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/latency"
)

const (
	// fanout is the number of random members that one round of gossip
	// reaches. News is everywhere after about log3 of the members rounds.
	fanout = 3

	// burstGap is the least time between two extra rounds for news, and
	// between two extra messages to one peer: a transition changes a few
	// things in a row, and one message carries them all.
	burstGap = 50 * time.Millisecond

	// silence is the number of gossip intervals after which an instance that
	// shows no new heartbeat counts as gone, so that another one may take its
	// ID over.
	silence = 5

	// seedRounds is how often, in rounds, a node that has its cluster asks a
	// seed all the same: two halves of a cluster that have forgotten each
	// other's addresses find themselves so.
	seedRounds = 10

	// minMessageLife is the least time a message of gossip lives, however
	// short the interval is: a slow disk or network must not drop them all.
	minMessageLife = 500 * time.Millisecond

	// jitter is the share by which intervals vary, so that nodes that started
	// together do not gossip together.
	jitter = 0.2

	// maxSeeds bounds the seeds of a node: a person lists them.
	maxSeeds = 256

	// maxJoins bounds the Joins that wait at a time: callers wait for each.
	maxJoins = 16

	// maxAddrBytes bounds an address: the longest host name, a colon, a port.
	maxAddrBytes = 255 + 1 + 5

	// maxNameBytes bounds the names of zones and datacentres, as ring does.
	maxNameBytes = 64

	// latencyMoved is the share by which a peer's percentile must move before
	// the shards get a new view for it alone.
	latencyMoved = 0.2
)

// ErrDamaged is what errors about unreadable records in the store wrap.
var ErrDamaged = errors.New("damaged membership record")

// Config of a Machine. Plain; users' mistakes were found by the root package.
type Config struct {
	Self       id.Node
	Start      uint64 // start nonce of the process
	Instance   uint64 // of the data directory
	Addr       string // where peers reach this node
	Zone       string
	Datacentre string
	Weight     uint32
	Seed       uint64 // of the random stream

	// Shards is the number of shards that report: the node has adopted a
	// layout when all of them have.
	Shards int

	// Partitions and N are used where this node forms a cluster; after that
	// they are the cluster's and never change by a node's configuration.
	Partitions, N int
	// R is how many replicas answer a read, for the retirement of layouts.
	R int

	GossipInterval time.Duration
	// SuspectPhi and DeadPhi are the thresholds of failure detection; 0 is the
	// default.
	SuspectPhi, DeadPhi float64
	// Breaker is that of each peer; with the zero value none ever opens.
	Breaker breaker.Config
	// Latency is that of each peer's window; 0 is the default.
	Latency latency.Config
	// LayoutDelay is how long the members must be unchanged before they get a
	// new layout. LayoutAuto says whether they get it without a command.
	LayoutDelay time.Duration
	LayoutAuto  bool

	// ForceServe serves a disk that may be an old copy without hearing what
	// other members remember of it.
	ForceServe bool

	// Buckets are the bounds by which durations are counted; none: they are not.
	Buckets []time.Duration

	// Seeds are addresses. A fresh node with seeds other than its own address
	// never forms a cluster.
	Seeds []string
}

// check finds what a caller in this program got wrong.
func (c *Config) check() error {
	var faults []error
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	if err := checkMember(ownRecord(c)); err != nil {
		faults = append(faults, err)
	}
	fault(c.Shards >= 1 && c.Shards <= core.MaxShards, "%d shards; 1 to %d are allowed", c.Shards, core.MaxShards)
	fault(c.N >= 1, "N is %d; at least 1 is needed", c.N)
	fault(c.R >= 1, "R is %d; at least 1 is needed", c.R)
	fault(c.GossipInterval > 0, "the gossip interval is %v; it must be positive", c.GossipInterval)
	fault(c.suspectPhi() > 0 && c.suspectPhi() < c.deadPhi() && c.deadPhi() <= MaxPhi,
		"the phis are %v and %v; they must be positive, ascending, and at most %d", c.SuspectPhi, c.DeadPhi, MaxPhi)
	fault(c.LayoutDelay >= 0, "the layout delay is %v; it must not be negative", c.LayoutDelay)
	b := c.Breaker
	fault(b == (breaker.Config{}) || b.Failures > 0 && b.Reset > 0 && b.Successes > 0 && b.Probes >= b.Successes,
		"the breaker is %+v; all of it must be positive, with as many probes as successes at least", b)
	fault(len(c.Seeds) <= maxSeeds, "%d seeds; at most %d are allowed", len(c.Seeds), maxSeeds)
	return errors.Join(faults...)
}

func (c *Config) latency() latency.Config {
	if c.Latency == (latency.Config{}) {
		return latency.Default()
	}
	return c.Latency
}

func (c *Config) suspectPhi() float64 { return cmp.Or(c.SuspectPhi, DefaultSuspectPhi) }
func (c *Config) deadPhi() float64    { return cmp.Or(c.DeadPhi, DefaultDeadPhi) }

// ownRecord is this node's member record before it has come anywhere.
func ownRecord(c *Config) core.Member {
	return core.Member{
		ID:         c.Self,
		Addr:       c.Addr,
		Zone:       c.Zone,
		Datacentre: c.Datacentre,
		Weight:     c.Weight,
		Instance:   c.Instance,
		Start:      c.Start,
		State:      core.Joining,
	}
}

// checkMember finds what no valid record has, whoever sent it.
func checkMember(m core.Member) error {
	if _, err := id.ParseNode(string(m.ID)); err != nil {
		return err
	}
	if m.Addr == "" || len(m.Addr) > maxAddrBytes {
		return fmt.Errorf("the address of %s has %d bytes; 1 to %d are allowed", m.ID, len(m.Addr), maxAddrBytes)
	}
	if len(m.Zone) > maxNameBytes || len(m.Datacentre) > maxNameBytes {
		return fmt.Errorf("zone or datacentre of %s is longer than %d bytes", m.ID, maxNameBytes)
	}
	if !utf8.ValidString(m.Zone) || !utf8.ValidString(m.Datacentre) || !utf8.ValidString(m.Addr) {
		return fmt.Errorf("address, zone or datacentre of %s is not valid UTF-8", m.ID)
	}
	if m.Weight == 0 {
		return fmt.Errorf("the weight of %s is 0; at least 1 is needed", m.ID)
	}
	if m.State < core.Joining || m.State > core.Left {
		return fmt.Errorf("the state of %s is %d, which is none", m.ID, m.State)
	}
	return nil
}
