package wire

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// encode writes a batch whatever its size.
func encode(now time.Duration, batch ...core.Envelope) []byte {
	var c Encoder
	return c.Encode(now, batch, alloc)
}

func alloc(size int) []byte { return make([]byte, size) }

// decode returns all envelopes of a message.
func decode(now time.Duration, b []byte) ([]core.Envelope, Result, error) {
	var out []core.Envelope
	var d Decoder
	r, err := d.Decode(now, b, func(e *core.Envelope) { out = append(out, *e) })
	return out, r, err
}

// diff compares messages by what they mean.
func diff(want, got any) string {
	return cmp.Diff(want, got,
		cmp.Comparer(version.Siblings.Equal),
		cmp.Comparer(version.Clock.Equal),
		cmp.Comparer(func(a, b *ring.Layout) bool {
			return slices.Equal(a.AppendBinary(nil), b.AppendBinary(nil))
		}))
}

func genNode(t *rapid.T) id.Node {
	return id.Node(rapid.StringMatching(`[A-Za-z0-9._-]{1,64}`).Draw(t, "node"))
}

func genName(t *rapid.T) ring.Name {
	return ring.Name{Number: rapid.Uint64().Draw(t, "number"), Digest: rapid.Uint64().Draw(t, "digest")}
}

func genStamp(t *rapid.T) core.Stamp {
	return core.Stamp{
		Layout: genName(t),
		Phase:  rapid.SampledFrom([]core.Phase{core.PhaseNone, core.PhaseCopy, core.PhaseMoved, core.PhaseDone}).Draw(t, "phase"),
	}
}

func genKey(t *rapid.T) []byte {
	return rapid.SliceOfN(rapid.Byte(), 1, id.MaxKeyBytes).Draw(t, "key")
}

// genBytes draws bytes of which there may be none, which is nil.
func genBytes(t *rapid.T, label string) []byte {
	return bytesOrNil(rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, label))
}

func genWriteID(t *rapid.T) (w version.WriteID) {
	copy(w[:], rapid.SliceOfN(rapid.ByteRange(1, 255), len(w), len(w)).Draw(t, "write ID"))
	return w
}

func genActor(t *rapid.T) version.Actor {
	return version.Actor{
		Node:  rapid.SampledFrom([]id.Node{"a", "b", "node-3"}).Draw(t, "actor's node"),
		Epoch: version.Epoch{Start: rapid.Uint64().Draw(t, "start"), Seq: 1},
	}
}

func genSet(t *rapid.T) version.Siblings {
	var s version.Siblings
	for range rapid.IntRange(0, 4).Draw(t, "writes") {
		var seen version.Clock
		if rapid.Bool().Draw(t, "has seen all") {
			seen = s.Clock
		}
		s, _ = s.Put(seen, genActor(t), version.Write{
			ID:        genWriteID(t),
			Tombstone: rapid.Bool().Draw(t, "tombstone"),
			Timestamp: rapid.Int64().Draw(t, "timestamp"),
			Data:      genBytes(t, "data"),
		})
	}
	return s
}

func genClock(t *rapid.T) version.Clock {
	c := genSet(t).Clock
	for range rapid.IntRange(0, 2).Draw(t, "dots") {
		c = c.With(version.Dot{Actor: genActor(t), Counter: rapid.Uint64Range(1, version.MaxCounter).Draw(t, "counter")})
	}
	return c
}

func genForward(t *rapid.T) *core.Forward {
	m := &core.Forward{
		Start:    rapid.Uint64().Draw(t, "receiver's start"),
		Limit:    time.Duration(rapid.Int64().Draw(t, "limit")),
		Timeout:  time.Duration(rapid.Int64Range(0, int64(id.MaxMessageAge)).Draw(t, "timeout")),
		Attempt:  rapid.Uint32().Draw(t, "attempt"),
		Fallback: rapid.Bool().Draw(t, "fallback"),
		Op:       core.OpDelete,
		Key:      genKey(t),
		Options: core.Options{
			R:         rapid.IntRange(0, 5).Draw(t, "r"),
			W:         rapid.IntRange(0, 5).Draw(t, "w"),
			Quorum:    rapid.SampledFrom([]core.Quorum{core.QuorumDefault, core.QuorumSloppy, core.QuorumStrict}).Draw(t, "quorum"),
			Overwrite: rapid.Bool().Draw(t, "overwrite"),
			WriteID:   genWriteID(t),
		},
	}
	if rapid.Bool().Draw(t, "put") {
		m.Op, m.Value = core.OpPut, genBytes(t, "value")
	}
	if rapid.Bool().Draw(t, "has context") {
		m.Context = genClock(t)
	}
	return m
}

