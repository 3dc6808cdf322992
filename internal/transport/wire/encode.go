package wire

import (
	"fmt"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// keepScratch bounds the memory for sets that an Encoder keeps between two
// messages: what a full batch needs.
const keepScratch = 2 * MaxBatchBytes

// Encoder writes batches. It keeps its memory from one to the next, so that
// the messages of every put and get are written without an allocation. The
// zero Encoder is ready; one goroutine uses it at a time.
type Encoder struct {
	batch dynamov1.Batch
	slots []*slot
	sets  []byte // the encoded sets and clocks of this batch, one after another
}

// slot has the structs of one envelope, for the kinds that are frequent, of
// those that are encoded and of the one that is being decoded.
type slot struct {
	envelope  dynamov1.Envelope
	trace     [traceBytes]byte
	apply     dynamov1.Apply
	applyOf   dynamov1.Envelope_Apply
	applied   dynamov1.Applied
	appliedOf dynamov1.Envelope_Applied
	read      dynamov1.Read
	readOf    dynamov1.Envelope_Read
	reply     dynamov1.ReadReply
	replyOf   dynamov1.Envelope_ReadReply
}

func newSlot() *slot {
	s := new(slot)
	s.applyOf.Apply = &s.apply
	s.appliedOf.Applied = &s.applied
	s.readOf.Read = &s.read
	s.replyOf.ReadReply = &s.reply
	return s
}

func (s *slot) reset() {
	s.envelope.Reset()
	s.apply.Reset()
	s.applied.Reset()
	s.read.Reset()
	s.reply.Reset()
}

// Encode writes a batch into memory that it gets from alloc, which is called
// once with the exact length, and returns that memory. The envelopes share
// From, To and Cluster; now is Mono, and no deadline has passed. Deadlines
// further away than id.MaxMessageAge are cut to it. Encode keeps nothing.
func (c *Encoder) Encode(now time.Duration, envelopes []core.Envelope, alloc func(size int) []byte) []byte {
	c.fill(now, envelopes)
	b := alloc(c.batch.SizeVT())
	if _, err := c.batch.MarshalToSizedBufferVT(b); err != nil {
		panic(fmt.Sprintf("wire: %d bytes do not hold the batch that they were counted for: %v", len(b), err))
	}
	c.release(len(envelopes))
	return b
}

// fill makes the batch of the envelopes. Release is to follow.
func (c *Encoder) fill(now time.Duration, envelopes []core.Envelope) {
	first := &envelopes[0]
	c.batch.From, c.batch.To, c.batch.Cluster = string(first.From), string(first.To), first.Cluster
	for i := range envelopes {
		if i == len(c.slots) {
			c.slots = append(c.slots, newSlot())
		}
		c.batch.Envelopes = append(c.batch.Envelopes, &c.slots[i].envelope)
		c.envelope(c.slots[i], now, &envelopes[i])
	}
}

// EncodeHello returns the message that greets a peer.
func EncodeHello(self id.Node) []byte {
	batch := dynamov1.Batch{From: string(self)}
	b := make([]byte, batch.SizeVT())
	if _, err := batch.MarshalToSizedBufferVT(b); err != nil {
		panic(fmt.Sprintf("wire: %d bytes do not hold the hello that they were counted for: %v", len(b), err))
	}
	return b
}

// release lets go of the first n slots' messages.
func (c *Encoder) release(n int) {
	for _, s := range c.slots[:n] {
		s.envelope.Message = nil
		s.apply.Key, s.apply.Set, s.read.Key, s.reply.Set = nil, nil, nil, nil
	}
	clear(c.batch.Envelopes)
	c.batch.Envelopes = c.batch.Envelopes[:0]
	c.sets = c.sets[:0]
	if cap(c.sets) > keepScratch {
		c.sets = nil
	}
}

func (c *Encoder) envelope(s *slot, now time.Duration, e *core.Envelope) {
	out := &s.envelope
	out.Req, out.Start = uint64(e.Req), e.Start
	out.Partition = uint32(e.Partition)
	out.LayoutNumber, out.LayoutDigest = e.Stamp.Layout.Number, e.Stamp.Layout.Digest
	out.Phase = dynamov1.Phase(e.Stamp.Phase)
	out.Remaining = uint64(min(e.Deadline-now, id.MaxMessageAge))
	out.Trace = appendTrace(s.trace[:0], e.Trace)
	switch m := e.Msg.(type) {
	case *core.Apply:
		s.apply.Key, s.apply.Set = m.Key, c.set(m.Set)
		out.Message = &s.applyOf
	case *core.Applied:
		out.Message = &s.appliedOf
	case *core.Hint:
		out.Message = &dynamov1.Envelope_Hint{Hint: &dynamov1.Hint{Key: m.Key, Set: c.set(m.Set), Owner: string(m.Owner)}}
	case *core.Hinted:
		out.Message = &dynamov1.Envelope_Hinted{Hinted: &dynamov1.Hinted{}}
	case *core.Read:
		s.read.Key, s.read.Hints = m.Key, m.Hints
		out.Message = &s.readOf
	case *core.ReadReply:
		s.reply.Set = c.set(m.Set)
		out.Message = &s.replyOf
	case *core.Refused:
		out.Message = &dynamov1.Envelope_Refused{Refused: &dynamov1.Refused{Why: dynamov1.Refusal(m.Why)}}
	case *core.Forward:
		out.Message = &dynamov1.Envelope_Forward{Forward: c.forward(m)}
	case *core.Forwarded:
		out.Message = &dynamov1.Envelope_Forwarded{Forwarded: c.forwarded(m)}
	case *core.Gossip:
		out.Message = &dynamov1.Envelope_Gossip{Gossip: &dynamov1.Gossip{State: gossipState(&m.State)}}
	case *core.GossipReply:
		out.Message = &dynamov1.Envelope_GossipReply{GossipReply: &dynamov1.GossipReply{State: gossipState(&m.State)}}
	case *core.Pull:
		out.Message = &dynamov1.Envelope_Pull{Pull: &dynamov1.Pull{
			LayoutNumber: m.Layout.Number, LayoutDigest: m.Layout.Digest, After: m.After,
		}}
	case *core.PullReply:
		out.Message = &dynamov1.Envelope_PullReply{PullReply: c.pullReply(m)}
	case *core.TreeCompare:
		out.Message = encodeTreeCompare(m)
	case *core.TreeDiffer:
		out.Message = encodeTreeDiffer(m)
	case *core.BucketAsk:
		out.Message = encodeBucketAsk(m)
	case *core.BucketReply:
		out.Message = encodeBucketReply(m)
	case *core.Confirm:
		out.Message = &dynamov1.Envelope_Confirm{Confirm: &dynamov1.Confirm{
			Round: m.Round, Again: m.Again, Members: m.Members, Keys: keyDigests(m.Keys),
		}}
	case *core.Confirmed:
		out.Message = &dynamov1.Envelope_Confirmed{Confirmed: &dynamov1.Confirmed{Except: m.Except}}
	case *core.Forget:
		out.Message = &dynamov1.Envelope_Forget{Forget: &dynamov1.Forget{
			Round: m.Round, Members: m.Members, Keys: keyDigests(m.Keys),
		}}
	case *core.Forgotten:
		out.Message = &dynamov1.Envelope_Forgotten{Forgotten: &dynamov1.Forgotten{Except: m.Except}}
	default:
		panic(fmt.Sprintf("wire: no encoding for %T", e.Msg))
	}
}

// set returns the encoding of s, in the scratch memory unless it is known; none
// is empty.
func (c *Encoder) set(s version.Siblings) []byte {
	if s.IsEmpty() {
		return nil
	}
	if b := s.Encoded(); b != nil {
		return b
	}
	from := len(c.sets)
	c.sets = s.AppendBinary(c.sets)
	return c.sets[from:]
}

// clock encodes k into the scratch memory.
func (c *Encoder) clock(k version.Clock) []byte {
	from := len(c.sets)
	c.sets = k.AppendBinary(c.sets)
	return c.sets[from:]
}

func (c *Encoder) forward(m *core.Forward) *dynamov1.Forward {
	out := &dynamov1.Forward{
		Start:    m.Start,
		Limit:    int64(m.Limit),
		Timeout:  uint64(m.Timeout),
		Attempt:  m.Attempt,
		Op:       dynamov1.Op(m.Op),
		Key:      m.Key,
		Value:    m.Value,
		Fallback: m.Fallback,
		Options: &dynamov1.Options{
			R:         uint32(m.Options.R),
			W:         uint32(m.Options.W),
			Quorum:    dynamov1.Quorum(m.Options.Quorum),
			Overwrite: m.Options.Overwrite,
			WriteId:   m.Options.WriteID[:],
		},
	}
	if !m.Context.IsEmpty() {
		out.Context = c.clock(m.Context)
	}
	return out
}

func (c *Encoder) forwarded(m *core.Forwarded) *dynamov1.Forwarded {
	r := &m.Result
	out := &dynamov1.Result{
		Code:         dynamov1.Code(r.Code),
		Outcome:      dynamov1.Outcome(r.Outcome),
		Acknowledged: uint32(r.Acknowledged),
		Required:     uint32(r.Required),
		Set:          c.set(r.Set),
	}
	if !r.Context.IsEmpty() {
		out.Context = c.clock(r.Context)
	}
	return &dynamov1.Forwarded{Result: out, Fallbacks: uint32(r.Fallbacks)}
}

func (c *Encoder) pullReply(m *core.PullReply) *dynamov1.PullReply {
	out := &dynamov1.PullReply{Done: m.Done, Items: make([]*dynamov1.Item, len(m.Items))}
	for i := range m.Items {
		out.Items[i] = &dynamov1.Item{Key: m.Items[i].Key, Set: c.set(m.Items[i].Set)}
	}
	return out
}

func keyDigests(keys []core.KeyDigest) []*dynamov1.KeyDigest {
	out := make([]*dynamov1.KeyDigest, len(keys))
	for i := range keys {
		out[i] = &dynamov1.KeyDigest{Key: keys[i].Key, Digest: keys[i].Digest}
	}
	return out
}

func gossipState(s *core.GossipState) *dynamov1.GossipState {
	out := &dynamov1.GossipState{
		DiskStamp: s.DiskStamp, Remembers: s.Remembers,
		Cluster: s.Cluster,
		Members: make([]*dynamov1.Member, len(s.Members)),
		Phase:   dynamov1.Phase(s.Layouts.Phase),
	}
	for i := range s.Members {
		out.Members[i] = member(&s.Members[i])
	}
	for _, l := range s.Layouts.Live {
		out.Layouts = append(out.Layouts, l.AppendBinary(nil))
	}
	digest(out, &s.Digest)
	out.Wants = s.Wants
	return out
}

func member(m *core.Member) *dynamov1.Member {
	return &dynamov1.Member{
		Id:           string(m.ID),
		Addr:         m.Addr,
		Zone:         m.Zone,
		Datacentre:   m.Datacentre,
		Weight:       m.Weight,
		Instance:     m.Instance,
		Start:        m.Start,
		Incarnation:  m.Incarnation,
		Heartbeat:    m.Heartbeat,
		State:        dynamov1.State(m.State),
		LayoutNumber: m.Stamp.Layout.Number,
		LayoutDigest: m.Stamp.Layout.Digest,
		Phase:        dynamov1.Phase(m.Stamp.Phase),
		SyncedNumber: m.Synced.Number,
		SyncedDigest: m.Synced.Digest,
		Changed:      m.Changed,
	}
}
