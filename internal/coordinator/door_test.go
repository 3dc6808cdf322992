package coordinator

import (
	"fmt"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/version"
)

// newDoorBench returns a bench where so many requests may be under way, and as
// many wait.
func newDoorBench(t *testing.T, n int) *bench {
	b := newBench(t, "a", 3)
	b.valve = admission.NewValve(30*ms, n)
	return b
}

// visit submits a put that has some time; all nodes own its key.
func (b *bench) visit(n int, timeout time.Duration) {
	b.submit(core.Request{
		Req: core.ReqID(n), Op: core.OpPut, Key: fmt.Appendf(nil, "key-%d", n), Value: []byte("v"),
		Deadline: b.now.Mono + timeout,
	})
}

// begun returns the keys of the applies that b was sent and has not answered, by
// their puts' beginning.
func (b *bench) begun() (keys string) {
	for _, e := range b.sent {
		if m, ok := e.Msg.(*core.Apply); ok && e.To == "b" {
			keys += " " + string(m.Key)
		}
	}
	return keys
}

// end answers the put of a key.
func (b *bench) end(n int) {
	b.t.Helper()
	b.flush()
	for i, e := range b.sent {
		if m, ok := e.Msg.(*core.Apply); ok && e.To == "c" && string(m.Key) == fmt.Sprintf("key-%d", n) {
			b.sent = append(b.sent[:i:i], b.sent[i+1:]...)
			b.answer(e, &core.Applied{})
			return
		}
	}
	b.t.Fatalf("put %d has not begun", n)
}

func (b *bench) wantReplies(want map[core.ReqID]core.Code) {
	b.t.Helper()
	got := map[core.ReqID]core.Code{}
	for _, r := range b.replies {
		got[r.Req] = r.Result.Code
		if r.Result.Code != core.CodeOK && r.Result.Outcome != core.NotWritten {
			b.t.Errorf("put %d: %+v", r.Req, r.Result)
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("replies %v; want %v", got, want)
	}
	b.replies = nil
}

// TestWhatFindsNoPlaceWaits: it begins in its turn when others have ended, and
// nothing of it is done before; what finds no place to wait is turned away.
func TestWhatFindsNoPlaceWaits(t *testing.T) {
	b := newDoorBench(t, 2)
	for n := 1; n <= 5; n++ {
		b.visit(n, 2*time.Second)
	}
	b.wantReplies(map[core.ReqID]core.Code{5: core.CodeOverloaded})
	if got := b.begun(); got != " key-1 key-2" || b.door.len() != 2 || b.Room() != 0 {
		t.Fatalf("%s have begun, %d wait, there is room for %d", got, b.door.len(), b.Room())
	}
	b.end(2)
	b.wantReplies(map[core.ReqID]core.Code{2: core.CodeOK})
	if got := b.begun(); got != " key-1 key-2 key-3" || b.door.len() != 1 || b.Room() != 1 {
		t.Fatalf("%s have begun, %d wait, there is room for %d", got, b.door.len(), b.Room())
	}
	b.visit(6, 2*time.Second) // after the one that waits
	b.end(1)
	b.end(3)
	b.wantReplies(map[core.ReqID]core.Code{1: core.CodeOK, 3: core.CodeOK})
	b.end(4)
	b.end(6)
	b.wantReplies(map[core.ReqID]core.Code{4: core.CodeOK, 6: core.CodeOK})
	if b.door.len() != 0 || b.Room() != 4 {
		t.Errorf("%d wait, there is room for %d", b.door.len(), b.Room())
	}
}

// TestWhoeverWaitsTooLongIsToldSo: half of its time is left then, so that the
// answer comes in time.
func TestWhoeverWaitsTooLongIsToldSo(t *testing.T) {
	b := newDoorBench(t, 2)
	b.visit(1, 4*time.Second)
	b.visit(2, 4*time.Second)
	b.visit(3, 3*time.Second)
	b.visit(4, 200*ms)
	b.pass(100 * ms)
	b.wantReplies(map[core.ReqID]core.Code{})
	b.pass(1 * ms)
	b.wantReplies(map[core.ReqID]core.Code{4: core.CodeOverloaded})
	if due, ok := b.Next(); !ok || due > b.now.Mono+1500*ms {
		t.Errorf("it wakes at %v", due)
	}
	b.pass(1400 * ms)
	b.wantReplies(map[core.ReqID]core.Code{3: core.CodeOverloaded})
	var c core.Counters
	if b.Count(&c); c.ExpiredRequests != 2 || b.door.len() != 0 {
		t.Errorf("%d late requests are counted, %d wait", c.ExpiredRequests, b.door.len())
	}
	for _, e := range b.sent {
		if m, ok := e.Msg.(*core.Apply); ok && (string(m.Key) == "key-3" || string(m.Key) == "key-4") {
			t.Errorf("%s was sent to %s", m.Key, e.To)
		}
	}
}

// client is one that may go while its request waits.
type client struct{ gone bool }

func (c *client) Begins() bool { return !c.gone }

// TestWhoeverHasGoneIsNotServed: nothing of a request is done whose client has
// gone while it waited, and the next one takes its turn.
func TestWhoeverHasGoneIsNotServed(t *testing.T) {
	b := newDoorBench(t, 2)
	b.visit(1, 2*time.Second)
	b.visit(2, 2*time.Second)
	goes := new(client)
	b.submit(core.Request{
		Req: 3, Op: core.OpPut, Key: []byte("key-3"), Value: []byte("v"), Deadline: b.now.Mono + 2*time.Second, Client: goes,
	})
	b.visit(4, 2*time.Second)
	goes.gone = true
	b.end(1)
	b.wantReplies(map[core.ReqID]core.Code{1: core.CodeOK, 3: core.CodeTimeout})
	if got := b.begun(); got != " key-1 key-2 key-4" {
		t.Errorf("%s have begun", got)
	}
}

// TestForwardsDoNotWait: another node has begun what it hands on.
func TestForwardsDoNotWait(t *testing.T) {
	b := newDoorBench(t, 1)
	for n := 1; n <= 2; n++ {
		b.visit(n, 2*time.Second)
	}
	b.sent = nil
	b.Forward(b.now, &core.Envelope{
		From: "b", To: "a", Cluster: 1, Req: 9, Deadline: b.now.Mono + time.Second, Stamp: b.Coordinator.view.Stamp(),
		Msg: &core.Forward{
			Start: 1, Limit: b.now.Wall + time.Second, Timeout: time.Second, Attempt: 1, Op: core.OpPut,
			Key: []byte("key-3"), Value: []byte("v"), Options: core.Options{WriteID: version.WriteID{3}},
		},
	}, false, &b.out)
	b.collect()
	if got := b.begun(); got != " key-3" {
		t.Errorf("%s have begun beside the one that is under way; want the forward", got)
	}
}
