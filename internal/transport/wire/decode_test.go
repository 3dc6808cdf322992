package wire

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	dynamov1 "github.com/dynamo-kv/dynamo/api/dynamo/v1"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// good returns a valid message with a valid envelope of each kind, in the
// order of samples, to be broken by tests.
func good(tb testing.TB) *dynamov1.Batch {
	tb.Helper()
	var batch []core.Envelope
	for _, m := range samples(tb) {
		batch = append(batch, sampleEnvelope(tb, m))
	}
	out := new(dynamov1.Batch)
	if err := out.UnmarshalVT(encode(0, batch...)); err != nil {
		tb.Fatal(err)
	}
	return out
}

func marshal(tb testing.TB, b *dynamov1.Batch) []byte {
	tb.Helper()
	out, err := b.MarshalVT()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// only keeps the envelope of one kind.
func only[K any](tb testing.TB, b *dynamov1.Batch) (*dynamov1.Envelope, K) {
	tb.Helper()
	for _, e := range b.Envelopes {
		if m, ok := e.Message.(K); ok {
			b.Envelopes = []*dynamov1.Envelope{e}
			return e, m
		}
	}
	tb.Fatalf("no sample of %T", *new(K))
	panic("unreachable")
}

type (
	applyOf     = *dynamov1.Envelope_Apply
	hintOf      = *dynamov1.Envelope_Hint
	readOf      = *dynamov1.Envelope_Read
	readReplyOf = *dynamov1.Envelope_ReadReply
	forwardOf   = *dynamov1.Envelope_Forward
	forwardedOf = *dynamov1.Envelope_Forwarded
	gossipOf    = *dynamov1.Envelope_Gossip
	pullOf      = *dynamov1.Envelope_Pull
	pullReplyOf = *dynamov1.Envelope_PullReply
	refusedOf   = *dynamov1.Envelope_Refused
	confirmOf   = *dynamov1.Envelope_Confirm
	confirmedOf = *dynamov1.Envelope_Confirmed
	forgetOf    = *dynamov1.Envelope_Forget
	forgottenOf = *dynamov1.Envelope_Forgotten
)

func longKey() []byte { return bytes.Repeat([]byte("k"), id.MaxKeyBytes+1) }

func largeValue(size int) []byte {
	actor := version.Actor{Node: "n1", Epoch: version.Epoch{Start: 7, Seq: 1}}
	set, _ := version.Siblings{}.Put(version.Clock{}, actor, version.Write{Data: make([]byte, size)})
	return set.AppendBinary(nil)
}

// breaks makes one thing of a valid message malformed.
type breaks func(t *testing.T, b *dynamov1.Batch)

// breakEnvelopes returns ways to break what every message has, by the error that says so.
func breakEnvelopes() map[string]breaks {
	return map[string]breaks{
		"sender: node ID is empty":       func(_ *testing.T, b *dynamov1.Batch) { b.From = "" },
		"receiver: node ID \"a~b\"":      func(_ *testing.T, b *dynamov1.Batch) { b.To = "a~b" },
		"partition 65536":                func(_ *testing.T, b *dynamov1.Batch) { b.Envelopes[0].Partition = id.MaxPartitions },
		"0 ns remain":                    func(_ *testing.T, b *dynamov1.Batch) { b.Envelopes[0].Remaining = 0 },
		"60000000001 ns remain":          func(_ *testing.T, b *dynamov1.Batch) { b.Envelopes[0].Remaining = uint64(id.MaxMessageAge) + 1 },
		"18446744073709551615 ns remain": func(_ *testing.T, b *dynamov1.Batch) { b.Envelopes[0].Remaining = math.MaxUint64 },
	}
}

// breakData returns ways to break keys, sets and refusals, by the error that says so.
func breakData() map[string]breaks {
	return map[string]breaks{
		"a key of 0 bytes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[readOf](t, b)
			m.Read.Key = nil
		},
		"a key of 2049 bytes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[applyOf](t, b)
			m.Apply.Key = longKey()
		},
		"malformed siblings": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[readReplyOf](t, b)
			m.ReadReply.Set = []byte{1, 2, 3}
		},
		"1 bytes follow a sibling set": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[applyOf](t, b)
			m.Apply.Set = append(m.Apply.Set, 0)
		},
		"a value of 16777217 bytes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[applyOf](t, b)
			m.Apply.Set = largeValue(id.MaxValueBytes + 1)
		},
		"a hint's owner: node ID is empty": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[hintOf](t, b)
			m.Hint.Owner = ""
		},
		"2 fallbacks among 1 that acknowledged": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[forwardedOf](t, b)
			m.Forwarded.Fallbacks = 2
		},
		"Refusal is not set": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[refusedOf](t, b)
			m.Refused.Why = 0
		},
		"a pull resumes after a key of 2049 bytes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[pullOf](t, b)
			m.Pull.After = longKey()
		},
		"item 1 of 1: a key of 0 bytes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[pullReplyOf](t, b)
			m.PullReply.Items[0].Key = nil
		},
		"item 1 of 1: malformed siblings": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[pullReplyOf](t, b)
			m.PullReply.Items[0].Set = []byte{9}
		},
	}
}

