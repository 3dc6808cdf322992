package sim

import (
	"math/rand/v2"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/core"
)

// drawAdmission draws how much background work nodes let themselves do. A target
// that is about what a request takes has the slots shrink and grow all the time,
// and one that is below it leaves one slot; the rates are such that a simulated
// node, which holds few keys, feels them.
func (p *Plan) drawAdmission(rng *rand.Rand) {
	p.Admit = rng.IntN(8) > 0
	p.Admission = admission.Limits{
		Target:         pick(rng, 100*time.Millisecond, 100*time.Millisecond, 4*p.Latency+2*p.Fsync, time.Millisecond),
		MinSlots:       pick(rng, 1, 1, 1, 2),
		MaxSlots:       pick(rng, 10, 10, 4, 2),
		Window:         pick(rng, 1000, 100, admission.MinSamples),
		BytesPerSecond: pick[int64](rng, 32<<20, 1<<20, 256<<10),
	}
}

// noteSlots counts the views with fewer slots than there may be.
func (w *world) noteSlots(v *core.View) {
	slots := 0
	for _, b := range v.Budgets {
		slots += b.Slots
	}
	if v.Budgets != nil && slots < w.plan.Admission.MaxSlots {
		w.report.Stats.Throttled++
	}
}

// checkSlots holds the shards of a process to the slots that Control has given
// them: what they hold together is never more than there are.
func (w *world) checkSlots(p *process) {
	bounds, limited := p.ctl.control.SlotBounds()
	if !limited {
		return
	}
	sum := 0
	for i, l := range p.shards {
		held := l.shard.SlotsHeld()
		if held > bounds[i] {
			w.fail("slots", "%v: shard %d holds %d slots; Control knows of %d at most", p.id, i, held, bounds[i])
		}
		sum += bounds[i]
	}
	if sum > w.plan.Admission.MaxSlots {
		w.fail("slots", "%v: the shards may hold %d slots together; there are %d", p.id, sum, w.plan.Admission.MaxSlots)
	}
}
