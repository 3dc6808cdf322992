package admission

import (
	"testing"
	"time"
)

// TestClaimHasNoLimitWithoutBudget: what nobody limits goes on at once.
func TestClaimHasNoLimitWithoutBudget(t *testing.T) {
	var c Claim
	c.Spend(0, 1<<30)
	if at := c.May(5); at != 5 || c.Held() != 0 {
		t.Errorf("it may go on at %v with %d slots, want 5ns with none", at, c.Held())
	}
}

// TestClaimHoldsWhatItIsGiven: a claim takes all slots of its share with its next
// step, and gives back what it has no right to any more.
func TestClaimHoldsWhatItIsGiven(t *testing.T) {
	var c Claim
	for _, slots := range []int{3, 5, 1} {
		before := c.Held()
		c.Limit(slots, rate)
		if c.Held() != before {
			t.Fatalf("%d slots are held in the middle of a step, after %d", c.Held(), before)
		}
		if at := c.May(7); at != 7 || c.Held() != slots || !c.Works() {
			t.Fatalf("it may go on at %v and holds %d of %d slots", at, c.Held(), slots)
		}
	}
	c.Limit(0, rate)
	for range 3 {
		if at := c.May(7); at != never || c.Held() != 0 || c.Waits() != 1 || !c.Works() {
			t.Fatalf("without a slot it goes on at %v, holds %d, has waited %d times", at, c.Held(), c.Waits())
		}
	}
	c.Limit(2, rate)
	if at := c.May(9); at != 9 || c.Held() != 2 {
		t.Errorf("with slots again it may go on at %v and holds %d", at, c.Held())
	}
	c.Done()
	if c.Held() != 0 || c.Works() {
		t.Errorf("when it is done it holds %d", c.Held())
	}
	c.Unlimit()
	if at := c.May(10); at != 10 || c.Held() != 0 {
		t.Errorf("without a limit it may go on at %v and holds %d", at, c.Held())
	}
}

// TestClaimIsPaidFor: a step comes when it is paid for, at the rate of all slots
// that are held, and what was spent before Done is still to be paid.
func TestClaimIsPaidFor(t *testing.T) {
	var c Claim
	c.Limit(4, rate)
	c.May(0)
	c.Spend(0, rate)
	if at := c.May(0); at != time.Second/4 {
		t.Errorf("a second of one slot's bytes is paid for in %v by four", at)
	}
	c.Limit(1, rate)
	c.May(time.Second / 8)
	c.Spend(time.Second/8, rate)
	if at := c.May(time.Second / 8); at != time.Second+time.Second/4 {
		t.Errorf("with one slot, the next is paid for at %v", at)
	}
	c.Done()
	if at := c.May(time.Second); at != time.Second+time.Second/4 {
		t.Errorf("begun again, it goes on at %v", at)
	}
	if at := c.May(2 * time.Second); at != 2*time.Second {
		t.Errorf("when all is paid, it goes on at %v", at)
	}
}
