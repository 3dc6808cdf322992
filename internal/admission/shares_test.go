package admission

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// model is one node: Control's shares, and gates that go by them with a delay.
type model struct {
	t      *rapid.T
	now    time.Duration
	shares *Shares
	gates  []*modelGate
	most   int // the largest total of late
}

// modelGate is a shard with kinds of work, each of which has a slot.
type modelGate struct {
	gate    Gate
	epoch   uint64
	budgets []budget // on their way to it
	reports []report // on their way to Control
	told    report
	works   []*modelWork
}

type modelWork struct {
	slot   Slot
	wants  bool
	ran    int           // steps
	waited time.Duration // since it wants
}

type budget struct {
	slots int
	epoch uint64
}

type report struct {
	epoch        uint64
	over, wanted int
	holds        int
}

func (m *model) publish() {
	for i, g := range m.gates {
		slots, epoch := m.shares.Share(i)
		if n := len(g.budgets); n > 0 && g.budgets[n-1].epoch == epoch || n == 0 && g.epoch == epoch {
			continue
		}
		g.budgets = append(g.budgets, budget{slots, epoch})
	}
}

func (m *model) tell(i int) {
	g := m.gates[i]
	holds := g.gate.Held()
	r := report{epoch: g.epoch, over: g.gate.Over(), wanted: g.gate.Wanted(), holds: holds}
	if g.told.epoch != r.epoch || g.told.over != r.over || g.told.wanted != r.wanted {
		g.told = r
		g.reports = append(g.reports, r)
	}
}

// tick lets the works of a shard go on, as a shard does.
func (m *model) tick(i int) {
	g := m.gates[i]
	for _, w := range g.works {
		switch {
		case !w.wants:
			continue
		case g.gate.Go(m.now, &w.slot):
			w.ran++
			w.waited = m.now
			g.gate.Spend(m.now, &w.slot, rapid.IntRange(0, 100_000).Draw(m.t, "cost"))
			if rapid.IntRange(0, 3).Draw(m.t, "more") == 0 {
				w.wants = false
				g.gate.Done(m.now, &w.slot)
			}
		}
	}
	g.gate.Claimed(m.now)
	m.tell(i)
}

func (m *model) deliverBudget(i int) {
	g := m.gates[i]
	if len(g.budgets) == 0 {
		return
	}
	b := g.budgets[0]
	g.budgets = g.budgets[1:]
	g.epoch = b.epoch
	g.gate.Limit(m.now, b.slots, 1<<20)
	m.tell(i)
}

func (m *model) deliverReport(i int) {
	g := m.gates[i]
	if len(g.reports) == 0 {
		return
	}
	r := g.reports[0]
	g.reports = g.reports[1:]
	m.shares.Report(m.now, i, r.epoch, r.holds, r.wanted)
	m.publish()
}

func (m *model) check() {
	sum := 0
	for i, g := range m.gates {
		running := 0
		for _, w := range g.works {
			if w.slot.state == held {
				running++
			}
		}
		if g.gate.Held() < running {
			m.t.Fatalf("shard %d holds %d slots of which its gate knows %d", i, running, g.gate.Held())
		}
		if g.gate.Held() > m.shares.Bound(i) {
			m.t.Fatalf("shard %d holds %d slots; %d at most are known", i, g.gate.Held(), m.shares.Bound(i))
		}
		sum += g.gate.Held()
	}
	if sum > m.most || m.shares.Bounds() > m.most {
		m.t.Fatalf("%d slots are held, and up to %d may be; there are %d", sum, m.shares.Bounds(), m.most)
	}
}