func genResult(t *rapid.T) core.Result {
	acknowledged := rapid.IntRange(0, 5).Draw(t, "acknowledged")
	return core.Result{
		Code:         core.Code(rapid.IntRange(int(core.CodeOK), int(core.CodeRefused)).Draw(t, "code")),
		Outcome:      core.Outcome(rapid.IntRange(0, int(core.Unknown)).Draw(t, "outcome")),
		Acknowledged: acknowledged,
		Fallbacks:    rapid.IntRange(0, acknowledged).Draw(t, "fallbacks"),
		Required:     rapid.IntRange(0, 5).Draw(t, "required"),
		Set:          genSet(t),
		Context:      genClock(t),
	}
}

func genPullReply(t *rapid.T) *core.PullReply {
	m := &core.PullReply{Done: rapid.Bool().Draw(t, "done")}
	for range rapid.IntRange(0, 3).Draw(t, "items") {
		m.Items = append(m.Items, core.Item{Key: genKey(t), Set: genSet(t)})
	}
	return m
}

func genMember(t *rapid.T) core.Member {
	return core.Member{
		ID:          genNode(t),
		Addr:        rapid.StringN(1, 20, MaxAddrBytes).Draw(t, "addr"),
		Zone:        rapid.StringN(0, 10, ring.MaxZoneBytes).Draw(t, "zone"),
		Datacentre:  rapid.StringN(0, 10, ring.MaxZoneBytes).Draw(t, "datacentre"),
		Weight:      rapid.Uint32Min(1).Draw(t, "weight"),
		Instance:    rapid.Uint64().Draw(t, "instance"),
		Start:       rapid.Uint64().Draw(t, "start"),
		Incarnation: rapid.Uint64().Draw(t, "incarnation"),
		Heartbeat:   rapid.Uint64().Draw(t, "heartbeat"),
		Changed:     rapid.Uint64().Draw(t, "changed"),
		State:       core.State(rapid.IntRange(int(core.Joining), int(core.Left)).Draw(t, "state")),
		Stamp:       genStamp(t),
		Synced:      genName(t),
	}
}

func genState(t *rapid.T) core.GossipState {
	s := core.GossipState{
		Cluster:   rapid.Uint64().Draw(t, "cluster"),
		DiskStamp: rapid.Uint64().Draw(t, "disk stamp"),
		Remembers: rapid.Uint64().Draw(t, "remembers"),
	}
	for range rapid.IntRange(0, 4).Draw(t, "members") {
		s.Members = append(s.Members, genMember(t))
	}
	s.Layouts.Live = liveLayouts(t, rapid.IntRange(0, 2).Draw(t, "live"), rapid.IntRange(1, 5).Draw(t, "layout members"))
	s.Layouts.Phase = genStamp(t).Phase
	s.Digest = genDigest(t)
	if rapid.Bool().Draw(t, "asks for records") {
		s.Wants = rapid.SliceOfN(rapid.Uint64(), 1, 5).Draw(t, "wants")
	}
	return s
}

