package node

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/antientropy"
	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/coordinator"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/forget"
	"github.com/dynamo-kv/dynamo/internal/handoff"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/replica"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// Shard owns everything about its partitions: the replica's state, the
// coordinator's requests for keys there, the transfers. Each method call is
// one entry of a simulator's trace.
type Shard struct {
	start       uint64 // the nonce of this start of the process
	view        *core.View
	replica     *replica.Replica
	coordinator *coordinator.Coordinator
	handoff     *handoff.Handoff
	antientropy *antientropy.AntiEntropy
	forget      *forget.Forget
	told        core.ShardReport // the latest
	load        load
	expired     uint64 // messages whose time was up
}

// NewShard returns the shard of that index over what store holds, without a
// view: it answers CodeNotReady until it has one.
func NewShard(o Options, index int, store core.Store) *Shard {
	tokens := forget.NewTokens()
	r := replica.New(replica.Config{
		Self: o.Self, Start: o.Start, Shard: index, Shards: o.Shards, MaxHintBytes: o.MaxHintBytes / uint64(o.Shards),
		CacheBytes: o.RecordCacheBytes / o.Shards,
		Watch:      tokens,
	}, store)
	s := &Shard{
		start: o.Start, view: &core.View{Self: o.Self}, replica: r, load: load{shard: index, at: -loadEach},
		coordinator: coordinator.New(coordinator.Config{
			Self: o.Self, Start: o.Start, Shard: index, R: o.R, W: o.W, Strict: o.Strict,
			PeerTimeout: o.PeerTimeout, Retry: o.Retry, Seed: o.Seed,
			Reads:  coordinator.Reads{All: o.ReadAll, Hedge: o.ReadHedge},
			Select: o.Select, ProbeShare: o.ProbeShare,
			RepairBytes: o.RepairBytes / uint64(o.Shards),
		}, r),
	}
	gate := &s.load.gate
	s.handoff = handoff.New(handoff.Config{
		Self: o.Self, Start: o.Start, Shard: index, Shards: o.Shards, W: o.W, Seed: o.Seed,
	}, r, gate)
	s.antientropy = antientropy.New(antientropy.Config{
		Self: o.Self, Start: o.Start, Shard: index, Shards: o.Shards, Interval: o.AntiEntropyInterval,
		Retry: o.Retry, Seed: o.Seed, Buckets: o.Buckets,
	}, r, gate)
	s.forget = forget.New(forget.Config{
		Self: o.Self, Start: o.Start, Shard: index, Shards: o.Shards,
		TTL: o.TombstoneTTL, Interval: o.TombstoneInterval, Seed: o.Seed,
	}, r, tokens, gate)
	return s
}

// Submit begins a client's request.
func (s *Shard) Submit(now core.Now, r *core.Request, out *core.Out) {
	switch r.Op {
	case core.OpInspect:
		s.inspect(r, out)
	case core.OpInspectHint:
		s.inspectHint(r, out)
	case core.OpSum:
		s.sum(r, out)
	default:
		s.coordinator.Submit(now, r, out)
	}
}

// Deliver takes a message of a peer. One of another cluster, or past its
// deadline, is dropped, and so is the answer to an earlier start of this
// process, whose request IDs were the same.
func (s *Shard) Deliver(now core.Now, e *core.Envelope, out *core.Out) {
	if e.Cluster != s.view.Cluster || e.Cluster == 0 {
		return
	}
	if e.Deadline <= now.Mono && !bug.On(bug.OldMessages) {
		s.expired++
		return
	}
	switch {
	case e.Reply && e.Start != s.start:
	case e.Reply:
		s.deliverReply(now, e, out)
	default:
		s.deliverRequest(now, e, out)
	}
	s.report(now, out)
}

func (s *Shard) deliverReply(now core.Now, e *core.Envelope, out *core.Out) {
	switch e.Req.Machine() {
	case core.MachineCoordinator:
		s.coordinator.Deliver(now, e, out)
	case core.MachineHandoff:
		s.handoff.Deliver(now, e, out)
	case core.MachineAntiEntropy:
		s.antientropy.Deliver(now, e, out)
	case core.MachineForget:
		s.forget.Deliver(now, e, out)
	case core.MachineMembership, core.MachineOutside:
	}
}

