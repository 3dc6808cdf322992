package coordinator

import (
	"container/heap"
	"time"
)

// timers has the slots that are to be woken. One that is over leaves it: each
// wake-up is a turn of the shard's loop, and nearly all requests end before
// theirs.
type timers struct {
	heap slotHeap
	seq  uint64
}

// arm has s woken at a time, and at no other.
func (t *timers) arm(s *slot, at time.Duration) {
	t.seq++
	s.armed, s.armedSeq = at, t.seq
	if s.place == 0 {
		heap.Push(&t.heap, s)
		return
	}
	heap.Fix(&t.heap, s.place-1)
}

// disarm has s not woken any more.
func (t *timers) disarm(s *slot) {
	if s.place != 0 {
		heap.Remove(&t.heap, s.place-1)
	}
}

// next returns when the earliest is to be woken.
func (t *timers) next() (time.Duration, bool) {
	if len(t.heap) == 0 {
		return 0, false
	}
	return t.heap[0].armed, true
}

// pop takes the earliest that is due, which is armed no more; nil: none is.
func (t *timers) pop(now time.Duration) *slot {
	if len(t.heap) == 0 || t.heap[0].armed > now {
		return nil
	}
	return heap.Pop(&t.heap).(*slot)
}

// slotHeap is a heap.Interface: earliest first, in order of arming among equals.
type slotHeap []*slot

func (h slotHeap) Len() int { return len(h) }

func (h slotHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	return a.armed < b.armed || a.armed == b.armed && a.armedSeq < b.armedSeq
}

func (h slotHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

// Push adds a slot at the end.
func (h *slotHeap) Push(s any) {
	*h = append(*h, s.(*slot))
	(*h)[len(*h)-1].place = len(*h)
}

// Pop takes the last one.
func (h *slotHeap) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	s.place = 0
	*h = (*h)[:last]
	return s
}
