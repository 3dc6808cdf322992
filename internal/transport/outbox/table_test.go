package outbox

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wiring is a table with senders that keep what they are given, and the
// handler of what comes back.
type wiring struct {
	*Table
	count transport.Counters

	mu      sync.Mutex
	unready bool
	made    int // senders
	dropped int
	sent    []core.ReqID
	failed  []core.ReqID
}

func (w *wiring) Deliver(*core.Envelope) {}

func (w *wiring) SendFailed(e *core.Envelope) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = append(w.failed, e.Req)
}

// keeper is one of the senders.
type keeper struct {
	w    *wiring
	peer *Peer
}

func (k *keeper) Ready() bool {
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	if !k.peer.Pace.Due() {
		return false
	}
	if k.w.unready {
		k.peer.Pace.Failed()
	}
	return !k.w.unready
}

func (k *keeper) Send(_ time.Duration, envelopes []core.Envelope) {
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	for _, e := range envelopes {
		k.w.sent = append(k.w.sent, e.Req)
	}
}

func (k *keeper) Broken() <-chan struct{} { return nil }

func (k *keeper) Drop() {
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	k.w.dropped++
}

// in runs a test in a bubble, where all is at rest after a send.
func in(t *testing.T, test func(t *testing.T, w *wiring)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := &wiring{}
		w.Table = NewTable(ctx, Options{
			Handler: w, Mono: func() time.Duration { return 0 }, Count: &w.count,
			Sender: func(p *Peer) Sender { w.made++; return &keeper{w: w, peer: p} },
		})
		defer w.Close()
		defer cancel()
		test(t, w)
	})
}

func (w *wiring) send(t *testing.T, addr string, n uint64) {
	t.Helper()
	if !w.Send(addr, envelope(n, 1, time.Hour)) {
		t.Fatalf("envelope %d is refused", n)
	}
	synctest.Wait()
}

// state returns how many addresses there are, and how many senders have ended,
// once all is at rest.
func (w *wiring) state() (known, dropped int) {
	synctest.Wait()
	w.Table.mu.RLock()
	defer w.Table.mu.RUnlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.peers), w.dropped
}

// wants checks what was sent and what has come back, in order.
func (w *wiring) wants(t *testing.T, sent, failed int) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.sent) != sent || len(w.failed) != failed {
		t.Fatalf("sent %v and given back %v; want %d and %d", w.sent, w.failed, sent, failed)
	}
}

// An address that is not used any more is forgotten, and begun anew when it is.
func TestIdleAddressIsForgotten(t *testing.T) {
	in(t, func(t *testing.T, w *wiring) {
		w.send(t, "a", 1)
		<-time.After(idleAfter - time.Second)
		w.send(t, "a", 2)
		<-time.After(idleAfter - time.Second)
		if known, dropped := w.state(); known != 1 || dropped != 0 {
			t.Fatal("an address is forgotten that was used within the time")
		}
		<-time.After(time.Minute)
		if known, dropped := w.state(); known != 0 || dropped != 1 {
			t.Fatalf("%d addresses after the time, %d dropped; want none and one", known, dropped)
		}
		w.send(t, "a", 3)
		w.wants(t, 3, 0)
		if w.made != 2 {
			t.Errorf("%d senders were made; want 2", w.made)
		}
	})
}

func TestAddressThatWaitsIsNotForgotten(t *testing.T) {
	in(t, func(t *testing.T, w *wiring) {
		p := newPeer(w.Table, "a")
		if !p.queue.Put(envelope(1, 1, time.Hour)) || w.retire(p) {
			t.Error("an address is forgotten that something waits for")
		}
	})
}

func TestAddressesAreBounded(t *testing.T) {
	in(t, func(t *testing.T, w *wiring) {
		for i := range maxPeers {
			if !w.Send(strconv.Itoa(i), envelope(1, 1, time.Hour)) {
				t.Fatalf("address %d is refused", i)
			}
		}
		if w.Send("one more", envelope(1, 1, time.Hour)) {
			t.Errorf("one more than %d addresses is accepted", maxPeers)
		}
		w.send(t, "0", 2)
		w.wants(t, maxPeers+1, 0)
		if s := w.count.Stats(); s.Refused != 1 {
			t.Errorf("%d are counted as refused; want 1", s.Refused)
		}
	})
}

// What an address refuses waits for nobody who sends to another one.
func TestRefusalsLockNobodyOut(t *testing.T) {
	in(t, func(t *testing.T, w *wiring) {
		w.send(t, "a", 1)
		w.Table.mu.RLock() // by one who sends to another address
		defer w.Table.mu.RUnlock()
		if w.Send("a", envelope(2, id.MaxMessageBytes, time.Hour)) {
			t.Error("an envelope above the size of any message is accepted")
		}
		if s := w.count.Stats(); s.Refused != 1 {
			t.Errorf("%d are counted as refused; want 1", s.Refused)
		}
	})
}

// What is sent in a pause comes back at once, and Reach ends the pause.
func TestPause(t *testing.T) {
	in(t, func(t *testing.T, w *wiring) {
		w.unready = true
		for n := range uint64(3) {
			w.send(t, "a", n)
			<-time.After(longestPause)
		}
		w.send(t, "a", 3)
		w.unready = false
		w.send(t, "a", 4)
		w.wants(t, 0, 5)
		w.Reach("a")
		w.Reach("b") // which is nobody
		w.send(t, "a", 5)
		w.wants(t, 1, 5)
		if s := w.count.Stats(); s.Failed != 5 {
			t.Errorf("%d are counted as failed; want 5", s.Failed)
		}
	})
}

func TestNothingIsTakenAfterClose(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w := &wiring{}
	w.Table = NewTable(ctx, Options{Handler: w, Mono: func() time.Duration { return 0 }, Count: &w.count, Sender: func(p *Peer) Sender { return &keeper{w: w, peer: p} }})
	if !w.Send("a", envelope(1, 1, time.Hour)) {
		t.Fatal("an envelope is refused")
	}
	cancel()
	w.Close()
	w.Close()
	if w.Send("a", envelope(2, 1, time.Hour)) || w.Send("b", envelope(3, 1, time.Hour)) {
		t.Error("an envelope is taken after Close")
	}
	if len(w.sent)+len(w.failed) != 1 {
		t.Errorf("sent %v, given back %v; want the first, one or the other way", w.sent, w.failed)
	}
}

// The pauses between attempts grow from 50 ms to a second and start over once
// a connection has lasted.
func TestPacesGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Pace{rng: rand.New(rand.NewPCG(1, 2))}
		for _, want := range []time.Duration{50, 100, 200, 400, 800, 1000, 1000} {
			p.Failed()
			if got, want := time.Until(p.next), want*time.Millisecond; got < want*8/10 || got > want*12/10 || got > longestPause {
				t.Errorf("a pause of %s, want about %s", got, want)
			}
		}
		for range 1000 {
			p.Failed()
		}
		if time.Until(p.next) > longestPause || p.Due() {
			t.Error("a pause above one second, or none")
		}
		<-time.After(longestPause)
		if !p.Due() {
			t.Error("the pause does not end")
		}
		p.Ended(time.Now())
		if p.Due() {
			t.Error("a connection that did not last is followed by no pause")
		}
		p.Ended(time.Now().Add(-longestPause))
		if !p.Due() {
			t.Error("a connection that has lasted is followed by a pause")
		}
	})
}
