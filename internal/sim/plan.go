package sim

import (
	"cmp"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// The shape of a run. Each cluster-hour must see at least 2,000 operations
// and 20 faults on at most 50 keys: an idle hour proves nothing.
const (
	maxNodes = 7
	maxKeys  = 50
	// maxWeight bounds the weights of nodes.
	maxWeight = 3

	faultsPerHour    = 30 // growth aside
	burstsPerHour    = 30 // beside those that go with the faults
	defaultRequest   = 2 * time.Second
	defaultPeer      = 300 * time.Millisecond
	defaultPartition = 16

	// leastTTL is the shortest time between the two rounds of forgetting, 2M
	// of DESIGN section 4: no disk is older here than its node.
	leastTTL = 2 * id.MaxMessageAge
)

// Plan is everything about a run that is fixed before it begins: the cluster,
// its clients, and what goes wrong when. The same seed and length give the
// same plan.
type Plan struct {
	Seed   uint64
	Length time.Duration // of the part with faults; healing and checking follow

	// The cluster.
	Initial    int // nodes that the run begins with
	Nodes      int // that it has grown to in the end
	Shards     int
	Partitions int
	N, R, W    int
	Strict     bool   // as configured: only owners count
	HintBytes  uint64 // that a node may need for hints
	Still      bool   // no process ends, no layout changes, no trees are compared: hints alone make all owners equal
	Gossip     time.Duration
	Layout     time.Duration // the debounce of automatic layouts
	Request    time.Duration
	Peer       time.Duration
	// AntiEntropy is the interval in which owners are compared, 0: never.
	AntiEntropy time.Duration
	Calling     Calling
	RepairBytes uint64        // that reads may keep for repairs at a node, 0: they repair nothing
	Blocking    float64       // share of gets that wait for their repairs
	Seeds       []joinStyle   // how each node comes to the cluster, by index
	Zones       []string      // by index
	Weights     []uint32      // by index
	TTL         time.Duration // of tombstones
	Reap        time.Duration // between two looks at a partition

	// The network and the disks, when nothing is wrong with them.
	Latency time.Duration // typical, one way
	Fsync   time.Duration // typical
	Refuse  float64       // share of sends to a dead node that are refused, not lost
	Noise   Fault         // what the network does to messages all the time

	// The clients.
	Clients   int
	Pipelined int     // how many of them do not wait for an answer
	Keys      int     //
	Skewed    bool    // a few keys get most of the requests
	Vary      bool    // R and W vary from request to request
	ZeroID    float64 // share of puts that let the node draw the write ID
	Retry     float64 // share of unknown writes that are tried again
	Bursts    []Burst // when clients are busy, in order
	// Early lets clients and faults begin at once, while the cluster is still
	// being formed; else they leave it Warmup for that.
	Early  bool
	Warmup time.Duration

	// Admit says whether background work keeps to Admission.
	Admit     bool
	Admission admission.Limits

	Faults []Fault // in order
	// measured says that the room on disks is measured.
	measured bool
	kinds    uint32 // that are drawn, as bits; growth is drawn whatever it says
	steady   bool   // processes are seldom ended: what takes long without that comes to its end
}

// Burst is a time in which every client is busy: everywhere, or in a hot one
// with one key through one node, half of the time.
type Burst struct {
	At, For   time.Duration
	Hot       bool
	Storm     bool // of blind puts to the key, past the limit of siblings
	Key, Node int
}

// joinStyle is how a node comes to the cluster.
type joinStyle uint8

const (
	joinSeeds joinStyle = iota // it is started with seeds
	joinCall                   // it forms a cluster of one, then Join is called
)

// NewPlan draws the plan of a seed.
func NewPlan(seed uint64, length time.Duration) *Plan {
	p := &Plan{Seed: seed, Length: length}
	p.drawCluster(core.Stream(seed, "sim/cluster"))
	p.drawClients(core.Stream(seed, "sim/clients"))
	p.AntiEntropy = pick(core.Stream(seed, "sim/anti-entropy"), 10*time.Second, 30*time.Second, time.Minute, time.Minute, 0)
	p.drawHints(core.Stream(seed, "sim/hints"))
	p.drawRepair(core.Stream(seed, "sim/repair"))
	p.drawAdmission(core.Stream(seed, "sim/admission"))
	p.drawCalling(core.Stream(seed, "sim/calling"))
	p.drawFaults(core.Stream(seed, "sim/faults"))
	p.drawBursts(core.Stream(seed, "sim/bursts"))
	p.drawLostDisks(core.Stream(seed, "sim/lost-disks"))
	p.drawFull(core.Stream(seed, "sim/full"))
	return p
}

// Without returns the plan without some of its faults. Nothing else of it
// changes: the clients are busy when they were.
func (p *Plan) Without(drop func(i int) bool) *Plan {
	q := *p
	q.Faults = nil
	for i, f := range p.Faults {
		if !drop(i) {
			q.Faults = append(q.Faults, f)
		}
	}
	return &q
}

// String describes the cluster in one line.
func (p *Plan) String() string {
	quorum := "sloppy"
	if p.Strict {
		quorum = "strict"
	}
	return fmt.Sprintf("seed %d: %v, %d→%d nodes, N=%d R=%d W=%d %s, %d shards, %d partitions, gossip %v, %d clients, %d keys, %d faults",
		p.Seed, p.Length, p.Initial, p.Nodes, p.N, p.R, p.W, quorum, p.Shards, p.Partitions, p.Gossip.Round(time.Millisecond), p.Clients, p.Keys, len(p.Faults))
}

func (p *Plan) drawCluster(rng *rand.Rand) {
	p.Initial = 3 + rng.IntN(3)
	p.Nodes = min(p.Initial+rng.IntN(4), maxNodes)
	p.Shards = 2 + rng.IntN(3)
	p.Partitions = defaultPartition << rng.IntN(3)
	p.N = pick(rng, 3, 3, 3, 3, 3, 1, 2, 4, 5)
	switch rng.IntN(8) {
	case 0: // quorums that need not overlap
		p.R, p.W = 1, 1+rng.IntN(max(1, p.N-1))
	case 1:
		p.R, p.W = 1, p.N
	case 2:
		p.R, p.W = p.N, 1
	default:
		p.W = p.N/2 + 1
		p.R = p.N + 1 - p.W
	}
	p.Gossip = time.Second + drawTime(rng, 4*time.Second)
	p.Layout = pick(rng, 100*time.Millisecond, 500*time.Millisecond, 3*time.Second)
	p.Request = defaultRequest
	p.Peer = defaultPeer
	p.TTL, p.Reap = pick(rng, leastTTL, leastTTL+time.Minute, leastTTL+3*time.Minute), pick(rng, 10*time.Second, time.Minute)
	zones, heaviest := rng.IntN(4), 1+rng.IntN(maxWeight)
	for i := range maxNodes {
		p.Seeds = append(p.Seeds, pick(rng, joinSeeds, joinSeeds, joinCall))
		zone := ""
		if zones > 1 {
			zone = fmt.Sprintf("z%d", i%zones)
		}
		p.Zones = append(p.Zones, zone)
		p.Weights = append(p.Weights, uint32(1+rng.IntN(heaviest)))
	}
	p.Latency = 50*time.Microsecond + drawTime(rng, 2*time.Millisecond)
	p.Fsync = 100*time.Microsecond + drawTime(rng, 3*time.Millisecond)
	p.Refuse = pick(rng, 0, 0.5, 1)
	p.Noise = Fault{Share: pick(rng, 0, 0.001, 0.02), By: pick(rng, 10*time.Millisecond, time.Second, 10*time.Second)}
}

// drawHints lets fallbacks stand in for owners in most runs, at times leaves
// hardly any room for hints, and at times leaves all of the repair to them.
func (p *Plan) drawHints(rng *rand.Rand) {
	p.Strict = rng.IntN(4) == 0
	p.HintBytes = pick[uint64](rng, ampleHints, ampleHints, 2<<10)
	if p.Still = rng.IntN(4) == 0; p.Still {
		p.HintBytes, p.Nodes, p.AntiEntropy = ampleHints, p.Initial, 0
		p.Early, p.Warmup = false, time.Minute
	}
}

// ampleHints is more than the hints of all keys can need.
const ampleHints = 256 << 20

// stillKinds are the faults by which no process ends and no layout changes.
const stillKinds = 1<<Halves | 1<<Isolate | 1<<OneWay | 1<<Loss | 1<<Duplicate | 1<<Reorder | 1<<SlowDisk | 1<<Stall | 1<<Misjudge

func (p *Plan) drawClients(rng *rand.Rand) {
	p.Clients = 4 + rng.IntN(5)
	p.Pipelined = rng.IntN(3)
	p.Keys = pick(rng, 3, 10, 25, maxKeys)
	if p.steady = rng.IntN(4) == 0; p.steady {
		p.Keys = maxKeys
	}
	p.Skewed = rng.IntN(2) == 0
	p.Vary = rng.IntN(2) == 0
	p.ZeroID = pick(rng, 0, 0.2)
	p.Retry = pick(rng, 0, 0.3, 1)
	p.Early = rng.IntN(3) == 0
	if !p.Early {
		p.Warmup = time.Minute
	}
}

// drawFaults spreads the faults over the run, and gives each growth company:
// what breaks a transition is what goes wrong in the middle of it.
func (p *Plan) drawFaults(rng *rand.Rand) {
	p.drawKinds(rng)
	count := max(1, int(p.Length*faultsPerHour/time.Hour))
	for range count {
		at := drawTime(rng, p.Length)
		p.addFault(rng, p.drawFault(rng, at))
		for rng.IntN(4) == 0 { // trouble comes in company
			p.addFault(rng, p.drawFault(rng, at+drawTime(rng, 3*time.Second)))
		}
	}
	if !p.Still {
		p.drawGrowth(rng)
		for range pick(rng, 0, 0, 1, 2) {
			p.drawAway(rng, drawTime(rng, p.Length), nothing)
		}
	}
	if !p.Still && rng.IntN(2) == 0 { // what was acknowledged a moment ago must be there
		p.Faults = append(p.Faults, Fault{At: p.Length, For: time.Second, Kind: Blackout, Nodes: 1<<p.Nodes - 1})
	}
	for i := range p.Faults {
		f := &p.Faults[i]
		f.At = min(max(f.At, 0), p.Length)
		f.For = min(f.For, p.Length-f.At)
	}
	p.inOrder()
}

// inOrder puts the faults in order and numbers them.
func (p *Plan) inOrder() {
	slices.SortStableFunc(p.Faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	for i := range p.Faults {
		p.Faults[i].Number = i
	}
}

// drawKinds chooses what goes wrong in this run: everything, or some kinds
// over and over. Kinds that hide each other's mistakes are apart in many runs.
func (p *Plan) drawKinds(rng *rand.Rand) {
	p.kinds = 1<<(Away+1) - 1 // disks are lost by a draw of their own
	switch {
	case p.steady:
		p.kinds &^= 1<<Crash | 1<<Restart | 1<<Blackout
	case rng.IntN(2) == 0:
		p.kinds &= rng.Uint32() | 1<<rng.IntN(int(Reweigh)) // at least one that is drawn
	}
	if p.Still {
		if p.kinds &= stillKinds; p.kinds == 0 {
			p.kinds = stillKinds
		}
	}
}

// drawGrowth lets nodes join, alone or several at once, and weights change. A cluster that clients
// use from the very beginning grows to its first size as well.
func (p *Plan) drawGrowth(rng *rand.Rand) {
	first := p.Initial
	if p.Early {
		first = 1
	}
	for left := p.Nodes - first; left > 0; {
		f := Fault{At: drawTime(rng, p.Length*9/10), For: p.growthTime(), Kind: Grow, Count: min(left, pick(rng, 1, 1, 2, 3))}
		if p.Nodes-left < p.Initial {
			f.At = drawTime(rng, 5*time.Second)
		}
		left -= f.Count
		p.disturb(rng, f)
	}
	reweighs := pick(rng, 0, 0, 2, 4, 10)
	if p.steady {
		reweighs = 3
	}
	for i := range reweighs {
		f := Fault{At: drawTime(rng, p.Length), For: drawTime(rng, time.Second), Kind: Reweigh, Nodes: 1 << rng.IntN(p.Nodes)}
		if p.steady { // one after another, so that each comes to its end
			f.At = (f.At + p.Length*time.Duration(i)) / time.Duration(reweighs)
			p.Faults = append(p.Faults, f)
			p.drawAway(rng, f.At, onMoved)
			continue
		}
		p.disturb(rng, f)
	}
}

// disturb adds a fault that changes the layout, and others that meet the
// transition, most of them in its middle: one that is never disturbed proves
// little. Cuts do the most harm, since they part those who know from those who
// do not.
func (p *Plan) disturb(rng *rand.Rand, f Fault) {
	p.Faults = append(p.Faults, f)
	for range rng.IntN(5) {
		g := p.drawAnyFault(rng, f.At-2*time.Second+drawTime(rng, p.growthTime()))
		if rng.IntN(3) == 0 {
			g = Fault{At: g.At, For: g.For, Kind: Halves, Nodes: p.someNodes(rng)}
		}
		if g.On == nothing && rng.IntN(3) > 0 {
			g.At, g.On = f.At, pick(rng, onCopy, onMoved)
		}
		p.addFault(rng, g)
	}
}

// drawAway lets a node be away for longer than a tombstone is kept. One that
// goes when reads move has what it does not own any more still to hand over.
func (p *Plan) drawAway(rng *rand.Rand, at time.Duration, on trigger) {
	f := Fault{At: at, Kind: Away, Nodes: 1 << rng.IntN(p.Initial), On: on}
	f.For = 2*p.restTime() + drawTime(rng, time.Minute)
	p.Faults = append(p.Faults, f)
}

// restTime is how long a key must be left alone to be forgotten: two looks at
// its partition, the TTL, and some time for the rounds.
func (p *Plan) restTime() time.Duration { return p.TTL + 2*p.Reap + 30*time.Second }

// someNodes draws a few of the nodes, as bits.
func (p *Plan) someNodes(rng *rand.Rand) uint32 { return uint32(1 + rng.IntN(1<<p.Nodes-1)) }

// growthTime is how long a node that starts takes to be an owner, more or
// less, when nothing is wrong: news by gossip, the debounce, two phases.
func (p *Plan) growthTime() time.Duration {
	return 2*p.Gossip + 3*p.Layout + 3*time.Second
}

// addFault adds a fault. One that waits for a commit often meets slow disks,
// which have more to lose, and a network that keeps others from having it.
func (p *Plan) addFault(rng *rand.Rand, f Fault) {
	if f.On == onCommit && rng.IntN(3) > 0 {
		slow := Fault{At: f.At - drawTime(rng, time.Second), Kind: SlowDisk, Nodes: f.Nodes, By: pick(rng, 10*time.Millisecond, 100*time.Millisecond, time.Second)}
		slow.For = f.At - slow.At + onCommit.patience()
		p.Faults = append(p.Faults, slow)
		if rng.IntN(2) == 0 {
			loss := slow
			loss.Kind, loss.Nodes, loss.By, loss.Share = Loss, 0, 0, pick(rng, 0.3, 0.6)
			p.Faults = append(p.Faults, loss)
		}
	}
	p.Faults = append(p.Faults, f)
}

// drawFault draws a fault of the kinds of this run.
func (p *Plan) drawFault(rng *rand.Rand, at time.Duration) Fault {
	for {
		f := p.drawAnyFault(rng, at)
		if p.kinds&(1<<f.Kind) == 0 {
			continue
		}
		if few := bits.OnesCount32(p.kinds) < int(Grow)/2; few && (f.Kind == Duplicate || f.Kind == Reorder || f.Kind == Loss) {
			f.For *= 5 // so that the few that there are meet each other
		}
		return f
	}
}

func (p *Plan) drawAnyFault(rng *rand.Rand, at time.Duration) Fault {
	f := Fault{At: at, For: drawLength(rng), Nodes: 1 << rng.IntN(p.Nodes)}
	some := p.someNodes(rng)
	switch n := rng.IntN(100); {
	case n < 20:
		f.Kind = Crash
		if rng.IntN(3) == 0 {
			f.Nodes = some
		}
	case n < 27:
		f.Kind = Restart
	case n < 33:
		f.Kind, f.Nodes = Blackout, 1<<p.Nodes-1
	case n < 41:
		f.Kind, f.Nodes = Halves, some
	case n < 49:
		f.Kind = Isolate
	case n < 55:
		f.Kind, f.Nodes = OneWay, some
	case n < 63:
		f.Kind, f.Nodes, f.Share = Loss, 0, pick(rng, 0.01, 0.1, 0.3)
	case n < 69:
		f.Kind, f.Nodes, f.Share, f.By = Duplicate, 0, pick(rng, 0.05, 0.5), drawLength(rng)
	case n < 77:
		f.Kind, f.Nodes, f.Share, f.By = Reorder, 0, pick(rng, 0.05, 0.5), pick(rng, 10*time.Millisecond, 400*time.Millisecond, 3*time.Second)
	case n < 86:
		f.Kind, f.Nodes, f.By = SlowDisk, some, pick(rng, 50*time.Millisecond, 500*time.Millisecond, 3*time.Second)
	case n < 93:
		f.Kind, f.By = Skew, pick(rng, time.Second, 20*time.Second, 10*time.Hour)
		if rng.IntN(2) == 0 {
			f.By = -f.By
		}
	case n < 96:
		f.Kind, f.Nodes, f.Share = Misjudge, some, pick(rng, 0.3, 0.7)
	default:
		f.Kind = Stall
		f.For = min(f.For, id.MaxMessageAge/3)
	}
	if (f.Kind == Crash || f.Kind == Blackout) && rng.IntN(4) > 0 {
		f.On = onCommit
	}
	return f
}

// drawBursts makes clients busy around the faults, which is where mistakes
// show, and now and then in between.
func (p *Plan) drawBursts(rng *rand.Rand) {
	if p.Early {
		p.Bursts = append(p.Bursts, p.drawBurst(rng, 0, 2*time.Second))
	}
	for _, f := range p.Faults {
		at := max(0, f.At-drawTime(rng, 2*time.Second))
		b := p.drawBurst(rng, at, time.Second+drawTime(rng, min(f.For, 6*time.Second)+3*time.Second))
		if f.Kind == Grow || f.Kind == Reweigh {
			b.For = p.growthTime()
		}
		if f.On == onCommit {
			b.Node = bits.TrailingZeros32(f.Nodes)
		}
		p.Bursts = append(p.Bursts, b)
	}
	for range max(1, int(p.Length*burstsPerHour/time.Hour)) {
		p.Bursts = append(p.Bursts, p.drawBurst(rng, drawTime(rng, p.Length), drawTime(rng, 3*time.Second)))
	}
	slices.SortStableFunc(p.Bursts, func(a, b Burst) int { return cmp.Compare(a.At, b.At) })
}

func (p *Plan) drawBurst(rng *rand.Rand, at, length time.Duration) Burst {
	return Burst{At: at, For: length, Hot: rng.IntN(2) == 0, Storm: rng.IntN(150) == 0, Key: rng.IntN(p.Keys), Node: rng.IntN(p.Nodes)}
}

// drawLength draws how long something lasts: mostly a moment, at times for
// longer than any timeout.
func drawLength(rng *rand.Rand) time.Duration {
	switch rng.IntN(4) {
	case 0:
		return drawTime(rng, 300*time.Millisecond)
	case 1:
		return drawTime(rng, 3*time.Second)
	case 2:
		return drawTime(rng, 20*time.Second)
	}
	return drawTime(rng, 2*id.MaxMessageAge)
}

// drawTime draws a duration from [0, most).
func drawTime(rng *rand.Rand, most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return time.Duration(rng.Int64N(int64(most)))
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

// nodeID returns the ID of the node with that index.
func nodeID(i int) id.Node { return id.Node(fmt.Sprintf("n%d", i+1)) }
