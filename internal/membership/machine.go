package membership

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/dynamo-kv/dynamo/internal/breaker"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/histogram"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/latency"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// Machine is one node's membership. See the package's documentation. It is
// owned by one loop.
type Machine struct {
	cfg      Config
	store    core.Store
	rng      *rand.Rand
	counters Counters
	gossiped histogram.Histogram // how long exchanges took

	begun bool
	flush uint64 // number of the last flush that ended; the drain under way has the next one

	// The state as of the last step, ahead of the disk by what dirty and the
	// flushes below say.
	cluster uint64 // 0: none yet
	self    core.Member
	layouts core.LayoutState
	peers   []*peer // sorted by ID, without this node
	reports []core.ShardReport

	dirty      records // to be written at the end of this step
	identityAt uint64  // the flush that has the newest cluster and incarnation; 0: durable
	layoutsAt  uint64  // the flush that has the newest layouts; 0: durable

	// What is durable, and so may be told: to the shards by a View, to peers
	// by gossip.
	publishedCluster uint64
	published        core.LayoutState
	viewDirty        bool // the view differs from the one handed out last

	// Planning.
	maxNumber   uint64        // the highest layout number heard of in this cluster
	wanted      []ring.Member // what the next layout should have, sorted by ID
	wantedStale bool          // the members have changed since wanted was computed
	wantedSince time.Duration // when wanted or the layouts changed last
	planAt      time.Duration // core.Never: there is nothing to plan
	fitsTo      *ring.Layout  // fitting says whether it has the wanted members; nil: not compared
	fitting     bool
	review      bool // a record changed that may end a phase

	// Gossip.
	nextRound time.Duration
	rounds    uint64
	places    []place       // all members in the order of their IDs' hashes
	cursor    uint32        // the bucket that the next digest begins with
	rumoured  []*peer       // whose records are told in every message, for a while
	news      bool          // peers should hear at once
	lastBurst time.Duration // when a round went out last

	// Failure detection.
	detector     detector
	assessAt     time.Duration // when the status of a peer may change
	latency      latency.Config
	probeAt      time.Duration       // when a breaker may change by itself
	excusedUntil time.Duration       // after a stall of this node: failures before this do not count
	changes      []core.StatusChange // of this step
	reached      []string            // of this step: where peers are back

	// What Status hands out, until membersStale.
	members      []core.MemberStatus
	membersStale bool

	// disk is how old this node's disk may be.
	disk disk

	// Joining.
	seeds        []seed
	joins        []join
	nextAsk      time.Duration
	leaving      bool          // this node tries to leave its cluster of one
	offeredTo    id.Node       // who was given this cluster last …
	offeredUntil time.Duration // … and until when it may yet turn up

	// rival is another live instance's record of this node's own ID.
	rival      *core.Member
	rivalHeard time.Duration
}

// records says which of the store's records differ from the machine.
type records struct{ identity, members, layouts, stamps bool }

// Counters count what was left out, for metrics and tests. They never fall.
type Counters struct {
	Foreign uint64 // messages of other clusters
	Invalid uint64 // messages or records that no valid node sends
	Expired uint64 // messages past their deadline
	Taken   uint64 // records of a second instance of a live ID
	Full    uint64 // records of members past id.MaxMembers
	Plans   uint64 // layouts planned here
	Failed  uint64 // plans that could not be made
	Stalls  uint64 // times that this node itself had stood still
}

// New returns the machine of a node with what the store remembers of it. The
// error says which record is damaged, or what is wrong with the Config.
func New(cfg Config, store core.Store) (*Machine, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m := &Machine{
		cfg:       cfg,
		store:     store,
		rng:       core.Stream(cfg.Seed, fmt.Sprintf("membership %s %x", cfg.Self, cfg.Start)),
		self:      ownRecord(&cfg),
		reports:   make([]core.ShardReport, cfg.Shards),
		planAt:    core.Never,
		lastBurst: -burstGap,
		detector:  newDetector(&cfg),
		gossiped:  histogram.New(cfg.Buckets),
		assessAt:  core.Never,
		probeAt:   core.Never,
		latency:   cfg.latency(),
	}
	for _, addr := range cfg.Seeds {
		m.addSeed(addr)
	}
	m.arrange()
	if err := m.load(); err != nil {
		return nil, err
	}
	return m, nil
}

