package forget

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dynamo-kv/dynamo/internal/bug"
	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/core/coretest"
	"github.com/dynamo-kv/dynamo/internal/id"
	"github.com/dynamo-kv/dynamo/internal/ring"
)

// scenarios are the design's counterexamples about forgetting. Another one,
// reap-old-message, is held by what drops old messages: it is a test of
// internal/node.
func scenarios() []coretest.Scenario {
	return []coretest.Scenario{
		{Name: "reap-fallback", Bug: bug.ReapWithoutOthers, Run: reapFallback},
		{Name: "reap-silent", Bug: bug.ReapWithoutSilent, Run: reapSilent},
		{Name: "reap-volatile", Bug: bug.ReapVolatile, Run: reapVolatile},
		{Name: "reap-one-round", Bug: bug.ReapEarly, Run: reapOneRound},
		{Name: "reap-late-tombstone", Bug: bug.SecondRoundAtOnce, Run: reapLateTombstone},
		{Name: "reap-discontinuity", Bug: bug.TokensOutliveChanges, Run: reapDiscontinuity},
	}
}

func TestScenarios(t *testing.T) { coretest.Hold(t, scenarios()) }

// reapFallback: all owners agree and reap; what another member has left over
// would return the value.
func reapFallback(t *testing.T) string {
	t.Helper()
	return heldElsewhere(t, func(c *cluster, on bool) {
		if v, _ := deleted(); on {
			c.store(v, c.other)
		} else {
			c.remove(c.other)
		}
	})
}

// reapSilent: an owner is dead, and its disk has the value.
func reapSilent(t *testing.T) string {
	t.Helper()
	c := newCluster(t)
	v, stone := deleted()
	c.store(v, c.owners...)
	c.owners[2].down = true
	c.store(stone, c.owners[:2]...)
	c.run(5 * enough)
	c.must("while an owner is dead", "ooo")
	return c.bad
}

// heldElsewhere says how it ends badly when somebody holds something for a key
// of which all owners have the same tombstone.
func heldElsewhere(t *testing.T, hold func(c *cluster, on bool)) string {
	t.Helper()
	c := newDeleted(t)
	hold(c, true)
	c.run(3 * enough)
	if c.has(c.owners[0]).IsEmpty() {
		return "reaped though a member holds something for the key"
	}
	hold(c, false)
	c.run(enough)
	c.must("when nobody else holds it", "---")
	return c.bad
}

// So would a hint, wherever it is kept; a marker says that an owner has not got
// the tombstone.
func TestHintsBlockReaping(t *testing.T) {
	for name, hold := range map[string]func(c *cluster, on bool){
		"hint": func(c *cluster, on bool) {
			c.hint(c.other, c.key, on)
		},
		"hint at an owner": func(c *cluster, on bool) {
			c.hint(c.owners[1], c.key, on)
		},
		"marker at an owner": func(c *cluster, on bool) {
			m := c.owners[1]
			if on {
				m.replica.Mark(c.now, c.key, []id.Node{c.owners[2].id}, &m.out)
			} else {
				set, _ := m.replica.Read(c.key, &m.out)
				m.replica.Settle(c.key, c.owners[2].id, set, &m.out)
			}
			c.collect(m)
		},
	} {
		t.Run(name, func(t *testing.T) {
			if bad := heldElsewhere(t, hold); bad != "" {
				t.Error(bad)
			}
		})
	}
}

// reapVolatile: an owner confirms from state that is not durable, and crashes.
// What a crash takes back is not confirmed.
func reapVolatile(t *testing.T) string {
	t.Helper()
	v, stone := deleted()
	for i := range 3 {
		c := newCluster(t)
		c.store(v, c.owners...)
		m := c.owners[i]
		old := m.store.Clone()
		m.slow = true
		c.store(stone, c.owners...)
		c.run(2 * enough)
		c.must("while an owner's disk does not answer", "ooo")
		m.slow = false
		c.restart(m, old)
		c.view()
		c.run(2 * enough)
		if bad := c.forgotten(m); bad != "" {
			return bad
		}
	}
	return ""
}

// forgotten says whether the others have forgotten that the value at m was
// deleted.
func (c *cluster) forgotten(m *member) string {
	c.t.Helper()
	if set := c.has(m); c.bad == "" && (len(set.Live()) != 1 || c.held() != "ooo") {
		c.bad = fmt.Sprintf("the others have forgotten that the value at %s was deleted: %s", m.id, c.held())
	}
	return c.bad
}

