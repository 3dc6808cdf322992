package admission

import (
	"testing"
	"time"
)

const target = 100 * time.Millisecond

// turn lets a look pass in which so many requests were fast and slow, and
// returns the verdict on the next one, while none waits.
func (v *Valve) turn(now *time.Duration, fast, slow, underWay int) Verdict {
	for range fast {
		v.Ended(target, true)
	}
	for range slow {
		v.Ended(target+1, true)
	}
	*now += look
	return v.Admit(*now, underWay, 0)
}

func TestValveIsOpenWhileRequestsAreFast(t *testing.T) {
	v, now := NewValve(target, 10_000), time.Second
	for range 20 {
		if got := v.turn(&now, 25, 75, 9_999); got != Begin {
			t.Fatalf("verdict %d though a quarter of the requests is fast", got)
		}
	}
	if v.turn(&now, 25, 75, 10_000) != Wait || v.Limit() != 10_000 {
		t.Error("more are under way than there may ever be")
	}
}

func TestValveHalvesWhatIsUnderWay(t *testing.T) {
	v, now := NewValve(target, 10_000), time.Second
	for _, want := range []int{2000, 1000, 500, 250, 125, 62, LeastUnderWay, LeastUnderWay} {
		v.turn(&now, 24, 76, min(4000, v.Limit()))
		if v.Limit() != want {
			t.Fatalf("limit %d; want %d", v.Limit(), want)
		}
	}
	if got := v.turn(&now, 24, 76, LeastUnderWay); got != Wait {
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

// TestValveLetsOneNodeBe: where no other node is asked, what ends tells nothing of
// how fast it is, and yet that nothing is stuck.
func TestValveLetsOneNodeBe(t *testing.T) {
	v, now := NewValve(target, 10_000), time.Second
	for range 30 {
		for range 500 {
			v.Ended(target, false)
		}
		if v.turn(&now, 0, 0, 1000); v.Limit() != 10_000 {
			t.Fatalf("limit %d, though requests end", v.Limit())
		}
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

func TestLate(t *testing.T) {
	for _, test := range []struct {
		arrived, deadline time.Duration
		want              bool
	}{
		{9 * time.Second, 11 * time.Second, false},
		{9*time.Second - 1, 11 * time.Second, true},
		{10 * time.Second, 10 * time.Second, true},
		{9 * time.Second, 10 * time.Second, true},
		{time.Second, 9 * time.Second, true},
	} {
		if got := Late(10*time.Second, test.arrived, test.deadline); got != test.want {
			t.Errorf("arrived at %v, due at %v: late %v at 10s", test.arrived, test.deadline, got)
		}
		at := LateAt(test.arrived, test.deadline)
		if test.deadline > test.arrived && (!Late(at, test.arrived, test.deadline) || Late(at-2, test.arrived, test.deadline)) {
			t.Errorf("arrived at %v, due at %v: not late from %v on", test.arrived, test.deadline, at)
		}
	}
}

// TestAsManyWaitAsEnd: what would begin within a look waits for it, and the rest is
// turned away; whoever waits goes first.
func TestAsManyWaitAsEnd(t *testing.T) {
	v, now := NewValve(target, 10_000), time.Second
	v.turn(&now, 0, 100, 200) // at most 100 under way
	for range 20 {
		for range 900 {
			v.Ended(0, false)
		}
		v.turn(&now, 100, 0, 100)
	}
	limit := v.Limit()
	for _, test := range []struct {
		underWay, waiting int
		want              Verdict
	}{
		{limit - 1, 0, Begin},
		{limit - 1, 1, Wait},
		{limit, 0, Wait},
		{limit, 999, Wait},
		{limit, 1000, Full},
	} {
		if got := v.Admit(now, test.underWay, test.waiting); got != test.want {
			t.Errorf("%d under way, %d waiting: verdict %d; want %d", test.underWay, test.waiting, got, test.want)
		}
	}
	if v.Next(now, limit) || !v.Next(now, limit-1) {
		t.Error("one that waits may begin where there is no place, or not where there is")
	}
	now += 10 * look // in which nothing ended
	for range 12 {
		v.turn(&now, 0, 0, 0)
	}
	limit = v.Limit()
	if got := v.Admit(now, limit, LeastUnderWay-1); got != Wait {
		t.Errorf("verdict %d; a few may always wait", got)
	}
	if got := v.Admit(now, limit, LeastUnderWay); got != Full {
		t.Errorf("verdict %d, with so many waiting while nothing ends", got)
	}
}

func TestRoomIsWhatMayComeIn(t *testing.T) {
	v := NewValve(target, 1000)
	for _, test := range []struct{ underWay, waiting, want int }{
		{0, 0, 1000 + LeastUnderWay},
		{900, 0, 100 + LeastUnderWay},
		{1000, 10, LeastUnderWay - 10},
		{1000, LeastUnderWay, 0},
		{1100, 2 * LeastUnderWay, 0},
	} {
		if got := v.Room(test.underWay, test.waiting); got != test.want {
			t.Errorf("%d under way, %d waiting: room for %d; want %d", test.underWay, test.waiting, got, test.want)
		}
	}
}
