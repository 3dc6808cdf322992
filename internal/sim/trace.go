package sim

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
)

// tracer hashes every step of every loop and all of its effects, so that two
// runs of a seed can be compared to the byte, and writes them as text where
// somebody wants to read them.
type tracer struct {
	digest *xxhash.Digest
	buf    []byte
	text   *bufio.Writer // nil: nobody reads
	steps  uint64
}

func newTracer(w io.Writer) *tracer {
	t := &tracer{digest: xxhash.New(), buf: make([]byte, 0, 512)}
	if w != nil {
		t.text = bufio.NewWriterSize(w, 1<<20)
	}
	return t
}

// begin starts the entry of one step.
func (t *tracer) begin(at time.Duration, node, loop int, kind inputKind) {
	t.steps++
	t.buf = t.buf[:0]
	t.num(uint64(at), uint64(node), uint64(loop), uint64(kind))
}

// end closes the entry.
func (t *tracer) end() { _, _ = t.digest.Write(t.buf) } // a digest never fails

func (t *tracer) num(n ...uint64) {
	for _, v := range n {
		t.buf = binary.AppendUvarint(t.buf, v)
	}
}

func (t *tracer) str(s string) {
	t.num(uint64(len(s)))
	t.buf = append(t.buf, s...)
}

func (t *tracer) bytes(b []byte) { t.num(uint64(len(b)), xxhash.Sum64(b)) }

// printf writes a line of text, if somebody reads.
func (t *tracer) printf(at time.Duration, format string, args ...any) {
	if t.text == nil {
		return
	}
	_, _ = fmt.Fprintf(t.text, "%12.6f ", at.Seconds()) // flush reports what fails
	_, _ = fmt.Fprintf(t.text, format, args...)
	_ = t.text.WriteByte('\n')
}

// flush writes out the text.
func (t *tracer) flush() error {
	if t.text == nil {
		return nil
	}
	return t.text.Flush()
}

func (t *tracer) input(in *input) {
	switch in.kind {
	case inDeliver, inSendFailed:
		t.envelope(in.env)
	case inSubmit:
		r := in.req
		t.num(uint64(r.Req), uint64(r.Op), uint64(r.Deadline), uint64(r.Options.R), uint64(r.Options.W), uint64(r.Options.Repair), uint64(r.Context.Len()))
		t.bytes(r.Key)
		t.bytes(r.Value)
	case inDurable:
		t.num(in.flush)
	case inView:
		stamp := in.view.Stamp()
		t.num(stamp.Layout.Number, stamp.Layout.Digest, uint64(stamp.Phase), uint64(len(in.view.Peers)))
		for i := range in.view.Peers {
			peer := &in.view.Peers[i]
			t.num(uint64(peer.Status), uint64(peer.Circuit.State), uint64(peer.Circuit.Generation))
		}
		for _, b := range in.view.Budgets {
			t.num(b.Epoch, uint64(b.Slots), uint64(b.BytesPerSlot))
		}
		if r := in.view.Room; r != nil {
			t.num(uint64(r.State), r.Allowance, r.Measurement)
		}
	case inReport:
		t.str(string(in.report.Peer))
		t.num(uint64(in.report.OK), uint64(in.report.Failed), uint64(in.report.Latency))
		t.num(uint64(in.report.Calls.Generation), uint64(in.report.Calls.OK), uint64(in.report.Calls.Failed))
	case inShard:
		t.num(uint64(in.shard.Shard), in.shard.Stamp.Layout.Number, uint64(in.shard.Stamp.Phase), in.shard.Synced.Number, uint64(in.shard.PullsLeft))
		t.num(in.shard.Hints.Bytes, in.shard.Hints.Stored, in.shard.Hints.Delivered, in.shard.Hints.Refused)
		t.num(in.shard.Repairs.Sent, in.shard.Repairs.Own, in.shard.Repairs.Dropped, in.shard.Repairs.Waited)
		t.num(in.shard.Forgetting.Reaped, in.shard.Forgetting.Pruned, in.shard.Forgetting.Cancelled)
	case inLoad:
		t.num(uint64(in.load.Shard), in.load.Epoch, uint64(in.load.Held), uint64(in.load.Wanted), in.load.Waits)
		for _, d := range in.load.Latencies {
			t.num(uint64(d))
		}
	case inRoom:
		t.num(in.room.Left, in.room.Total, in.room.Need)
	case inTick, inBegin, inJoin:
	}
}

func (t *tracer) envelope(e *core.Envelope) {
	t.str(string(e.From))
	t.str(string(e.To))
	kind, payload := describe(e.Msg)
	flag := uint64(0)
	if e.Reply {
		flag = 1
	}
	t.num(uint64(e.Req), flag, e.Start, uint64(e.Partition), e.Stamp.Layout.Number, uint64(e.Stamp.Phase), uint64(e.Deadline), uint64(kind), payload)
}