// A message that arrives between the rounds clears a token. Nothing that is sent
// here lives for longer than M, which collect checks, and the TTL is longer than
// two of those.
func TestMessagesBetweenTheRoundsClearTokens(t *testing.T) {
	if id.MinTombstoneTTL < 2*id.MaxMessageAge {
		t.Errorf("a TTL of %v is allowed; messages live for %v", id.MinTombstoneTTL, id.MaxMessageAge)
	}
	c := newDeleted(t)
	v, _ := deleted()
	c.run(2 * interval)
	c.store(v, c.other) // an Apply of before, at a fallback
	c.run(2 * enough)
	c.expect("after the message", "ooo+")
}

// A late copy of a round's first message must not bring back a token that a
// change has cleared.
func TestReapLateConfirm(t *testing.T) {
	c := newDeleted(t)
	v, _ := deleted()
	c.run(2 * interval)
	first := c.seen
	c.store(v, c.other)
	c.remove(c.other)
	for _, e := range first {
		if m, ok := e.Msg.(*core.Confirm); ok && e.To == c.other.id && !m.Again {
			c.carry(e)
		}
	}
	c.sent = nil
	c.run(ttl - time.Second)
	c.expect("before a whole TTL has passed since the change", "ooo")
	c.run(enough)
	c.expect("a TTL later", "---")
}

// reapOneRound: an owner is restored from an old disk between confirming and
// removing. Its restart clears the tokens, whether the others know of it yet or
// not.
func reapOneRound(t *testing.T) string {
	t.Helper()
	for _, known := range []bool{true, false} {
		for i := 1; i < 3; i++ {
			c := newCluster(t)
			v, stone := deleted()
			c.store(v, c.owners...)
			old := c.owners[i].store.Clone()
			c.store(stone, c.owners...)
			c.run(2 * interval)
			c.restart(c.owners[i], old)
			if known {
				c.view()
			} else {
				c.viewAt(c.owners[i], core.PhaseDone, c.layout)
			}
			c.run(3 * enough)
			if bad := c.forgotten(c.owners[i]); bad != "" {
				return bad
			}
			c.store(stone, c.owners[i])
			c.view()
			c.run(enough)
			if c.must("when it has caught up", "---"); c.bad != "" {
				return c.bad
			}
		}
	}
	return ""
}

// reapLateTombstone: an owner got the tombstone late; its TTL must not run from
// the tombstone's own timestamp, which is of 1970 here, nor from when the others
// got it.
func reapLateTombstone(t *testing.T) string {
	t.Helper()
	c := newCluster(t)
	v, stone := deleted()
	c.store(stone, c.owners[0], c.owners[1])
	c.store(v, c.owners[2])
	c.run(3 * enough)
	c.must("while an owner has not got the tombstone", "ooo")
	c.store(stone, c.owners[2])
	c.run(ttl)
	c.must("a TTL after the last owner has got it", "ooo")
	c.run(2 * interval)
	c.must("a TTL after the first round", "---")
	return c.bad
}

// reapDiscontinuity: between the rounds a node is restored, sends the value, and
// catches up; what it holds in the second round is the same.
func reapDiscontinuity(t *testing.T) string {
	t.Helper()
	_, stone := deleted()
	again := func(owner int) func(c *cluster) {
		return func(c *cluster) {
			c.remove(c.owners[owner])
			c.store(stone, c.owners[owner])
		}
	}
	for _, change := range []struct {
		what string
		do   func(c *cluster)
	}{
		{"an owner loses the tombstone and gets it again", again(1)},
		{"the reaper does", again(0)},
		{"another member gets the value and hands it over", func(c *cluster) {
			v, _ := deleted()
			c.store(v, c.other)
			c.remove(c.other)
		}},
	} {
		c := newDeleted(t)
		c.run(interval + ttl/2)
		change.do(c)
		c.run(ttl - time.Second)
		c.must("before a whole TTL has passed since the change", "ooo")
		c.run(enough)
		if c.must("a TTL later", "---"); c.bad != "" {
			return change.what + ": " + c.bad
		}
	}
	return ""
}

