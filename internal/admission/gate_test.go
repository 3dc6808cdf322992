package admission

import (
	"testing"
	"time"
)

const rate = 1 << 20

func limited(slots int) *Gate {
	g := &Gate{}
	g.Limit(0, slots, rate)
	return g
}

// TestGateHasNoLimitWithoutBudget: what nobody limits goes on at once.
func TestGateHasNoLimitWithoutBudget(t *testing.T) {
	var g Gate
	slots := make([]Slot, 100)
	for i := range slots {
		g.Spend(0, &slots[i], 1<<30)
		if !g.Go(0, &slots[i]) || g.Short() || g.Crowded() {
			t.Fatalf("work %d has to wait", i)
		}
		g.Spend(0, &slots[i], 1<<30)
		if !g.Go(0, &slots[i]) {
			t.Fatalf("work %d is paced", i)
		}
	}
	g.Limit(0, 1, rate)
	if g.Over() != len(slots)-1 {
		t.Errorf("%d slots too many; want %d", g.Over(), len(slots)-1)
	}
}

// TestSlotsAreTakenInTurns: whoever came first is first, and whoever had a turn
// is behind the others.
func TestSlotsAreTakenInTurns(t *testing.T) {
	g := limited(1)
	var a, b, c Slot
	if !g.Go(0, &a) || g.Go(0, &b) || g.Go(0, &c) {
		t.Fatal("one slot has not gone to the first")
	}
	if g.Goes(0, &a) {
		t.Error("a holder goes on between two points where it could give way, though others wait")
	}
	holder := &a
	for _, next := range []*Slot{&b, &c, &a, &b} {
		if g.Go(0, holder) {
			t.Fatal("a holder does not give way")
		}
		if !g.Go(0, next) || g.Held() != 1 || len(g.queue) != 2 {
			t.Fatalf("%d held and %d waiting; the states are %d %d %d", g.Held(), len(g.queue), a.state, b.state, c.state)
		}
		holder = next
	}
}

// TestWhoHasNothingToDoGivesWay: out of the queue, and with a slot that is offered.
func TestWhoHasNothingToDoGivesWay(t *testing.T) {
	g := limited(1)
	var a, b, c, d Slot
	g.Go(0, &a)
	g.Go(0, &b)
	g.Go(0, &c)
	g.Go(0, &d)
	g.Done(0, &b)
	if g.Wanted() != 3 {
		t.Errorf("%d slots are wanted; want 3", g.Wanted())
	}
	g.Done(0, &a) // c is offered the slot, behind which b does not stand any more
	if g.Next() != 0 || c.state != offered {
		t.Fatalf("the states are %d %d %d", b.state, c.state, d.state)
	}
	g.Done(0, &c)
	if !g.Go(0, &d) || g.Held() != 1 || g.Wanted() != 1 {
		t.Errorf("%d held, %d wanted; the states are %d %d %d", g.Held(), g.Wanted(), b.state, c.state, d.state)
	}
}

// TestUnclaimedSlotsGoOn: a slot that is offered to work which there is no more
// is not lost.
func TestUnclaimedSlotsGoOn(t *testing.T) {
	g := limited(1)
	var a, b, c Slot
	g.Go(0, &a)
	g.Go(0, &b)
	g.Go(0, &c)
	g.Claimed(0)
	g.Done(0, &a)
	if g.Next() != 0 || g.At(&b) != 0 || g.At(&c) != never {
		t.Fatalf("next %v, at %v and %v; want the second to be asked", g.Next(), g.At(&b), g.At(&c))
	}
	g.Claimed(0) // it was offered since the last time: it still may be taken
	if b.state != offered {
		t.Fatal("it is taken back before it could be taken")
	}
	g.Claimed(0)
	if b.state != idle || g.Next() != 0 || !g.Go(0, &c) || g.Next() != never {
		t.Errorf("the third has not got what the second does not take: %d %d", b.state, c.state)
	}
}

// TestSlotIsPaidFor: work moves what the rate of its slot allows, in pieces, and a
// slot is not given on before it is paid for.
func TestSlotIsPaidFor(t *testing.T) {
	g := limited(1)
	var a, b Slot
	now, spent := time.Duration(0), 0
	for now < time.Second {
		if !g.Go(now, &a) {
			now = g.At(&a)
			continue
		}
		g.Spend(now, &a, MessageCost)
		spent += MessageCost
	}
	if most := rate + int(ahead.Seconds()*rate) + MessageCost; spent < rate || spent > most {
		t.Errorf("%d bytes in a second; the rate is %d, and %d are allowed", spent, rate, most)
	}
	now = a.paid
	g.Go(now, &a)
	g.Spend(now, &a, rate)
	g.Done(now, &a)
	if g.Go(now, &b) || g.Held() != 1 || g.Wanted() != 1 || g.Next() != now+time.Second {
		t.Fatalf("%d held, next %v; want the slot to be given on when it is paid for, at %v", g.Held(), g.Next(), now+time.Second)
	}
	if g.Go(now, &a); a.state != held || g.Go(now+time.Second/2, &a) {
		t.Error("work that begins anew goes on without paying")
	}
	now += time.Second
	if g.Go(now, &a) || !g.Go(now, &b) {
		t.Error("the slot has not gone to the one who waits, now that it is paid for")
	}
}

// TestFewerSlotsAreGivenBack: work comes to its point, and does not go on.
func TestFewerSlotsAreGivenBack(t *testing.T) {
	g := limited(2)
	var a, b Slot
	if !g.Go(0, &a) || !g.Go(0, &b) {
		t.Fatal("two slots are not taken")
	}
	g.Limit(0, 0, rate)
	if g.Over() != 2 || g.Go(0, &a) || g.Over() != 1 || g.Go(0, &b) || g.Held() != 0 || !g.Short() {
		t.Errorf("%d slots are held of none", g.Held())
	}
	if g.Waits() != 2 {
		t.Errorf("%d waits are counted; want 2", g.Waits())
	}
	g.Limit(0, 1, rate)
	if !g.Go(0, &a) || g.Go(0, &b) {
		t.Error("the first is not first again")
	}
}