// breakForwards returns ways to break forwards and their results, by the error that says so.
func breakForwards() map[string]breaks {
	return map[string]breaks{
		"a forwarded get": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[forwardOf](t, b)
			m.Forward.Op = dynamov1.Op_OP_GET
		},
		"a delete has a value of 5 bytes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[forwardOf](t, b)
			m.Forward.Op = dynamov1.Op_OP_DELETE
		},
		"a forward's timeout of 60000000001 ns": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[forwardOf](t, b)
			m.Forward.Timeout = uint64(id.MaxMessageAge) + 1
		},
		"a value of 16777218 bytes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[forwardOf](t, b)
			m.Forward.Value = make([]byte, id.MaxValueBytes+2)
		},
		"malformed clock": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[forwardOf](t, b)
			m.Forward.Context = []byte{}
		},
		"1 bytes follow a clock": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[forwardedOf](t, b)
			m.Forwarded.Result.Context = append(m.Forwarded.Result.Context, 0)
		},
		"a write ID of 0 bytes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[forwardOf](t, b)
			m.Forward.Options = nil
		},
		"write ID is zero": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[forwardOf](t, b)
			m.Forward.Options.WriteId = make([]byte, 16)
		},
		"r 1025 and w 3": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[forwardOf](t, b)
			m.Forward.Options.R = 1025
		},
		"1025 of 2 replicas": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[forwardedOf](t, b)
			m.Forwarded.Result.Acknowledged = 1025
		},
		"Code is not set": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[forwardedOf](t, b)
			m.Forwarded.Result = nil
		},
	}
}

// breakForgetting returns ways to break the rounds, by the error that says so.
func breakForgetting() map[string]breaks {
	return map[string]breaks{
		"a round of 0 keys": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[confirmOf](t, b)
			m.Confirm.Keys = nil
		},
		"a round of 1025 keys": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[forgetOf](t, b)
			m.Forget.Keys = slices.Repeat(m.Forget.Keys, core.MaxForgetKeys+1)
		},
		"key 2 of 2: a key of 0 bytes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[confirmOf](t, b)
			m.Confirm.Keys = append(m.Confirm.Keys, &dynamov1.KeyDigest{})
		},
		"the index 1024 of a key": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[confirmedOf](t, b)
			m.Confirmed.Except = []uint32{core.MaxForgetKeys}
		},
		"the index 3 of a key follows 3": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[forgottenOf](t, b)
			m.Forgotten.Except = []uint32{3, 3}
		},
	}
}