// effects adds what a step has appended to out since before.
func (t *tracer) effects(out *core.Out, before *lengths) {
	for _, w := range out.Writes[before.writes:] {
		t.bytes(w.Key)
		t.bytes(w.Value)
	}
	for i := before.sends; i < len(out.Sends); i++ {
		t.envelope(&out.Sends[i])
	}
	for i := before.sendsHeld; i < len(out.SendsHeld); i++ {
		t.envelope(&out.SendsHeld[i])
	}
	for i := before.replies; i < len(out.Replies); i++ {
		t.reply(&out.Replies[i])
	}
	for i := before.repliesHeld; i < len(out.RepliesHeld); i++ {
		t.reply(&out.RepliesHeld[i])
	}
	for _, span := range out.Spans[before.spans:] {
		t.span(&span)
	}
	for _, span := range out.SpansHeld[before.spansHeld:] {
		t.span(&span)
	}
	for _, c := range out.Statuses[before.statuses:] {
		t.str(string(c.Peer))
		t.num(uint64(c.From), uint64(c.To))
	}
	for _, addr := range out.Reached[before.reached:] {
		t.str(addr)
	}
}

func (t *tracer) reply(r *core.Reply) {
	t.num(uint64(r.Req), uint64(r.Result.Code), uint64(r.Result.Outcome), uint64(r.Result.Acknowledged), uint64(r.Result.Fallbacks),
		uint64(r.Result.Set.Size()), uint64(r.Result.Context.Len()))
}

// messageKind names the messages for traces.
type messageKind uint8

const (
	msgApply messageKind = iota + 1
	msgApplied
	msgRead
	msgReadReply
	msgForward
	msgForwarded
	msgPull
	msgPullReply
	msgRefused
	msgGossip
	msgGossipReply
	msgTreeCompare
	msgTreeDiffer
	msgBucketAsk
	msgBucketReply
	msgHint
	msgHinted
	msgConfirm
	msgConfirmed
	msgForget
	msgForgotten
)

// String returns the message's name.
func (k messageKind) String() string {
	names := [...]string{
		"?", "apply", "applied", "read", "read-reply", "forward", "forwarded", "pull", "pull-reply", "refused", "gossip", "gossip-reply",
		"tree-compare", "tree-differ", "bucket-ask", "bucket-reply", "hint", "hinted",
		"confirm", "confirmed", "forget", "forgotten",
	}
	if int(k) < len(names) {
		return names[k]
	}
	return names[0]
}

// describe returns a message's kind, and a number that depends on what is in
// it.
func describe(m core.Message) (messageKind, uint64) {
	switch m := m.(type) {
	case *core.Apply:
		return msgApply, xxhash.Sum64(m.Key) + uint64(m.Set.Size())
	case *core.Applied:
		return msgApplied, 0
	case *core.Hint:
		return msgHint, xxhash.Sum64(m.Key) + uint64(m.Set.Size()) + xxhash.Sum64String(string(m.Owner))
	case *core.Hinted:
		return msgHinted, 0
	case *core.Read:
		if m.Hints {
			return msgRead, xxhash.Sum64(m.Key) + 1
		}
		return msgRead, xxhash.Sum64(m.Key)
	case *core.ReadReply:
		return msgReadReply, uint64(m.Set.Size())
	case *core.Forward:
		return msgForward, xxhash.Sum64(m.Key) + m.Start + uint64(m.Limit)
	case *core.Forwarded:
		return msgForwarded, uint64(m.Result.Code)<<8 + uint64(m.Result.Outcome)
	case *core.Pull:
		return msgPull, m.Layout.Digest + xxhash.Sum64(m.After)
	case *core.PullReply:
		return msgPullReply, uint64(len(m.Items))
	case *core.Refused:
		return msgRefused, uint64(m.Why)
	case *core.Gossip:
		return msgGossip, gossiped(&m.State)
	case *core.GossipReply:
		return msgGossipReply, gossiped(&m.State)
	case *core.TreeCompare:
		return msgTreeCompare, uint64(m.Level)<<32 + uint64(len(m.Nodes)) + m.Hashes[0][0]
	case *core.TreeDiffer:
		return msgTreeDiffer, uint64(len(m.Differ))<<32 + uint64(len(m.Unknown))<<16 + uint64(len(m.Elsewhere))
	case *core.BucketAsk:
		return msgBucketAsk, uint64(len(m.Leaves))<<32 + xxhash.Sum64(m.After)
	case *core.BucketReply:
		return msgBucketReply, uint64(len(m.Keys))
	case *core.Confirm:
		return msgConfirm, digestKeys(m.Keys) + m.Round + m.Members
	case *core.Confirmed:
		return msgConfirmed, uint64(len(m.Except))
	case *core.Forget:
		return msgForget, digestKeys(m.Keys) + m.Round + m.Members
	case *core.Forgotten:
		return msgForgotten, uint64(len(m.Except))
	}
	return 0, 0
}

