package admission

import (
	"testing"
	"time"
)

const target = 100 * time.Millisecond

// turn lets a look pass in which so many requests were fast and slow, and
// returns the verdict on the next one.
func (v *Valve) turn(now *time.Duration, fast, slow, underWay int) Verdict {
	for range fast {
		v.Ended(target)
	}
	for range slow {
		v.Ended(target + 1)
	}
	*now += look
	return v.Admit(*now, *now, *now+time.Second, underWay)
}

func TestValveIsOpenWhileRequestsAreFast(t *testing.T) {
	v, now := NewValve(target, 10_000), time.Second
	for range 20 {
		if got := v.turn(&now, 25, 75, 9_999); got != Begin {
			t.Fatalf("verdict %d though a quarter of the requests is fast", got)
		}
	}
	if v.turn(&now, 25, 75, 10_000) != Full || v.Limit() != 10_000 {
		t.Error("more are under way than there may ever be")
	}
}

func TestValveHalvesWhatIsUnderWay(t *testing.T) {
	v, now := NewValve(target, 10_000), time.Second
	for _, want := range []int{2000, 1000, 500, 250, 125, LeastUnderWay, LeastUnderWay} {
		v.turn(&now, 24, 76, min(4000, v.Limit()))
		if v.Limit() != want {
			t.Fatalf("limit %d; want %d", v.Limit(), want)
		}
	}
	if got := v.turn(&now, 24, 76, LeastUnderWay); got != Full {
		t.Errorf("verdict %d at the limit", got)
	}
	if got := v.turn(&now, 24, 76, LeastUnderWay-1); got != Begin {
		t.Errorf("verdict %d below the least limit", got)
	}
	looks := 0
	for ; v.Limit() < 10_000; looks++ {
		before := v.Limit()
		v.turn(&now, 100, 0, v.Limit())
		if v.Limit() <= before || v.Limit() > before+before/4 && looks > 0 {
			t.Fatalf("limit %d after %d", v.Limit(), before)
		}
	}
	if looks < 10 || looks > 40 {
		t.Errorf("the limit has gone after %d looks", looks)
	}
}

// TestValveNoticesThatNothingEnds: where all is stuck nothing tells that it is.
func TestValveNoticesThatNothingEnds(t *testing.T) {
	v, now := NewValve(target, 10_000), time.Second
	v.turn(&now, 0, 0, 2*LeastUnderWay-1)
	if v.Limit() != 10_000 {
		t.Errorf("limit %d with a few requests under way", v.Limit())
	}
	v.turn(&now, 0, 0, 1000)
	if v.Limit() != 500 {
		t.Errorf("limit %d with a thousand requests stuck; want 500", v.Limit())
	}
}

// TestValveNeedsEvidence: a few slow requests of an idle node are no overload.
func TestValveNeedsEvidence(t *testing.T) {
	v, now := NewValve(target, 10_000), time.Second
	for range 30 {
		if v.turn(&now, 0, fewest/10, 8); v.Limit() != 10_000 {
			t.Fatalf("limit %d", v.Limit())
		}
	}
}

func TestValveTurnsAwayWhatIsLate(t *testing.T) {
	v := NewValve(target, 10_000)
	for _, test := range []struct {
		arrived, deadline time.Duration
		want              Verdict
	}{
		{9 * time.Second, 11 * time.Second, Begin},
		{9*time.Second - 1, 11 * time.Second, Late},
		{10 * time.Second, 10 * time.Second, Late},
		{9 * time.Second, 10 * time.Second, Late},
		{time.Second, 9 * time.Second, Late},
	} {
		if got := v.Admit(10*time.Second, test.arrived, test.deadline, 0); got != test.want {
			t.Errorf("arrived at %v, due at %v: verdict %d at 10s; want %d", test.arrived, test.deadline, got, test.want)
		}
	}
}

func TestRoomIsWhatMayBegin(t *testing.T) {
	v := NewValve(target, 1000)
	if v.Room(0) != 1000 || v.Room(900) != 100 || v.Room(1000) != LeastUnderWay {
		t.Errorf("room for %d, %d and %d", v.Room(0), v.Room(900), v.Room(1000))
	}
}
