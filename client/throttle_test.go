package client

import (
	"testing"
	"time"
)

// offer draws evenly from 0 to 1 in a fixed order, and lets a node take so many
// of each hundred that it is sent in a second of a thousand requests. It returns
// how many it is sent.
func (t *throttle) offer(now *time.Duration, takes int) (sent int) {
	const each = 1000
	for i := range each {
		*now += time.Second / each
		draw := float64(i*617%1000) / 1000
		if !t.lets(*now, draw) {
			continue
		}
		sent++
		t.answered(*now, sent*takes/100 == (sent-1)*takes/100)
	}
	return sent
}

func TestThrottleHoldsNothingBackFromWhoTakesMost(t *testing.T) {
	var th throttle
	now := time.Duration(0)
	for range 5 {
		if sent := th.offer(&now, 60); sent != 1000 {
			t.Fatalf("%d of 1000 requests are sent to a node that takes 600 of them", sent)
		}
	}
}

// TestThrottleHoldsBackFromWhoTakesLittle: with three times what the node takes
// it gets about twice that.
func TestThrottleHoldsBackFromWhoTakesLittle(t *testing.T) {
	var th throttle
	now, taken := time.Duration(0), 0
	sent := 0
	for range 10 {
		sent, taken = 0, 0
		for i := range 1000 {
			now += time.Millisecond
			if !th.lets(now, float64(i*617%1000)/1000) {
				continue
			}
			sent++
			away := taken*3 > i // it takes 333 a second
			if !away {
				taken++
			}
			th.answered(now, away)
		}
	}
	if taken < 330 || sent < 3*taken/2 || sent > 5*taken/2 {
		t.Errorf("of 1000 requests a second %d are sent to a node that takes %d", sent, taken)
	}
}

func TestThrottleNoticesThatTheNodeTakesAll(t *testing.T) {
	var th throttle
	now := time.Duration(0)
	for range 10 {
		th.offer(&now, 0)
	}
	if sent := th.offer(&now, 0); sent == 0 || sent > 50 {
		t.Errorf("%d of 1000 requests are sent to a node that takes none", sent)
	}
	for range 20 {
		th.offer(&now, 100)
	}
	if sent := th.offer(&now, 100); sent != 1000 {
		t.Errorf("%d of 1000 requests are sent to a node that takes all again", sent)
	}
}

// TestThrottleForgets: a pause is as good as an answer.
func TestThrottleForgets(t *testing.T) {
	var th throttle
	now := time.Duration(0)
	th.offer(&now, 0)
	now += 10 * throttleMemory
	if !th.lets(now, 0.1) {
		t.Error("a request is held back for what was long ago")
	}
}