func genDigest(t *rapid.T) core.Digest {
	d := core.Digest{Buckets: 1 << rapid.IntRange(0, 10).Draw(t, "log of buckets")}
	for range rapid.IntRange(0, 3).Draw(t, "chunk") {
		b := core.Bucket{
			Index: rapid.Uint32().Draw(t, "index"), Who: rapid.Uint64().Draw(t, "who"), What: rapid.Uint64().Draw(t, "what"),
		}
		if rapid.Bool().Draw(t, "has heartbeats") {
			b.Heartbeats = rapid.SliceOfN(rapid.Uint64(), 1, 40).Draw(t, "heartbeats")
		}
		d.Chunk = append(d.Chunk, b)
	}
	for range rapid.IntRange(0, 3).Draw(t, "versions") {
		d.Versions = append(d.Versions, core.RecordVersion{
			Member: rapid.Uint64().Draw(t, "hash"), Incarnation: rapid.Uint64().Draw(t, "incarnation"),
			Changed: rapid.Uint64().Draw(t, "changed"), Heartbeat: rapid.Uint64().Draw(t, "heartbeat"),
		})
	}
	return d
}

// liveLayouts returns so many layouts, each the parent of the next.
func liveLayouts(t rapid.TB, live, members int) []*ring.Layout {
	t.Helper()
	if live == 0 {
		return nil
	}
	var of []ring.Member
	for i := range members {
		of = append(of, ring.Member{ID: id.Node(fmt.Sprintf("n%d", i)), Zone: fmt.Sprintf("z%d", i%3), Weight: 1})
	}
	first, err := ring.Form(16, 3, of)
	if err != nil {
		t.Fatalf("forming a layout: %v", err)
	}
	if live == 1 {
		return []*ring.Layout{first}
	}
	second, err := first.Plan(2, append(of, ring.Member{ID: "new", Weight: 2}), 3)
	if err != nil {
		t.Fatalf("planning a layout: %v", err)
	}
	return []*ring.Layout{first, second}
}

func genKeyDigests(t *rapid.T) (keys []core.KeyDigest) {
	for range rapid.IntRange(1, 4).Draw(t, "keys") {
		keys = append(keys, core.KeyDigest{Key: genKey(t), Digest: rapid.Uint64().Draw(t, "digest")})
	}
	return keys
}

// genExcept draws ascending indexes of keys.
func genExcept(t *rapid.T) (except []uint32) {
	for i := range uint32(core.MaxForgetKeys) {
		if i%127 == 126 && rapid.Bool().Draw(t, "except") {
			except = append(except, i)
		}
	}
	return except
}

func genMessage(t *rapid.T) core.Message {
	switch rapid.IntRange(0, 20).Draw(t, "kind") {
	case 0:
		return &core.Apply{Key: genKey(t), Set: genSet(t)}
	case 1:
		return &core.Applied{}
	case 2:
		return &core.Read{Key: genKey(t), Hints: rapid.Bool().Draw(t, "hints")}
	case 3:
		return &core.ReadReply{Set: genSet(t)}
	case 4:
		return genForward(t)
	case 5:
		return &core.Forwarded{Result: genResult(t)}
	case 6:
		return &core.Pull{Layout: genName(t), After: genBytes(t, "after")}
	case 7:
		return genPullReply(t)
	case 8:
		why := rapid.IntRange(int(core.RefusedStale), int(core.RefusedStorageFull)).Draw(t, "refusal")
		return &core.Refused{Why: core.Refusal(why)}
	case 9:
		return &core.Gossip{State: genState(t)}
	case 10:
		nodes := genNumbers(t, 1, 40)
		m := &core.TreeCompare{Level: uint8(rapid.IntRange(0, 2).Draw(t, "level")), Nodes: nodes}
		for range nodes {
			m.Hashes = append(m.Hashes, genHash(t))
		}
		return m
	case 11:
		return &core.TreeDiffer{Differ: genNumbers(t, 0, 10), Unknown: genNumbers(t, 0, 10), Elsewhere: genNumbers(t, 0, 10)}
	case 12:
		return &core.BucketAsk{Leaves: genNumbers(t, 1, core.MaxBucketLeaves), After: genBytes(t, "after")}
	case 13:
		m := &core.BucketReply{More: rapid.Bool().Draw(t, "more")}
		for range rapid.IntRange(0, 3).Draw(t, "keys") {
			m.Keys = append(m.Keys, core.KeyHash{Key: genKey(t), Hash: genHash(t)})
		}
		return m
	case 14:
		return &core.Hint{Key: genKey(t), Set: genSet(t), Owner: genNode(t)}
	case 15:
		return &core.Hinted{}
	case 16:
		return &core.Confirm{
			Round: rapid.Uint64().Draw(t, "round"), Again: rapid.Bool().Draw(t, "again"),
			Members: rapid.Uint64().Draw(t, "members"), Keys: genKeyDigests(t),
		}
	case 17:
		return &core.Confirmed{Except: genExcept(t)}
	case 18:
		return &core.Forget{Round: rapid.Uint64().Draw(t, "round"), Members: rapid.Uint64().Draw(t, "members"), Keys: genKeyDigests(t)}
	case 19:
		return &core.Forgotten{Except: genExcept(t)}
	}
	return &core.GossipReply{State: genState(t)}
}