// deliverRequest serves a peer. A stamp that is older than this shard's view
// is refused whatever is asked: the caller may still count on a layout whose
// reads or writes have moved on.
func (s *Shard) deliverRequest(now core.Now, e *core.Envelope, out *core.Out) {
	mine := s.view.Stamp()
	stale := e.Stamp.Older(mine) && !bug.On(bug.IgnoreStamp)
	if mine.Older(e.Stamp) {
		out.Reports = append(out.Reports, core.PeerReport{Peer: e.From, Ahead: e.Stamp})
	}
	l := s.view.ReadLayout()
	if l == nil {
		return // in a cluster, but not yet in possession of its layout
	}
	if key := keyOf(e.Msg); key != nil && l.Partition(key) != e.Partition {
		s.reply(now, e, &core.Refused{Why: core.RefusedInvalid}, 0, out)
		return
	}
	if _, ok := e.Msg.(*core.Forward); stale && !ok {
		s.reply(now, e, &core.Refused{Why: core.RefusedStale}, 0, out)
		return
	}
	switch m := e.Msg.(type) {
	case *core.Forward:
		s.coordinator.Forward(now, e, stale, out)
	case *core.Apply:
		s.apply(now, e, m, out)
	case *core.Hint:
		s.hint(now, e, m, out)
	case *core.Read:
		s.read(now, e, m, out)
	case *core.Pull:
		s.handoff.Serve(now, e, out)
	case *core.TreeCompare, *core.BucketAsk:
		s.antientropy.Serve(now, e, out)
	case *core.Confirm, *core.Forget:
		s.forget.Serve(now, e, out)
	}
}

// keyOf returns the key that a request is about. It must be of the envelope's
// partition, or it would reach a shard that does not own it.
func keyOf(m core.Message) []byte {
	switch m := m.(type) {
	case *core.Forward:
		return m.Key
	case *core.Apply:
		return m.Key
	case *core.Hint:
		return m.Key
	case *core.Read:
		return m.Key
	}
	return nil
}

// read answers with this node's own copy, or with its hints: either is only
// shown when it is durable.
func (s *Shard) read(now core.Now, e *core.Envelope, m *core.Read, out *core.Out) {
	read := s.replica.Read
	if m.Hints {
		read = s.replica.ReadHint
	}
	set, flush := read(m.Key, out)
	if out.Failed == nil {
		s.reply(now, e, &core.ReadReply{Set: set}, flush, out)
	}
}

func (s *Shard) hint(now core.Now, e *core.Envelope, m *core.Hint, out *core.Out) {
	owned := s.handoff.Owns(e.Partition)
	flush, why := s.replica.Hint(now, m, owned, out)
	switch {
	case out.Failed != nil:
	case why != 0:
		s.reply(now, e, &core.Refused{Why: why}, 0, out)
	default:
		s.reply(now, e, &core.Hinted{}, flush, out)
	}
}

func (s *Shard) apply(now core.Now, e *core.Envelope, m *core.Apply, out *core.Out) {
	flush, why := s.replica.Apply(m.Key, m.Set, out)
	switch {
	case out.Failed != nil:
	case why != 0:
		s.reply(now, e, &core.Refused{Why: why}, 0, out)
	default:
		s.handoff.Stored(e.Partition)
		s.reply(now, e, &core.Applied{}, flush, out)
	}
}

// reply answers e, once what the answer shows is durable.
func (s *Shard) reply(now core.Now, e *core.Envelope, m core.Message, flush uint64, out *core.Out) {
	answer := s.view.Answer(e, now.Mono+id.MaxMessageAge, m)
	traceServed(now, e, m, flush, out)
	if flush != 0 {
		out.SendsHeld = append(out.SendsHeld, answer)
	} else {
		out.Sends = append(out.Sends, answer)
	}
}

// SendFailed is told that an envelope of this shard provably never left.
func (s *Shard) SendFailed(now core.Now, e *core.Envelope, out *core.Out) {
	switch e.Req.Machine() {
	case core.MachineCoordinator:
		s.coordinator.SendFailed(now, e, out)
	case core.MachineHandoff:
		s.handoff.SendFailed(now, e, out)
	case core.MachineAntiEntropy:
		s.antientropy.SendFailed(now, e, out)
	case core.MachineForget:
		s.forget.SendFailed(now, e, out)
	case core.MachineMembership, core.MachineOutside:
	}
	s.report(now, out)
}

// Durable is told that flush n and all before it are durable.
func (s *Shard) Durable(now core.Now, n uint64, out *core.Out) {
	s.replica.Durable(n)
	s.coordinator.Durable(now, n, out)
	s.handoff.Durable(now, n, out)
	s.report(now, out)
}

// Damaged is told of records that the store has found that the disk has lost. It
// comes after the first view with a layout.
func (s *Shard) Damaged(now core.Now, d core.Damage, out *core.Out) {
	s.replica.Damaged(d, out)
	s.report(now, out)
}

