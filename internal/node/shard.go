package node

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/backoff"
	"github.com/dynamo-kv/dynamo/internal/coordinator"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/forget"
	"github.com/dynamo-kv/dynamo/internal/handoff"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/replica"
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
	forget      *forget.Forget
	report      core.ShardReport // as told to Control last
}

// NewShard returns the shard of that index over what store holds, without a
// view: it answers CodeNotReady until it has one.
func NewShard(o Options, index int, store core.Store) *Shard {
	tokens := forget.NewTokens()
	r := replica.New(replica.Config{Self: o.Self, Start: o.Start, Shard: index, Shards: o.Shards, Watch: tokens}, store)
	return &Shard{
		start:   o.Start,
		view:    &core.View{Self: o.Self},
		replica: r,
		coordinator: coordinator.New(coordinator.Config{
			Self: o.Self, Start: o.Start, Shard: index, R: o.R, W: o.W,
			PeerTimeout: o.PeerTimeout, Retry: backoff.Default(), Seed: o.Seed,
		}, r),
		handoff: handoff.New(handoff.Config{Self: o.Self, Start: o.Start, Shard: index, Shards: o.Shards, W: o.W, Seed: o.Seed}, r),
		forget: forget.New(forget.Config{
			Self: o.Self, Start: o.Start, Shard: index, Shards: o.Shards,
			TTL: o.TombstoneTTL, Interval: o.TombstoneInterval, Seed: o.Seed,
		}, r, tokens),
	}
}

// Submit begins a client's request.
func (s *Shard) Submit(now core.Now, r *core.Request, out *core.Out) {
	s.coordinator.Submit(now, r, out)
}

// Deliver takes a message of a peer. One of another cluster, or past its
// deadline, is dropped, and so is the answer to an earlier start of this
// process, whose request IDs were the same.
func (s *Shard) Deliver(now core.Now, e *core.Envelope, out *core.Out) {
	if e.Cluster != s.view.Cluster || e.Cluster == 0 || e.Deadline <= now.Mono {
		return
	}
	switch {
	case e.Reply && e.Start != s.start:
	case e.Reply:
		s.deliverReply(now, e, out)
	default:
		s.deliverRequest(now, e, out)
	}
	s.tell(out)
}

func (s *Shard) deliverReply(now core.Now, e *core.Envelope, out *core.Out) {
	switch e.Req.Machine() {
	case core.MachineCoordinator:
		s.coordinator.Deliver(now, e, out)
	case core.MachineHandoff:
		s.handoff.Deliver(now, e, out)
	case core.MachineForget:
		s.forget.Deliver(now, e, out)
	case core.MachineMembership:
	}
}

// deliverRequest serves a peer. A stamp that is older than this shard's view
// is refused whatever is asked: the caller may still count on a layout whose
// reads or writes have moved on.
func (s *Shard) deliverRequest(now core.Now, e *core.Envelope, out *core.Out) {
	mine := s.view.Stamp()
	stale := e.Stamp.Older(mine)
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
	case *core.Read:
		set, flush := s.replica.Read(m.Key, out)
		if out.Failed == nil {
			s.reply(now, e, &core.ReadReply{Set: set}, flush, out)
		}
	case *core.Pull:
		s.handoff.Serve(now, e, out)
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
	case *core.Read:
		return m.Key
	}
	return nil
}

func (s *Shard) apply(now core.Now, e *core.Envelope, m *core.Apply, out *core.Out) {
	flush, ok := s.replica.Apply(m.Key, m.Set, out)
	switch {
	case out.Failed != nil:
	case !ok:
		s.reply(now, e, &core.Refused{Why: core.RefusedInvalid}, 0, out)
	default:
		s.handoff.Stored(e.Partition)
		s.reply(now, e, &core.Applied{}, flush, out)
	}
}

// reply answers e, once what the answer shows is durable.
func (s *Shard) reply(now core.Now, e *core.Envelope, m core.Message, flush uint64, out *core.Out) {
	answer := s.view.Answer(e, now.Mono+id.MaxMessageAge, m)
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
	case core.MachineForget:
		s.forget.SendFailed(now, e, out)
	case core.MachineMembership:
	}
}

// Durable is told that flush n and all before it are durable.
func (s *Shard) Durable(now core.Now, n uint64, out *core.Out) {
	s.replica.Durable(n)
	s.coordinator.Durable(now, n, out)
	s.handoff.Durable(now, n, out)
	s.tell(out)
}

// SetView goes on by a newer view. Within a cluster a view's stamp is never
// older than that of the one before; a node that leaves its cluster of one for
// another begins anew.
func (s *Shard) SetView(now core.Now, v *core.View, out *core.Out) {
	s.view = v
	s.handoff.SetView(now, v, out)
	s.coordinator.SetView(now, v, out)
	s.forget.SetView(now, v, out)
	s.tell(out)
}

// Tick does what is due, and at most one chunk of background work.
func (s *Shard) Tick(now core.Now, out *core.Out) {
	s.coordinator.Tick(now, out)
	s.handoff.Tick(now, out)
	s.forget.Tick(now, out)
	s.tell(out)
}

// Next returns when Tick is due.
func (s *Shard) Next() (mono time.Duration, ok bool) {
	mono = core.Never
	if at, due := s.coordinator.Next(); due {
		mono = at
	}
	if at, due := s.handoff.Next(); due {
		mono = min(mono, at)
	}
	if at, due := s.forget.Next(); due {
		mono = min(mono, at)
	}
	return mono, mono != core.Never
}

// tell ends a step: it completes the reports to Control, and makes one where
// forgetting alone has come further.
func (s *Shard) tell(out *core.Out) {
	progress := s.forget.Progress()
	if len(out.Shards) == 0 && progress != s.report.Forgetting && !s.report.Stamp.IsZero() {
		out.Shards = append(out.Shards, s.report)
	}
	for i := range out.Shards {
		out.Shards[i].Forgetting = progress
		s.report = out.Shards[i]
	}
}

// Flush ends a drain and returns the number of the flush that takes its
// writes and held effects.
func (s *Shard) Flush() uint64 { return s.replica.Flush() }