// genNumbers draws ascending numbers, nil for none.
func genNumbers(t *rapid.T, least, most int) []uint32 {
	var out []uint32
	next := uint32(0)
	for range rapid.IntRange(least, most).Draw(t, "numbers") {
		next += rapid.Uint32Range(1, 1000).Draw(t, "step")
		out = append(out, next)
	}
	return out
}

func genHash(t *rapid.T) core.TreeHash {
	return core.TreeHash{rapid.Uint64().Draw(t, "low"), rapid.Uint64().Draw(t, "high")}
}

// genBatch draws envelopes that share From, To and Cluster. Their deadlines
// lie after now and at most id.MaxMessageAge away.
func genBatch(t *rapid.T, now time.Duration) []core.Envelope {
	shared := core.Envelope{From: genNode(t), Cluster: rapid.Uint64().Draw(t, "cluster")}
	if rapid.Bool().Draw(t, "receiver is known") {
		shared.To = genNode(t)
	}
	batch := make([]core.Envelope, rapid.IntRange(1, 5).Draw(t, "envelopes"))
	for i := range batch {
		e := shared
		e.Msg = genMessage(t)
		e.Reply = isReply(t, e.Msg)
		e.Req = core.ReqID(rapid.Uint64().Draw(t, "req"))
		e.Start = rapid.Uint64().Draw(t, "start")
		e.Partition = ring.Partition(rapid.Uint32Max(id.MaxPartitions-1).Draw(t, "partition"))
		e.Stamp = genStamp(t)
		e.Trace = genTrace(t)
		e.Deadline = now + time.Duration(rapid.Int64Range(1, int64(id.MaxMessageAge)).Draw(t, "remaining"))
		batch[i] = e
	}
	return batch
}

func genTrace(t *rapid.T) *core.Trace {
	if !rapid.Bool().Draw(t, "traced") {
		return nil
	}
	b := rapid.SliceOfN(rapid.ByteRange(1, 255), traceBytes, traceBytes).Draw(t, "trace")
	return &core.Trace{ID: [16]byte(b), Span: core.SpanID(b[16:])}
}

func isReply(t rapid.TB, m core.Message) bool {
	t.Helper()
	switch m.(type) {
	case *core.Apply, *core.Hint, *core.Read, *core.Forward, *core.Pull, *core.Gossip, *core.TreeCompare, *core.BucketAsk,
		*core.Confirm, *core.Forget:
		return false
	case *core.Applied, *core.Hinted, *core.ReadReply, *core.Forwarded, *core.PullReply, *core.Refused, *core.GossipReply,
		*core.TreeDiffer, *core.BucketReply, *core.Confirmed, *core.Forgotten:
		return true
	}
	t.Fatalf("is %T a reply?", m)
	return false
}