// breakGossip returns ways to break gossip, by the error that says so.
func breakGossip() map[string]breaks {
	return map[string]breaks{
		"3 live layouts": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[gossipOf](t, b)
			m.Gossip.State.Layouts = append(m.Gossip.State.Layouts, m.Gossip.State.Layouts[0])
		},
		"does not follow": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[gossipOf](t, b)
			m.Gossip.State.Layouts[1] = m.Gossip.State.Layouts[0]
		},
		"invalid layout": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[gossipOf](t, b)
			m.Gossip.State.Layouts[0][5] ^= 1
		},
		"node ID \"n 1\"": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[gossipOf](t, b)
			m.Gossip.State.Members[0].Id = "n 1"
		},
		"the address has 0 bytes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[gossipOf](t, b)
			m.Gossip.State.Members[0].Addr = ""
		},
		"the zone has 65 bytes": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[gossipOf](t, b)
			m.Gossip.State.Members[0].Zone = strings.Repeat("z", ring.MaxZoneBytes+1)
		},
		"the datacentre \"\\xff\"": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[gossipOf](t, b)
			m.Gossip.State.Members[0].Datacentre = "\xff"
		},
		"weight 0": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[gossipOf](t, b)
			m.Gossip.State.Members[0].Weight = 0
		},
		"1025 buckets, 1 of them here": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[gossipOf](t, b)
			m.Gossip.State.Buckets = 1025
		},
		"and 1025 versions": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[gossipOf](t, b)
			m.Gossip.State.Versions = make([]*dynamov1.RecordVersion, id.MaxMembers+1)
		},
		"more than 1024 heartbeats of a bucket": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[gossipOf](t, b)
			m.Gossip.State.Chunk[0].Heartbeats = make([]byte, id.MaxMembers+1)
		},
		"more than 1024 heartbeats in a digest": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[gossipOf](t, b)
			m.Gossip.State.Chunk = slices.Repeat(m.Gossip.State.Chunk, id.MaxMembers/3+1)
		},
		"end within a number": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[gossipOf](t, b)
			m.Gossip.State.Chunk[0].Heartbeats = []byte{1, 0x80}
		},
		"1025 records are asked for": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[gossipOf](t, b)
			m.Gossip.State.Wants = make([]uint64, id.MaxMembers+1)
		},
		"State is not set": func(t *testing.T, b *dynamov1.Batch) {
			_, m := only[gossipOf](t, b)
			m.Gossip.State.Members[0].State = 0
		},
	}
}

func TestMalformedIsRefused(t *testing.T) {
	for _, group := range []map[string]breaks{breakEnvelopes(), breakData(), breakForwards(), breakForgetting(), breakGossip(), breakTrees()} {
		for want, breaks := range group {
			t.Run(want, func(t *testing.T) {
				b := good(t)
				breaks(t, b)
				got, r, err := decode(0, marshal(t, b))
				if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
					t.Errorf("the error %v does not say %q", err, want)
				}
				if len(got) > 0 || r.Delivered > 0 {
					t.Errorf("%d envelopes were handed over before the error, which the first one has", len(got))
				}
			})
		}
	}
}

// What stands before a malformed envelope is handed over, the rest is not.
func TestMalformedEndsTheMessage(t *testing.T) {
	b := good(t)
	b.Envelopes[2].Remaining = 0
	got, r, err := decode(0, marshal(t, b))
	if len(got) != 2 || r.Delivered != 2 || !errors.Is(err, ErrInvalid) {
		t.Errorf("%d envelopes, %+v and the error %v; want the two before the malformed one", len(got), r, err)
	}
	if want := fmt.Sprintf("envelope 3 of %d from n1", len(b.Envelopes)); !strings.Contains(err.Error(), want) {
		t.Errorf("the error does not say which envelope is wrong: %v", err)
	}
}