// SetView goes on by a newer view. Within a cluster a view's stamp is never
// older than that of the one before; a node that leaves its cluster of one for
// another begins anew.
func (s *Shard) SetView(now core.Now, v *core.View, out *core.Out) {
	same := v.Revision != 0 && v.Revision == s.view.Revision
	s.view = v
	s.load.limit(now, v)
	s.replica.SetRoom(v.Room)
	if same {
		s.report(now, out)
		return
	}
	s.replica.SetView(v)
	if l := v.ReadLayout(); l != nil {
		s.replica.OpenHints(l.Partitions(), out)
	}
	s.handoff.SetView(now, v, out)
	s.coordinator.SetView(now, v, out)
	s.antientropy.SetView(now, v, out)
	s.forget.SetView(now, v, out)
	s.report(now, out)
}

// Tick does what is due, and at most one chunk of background work.
func (s *Shard) Tick(now core.Now, out *core.Out) {
	s.coordinator.Tick(now, out)
	s.handoff.Tick(now, out)
	for p, ok := s.replica.TakeDirty(); ok; p, ok = s.replica.TakeDirty() {
		s.antientropy.MarkDirty(p)
	}
	s.antientropy.Tick(now, out)
	s.forget.Tick(now, out)
	s.load.gate.Claimed(now.Mono)
	s.report(now, out)
}

// report completes what is told to Control by how far the hash trees, read
// repairs and forgetting are, and tells it where only they have moved on.
func (s *Shard) report(now core.Now, out *core.Out) {
	s.tellLoad(now, out)
	trees, news := s.antientropy.Report(now)
	repairs, repaired := s.coordinator.Repairs(now)
	forgetting := s.forget.Progress()
	news = news || repaired || forgetting != s.told.Forgetting
	if n := len(out.Shards); n > 0 {
		s.told = out.Shards[n-1]
	}
	s.told.Trees, s.told.Repairs, s.told.Forgetting = trees, repairs, forgetting
	switch n := len(out.Shards); {
	case n > 0:
		out.Shards[n-1] = s.told
	case news && !s.told.Stamp.IsZero():
		out.Shards = append(out.Shards, s.told)
	}
}

// Stop is the last step of a shard that stops in order: it saves the hash
// trees, so that the next start need not build them. more says that it is to be
// called again after a flush. A shard that is not stopped so has lost nothing
// but time, and so one that has no room for them does without.
func (s *Shard) Stop(out *core.Out) (more bool) {
	return s.replica.HasRoom() && s.replica.SaveTrees(out)
}

// Root returns the root of a partition's hash tree; ok is false where there is
// none, for whoever checks a shard from outside.
func (s *Shard) Root(p ring.Partition) (root core.TreeHash, ok bool) {
	tree := s.replica.Tree(p)
	if tree == nil {
		return core.TreeHash{}, false
	}
	return core.TreeHash(tree.Root()), true
}

// Trees returns how far the hash trees of this shard are.
func (s *Shard) Trees() core.TreeReport { return s.antientropy.Counters() }

// Count adds what the shard's machines have counted since the start.
func (s *Shard) Count(to *core.Counters) {
	s.coordinator.Count(to)
	s.antientropy.Count(to)
	to.ExpiredMessages += s.expired
	cache := s.replica.Cache()
	to.Records.Hits += cache.Hits
	to.Records.Misses += cache.Misses
	to.Records.Bytes += cache.Bytes
	to.Limits[core.LimitStorage] += s.replica.RoomRefusals()
}

// Room returns how many requests of clients may wait to be submitted: more would
// be turned away then.
func (s *Shard) Room() int { return s.coordinator.Room() }

// Repairs returns what reads of this shard have repaired.
func (s *Shard) Repairs() core.RepairReport { return s.coordinator.RepairCounts() }

// SlotsHeld returns how many slots background work holds, for whoever checks a
// shard from outside.
func (s *Shard) SlotsHeld() int { return s.load.gate.Held() }

// Next returns when Tick is due.
func (s *Shard) Next() (time.Duration, bool) {
	at := min(s.coordinator.RepairsDue(), s.loadDue())
	if due, ok := s.coordinator.Next(); ok {
		at = min(at, due)
	}
	if due, ok := s.handoff.Next(); ok {
		at = min(at, due)
	}
	if due, ok := s.antientropy.Next(); ok {
		at = min(at, due)
	}
	if due, ok := s.forget.Next(); ok {
		at = min(at, due)
	}
	return at, at != core.Never
}

// Flush ends a drain and returns the number of the flush that takes its
// writes and held effects.
func (s *Shard) Flush() uint64 { return s.replica.Flush() }