// load reads what an earlier start has persisted.
func (m *Machine) load() error {
	own, found, err := stored(m.store, identityRecord, decodeIdentity)
	if err != nil {
		return err
	}
	if !found || own.cluster == 0 {
		m.self.Incarnation = own.incarnation
		return m.expectNoData()
	}
	members, found, err := stored(m.store, membersRecord, decodeMembers)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: there is a record %q but no %q", ErrDamaged, identityRecord, membersRecord)
	}
	layouts, found, err := stored(m.store, layoutsRecord, decodeLayouts)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: there is a record %q but no %q", ErrDamaged, identityRecord, layoutsRecord)
	}
	m.cluster, m.publishedCluster = own.cluster, own.cluster
	m.self.Incarnation = own.incarnation
	for _, rec := range members {
		if rec.ID != m.cfg.Self {
			p := &peer{rec: rec, health: newHealth(0), breaker: breaker.New(m.cfg.Breaker)}
			if rec.State == core.Left {
				p.health.status = core.NoStatus
			}
			m.peers = append(m.peers, p)
		}
	}
	if err := m.loadStamps(); err != nil {
		return err
	}
	m.layouts, m.published = layouts, layouts
	m.arrange()
	m.viewDirty, m.wantedStale = true, true
	m.seeStamp(layouts.Stamp())
	return nil
}

// expectNoData fails if there are keys: they are only written under a layout,
// and a layout is only served when it is durable.
func (m *Machine) expectNoData() error {
	held, err := m.holdsData()
	if err != nil {
		return err
	}
	if held {
		return fmt.Errorf("%w: the store has keys but does not say of which cluster", ErrDamaged)
	}
	return nil
}

func (m *Machine) holdsData() (held bool, err error) {
	from, to := core.AllData()
	_, err = m.store.Scan(from, to, core.Limit{Keys: 1, Bytes: 1}, func(_, _ []byte) bool {
		held = true
		return false
	})
	if err != nil {
		return false, fmt.Errorf("look for keys in the store: %w", err)
	}
	return held, nil
}

// Begin starts the machine, once: it forms a cluster, goes on with the one
// that it knows, or begins to look for its seeds.
func (m *Machine) Begin(now core.Now, out *core.Out) {
	m.begun = true
	m.self.Incarnation++
	m.self.Heartbeat, m.self.Changed = 1, 1
	m.dirty.identity, m.membersStale = true, true
	for _, p := range m.peers {
		p.heard = now.Mono
		p.health.sign, p.health.beat = now.Mono, now.Mono
	}
	m.questionDisk(now)
	m.assessAt = now.Mono
	m.wantedSince = now.Mono
	m.nextRound = now.Mono + m.jittered(m.cfg.GossipInterval)
	m.nextAsk = now.Mono
	m.news = true
	if m.cluster == 0 && !m.hasForeignSeeds() {
		m.form(out)
	}
	m.settle(now, out)
}

// form makes a cluster of this node alone.
func (m *Machine) form(out *core.Out) {
	layout, err := ring.Form(m.cfg.Partitions, m.cfg.N, []ring.Member{asRing(m.self)})
	if err != nil {
		out.Failed = fmt.Errorf("form a cluster: %w", err)
		return
	}
	for m.cluster == 0 {
		m.cluster = m.rng.Uint64()
	}
	m.dirty.identity, m.dirty.members = true, true
	m.setLayouts(core.LayoutState{Live: []*ring.Layout{layout}, Phase: core.PhaseDone})
}

// Durable says that this flush and all before it are durable.
func (m *Machine) Durable(now core.Now, flush uint64, out *core.Out) {
	m.notice(now)
	if m.identityAt != 0 && m.identityAt <= flush {
		m.identityAt = 0
		m.publishedCluster = m.cluster
	}
	if m.disk.at != 0 && m.disk.at <= flush {
		m.stamped()
	}
	if m.layoutsAt != 0 && m.layoutsAt <= flush {
		m.layoutsAt = 0
		m.published = m.layouts
		m.viewDirty, m.review, m.news = true, true, true
		m.wantedSince = now.Mono
	}
	m.settle(now, out)
}

// Tick does what is due.
func (m *Machine) Tick(now core.Now, out *core.Out) {
	m.notice(now)
	m.settle(now, out)
}

// Next returns when Tick is due next; ok is false where only an input can move
// the machine.
func (m *Machine) Next() (mono time.Duration, ok bool) {
	if !m.begun {
		return 0, false
	}
	next := m.assessAt
	for _, j := range m.joins {
		next = min(next, j.deadline)
	}
	if m.stamps() {
		next = min(next, m.disk.due)
	}
	if m.speaks() {
		next = min(next, m.nextRound, m.planAt, m.probeAt)
		if m.news && len(m.peers) > 0 {
			next = min(next, m.lastBurst+burstGap)
		}
		if m.asking() {
			next = min(next, m.nextAsk)
		}
	}
	return next, next != core.Never
}