// A newer node may send what is not known here.
func TestUnknownIsSkipped(t *testing.T) {
	for name, changes := range map[string]func(t *testing.T, b *dynamov1.Batch){
		"no message that is known": func(_ *testing.T, b *dynamov1.Batch) { b.Envelopes[3].Message = nil },
		"phase":                    func(_ *testing.T, b *dynamov1.Batch) { b.Envelopes[3].Phase = 4 },
		"refusal": func(_ *testing.T, b *dynamov1.Batch) {
			b.Envelopes[3].Message = &dynamov1.Envelope_Refused{Refused: &dynamov1.Refused{Why: 99}}
		},
		"negative refusal": func(_ *testing.T, b *dynamov1.Batch) {
			b.Envelopes[3].Message = &dynamov1.Envelope_Refused{Refused: &dynamov1.Refused{Why: -1}}
		},
		"code": func(_ *testing.T, b *dynamov1.Batch) {
			b.Envelopes[3].Message = &dynamov1.Envelope_Forwarded{
				Forwarded: &dynamov1.Forwarded{Result: &dynamov1.Result{Code: 99}},
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := good(t)
			changes(t, b)
			got, r, err := decode(0, marshal(t, b))
			known := len(b.Envelopes) - 1
			if want := (Result{Delivered: known, Unknown: 1}); r != want || err != nil || len(got) != known {
				t.Errorf("%d envelopes, %+v, %v; want %+v", len(got), r, err, want)
			}
		})
	}
}

// A few bytes that repeat would be a hundred times as large in memory.
func TestRepetitionIsBounded(t *testing.T) {
	items := func(n int) *dynamov1.Envelope {
		return &dynamov1.Envelope{Message: &dynamov1.Envelope_PullReply{
			PullReply: &dynamov1.PullReply{Items: make([]*dynamov1.Item, n)},
		}}
	}
	keys := func(n int) *dynamov1.Envelope {
		return &dynamov1.Envelope{Message: &dynamov1.Envelope_Confirm{
			Confirm: &dynamov1.Confirm{Keys: make([]*dynamov1.KeyDigest, n)},
		}}
	}
	gossip := func(members, layouts int) *dynamov1.Envelope {
		return &dynamov1.Envelope{Message: &dynamov1.Envelope_GossipReply{
			GossipReply: &dynamov1.GossipReply{State: &dynamov1.GossipState{
				Members: make([]*dynamov1.Member, members), Layouts: make([][]byte, layouts),
			}},
		}}
	}
	many := make([]*dynamov1.Envelope, MaxBatchEnvelopes+1)
	for name, c := range map[string]struct {
		envelopes []*dynamov1.Envelope
		want      string
	}{
		"envelopes":      {many, "more than 1024 envelopes"},
		"items":          {[]*dynamov1.Envelope{items(maxElements + 1)}, "more than 32768 items"},
		"items in all":   {[]*dynamov1.Envelope{items(maxElements), items(1)}, "more than 32768 items"},
		"members":        {[]*dynamov1.Envelope{gossip(maxElements+1, 0)}, "more than 32768 items"},
		"members in all": {[]*dynamov1.Envelope{items(maxElements), gossip(1, 0)}, "more than 32768 items"},
		"versions": {[]*dynamov1.Envelope{{Message: &dynamov1.Envelope_Gossip{Gossip: &dynamov1.Gossip{State: &dynamov1.GossipState{
			Chunk: make([]*dynamov1.Bucket, 1000), Versions: make([]*dynamov1.RecordVersion, maxElements-999),
		}}}}}, "more than 32768 items"},
		"layouts":           {[]*dynamov1.Envelope{gossip(0, maxElements+1)}, "more than 32768 items"},
		"keys":              {[]*dynamov1.Envelope{keys(maxElements + 1)}, "more than 32768 items"},
		"as many as may be": {many[:MaxBatchEnvelopes], "0 ns remain"},
	} {
		t.Run(name, func(t *testing.T) {
			b := marshal(t, &dynamov1.Batch{From: "n1", Envelopes: c.envelopes})
			_, _, err := decode(0, b)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error %v does not say %q", err, c.want)
			}
		})
	}
}

