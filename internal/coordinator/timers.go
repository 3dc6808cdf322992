package coordinator

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// timers is a heap of wake-ups, earliest first, in order of arming among
// equals. Entries whose request is over stay until they are due and then miss
// their slot's generation.
type timers struct {
	heap []timer
	seq  uint64
}

type timer struct {
	at  time.Duration
	seq uint64
	req core.ReqID
}

func (a timer) before(b timer) bool {
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

func (h *timers) push(at time.Duration, req core.ReqID) {
	h.seq++
	h.heap = append(h.heap, timer{at: at, seq: h.seq, req: req})
	for i := len(h.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.heap[i].before(h.heap[parent]) {
			return
		}
		h.heap[i], h.heap[parent] = h.heap[parent], h.heap[i]
		i = parent
	}
}

func (h *timers) next() (time.Duration, bool) {
	if len(h.heap) == 0 {
		return 0, false
	}
	return h.heap[0].at, true
}

// pop takes the earliest wake-up that is due.
func (h *timers) pop(now time.Duration) (core.ReqID, bool) {
	if len(h.heap) == 0 || h.heap[0].at > now {
		return 0, false
	}
	req := h.heap[0].req
	last := len(h.heap) - 1
	h.heap[0] = h.heap[last]
	h.heap = h.heap[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			return req, true
		}
		if child+1 < last && h.heap[child+1].before(h.heap[child]) {
			child++
		}
		if !h.heap[child].before(h.heap[i]) {
			return req, true
		}
		h.heap[i], h.heap[child] = h.heap[child], h.heap[i]
		i = child
	}
}