// A dead member blocks reaping, however long it is away, and is told by name.
func TestReapWaitsForTheDead(t *testing.T) {
	v, stone := deleted()
	for name, who := range map[string]func(c *cluster) *member{
		"an owner":     func(c *cluster) *member { return c.owners[2] },
		"a non-owner":  func(c *cluster) *member { return c.other },
		"the reaper":   func(c *cluster) *member { return c.owners[0] },
		"second owner": func(c *cluster) *member { return c.owners[1] },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.store(v, c.owners...)
			dead := who(c)
			dead.down = true
			for _, m := range c.owners {
				if m != dead {
					c.store(stone, m)
				}
			}
			since := c.now.Wall
			c.run(5 * enough)
			c.expect("while a member is dead", "ooo")
			for _, m := range c.owners[:1] {
				p := m.Progress()
				if m != dead && (p.Blocker != dead.id || p.BlockedSince < since || p.BlockedSince > since+3*interval || p.Reaped > 0) {
					t.Errorf("progress %+v; want it blocked by %s", p, dead.id)
				}
			}
			c.restart(dead, dead.store)
			c.view()
			c.store(stone, c.owners...)
			c.run(enough)
			c.expect("when it is back and has caught up", "---")
			if p := c.owners[0].Progress(); p.Blocker != "" || p.Reaped != 1 {
				t.Errorf("progress %+v; want one key reaped, and nobody blocking", p)
			}
		})
	}
}

// A key that is written again is never killed: not between the rounds, and not
// by a removal that only some owners have heard of.
func TestReapSparesWhatIsWrittenAgain(t *testing.T) {
	_, stone := deleted()
	c := newDeleted(t)
	c.run(2 * interval)
	again := value(stone, 3)
	c.store(again, c.owners[2])
	c.run(2 * enough)
	c.expect("written with the tombstone's context between the rounds", "ooo")

	c = newDeleted(t)
	c.drop = func(e *core.Envelope) bool {
		_, removal := e.Msg.(*core.Forget)
		return removal && e.To == c.owners[2].id
	}
	c.run(enough)
	c.expect("when one owner has not heard of the removal", "--o")
	blind := value(c.has(c.owners[0]), 4)
	c.store(blind, c.owners...)
	c.drop = nil
	c.run(3 * enough)
	for _, m := range c.owners {
		if live := c.has(m).Live(); len(live) != 1 {
			t.Errorf("%s has %d values of the key that was written again", m.id, len(live))
		}
	}
}

// A removal that some owners have missed is repeated: their tokens stand.
func TestRemovalIsRepeated(t *testing.T) {
	c := newDeleted(t)
	c.drop = func(e *core.Envelope) bool {
		_, removal := e.Msg.(*core.Forget)
		return removal && e.To != c.owners[1].id
	}
	c.run(enough)
	c.expect("when one owner has not heard of the removal", "--o")
	c.drop = nil
	c.run(2 * interval)
	c.expect("when it was told again", "---")
}