// Flush ends a drain and returns its number, which grows by one a call.
func (m *Machine) Flush() uint64 {
	m.flush++
	return m.flush
}

// Report takes how shards fared with peers: their latencies, the outcomes that
// failure detection goes by, and whether a peer is ahead.
func (m *Machine) Report(now core.Now, reports []core.PeerReport, out *core.Out) {
	m.notice(now)
	for _, r := range reports {
		i, found := m.find(r.Peer)
		if !found {
			continue
		}
		p := m.peers[i]
		m.observe(now, p, r)
		if m.layouts.Stamp().Older(r.Ahead) {
			m.poke(now, p, out)
		}
	}
	m.settle(now, out)
}

// Shard takes how far a shard has come.
func (m *Machine) Shard(now core.Now, r core.ShardReport, out *core.Out) {
	m.notice(now)
	if r.Shard >= 0 && r.Shard < len(m.reports) {
		m.reports[r.Shard] = r
	}
	m.settle(now, out)
}

// settle ends every step: it draws the conclusions of what has changed, has
// them persisted, and says what may be said.
func (m *Machine) settle(now core.Now, out *core.Out) {
	if !m.begun {
		return
	}
	m.assessAll(now)
	out.Statuses = append(out.Statuses, m.changes...)
	m.changes = m.changes[:0]
	out.Reached = append(out.Reached, m.reached...)
	m.reached = m.reached[:0]
	m.refreshSelf()
	m.advance()
	m.plan(now)
	m.judgeJoins(now, out)
	m.stampDisk(now)
	m.persist(out)
	m.speak(now, out)
	m.tryBreakers(now, out)
}

// persist writes the records that have changed into this drain's batch.
func (m *Machine) persist(out *core.Out) {
	write := func(record string, value []byte) {
		out.Writes = append(out.Writes, core.Write{Key: core.ControlKey(record), Value: value})
	}
	if m.dirty.identity {
		m.identityAt = m.flush + 1
		write(identityRecord, encodeIdentity(identity{m.cluster, m.self.Incarnation}))
	}
	if m.dirty.stamps {
		m.disk.at = m.flush + 1
		write(stampsRecord, encodeStamps(m.newStamps()))
	}
	if m.dirty.members && m.cluster != 0 {
		write(membersRecord, encodeMembers(m.allMembers()))
	}
	if m.dirty.layouts {
		m.layoutsAt = m.flush + 1
		write(layoutsRecord, encodeLayouts(m.layouts))
	}
	m.dirty = records{}
}

// Restore writes all records again: the disk has lost some of them, which the next
// start would miss and this one has in memory.
func (m *Machine) Restore(now core.Now, out *core.Out) {
	if m.cluster != 0 {
		m.dirty.identity, m.dirty.members, m.dirty.layouts = true, true, true
		m.disk.due = now.Mono
	}
	m.settle(now, out)
}

// speaks says that this node's identity is durable, so that it may send.
func (m *Machine) speaks() bool { return m.begun && m.identityAt == 0 && !m.dirty.identity }

// touch makes the own record news.
func (m *Machine) touch() {
	m.self.Heartbeat++
	m.self.Changed = m.self.Heartbeat
	m.news, m.membersStale = true, true
}

// refute takes an incarnation above one that somebody else has used.
func (m *Machine) refute(incarnation uint64) {
	if incarnation == math.MaxUint64 {
		return // no honest node comes that far
	}
	m.self.Incarnation = incarnation + 1
	m.dirty.identity = true
	m.touch()
}

// jittered varies an interval by the share of jitter.
func (m *Machine) jittered(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 - jitter + 2*jitter*m.rng.Float64()))
}

// quiet is how long an instance must be silent to count as gone.
func (m *Machine) quiet() time.Duration { return silence * m.cfg.GossipInterval }

// Counters returns what was left out so far.
func (m *Machine) Counters() Counters { return m.counters }

// Count adds what this machine has counted since the start.
func (m *Machine) Count(to *core.Counters) {
	c := &m.counters
	own := core.Counters{Gossip: core.GossipCounters{
		Rounds: m.rounds, Durations: m.gossiped,
		Foreign: c.Foreign, Invalid: c.Invalid, Expired: c.Expired, Taken: c.Taken,
		Plans: c.Plans, Failed: c.Failed, Stalls: c.Stalls,
	}}
	own.Limits[core.LimitMembers] = c.Full
	to.Add(&own)
}
