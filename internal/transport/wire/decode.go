package wire

import (
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// ErrInvalid is what every error of a Decoder and of DecodeHello wraps.
var ErrInvalid = errors.New("invalid message")

// errUnknown says that an envelope comes from a newer node: it has a message
// or an enum value that is not known here.
var errUnknown = errors.New("unknown kind of message")

// Result tells what Decode found in a message.
type Result struct {
	Delivered int // envelopes handed over
	Unknown   int // envelopes skipped, since only a newer node knows them
}

func envelope(now time.Duration, in *dynamov1.Envelope) (*core.Envelope, error) {
	if in.Partition >= id.MaxPartitions {
		return nil, fmt.Errorf("partition %d; at most %d are allowed", in.Partition, id.MaxPartitions)
	}
	if in.Remaining < 1 || in.Remaining > uint64(id.MaxMessageAge) {
		return nil, fmt.Errorf("%d ns remain; 1 to %d are allowed", in.Remaining, id.MaxMessageAge)
	}
	stamp, err := stamp(in.LayoutNumber, in.LayoutDigest, in.Phase)
	if err != nil {
		return nil, err
	}
	m, reply, err := message(in)
	if err != nil {
		return nil, err
	}
	return &core.Envelope{
		Req:       core.ReqID(in.Req),
		Reply:     reply,
		Start:     in.Start,
		Partition: ring.Partition(in.Partition),
		Stamp:     stamp,
		Deadline:  now + time.Duration(in.Remaining),
		Trace:     decodeTrace(in.Trace),
		Msg:       m,
	}, nil
}

// message returns the message and whether it is a reply.
func message(in *dynamov1.Envelope) (m core.Message, reply bool, err error) {
	switch in := in.Message.(type) {
	case *dynamov1.Envelope_Apply:
		m, err = apply(in.Apply)
	case *dynamov1.Envelope_Applied:
		m, reply = &core.Applied{}, true
	case *dynamov1.Envelope_Hint:
		m, err = hint(in.Hint)
	case *dynamov1.Envelope_Hinted:
		m, reply = &core.Hinted{}, true
	case *dynamov1.Envelope_Read:
		m, err = &core.Read{Key: in.Read.Key, Hints: in.Read.Hints}, checkKey(in.Read.Key)
	case *dynamov1.Envelope_ReadReply:
		reply = true
		m, err = readReply(in.ReadReply)
	case *dynamov1.Envelope_Refused:
		reply = true
		m, err = refused(in.Refused)
	case *dynamov1.Envelope_Forward:
		m, err = forward(in.Forward)
	case *dynamov1.Envelope_Forwarded:
		reply = true
		m, err = forwarded(in.Forwarded)
	case *dynamov1.Envelope_Gossip:
		m, err = gossip(in.Gossip.State)
	case *dynamov1.Envelope_GossipReply:
		reply = true
		m, err = gossipReply(in.GossipReply.State)
	case *dynamov1.Envelope_Pull:
		m, err = pull(in.Pull)
	case *dynamov1.Envelope_PullReply:
		reply = true
		m, err = pullReply(in.PullReply)
	case *dynamov1.Envelope_TreeCompare:
		m, err = treeCompare(in.TreeCompare)
	case *dynamov1.Envelope_TreeDiffer:
		reply = true
		m, err = treeDiffer(in.TreeDiffer)
	case *dynamov1.Envelope_BucketAsk:
		m, err = bucketAsk(in.BucketAsk)
	case *dynamov1.Envelope_BucketReply:
		reply = true
		m, err = bucketReply(in.BucketReply)
	case *dynamov1.Envelope_Confirm:
		m, err = confirm(in.Confirm)
	case *dynamov1.Envelope_Confirmed:
		reply = true
		m, err = confirmed(in.Confirmed)
	case *dynamov1.Envelope_Forget:
		m, err = forget(in.Forget)
	case *dynamov1.Envelope_Forgotten:
		reply = true
		m, err = forgotten(in.Forgotten)
	default:
		err = errUnknown
	}
	return m, reply, err
}

func stamp(number, digest uint64, p dynamov1.Phase) (core.Stamp, error) {
	phase, err := phase(p)
	return core.Stamp{Layout: ring.Name{Number: number, Digest: digest}, Phase: phase}, err
}

func checkKey(key []byte) error {
	if len(key) < 1 || len(key) > id.MaxKeyBytes {
		return fmt.Errorf("a key of %d bytes; 1 to %d are allowed", len(key), id.MaxKeyBytes)
	}
	return nil
}

// set decodes a sibling set that fills b. Its versions' data are slices of b.
func set(b []byte) (version.Siblings, error) {
	if len(b) == 0 {
		return version.Siblings{}, nil
	}
	s, rest, err := version.DecodeSiblings(b)
	if err != nil {
		return version.Siblings{}, err
	}
	if len(rest) > 0 {
		return version.Siblings{}, fmt.Errorf("%d bytes follow a sibling set", len(rest))
	}
	for i := range s.Versions {
		if n := len(s.Versions[i].Data); n > id.MaxValueBytes {
			return version.Siblings{}, fmt.Errorf("a value of %d bytes; at most %d are allowed", n, id.MaxValueBytes)
		}
	}
	return s, nil
}

// clock decodes a clock that fills b.
func clock(b []byte) (version.Clock, error) {
	c, rest, err := version.DecodeClock(b)
	if err != nil {
		return version.Clock{}, err
	}
	if len(rest) > 0 {
		return version.Clock{}, fmt.Errorf("%d bytes follow a clock", len(rest))
	}
	return c, nil
}

func apply(in *dynamov1.Apply) (core.Message, error) {
	if err := checkKey(in.Key); err != nil {
		return nil, err
	}
	s, err := set(in.Set)
	return &core.Apply{Key: in.Key, Set: s}, err
}

func hint(in *dynamov1.Hint) (core.Message, error) {
	if err := checkKey(in.Key); err != nil {
		return nil, err
	}
	owner, err := id.ParseNode(in.Owner)
	if err != nil {
		return nil, fmt.Errorf("a hint's owner: %w", err)
	}
	s, err := set(in.Set)
	return &core.Hint{Key: in.Key, Set: s, Owner: owner}, err
}

func readReply(in *dynamov1.ReadReply) (core.Message, error) {
	s, err := set(in.Set)
	return &core.ReadReply{Set: s}, err
}

func refused(in *dynamov1.Refused) (core.Message, error) {
	why, err := refusal(in.Why)
	return &core.Refused{Why: why}, err
}

func forward(in *dynamov1.Forward) (core.Message, error) {
	op, err := writeOp(in.Op)
	if err != nil {
		return nil, err
	}
	switch {
	case in.Timeout > uint64(id.MaxMessageAge):
		return nil, fmt.Errorf("a forward's timeout of %d ns; at most %d are allowed", in.Timeout, id.MaxMessageAge)
	case len(in.Value) > id.MaxValueBytes:
		return nil, fmt.Errorf("a value of %d bytes; at most %d are allowed", len(in.Value), id.MaxValueBytes)
	case op == core.OpDelete && len(in.Value) > 0:
		return nil, fmt.Errorf("a delete has a value of %d bytes", len(in.Value))
	}
	if err := checkKey(in.Key); err != nil {
		return nil, err
	}
	out := &core.Forward{
		Start:    in.Start,
		Limit:    time.Duration(in.Limit),
		Timeout:  time.Duration(in.Timeout),
		Attempt:  in.Attempt,
		Op:       op,
		Key:      in.Key,
		Value:    bytesOrNil(in.Value),
		Fallback: in.Fallback,
	}
	if in.Context != nil {
		if out.Context, err = clock(in.Context); err != nil {
			return nil, err
		}
	}
	out.Options, err = options(in.Options)
	return out, err
}

// bytesOrNil returns nil for no bytes, so that there is one form of none.
func bytesOrNil(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

func options(in *dynamov1.Options) (core.Options, error) {
	q, err := quorum(in.GetQuorum())
	if err != nil {
		return core.Options{}, err
	}
	if in.GetR() > maxReplicas || in.GetW() > maxReplicas {
		return core.Options{}, fmt.Errorf("r %d and w %d; at most %d are allowed", in.GetR(), in.GetW(), maxReplicas)
	}
	out := core.Options{R: int(in.GetR()), W: int(in.GetW()), Quorum: q, Overwrite: in.GetOverwrite()}
	if n := len(in.GetWriteId()); n != len(out.WriteID) {
		return core.Options{}, fmt.Errorf("a write ID of %d bytes; a forward has one of %d", n, len(out.WriteID))
	}
	copy(out.WriteID[:], in.GetWriteId())
	if out.WriteID.IsZero() {
		return core.Options{}, errors.New("a forward's write ID is zero")
	}
	return out, nil
}

func forwarded(m *dynamov1.Forwarded) (core.Message, error) {
	in := m.Result
	code, err := code(in.GetCode())
	if err != nil {
		return nil, err
	}
	outcome, err := outcome(in.GetOutcome())
	if err != nil {
		return nil, err
	}
	if in.GetAcknowledged() > maxReplicas || in.GetRequired() > maxReplicas {
		return nil, fmt.Errorf("%d of %d replicas; at most %d are allowed", in.GetAcknowledged(), in.GetRequired(), maxReplicas)
	}
	if m.Fallbacks > in.GetAcknowledged() {
		return nil, fmt.Errorf("%d fallbacks among %d that acknowledged", m.Fallbacks, in.GetAcknowledged())
	}
	r := core.Result{
		Code:         code,
		Outcome:      outcome,
		Acknowledged: int(in.GetAcknowledged()),
		Fallbacks:    int(m.Fallbacks),
		Required:     int(in.GetRequired()),
	}
	if r.Set, err = set(in.GetSet()); err != nil {
		return nil, err
	}
	if len(in.GetContext()) > 0 {
		if r.Context, err = clock(in.GetContext()); err != nil {
			return nil, err
		}
	}
	return &core.Forwarded{Result: r}, nil
}

func pull(in *dynamov1.Pull) (core.Message, error) {
	if len(in.After) > id.MaxKeyBytes {
		return nil, fmt.Errorf("a pull resumes after a key of %d bytes; at most %d are allowed", len(in.After), id.MaxKeyBytes)
	}
	return &core.Pull{
		Layout: ring.Name{Number: in.LayoutNumber, Digest: in.LayoutDigest},
		After:  bytesOrNil(in.After),
	}, nil
}

func pullReply(in *dynamov1.PullReply) (core.Message, error) {
	out := &core.PullReply{Done: in.Done}
	if len(in.Items) > 0 {
		out.Items = make([]core.Item, len(in.Items))
	}
	for i, item := range in.Items {
		if err := checkKey(item.Key); err != nil {
			return nil, fmt.Errorf("item %d of %d: %w", i+1, len(in.Items), err)
		}
		s, err := set(item.Set)
		if err != nil {
			return nil, fmt.Errorf("item %d of %d: %w", i+1, len(in.Items), err)
		}
		out.Items[i] = core.Item{Key: item.Key, Set: s}
	}
	return out, nil
}

func confirm(in *dynamov1.Confirm) (core.Message, error) {
	keys, err := keyDigestsOf(in.Keys)
	return &core.Confirm{Round: in.Round, Again: in.Again, Members: in.Members, Keys: keys}, err
}

func confirmed(in *dynamov1.Confirmed) (core.Message, error) {
	return &core.Confirmed{Except: in.Except}, checkExcept(in.Except)
}

func forget(in *dynamov1.Forget) (core.Message, error) {
	keys, err := keyDigestsOf(in.Keys)
	return &core.Forget{Round: in.Round, Members: in.Members, Keys: keys}, err
}

func forgotten(in *dynamov1.Forgotten) (core.Message, error) {
	return &core.Forgotten{Except: in.Except}, checkExcept(in.Except)
}

func keyDigestsOf(in []*dynamov1.KeyDigest) ([]core.KeyDigest, error) {
	if len(in) < 1 || len(in) > core.MaxForgetKeys {
		return nil, fmt.Errorf("a round of %d keys; 1 to %d are allowed", len(in), core.MaxForgetKeys)
	}
	out := make([]core.KeyDigest, len(in))
	for i, k := range in {
		if err := checkKey(k.Key); err != nil {
			return nil, fmt.Errorf("key %d of %d: %w", i+1, len(in), err)
		}
		out[i] = core.KeyDigest{Key: k.Key, Digest: k.Digest}
	}
	return out, nil
}

// checkExcept checks the indexes of keys that are left out of an answer.
func checkExcept(except []uint32) error {
	for i, n := range except {
		switch {
		case n >= core.MaxForgetKeys:
			return fmt.Errorf("the index %d of a key; at most %d are in a round", n, core.MaxForgetKeys)
		case i > 0 && except[i-1] >= n:
			return fmt.Errorf("the index %d of a key follows %d", n, except[i-1])
		}
	}
	return nil
}

func gossip(in *dynamov1.GossipState) (core.Message, error) {
	s, err := state(in)
	return &core.Gossip{State: s}, err
}

func gossipReply(in *dynamov1.GossipState) (core.Message, error) {
	s, err := state(in)
	return &core.GossipReply{State: s}, err
}

func state(in *dynamov1.GossipState) (core.GossipState, error) {
	out := core.GossipState{Cluster: in.GetCluster(), DiskStamp: in.GetDiskStamp(), Remembers: in.GetRemembers()}
	if n := len(in.GetMembers()); n > 0 {
		out.Members = make([]core.Member, n)
	}
	for i, m := range in.GetMembers() {
		var err error
		if out.Members[i], err = memberOf(m); err != nil {
			return core.GossipState{}, err
		}
	}
	var err error
	if out.Layouts, err = layouts(in); err != nil {
		return core.GossipState{}, err
	}
	if out.Digest, err = digestOf(in); err != nil {
		return core.GossipState{}, err
	}
	out.Wants, err = wants(in)
	return out, err
}

// layouts decodes the live layouts: at most two, the older one first.
func layouts(in *dynamov1.GossipState) (core.LayoutState, error) {
	p, err := phase(in.GetPhase())
	if err != nil {
		return core.LayoutState{}, err
	}
	if n := len(in.GetLayouts()); n > 2 {
		return core.LayoutState{}, fmt.Errorf("%d live layouts; at most 2 are allowed", n)
	}
	out := core.LayoutState{Phase: p}
	for _, b := range in.GetLayouts() {
		l, err := ring.DecodeLayout(b)
		if err != nil {
			return core.LayoutState{}, err
		}
		if n := len(out.Live); n > 0 && out.Live[n-1].Name().Compare(l.Name()) >= 0 {
			return core.LayoutState{}, fmt.Errorf("layout %s does not follow %s", l.Name(), out.Live[n-1].Name())
		}
		out.Live = append(out.Live, l)
	}
	return out, nil
}

func memberOf(in *dynamov1.Member) (core.Member, error) {
	node, err := id.ParseNode(in.Id)
	if err != nil {
		return core.Member{}, err
	}
	if err := checkMember(in); err != nil {
		return core.Member{}, fmt.Errorf("member %s: %w", node, err)
	}
	st, err := memberState(in.State)
	if err != nil {
		return core.Member{}, err
	}
	adopted, err := stamp(in.LayoutNumber, in.LayoutDigest, in.Phase)
	if err != nil {
		return core.Member{}, err
	}
	return core.Member{
		ID:          node,
		Addr:        in.Addr,
		Zone:        in.Zone,
		Datacentre:  in.Datacentre,
		Weight:      in.Weight,
		Instance:    in.Instance,
		Start:       in.Start,
		Incarnation: in.Incarnation,
		Heartbeat:   in.Heartbeat,
		Changed:     in.Changed,
		State:       st,
		Stamp:       adopted,
		Synced:      ring.Name{Number: in.SyncedNumber, Digest: in.SyncedDigest},
	}, nil
}

// checkMember checks what people gave a member: a layout of members that
// breaks ring's rules could not be planned.
func checkMember(in *dynamov1.Member) error {
	if err := checkText("address", in.Addr, 1, MaxAddrBytes); err != nil {
		return err
	}
	if err := checkText("zone", in.Zone, 0, ring.MaxZoneBytes); err != nil {
		return err
	}
	if err := checkText("datacentre", in.Datacentre, 0, ring.MaxZoneBytes); err != nil {
		return err
	}
	if in.Weight == 0 {
		return fmt.Errorf("weight 0; 1 to %d are allowed", uint32(math.MaxUint32))
	}
	return nil
}

// checkText checks a text of shortest to longest bytes.
func checkText(what, s string, shortest, longest int) error {
	if len(s) < shortest || len(s) > longest {
		return fmt.Errorf("the %s has %d bytes; %d to %d are allowed", what, len(s), shortest, longest)
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("the %s %q is not valid UTF-8", what, s)
	}
	return nil
}
