package forget

import (
	"fmt"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// A member whose breaker is open is not asked, and blocks as one does that does
// not answer; when the breaker has closed, forgetting goes on.
func TestRoundsWaitForTheBreaker(t *testing.T) {
	_, stone := deleted()
	c := newCluster(t)
	c.store(stone, c.owners...)
	reaper := c.owners[0]
	circuit := func(s core.CircuitState) {
		v := *reaper.view
		v.Peers = append([]core.Peer(nil), v.Peers...)
		for i := range v.Peers {
			if v.Peers[i].ID == c.other.id {
				v.Peers[i].Circuit.State = s
			}
		}
		v.Layouts.Live = []*ring.Layout{c.layout}
		reaper.SetView(c.now, &v, &reaper.out)
		c.collect(reaper)
	}
	circuit(core.CircuitOpen)
	c.run(2 * enough)
	for _, e := range c.seen {
		if e.From == reaper.id && !e.Reply && e.To == c.other.id {
			t.Fatalf("%T is sent to a member whose breaker is open", e.Msg)
		}
	}
	c.expect("while nobody may ask a member", "ooo")
	if p := reaper.Progress(); p.Blocker != c.other.id {
		t.Errorf("blocked by %q; want %s", p.Blocker, c.other.id)
	}
	circuit(core.CircuitClosed)
	c.run(enough)
	c.expect("when it may be asked again", "---")
}

// What provably never leaves is asked again a moment later: it does not put a
// round off.
func TestRoundsGoOnAfterFailedSends(t *testing.T) {
	c := newDeleted(t)
	left := map[string]int{}
	c.fails = func(e *core.Envelope) bool {
		if e.Reply || e.To != c.other.id && e.To != c.owners[1].id {
			return false
		}
		step := fmt.Sprintf("%T to %s", e.Msg, e.To)
		left[step]++
		return left[step] < maxAttempts
	}
	c.run(enough)
	c.expect("when each step was sent at the last try", "---")
	if p := c.owners[0].Progress(); p.Blocker != "" || p.Cancelled > 0 {
		t.Errorf("progress %+v", p)
	}
}

// Nobody's answer counts for a step but that of who was asked, to what it was
// asked.
func TestStrangeAnswersAreNone(t *testing.T) {
	c := newDeleted(t)
	c.drop = func(e *core.Envelope) bool { return e.Reply && e.From == c.other.id }
	var asked core.Envelope
	for c.run(time.Second); asked.Msg == nil; c.run(time.Second) {
		for _, e := range c.seen {
			if _, ok := e.Msg.(*core.Confirm); ok && e.To == c.other.id {
				asked = e
			}
		}
	}
	reaper := c.owners[0]
	for _, m := range []core.Message{&core.Applied{}, &core.Forgotten{}} {
		reaper.Deliver(c.now, &core.Envelope{From: c.other.id, Req: asked.Req, Reply: true, Msg: m}, &reaper.out)
	}
	reaper.Deliver(c.now, &core.Envelope{From: "stranger", Req: asked.Req, Reply: true, Msg: &core.Confirmed{}}, &reaper.out)
	reaper.Deliver(c.now, &core.Envelope{From: c.other.id, Req: asked.Req + 1, Reply: true, Msg: &core.Confirmed{}}, &reaper.out)
	if p := reaper.Progress(); p.Waiting != 0 {
		t.Errorf("progress %+v; want the round to wait for %s", p, c.other.id)
	}

	// A refusal tells of newer layouts, and a message that failed after its step
	// of a failure.
	newer := asked.Stamp
	newer.Layout.Number++
	reaper.Deliver(c.now, &core.Envelope{From: c.other.id, Req: asked.Req, Reply: true, Stamp: newer, Msg: &core.Refused{Why: core.RefusedBehind}}, &reaper.out)
	if r := reaper.out.Reports; len(r) != 1 || r[0].Ahead != newer {
		t.Errorf("a refusal with a newer stamp is told as %+v", r)
	}
	reaper.out.Reset()
	late := asked
	late.Req++
	reaper.SendFailed(c.now, &late, &reaper.out)
	if r := reaper.out.Reports; len(r) != 1 || r[0].Failed != 1 || r[0].Peer != c.other.id {
		t.Errorf("a message of an earlier step that failed is told as %+v", r)
	}
}

// With as many keys waiting as may be, no round begins; when there is room, the
// next look takes up what was found then.
func TestWaitingKeysAreLimited(t *testing.T) {
	c := newDeleted(t)
	reaper := c.owners[0]
	reaper.waitingBytes += maxWaitingBytes
	c.run(2 * enough)
	c.expect("with no room for another round", "ooo")
	if n := count[*core.Confirm](c); n > 0 {
		t.Errorf("%d questions are asked", n)
	}
	reaper.waitingBytes -= maxWaitingBytes
	c.run(enough)
	c.expect("with room", "---")
	if reaper.waitingBytes != 0 {
		t.Errorf("%d bytes are counted when nothing waits", reaper.waitingBytes)
	}
}

// A change of the members ends a round that is under way as well as those that
// wait, and what they had taken is given back.
func TestRoundUnderWayIsCancelled(t *testing.T) {
	c := newDeleted(t)
	reaper := c.owners[0]
	c.drop = func(e *core.Envelope) bool { return e.To == c.other.id }
	for reaper.active == nil {
		c.run(time.Second)
	}
	c.restart(c.owners[2], c.owners[2].store)
	c.view()
	if p := reaper.Progress(); reaper.active != nil || reaper.waitingBytes != 0 || len(reaper.rounds) != 0 || p.Cancelled != 1 {
		t.Errorf("after the change %d bytes in %d rounds, progress %+v", reaper.waitingBytes, len(reaper.rounds), p)
	}
	c.drop = nil
	c.run(enough)
	c.expect("when all can be reached", "---")
}