// samples returns one message of each kind with no field left zero.
func samples(tb testing.TB) []core.Message {
	tb.Helper()
	actor := version.Actor{Node: "n1", Epoch: version.Epoch{Start: 7, Seq: 1}}
	w := version.Write{ID: version.WriteID{1, 2}, Timestamp: 1234567, Data: []byte("value")}
	set, dot := version.Siblings{}.Put(version.Clock{}, actor, w)
	name := ring.Name{Number: 3, Digest: 4}
	state := core.GossipState{
		Cluster: 9, DiskStamp: 10, Remembers: 11,
		Members: []core.Member{{
			ID: "n1", Addr: "127.0.0.1:7171", Zone: "z", Datacentre: "d", Weight: 1, Instance: 2, Start: 3,
			Incarnation: 4, Heartbeat: 5, Changed: 3, State: core.Active,
			Stamp: core.Stamp{Layout: name, Phase: core.PhaseDone}, Synced: name,
		}},
		Layouts: core.LayoutState{Live: liveLayouts(tb, 2, 3), Phase: core.PhaseCopy},
		Digest: core.Digest{
			Buckets:  4,
			Chunk:    []core.Bucket{{Index: 3, Who: 11, What: 12, Heartbeats: []uint64{5, 0, 1 << 40}}},
			Versions: []core.RecordVersion{{Member: 13, Incarnation: 2, Changed: 6, Heartbeat: 7}},
		},
		Wants: []uint64{14, 15},
	}
	return []core.Message{
		&core.Apply{Key: []byte("key"), Set: set},
		&core.Applied{},
		&core.Read{Key: []byte("key"), Hints: true},
		&core.ReadReply{Set: set},
		&core.Forward{
			Start: 1, Limit: time.Hour, Timeout: time.Second, Attempt: 2, Fallback: true, Op: core.OpPut, Key: []byte("key"),
			Value: []byte("value"), Context: version.DotClock(dot),
			Options: core.Options{R: 2, W: 3, Quorum: core.QuorumStrict, Overwrite: true, WriteID: w.ID},
		},
		&core.Forwarded{Result: core.Result{
			Code: core.CodeQuorum, Outcome: core.Unknown, Acknowledged: 1, Fallbacks: 1, Required: 2, Set: set, Context: set.Clock,
		}},
		&core.Pull{Layout: name, After: []byte("key")},
		&core.PullReply{Items: []core.Item{{Key: []byte("key"), Set: set}}, Done: true},
		&core.Refused{Why: core.RefusedBehind},
		&core.Hint{Key: []byte("key"), Set: set, Owner: "n3"},
		&core.Hinted{},
		&core.Gossip{State: state},
		&core.GossipReply{State: state},
		&core.TreeCompare{Level: 2, Nodes: []uint32{3, 1000}, Hashes: []core.TreeHash{{1, 2}, {3, 4}}},
		&core.TreeDiffer{Differ: []uint32{1, 2}, Unknown: []uint32{3}, Elsewhere: []uint32{4, 5}},
		&core.BucketAsk{Leaves: []uint32{1, 1023}, After: []byte("key")},
		&core.BucketReply{Keys: []core.KeyHash{{Key: []byte("key"), Hash: core.TreeHash{5, 6}}}, More: true},
		&core.Confirm{Round: 1, Again: true, Members: 2, Keys: []core.KeyDigest{{Key: []byte("key"), Digest: 3}}},
		&core.Confirmed{Except: []uint32{4, 1023}},
		&core.Forget{Round: 1, Members: 2, Keys: []core.KeyDigest{{Key: []byte("key"), Digest: 3}}},
		&core.Forgotten{Except: []uint32{0, 4}},
	}
}

// sampleEnvelope puts a message into an envelope with no field left zero but
// Addr, which does not travel.
func sampleEnvelope(tb testing.TB, m core.Message) core.Envelope {
	tb.Helper()
	return core.Envelope{
		From: "n1", To: "n2", Cluster: 5, Req: core.NewReqID(1, core.MachineHandoff, 2, 3),
		Start: 8, Reply: isReply(tb, m), Partition: 4,
		Stamp:    core.Stamp{Layout: ring.Name{Number: 6, Digest: 7}, Phase: core.PhaseMoved},
		Deadline: time.Second, Trace: &core.Trace{ID: [16]byte{9}, Span: core.SpanID{7: 10}}, Msg: m,
	}
}
