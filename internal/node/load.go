package node

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/core"
)

// loadEach is how often a shard tells Control of its requests: often enough for
// slots that are reconsidered a few times a second, seldom enough to cost
// nothing.
const loadEach = 100 * time.Millisecond

// load is a shard's background work: its gate, and what Control knows of it.
type load struct {
	shard int
	gate  admission.Gate
	epoch uint64 // of the budget
	told  core.LoadReport
	over  int // slots held above the budget, as told
	at    time.Duration
}

// limit goes by the budget of a view.
func (l *load) limit(now core.Now, v *core.View) {
	b, ok := v.Budget(l.shard)
	l.epoch = b.Epoch
	if ok {
		l.gate.Limit(now.Mono, b.Slots, b.BytesPerSlot)
	} else {
		l.gate.Unlimit(now.Mono)
	}
}

// urgent says that other shards may wait for what Control does not know, or this
// one may.
func (l *load) urgent() bool {
	return l.told.Epoch != l.epoch || l.over != l.gate.Over() || l.gate.Short() && l.told.Wanted != l.gate.Wanted()
}

// news says that there is something to tell at all.
func (s *Shard) news() bool {
	return s.load.told.Wanted != s.load.gate.Wanted() || s.coordinator.Answered()
}

// tellLoad tells Control of the shard's requests and of its background work.
func (s *Shard) tellLoad(now core.Now, out *core.Out) {
	l := &s.load
	if !l.urgent() && (!s.news() || now.Mono < l.at+loadEach) {
		return
	}
	l.at, l.over = now.Mono, l.gate.Over()
	l.told = core.LoadReport{
		Shard: l.shard, Epoch: l.epoch, Held: l.gate.Held(), Wanted: l.gate.Wanted(), Waits: l.gate.Waits(),
	}
	r := l.told
	r.Latencies = s.coordinator.TakeLatencies()
	out.Loads = append(out.Loads, r)
}

// loadDue returns when Tick is due for background work or for what is to be told
// of it.
func (s *Shard) loadDue() time.Duration {
	if s.load.urgent() {
		return 0
	}
	at := s.load.gate.Next()
	if s.news() {
		at = min(at, s.load.at+loadEach)
	}
	return at
}

// background is Control's part of admission: how many slots the node has, and
// which shard has them.
type background struct {
	limiter *admission.Limiter
	shares  *admission.Shares // nil: there is no limit
	limits  admission.Limits
	loads   []core.LoadReport // by shard, the latest, and then the engine's
	changed bool              // the shards do not know their shares yet
	shrunk  uint64
}

func newBackground(o *Options) background {
	sharers := o.Shards
	if o.EngineWork {
		sharers++
	}
	b := background{limits: o.Admission, loads: make([]core.LoadReport, sharers)}
	if b.limits == (admission.Limits{}) {
		b.limits = admission.DefaultLimits()
	}
	b.limiter = admission.NewLimiter(b.limits)
	if o.Admit {
		b.shares = admission.NewShares(b.limits.MaxSlots, sharers)
	}
	return b
}

// report takes a shard's load.
func (b *background) report(now core.Now, r core.LoadReport) {
	b.limiter.Add(now.Mono, r.Latencies)
	r.Latencies = nil
	b.loads[r.Shard] = r
	if b.shares != nil && b.shares.Report(now.Mono, r.Shard, r.Epoch, r.Held, r.Wanted) {
		b.changed = true
	}
	b.tick(now)
}

// tick reconsiders the slots, and passes their turns on.
func (b *background) tick(now core.Now) {
	if b.shares == nil {
		return
	}
	before := b.limiter.Slots()
	if b.limiter.Adjust(now.Mono) {
		if b.limiter.Slots() < before {
			b.shrunk++
		}
		b.changed = b.shares.Resize(now.Mono, b.limiter.Slots()) || b.changed
	}
	b.changed = b.shares.Tick(now.Mono) || b.changed
}

func (b *background) next() time.Duration {
	if b.shares == nil {
		return core.Never
	}
	return min(b.limiter.Next(), b.shares.Next())
}

// budgets returns the shares for a view.
func (b *background) budgets() []core.Budget {
	b.changed = false
	if b.shares == nil {
		return nil
	}
	budgets := make([]core.Budget, len(b.loads))
	for i := range budgets {
		budgets[i].Slots, budgets[i].Epoch = b.shares.Share(i)
		budgets[i].BytesPerSlot = b.limiter.BytesPerSlot()
	}
	return budgets
}

// status is for people.
func (b *background) status() core.Background {
	s := core.Background{Limited: b.shares != nil, Slots: b.limiter.Slots(), MaxSlots: b.limits.MaxSlots, Target: b.limits.Target, Shrunk: b.shrunk}
	if p99, ok := b.limiter.P99(); ok {
		s.P99 = p99
	}
	if s.Limited {
		s.BytesPerSecond = b.limiter.BytesPerSlot() * int64(s.Slots)
	}
	for _, l := range b.loads {
		s.Held += l.Held
		s.Wanted += l.Wanted
		s.Waits += l.Waits
	}
	return s
}