// TestSlotsAreNeverExceeded: whatever is delayed, the shards together never hold
// more than there are slots, and whoever wants one has it in the end.
func TestSlotsAreNeverExceeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const maxSlots = 10
		total := rapid.IntRange(1, maxSlots).Draw(t, "total")
		m := &model{t: t, shares: NewShares(total, rapid.IntRange(1, 6).Draw(t, "shards")), most: total}
		for range m.shares.shards {
			g := &modelGate{works: make([]*modelWork, rapid.IntRange(1, 4).Draw(t, "works"))}
			for j := range g.works {
				g.works[j] = &modelWork{}
			}
			g.gate.Limit(0, 0, 1<<20)
			m.gates = append(m.gates, g)
		}
		m.publish()
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			i := rapid.IntRange(0, len(m.gates)-1).Draw(t, "shard")
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0:
				m.deliverBudget(i)
			case 1:
				m.deliverReport(i)
			case 2:
				g := m.gates[i]
				w := g.works[rapid.IntRange(0, len(g.works)-1).Draw(t, "work")]
				w.wants = !w.wants // one that wants nothing any more may just not come back
			case 3:
				n := rapid.IntRange(1, maxSlots).Draw(t, "slots")
				m.most = max(m.most, n)
				m.shares.Resize(m.now, n)
				m.publish()
			case 4:
				m.now += time.Duration(rapid.IntRange(0, 300).Draw(t, "ms")) * time.Millisecond
				m.shares.Tick(m.now)
				m.publish()
			default:
				m.tick(i)
			}
			m.check()
		}
		m.settle()
	})
}

// settle lets everybody want a slot for ever, and expects that all have theirs
// again and again.
func (m *model) settle() {
	for _, g := range m.gates {
		for _, w := range g.works {
			w.ran = 0
		}
	}
	total := 0
	for range 4 * 6 * 4 * 20 {
		m.now += 50 * time.Millisecond
		m.shares.Tick(m.now)
		m.publish()
		for i, g := range m.gates {
			for _, w := range g.works {
				w.wants = true
			}
			for len(g.budgets) > 0 {
				m.deliverBudget(i)
			}
			m.tick(i)
			for len(g.reports) > 0 {
				m.deliverReport(i)
			}
			m.check()
		}
		total = m.shares.total
	}
	if m.shares.Bounds() > total {
		m.t.Fatalf("%d slots may be held at rest; there are %d", m.shares.Bounds(), total)
	}
	for i, g := range m.gates {
		for j, w := range g.works {
			if w.ran < 2 {
				m.t.Fatalf("work %d of shard %d went on %d times", j, i, w.ran)
			}
		}
	}
}

func TestSharesAreEvenUntilWanted(t *testing.T) {
	s := NewShares(10, 4)
	sum := 0
	for i := range 4 {
		slots, _ := s.Share(i)
		if slots < 2 || slots > 3 {
			t.Errorf("shard %d has %d of 10 slots", i, slots)
		}
		sum += slots
	}
	if sum != 10 || s.Next() != never {
		t.Errorf("%d slots of 10 are given, next turn at %v", sum, s.Next())
	}
}

// TestOneSlotGoesRound: each shard with work has its turn with the only slot, and
// none is given it before another has let go.
func TestOneSlotGoesRound(t *testing.T) {
	const shards = 3
	s := NewShares(1, shards)
	for i := range shards {
		_, epoch := s.Share(i)
		s.Report(0, i, epoch, 0, 1)
	}
	turns := make([]int, shards)
	owner := -1
	for range 3 * shards {
		for i := range shards {
			if slots, _ := s.Share(i); slots > 0 {
				owner = i
				turns[i]++
			}
		}
		now := s.Next()
		if now == never {
			t.Fatal("nobody else's turn comes")
		}
		if !s.Tick(now) {
			t.Fatal("the turn does not pass on")
		}
		for i := range shards {
			if slots, _ := s.Share(i); slots > 0 {
				t.Fatalf("shard %d is given the slot that shard %d holds", i, owner)
			}
		}
		_, epoch := s.Share(owner)
		s.Report(now, owner, epoch, 1, 1) // it still runs
		if s.Bounds() != 1 {
			t.Fatalf("%d slots may be held", s.Bounds())
		}
		s.Report(now, owner, epoch, 0, 1)
	}
	for i, n := range turns {
		if n != 3 {
			t.Errorf("shard %d had %d of %d turns", i, n, 3*shards)
		}
	}
}