// A new layout, and a new member, make all rounds void.
func TestTransitionCancelsRounds(t *testing.T) {
	c := newDeleted(t)
	c.run(2 * interval)
	if p := c.owners[0].Progress(); p.Waiting != 1 {
		t.Fatalf("progress %+v; want one key waiting", p)
	}
	next, err := c.layout.Plan(2, append(c.layout.Members(), ring.Member{ID: "e", Weight: 1}), 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range c.members {
		c.viewAt(m, core.PhaseCopy, c.layout, next)
	}
	c.run(2 * enough)
	c.expect("in a transition", "ooo")
	if p := c.owners[0].Progress(); p.Waiting != 0 || p.Cancelled != 1 || p.Reaped != 0 {
		t.Errorf("progress %+v; want the round cancelled", p)
	}
	c.view()
	c.run(enough)
	c.expect("after it", "---")
}

// Both sides go by the same members and layouts, or there is no confirmation.
func TestServeRefuses(t *testing.T) {
	c := newDeleted(t)
	c.run(2 * interval)
	var good core.Envelope
	for _, e := range c.seen {
		if _, ok := e.Msg.(*core.Confirm); ok && e.To == c.owners[1].id && e.From == c.owners[0].id && e.Partition == c.layout.Partition(c.key) {
			good = e
		}
	}
	confirm := *good.Msg.(*core.Confirm)
	for name, test := range map[string]struct {
		change func(e *core.Envelope, m *core.Confirm)
		want   core.Refusal
	}{
		"other members":       {func(_ *core.Envelope, m *core.Confirm) { m.Members++ }, core.RefusedBehind},
		"a newer layout":      {func(e *core.Envelope, _ *core.Confirm) { e.Stamp.Layout.Number++ }, core.RefusedBehind},
		"not the first owner": {func(e *core.Envelope, _ *core.Confirm) { e.From = c.owners[2].id }, core.RefusedNotOwner},
		"no such partition":   {func(e *core.Envelope, _ *core.Confirm) { e.Partition = 8 }, core.RefusedInvalid},
		"another partition": {func(_ *core.Envelope, m *core.Confirm) {
			m.Keys = []core.KeyDigest{{Key: []byte("of another partition")}}
		}, core.RefusedInvalid},
	} {
		e, m := good, confirm
		test.change(&e, &m)
		e.Msg = &m
		c.owners[1].Serve(c.now, &e, &c.owners[1].out)
		answer := c.owners[1].out.Sends[0].Msg
		c.owners[1].out.Reset()
		if r, ok := answer.(*core.Refused); !ok || r.Why != test.want {
			t.Errorf("%s is answered with %T %v; want %v", name, answer, answer, test.want)
		}
	}
}

// Surplus clock entries go by the same rounds; the version and its actor stay,
// and whoever minted under an entry that went mints under another name.
func TestPrune(t *testing.T) {
	c := newCluster(t)
	set := value(c.has(c.owners[0]), 0)
	c.store(set, c.owners[0])
	minted := c.owners[0].replica.Write(core.LocalWrite{Key: c.key, Context: set.Clock}, &c.owners[0].out)
	set = minted.Set
	for i := 1; set.Clock.Len() < id.PruneClockEntries; i++ {
		set = value(set, i)
	}
	c.store(set, c.owners...)
	c.run(2 * enough)
	if n := c.has(c.owners[0]).Clock.Len(); n != id.PruneClockEntries {
		t.Errorf("%d clock entries are left of %d, which are allowed", n, id.PruneClockEntries)
	}
	set = value(set, id.PruneClockEntries)
	c.store(set, c.owners...)
	c.run(ttl)
	if !c.has(c.owners[1]).Equal(set) {
		t.Error("changed before its time")
	}
	c.run(2 * interval)
	for _, m := range c.owners {
		if got := c.has(m); got.Clock.Len() != 1 || len(got.Versions) != 1 || !got.Clock.Covers(set.Versions[0].Dot) {
			t.Errorf("%s has %v; want the version alone", m.id, got.Clock)
		}
		if p := m.Progress(); p.Pruned != id.PruneClockEntries {
			t.Errorf("%s has pruned %d entries, want %d", m.id, p.Pruned, id.PruneClockEntries)
		}
	}
	again := c.owners[0].replica.Write(core.LocalWrite{Key: c.key, Context: set.Clock}, &c.owners[0].out)
	if len(again.Set.Versions) != 1 || len(minted.Set.Versions) != 1 || again.Set.Versions[0].Dot.Actor == minted.Set.Versions[0].Dot.Actor {
		t.Errorf("%v is minted after %v was pruned", again.Set.Versions, minted.Set.Versions)
	}
}

// What differs at one owner, and what has values, is left alone.
func TestNothingElseIsForgotten(t *testing.T) {
	c := newCluster(t)
	v, stone := deleted()
	c.store(v, c.owners...)
	c.run(2 * enough)
	c.expect("a value", "ooo")
	if n := count[*core.Confirm](c); n > 0 {
		t.Errorf("%d messages for nothing to forget", n)
	}
	c.store(stone, c.owners...)
	c.store(tombstone(v, 7), c.owners[1])
	c.run(2 * enough)
	c.expect("other tombstones at one owner", "ooo")
}

// Many keys go in few messages, bounded in their length: also where a message is
// full in the middle of what is read at once, since one key is not for it.
func TestRoundsAreBatched(t *testing.T) {
	c := newCluster(t)
	v, stone := deleted()
	stored := 0
	for i := 0; stored <= core.MaxForgetKeys+100; i++ {
		key := []byte{byte(i), byte(i >> 8), byte(i >> 16)}
		if c.layout.Partition(key) != c.layout.Partition(c.key) {
			continue
		}
		set := stone
		if stored == 0 {
			set = v
		}
		stored++
		for _, m := range c.owners {
			m.replica.Apply(key, set, &m.out)
		}
	}
	for _, m := range c.owners {
		c.collect(m)
	}
	c.run(enough)
	for _, m := range c.owners {
		if m.store.Len() != 1 {
			t.Errorf("%s has %d keys; want the one with a value", m.id, m.store.Len())
		}
	}
	if n := count[*core.Confirm](c); n != 2*2*3 {
		t.Errorf("%d keys took %d questions; want two rounds, twice, at three members", stored, n)
	}
}

// A store that fails stops the node, and nothing is answered from it.
func TestBrokenStore(t *testing.T) {
	c := newDeleted(t)
	c.run(2 * interval)
	m := c.owners[1]
	m.store.Broken = errors.New("disk on fire")
	for _, e := range c.seen {
		if msg, ok := e.Msg.(*core.Confirm); ok && e.To == m.id && e.From == c.owners[0].id {
			again := *msg
			again.Round++
			e.Msg = &again
			m.Serve(c.now, &e, &m.out)
			break
		}
	}
	if m.out.Failed == nil || len(m.out.Sends) > 0 {
		t.Errorf("failed: %v, %d answers", m.out.Failed, len(m.out.Sends))
	}
}

// What changes between the second confirmation and the removal is not removed,
// though it is the same again.
func TestRemovalRequiresTheToken(t *testing.T) {
	c := newDeleted(t)
	_, stone := deleted()
	c.drop = func(e *core.Envelope) bool {
		if _, removal := e.Msg.(*core.Forget); removal && e.To == c.owners[1].id && !c.has(c.owners[1]).IsEmpty() {
			c.remove(c.owners[1])
			c.store(stone, c.owners[1])
		}
		return false
	}
	c.run(enough)
	c.expect("when its token is gone", "-o-")
}

// A key that somebody does not confirm does not wait for those that went on
// without it.
func TestUnconfirmedKeyIsTakenUpAgain(t *testing.T) {
	c := newCluster(t)
	v, stone := deleted()
	sibling := keyBeside(c)
	for _, m := range c.owners {
		if _, why := m.replica.Apply(sibling, stone, &m.out); why != 0 {
			t.Fatal("refused")
		}
		c.collect(m)
	}
	c.store(stone, c.owners[:2]...)
	c.store(v, c.owners[2])
	c.run(2 * interval)
	if p := c.owners[0].Progress(); p.Waiting != 1 {
		t.Fatalf("progress %+v; want the other key waiting", p)
	}
	c.store(stone, c.owners[2])
	c.run(enough)
	c.expect("a TTL after all have got the tombstone", "---")
}

// What comes for one key of a partition, a hint for instance, leaves the rounds
// of the others as they are.
func TestOtherKeysDoNotDisturb(t *testing.T) {
	c := newDeleted(t)
	v, stone := deleted()
	c.run(2 * interval)
	for _, m := range c.members {
		if _, why := m.replica.Apply(keyBeside(c), v, &m.out); why != 0 {
			t.Fatal("refused")
		}
		c.collect(m)
	}
	c.hint(c.other, keyBeside(c), true)
	c.run(ttl)
	c.expect("a TTL after the first round", "---")
	c.store(stone, c.owners...)
	c.run(enough)
	c.expect("deleted again while the other member holds another key", "---")
}

// keyBeside returns another key of the same partition.
func keyBeside(c *cluster) []byte {
	for i := byte(0); ; i++ {
		if k := []byte{'k', i}; c.layout.Partition(k) == c.layout.Partition(c.key) {
			return k
		}
	}
}

// An interval that is longer than the TTL does not keep a round from being
// tried again while its tokens stand.
func TestPutOffWithinTheTTL(t *testing.T) {
	c := newDeleted(t)
	c.run(2 * interval)
	c.owners[0].config.Interval = 100 * ttl
	c.drop = func(e *core.Envelope) bool { return e.To == c.other.id }
	c.run(ttl)
	c.expect("while a member is cut off", "ooo")
	c.drop = nil
	c.run(ttl / 2)
	c.expect("when it can be reached again", "---")
}