func TestMessageSizeIsBounded(t *testing.T) {
	_, _, err := decode(0, make([]byte, id.MaxMessageBytes+1))
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "83886081 bytes") {
		t.Errorf("a message above the limit: %v", err)
	}
}

// A Decoder uses its memory again: what it has handed over must not be in it,
// and nothing of one envelope may show in the next.
func TestDecoderIsUsedAgain(t *testing.T) {
	var batches [][]byte
	for _, m := range samples(t) {
		batches = append(batches, encode(0, sampleEnvelope(t, m)))
		empty := reflect.New(reflect.TypeOf(m).Elem()).Interface().(core.Message)
		if r, ok := empty.(*core.Read); ok {
			r.Key = []byte("k")
		}
		e := sampleEnvelope(t, empty)
		e.Trace = nil
		if b := encode(0, e); isValid(b) {
			batches = append(batches, b)
		}
	}
	var d Decoder
	var got [][]core.Envelope
	for range 2 {
		for _, b := range batches {
			var all []core.Envelope
			if _, err := d.Decode(0, b, func(e *core.Envelope) { all = append(all, *e) }); err != nil {
				t.Fatal(err)
			}
			got = append(got, all)
		}
	}
	for i := range got {
		want, _, err := decode(0, batches[i%len(batches)])
		if err != nil {
			t.Fatal(err)
		}
		if d := diff(want, got[i]); d != "" {
			t.Errorf("decoded alone -, after others +:\n%s", d)
		}
	}
}

func isValid(b []byte) bool {
	_, _, err := decode(0, b)
	return err == nil
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(0, sampleEnvelope(f, &core.Applied{})))
	f.Fuzz(func(t *testing.T, b []byte) {
		const now = time.Hour
		got, _, err := decode(now, b)
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Fatalf("the error does not wrap ErrInvalid: %v", err)
		}
		for i := range got {
			requireValid(t, &got[i], now)
		}
		if len(got) == 0 {
			return
		}
		again, _, err := decode(now, encode(now, got...))
		if err != nil {
			t.Fatalf("what was decoded is refused once encoded again: %v", err)
		}
		if d := diff(got, again); d != "" {
			t.Fatalf("decoded -, encoded and decoded again +:\n%s", d)
		}
	})
}

// requireValid checks invariants of core without the help of the decoder.
func requireValid(t *testing.T, e *core.Envelope, now time.Duration) {
	t.Helper()
	if left := e.Deadline - now; left < 1 || left > id.MaxMessageAge {
		t.Errorf("%v remain", left)
	}
	if e.Reply != isReply(t, e.Msg) {
		t.Errorf("%T is a reply: %v", e.Msg, e.Reply)
	}
	if e.Trace != nil && (e.Trace.ID == [16]byte{} || e.Trace.Span == core.SpanID{}) {
		t.Errorf("a place in a trace that is none: %+v", e.Trace)
	}
	var sets []version.Siblings
	switch m := e.Msg.(type) {
	case *core.Apply:
		sets = append(sets, m.Set)
	case *core.Hint:
		sets = append(sets, m.Set)
	case *core.ReadReply:
		sets = append(sets, m.Set)
	case *core.Forwarded:
		sets = append(sets, m.Result.Set)
	case *core.PullReply:
		for _, item := range m.Items {
			sets = append(sets, item.Set)
		}
	}
	for _, s := range sets {
		if err := s.Validate(); err != nil {
			t.Errorf("a set of a %T: %v", e.Msg, err)
		}
	}
}

func TestFuzzCorpusIsCommitted(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "fuzz", "FuzzDecode", "*"))
	if err != nil || len(files) < len(samples(t)) {
		t.Fatalf("%d seeds, want one for each kind of message at least: %v", len(files), err)
	}
	for _, f := range files {
		if b, err := os.ReadFile(f); err != nil || !bytes.HasPrefix(b, []byte("go test fuzz v1\n")) {
			t.Errorf("%s is no seed: %v", f, err)
		}
	}
}
