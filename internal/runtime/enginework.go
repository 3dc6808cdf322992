package runtime

import (
	"math"
	"sync"
	"time"

	"github.com/dynamo-kv/dynamo/internal/admission"
	"github.com/dynamo-kv/dynamo/internal/core"
)

// EngineWork admits the background work of the node's storage engine as one
// shard more: it holds slots of the node while it runs, and goes by their rate.
// It is made before the engine is opened, and work waits until the node runs.
//
// It implements storage.Background.
type EngineWork struct {
	most int // slots that work can use

	mu      sync.Mutex // guards what follows
	claim   admission.Claim
	began   time.Time
	changed chan struct{} // closed when the share has changed
	told    core.LoadReport
	report  func(core.LoadReport) // nil until the node runs
}

// NewEngineWork returns one for a node of so many slots at most.
func NewEngineWork(most int) *EngineWork {
	w := &EngineWork{most: most, began: time.Now(), changed: make(chan struct{})}
	w.claim.Limit(0, 0)
	return w
}

// begin is called once, by the runtime, before the first limit.
func (w *EngineWork) begin(shard int, report func(core.LoadReport)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told.Shard, w.report = shard, report
}

// limit goes by the budget of a view.
func (w *EngineWork) limit(b core.Budget, limited bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if limited {
		w.claim.Limit(b.Slots, b.BytesPerSlot)
	} else {
		w.claim.Unlimit()
	}
	if !w.claim.Works() {
		w.claim.Done()
	}
	close(w.changed)
	w.changed = make(chan struct{})
	w.tell(b.Epoch)
}

// tell tells Control what is held and wanted, if that is news.
func (w *EngineWork) tell(epoch uint64) {
	r := w.told
	r.Epoch, r.Held, r.Wanted, r.Waits = epoch, w.claim.Held(), 0, w.claim.Waits()
	if w.claim.Works() {
		r.Wanted = w.most
	}
	before := w.told
	if w.report == nil || before.Epoch == r.Epoch && before.Held == r.Held && before.Wanted == r.Wanted {
		return
	}
	w.told = r
	w.report(r)
}

// Step returns true when a step of the work may be taken that moves so many
// bytes, false when quit is closed.
func (w *EngineWork) Step(bytes int, quit <-chan struct{}) bool {
	for spent := false; ; {
		select {
		case <-quit:
			return false
		default:
		}
		wait, changed := w.may(bytes, &spent)
		if wait <= 0 {
			return true
		}
		timer := time.NewTimer(wait)
		select {
		case <-quit:
			timer.Stop()
			return false
		case <-timer.C:
		case <-changed: // perhaps a slot has come, or is to be given back
		}
		timer.Stop()
	}
}

// may returns how long the next step must wait, at most until the share changes.
func (w *EngineWork) may(bytes int, spent *bool) (wait time.Duration, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Since(w.began)
	at := w.claim.May(now)
	if at != math.MaxInt64 && !*spent {
		w.claim.Spend(now, bytes)
		*spent = true
		at = w.claim.May(now)
	}
	w.tell(w.told.Epoch)
	return at - now, w.changed
}

// Done says that there is no work for now.
func (w *EngineWork) Done() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.claim.Done()
	w.tell(w.told.Epoch)
}