// gossiped returns a number that depends on what is gossiped.
func gossiped(s *core.GossipState) uint64 {
	sum := uint64(len(s.Members))<<32 + s.Layouts.Stamp().Layout.Number
	for i := range s.Members {
		sum = sum*31 + s.Members[i].Incarnation<<32 + s.Members[i].Heartbeat
	}
	for i := range s.Digest.Chunk {
		b := &s.Digest.Chunk[i]
		sum = sum*31 + b.Who + b.What
		for _, beat := range b.Heartbeats {
			sum = sum*31 + beat
		}
	}
	for _, v := range s.Digest.Versions {
		sum = sum*31 + v.Member + v.Changed<<32 + v.Heartbeat
	}
	for _, hash := range s.Wants {
		sum = sum*31 + hash
	}
	return sum
}

func digestKeys(keys []core.KeyDigest) (sum uint64) {
	for i := range keys {
		sum = mix(sum ^ xxhash.Sum64(keys[i].Key) ^ keys[i].Digest)
	}
	return sum
}

func explainGossip(s *core.GossipState) string {
	var b strings.Builder
	for i := range s.Members {
		m := &s.Members[i]
		fmt.Fprintf(&b, " %s#%d.%d", m.ID, m.Incarnation, m.Heartbeat)
	}
	for i := range s.Digest.Chunk {
		fmt.Fprintf(&b, " %v", s.Digest.Chunk[i].Heartbeats)
	}
	if len(s.Digest.Versions)+len(s.Wants) > 0 {
		fmt.Fprintf(&b, " %d versions, %d wanted", len(s.Digest.Versions), len(s.Wants))
	}
	return b.String()
}

// explain returns an envelope as text.
func explain(e *core.Envelope) string {
	kind, _ := describe(e.Msg)
	detail := ""
	switch m := e.Msg.(type) {
	case *core.Apply:
		detail = fmt.Sprintf(" %s %s", m.Key, m.Set.Clock)
	case *core.Hint:
		detail = fmt.Sprintf(" %s %s for %v", m.Key, m.Set.Clock, m.Owner)
	case *core.Read:
		detail = fmt.Sprintf(" %s hints %v", m.Key, m.Hints)
	case *core.ReadReply:
		detail = fmt.Sprintf(" %s", m.Set.Clock)
	case *core.Forward:
		detail = fmt.Sprintf(" %s %v id %v fallback %v", m.Key, m.Op, m.Options.WriteID, m.Fallback)
	case *core.Forwarded:
		detail = fmt.Sprintf(" %v %v %v", m.Result.Code, m.Result.Outcome, m.Result.Context)
	case *core.Pull:
		detail = fmt.Sprintf(" %v after %s", m.Layout, m.After)
	case *core.PullReply:
		detail = fmt.Sprintf(" %d items, done %v", len(m.Items), m.Done)
	case *core.Refused:
		detail = " " + m.Why.String()
	case *core.Gossip:
		detail = explainGossip(&m.State)
	case *core.GossipReply:
		detail = explainGossip(&m.State)
	case *core.TreeCompare:
		detail = fmt.Sprintf(" level %d, %d nodes", m.Level, len(m.Nodes))
	case *core.TreeDiffer:
		detail = fmt.Sprintf(" %d differ, %d unknown, %d elsewhere", len(m.Differ), len(m.Unknown), len(m.Elsewhere))
	case *core.BucketAsk:
		detail = fmt.Sprintf(" leaves %v after %s", m.Leaves, m.After)
	case *core.BucketReply:
		detail = fmt.Sprintf(" %d keys, more %v", len(m.Keys), m.More)
	case *core.Confirm:
		detail = fmt.Sprintf(" round %d again %v members %x %s", m.Round, m.Again, m.Members, explainKeys(m.Keys))
	case *core.Confirmed:
		detail = fmt.Sprintf(" except %d", m.Except)
	case *core.Forget:
		detail = fmt.Sprintf(" round %d members %x %s", m.Round, m.Members, explainKeys(m.Keys))
	case *core.Forgotten:
		detail = fmt.Sprintf(" except %d", m.Except)
	}
	to := e.To
	if to == "" {
		to = id.Node("@" + e.Addr)
	}
	return fmt.Sprintf("%v %v→%v req %v p%d %v%s", kind, e.From, to, e.Req, e.Partition, e.Stamp, detail)
}

func explainKeys(keys []core.KeyDigest) string {
	var b strings.Builder
	for i := range keys {
		fmt.Fprintf(&b, " %s=%x", keys[i].Key, keys[i].Digest)
	}
	return b.String()
}
