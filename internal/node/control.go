package node

import (
	"slices"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/membership"
)

// Control owns what the whole node has one of: its membership and its layouts.
// It has the shape of a Shard, and hands views to the shards.
type Control struct {
	membership *membership.Machine
	background background
	room       gauge
	view       *core.View // the latest, without budgets; nil: none yet
	revision   uint64     // of it
}

// NewControl returns the control machine of a node with what store remembers
// of its cluster. The error says which record cannot be read.
func NewControl(o Options, store core.Store) (*Control, error) {
	m, err := membership.New(membership.Config{
		Self:           o.Self,
		Start:          o.Start,
		Instance:       o.Instance,
		Addr:           o.Addr,
		Zone:           o.Zone,
		Datacentre:     o.Datacentre,
		Weight:         o.Weight,
		Seed:           o.Seed,
		Shards:         o.Shards,
		Partitions:     o.Partitions,
		N:              o.N,
		R:              o.R,
		GossipInterval: o.GossipInterval,
		Breaker:        o.Breaker,
		Latency:        o.Latency,
		SuspectPhi:     o.SuspectPhi,
		DeadPhi:        o.DeadPhi,
		LayoutDelay:    o.LayoutDelay,
		LayoutAuto:     o.LayoutAuto,
		ForceServe:     o.ForceServe,
		Buckets:        o.Buckets,
		Seeds:          o.Seeds,
	}, store)
	if err != nil {
		return nil, err
	}
	return &Control{membership: m, background: newBackground(&o), room: newGauge(&o)}, nil
}

// Begin starts the machine, once, before any other step: it forms a cluster,
// goes on with the persisted one, or begins to look for its seeds.
func (c *Control) Begin(now core.Now, out *core.Out) { c.membership.Begin(now, out) }

// Join asks to become a member of the seeds' cluster; a Reply ends it.
func (c *Control) Join(now core.Now, j *core.Join, out *core.Out) { c.membership.Join(now, j, out) }

// Deliver takes a peer's Gossip or GossipReply.
func (c *Control) Deliver(now core.Now, e *core.Envelope, out *core.Out) {
	c.membership.Deliver(now, e, out)
}

// SendFailed is told that an envelope of Control provably never left.
func (c *Control) SendFailed(now core.Now, e *core.Envelope, out *core.Out) {
	c.membership.SendFailed(now, e, out)
}

// Report takes the outcomes of requests to peers, as a shard has tallied them.
func (c *Control) Report(now core.Now, r []core.PeerReport, out *core.Out) {
	c.membership.Report(now, r, out)
}

// Shard takes how far a shard has come.
func (c *Control) Shard(now core.Now, r core.ShardReport, out *core.Out) {
	c.membership.Shard(now, r, out)
}

// Load takes what the requests and the background work of a shard are like.
func (c *Control) Load(now core.Now, r core.LoadReport) { c.background.report(now, r) }

// Room takes how much room the storage has left, as the shell has measured it.
func (c *Control) Room(_ core.Now, m core.RoomReport) { c.room.measure(m) }

// Damaged is told of records that the store has found that the disk has lost.
func (c *Control) Damaged(now core.Now, d core.Damage, out *core.Out) {
	if d.More || slices.ContainsFunc(d.Keys, core.IsControlKey) {
		c.membership.Restore(now, out)
	}
}

// Durable is told that flush n and all before it are durable.
func (c *Control) Durable(now core.Now, n uint64, out *core.Out) { c.membership.Durable(now, n, out) }

// Tick does what is due.
func (c *Control) Tick(now core.Now, out *core.Out) {
	c.membership.Tick(now, out)
	c.background.tick(now)
}

// Next returns when Tick is due.
func (c *Control) Next() (mono time.Duration, ok bool) {
	at := c.background.next()
	if due, ok := c.membership.Next(); ok {
		at = min(at, due)
	}
	return at, at != core.Never
}

// Flush ends a drain and returns the number of the flush that takes its writes
// and held effects.
func (c *Control) Flush() uint64 { return c.membership.Flush() }

// View returns a view for every shard where it has changed since the last
// call, else nil. What it shows is durable.
func (c *Control) View() *core.View {
	if v := c.membership.View(); v != nil {
		c.view = v
		c.revision++
	} else if c.view == nil || !c.background.changed && !c.room.changed {
		return nil
	}
	v := *c.view
	v.Budgets, v.Revision = c.background.budgets(), c.revision
	v.Room, c.room.changed = c.room.shown, false
	return &v
}

// Status returns a snapshot of what this node knows; the caller owns it.
func (c *Control) Status() core.ClusterStatus {
	s := c.membership.Status()
	s.Background = c.background.status()
	s.Room = c.room.status()
	return s
}

// SlotBounds returns how many slots the shards may hold together, for whoever
// checks a node from outside; ok is false where there is no limit.
func (c *Control) SlotBounds() (bounds []int, ok bool) {
	if c.background.shares == nil {
		return nil, false
	}
	bounds = make([]int, len(c.background.loads))
	for i := range bounds {
		bounds[i] = c.background.shares.Bound(i)
	}
	return bounds, true
}

// Count adds what this machine has counted since the start.
func (c *Control) Count(to *core.Counters) { c.membership.Count(to) }

// Counters returns what membership has left out so far, for metrics.
func (c *Control) Counters() membership.Counters { return c.membership.Counters() }
