package node_test

import (
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/node"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// newFallback returns the node f, which owns nothing.
func newFallback(t *testing.T, hintBytes uint64) *bench {
	t.Helper()
	return newBench(node.Options{
		Self: "f", Start: 1, N: 3, R: 2, W: 2, PeerTimeout: time.Second, MaxHintBytes: hintBytes,
	}, owning(t, "a", "b", "c"))
}

// ask delivers a peer's request and returns what is sent at once and what is
// held back.
func (b *bench) ask(key string, m core.Message) (sent, held []core.Envelope) {
	b.out.Reset()
	b.deliver("a", []byte(key), m)
	return b.out.Sends, b.out.SendsHeld
}

func someSet(data string) version.Siblings { return versionOf("a", []byte(data)) }

func TestHintIsAnsweredWhenItIsDurable(t *testing.T) {
	s := newFallback(t, 1<<20)
	hint := &core.Hint{Key: []byte("k"), Set: someSet("v"), Owner: "b"}
	sent, held := s.ask("k", hint)
	if len(sent) != 0 || len(held) != 1 {
		t.Fatalf("%d answers at once, %d held back", len(sent), len(held))
	}
	if _, ok := held[0].Msg.(*core.Hinted); !ok || held[0].Req != 7 || !held[0].Reply {
		t.Errorf("answered %+v", held[0])
	}
	if _, held := s.ask("k", &core.Read{Key: []byte("k"), Hints: true}); len(held) != 1 {
		t.Error("a hint that is not durable yet is shown")
	}
	sent, _ = s.ask("k", &core.Read{Key: []byte("k")})
	if len(sent) != 1 || !sent[0].Msg.(*core.ReadReply).Set.IsEmpty() {
		t.Errorf("a hint is shown as the own copy: %+v", sent)
	}
}

func TestHintWithoutRoomIsRefused(t *testing.T) {
	s := newFallback(t, 10)
	sent, held := s.ask("k", &core.Hint{Key: []byte("k"), Set: someSet("v"), Owner: "b"})
	if len(sent) != 1 || len(held) != 0 || len(s.out.Writes) != 0 {
		t.Fatalf("%d answers at once, %d held back, %d writes", len(sent), len(held), len(s.out.Writes))
	}
	if r, ok := sent[0].Msg.(*core.Refused); !ok || r.Why != core.RefusedHintsFull {
		t.Errorf("answered %+v", sent[0].Msg)
	}
}

func TestHintOfAnotherPartitionIsRefused(t *testing.T) {
	s := newFallback(t, 1<<20)
	other := "k"
	for i := byte(0); s.layout.Partition([]byte(other)) == s.layout.Partition([]byte("k")); i++ {
		other = string([]byte{'o', i})
	}
	sent, _ := s.ask(other, &core.Hint{Key: []byte("k"), Set: someSet("v"), Owner: "b"})
	if r, ok := sent[0].Msg.(*core.Refused); !ok || r.Why != core.RefusedInvalid {
		t.Errorf("answered %+v", sent[0].Msg)
	}
}

// What a node keeps of a key for others is shown to people, once it is durable.
func TestHintIsInspected(t *testing.T) {
	s := newFallback(t, 1<<20)
	inspect := func(key string) (now, held []core.Reply) {
		s.out.Reset()
		s.Submit(s.now, &core.Request{Req: 1, Op: core.OpInspectHint, Key: []byte(key)}, &s.out)
		return s.out.Replies, s.out.RepliesHeld
	}
	if now, _ := inspect("k"); len(now) != 1 || now[0].Result.Code != core.CodeNotFound || now[0].Result.Hint != nil {
		t.Errorf("nothing is kept: %+v", now)
	}
	s.ask("k", &core.Hint{Key: []byte("k"), Set: someSet("w"), Owner: "b"})
	now, held := inspect("k")
	if len(now) != 0 || len(held) != 1 || held[0].Req != 1 {
		t.Fatalf("%d answers at once, %d held back", len(now), len(held))
	}
	if h := held[0].Result.Hint; h == nil || len(h.Owners) != 1 || h.Owners[0].Node != "b" || !h.Owners[0].Data || !h.Set.Equal(someSet("w")) {
		t.Errorf("the hint is shown as %+v", h)
	}
}

// Before there is a layout nobody knows where hints would be.
func TestHintIsNotInspectedWithoutALayout(t *testing.T) {
	s := node.NewShard(node.Options{Self: "f", Start: 1, Shards: 1, N: 3, R: 2, W: 2}, 0, coretest.NewStore())
	var out core.Out
	s.Submit(core.Now{}, &core.Request{Req: 1, Op: core.OpInspectHint, Key: []byte("k")}, &out)
	if len(out.Replies) != 1 || out.Replies[0].Result.Code != core.CodeNotReady {
		t.Errorf("answered %+v", out.Replies)
	}
}
