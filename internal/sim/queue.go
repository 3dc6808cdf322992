package sim

import (
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
)

// eventKind says what an event does.
type eventKind uint8

const (
	evDrain   eventKind = iota // a loop takes its queue
	evTimer                    // a loop's Next has come
	evArrive                   // an envelope reaches its receiver
	evRefused                  // a sender learns that an envelope was not sent
	evFsync                    // a disk's fsync is complete
	evFault                    // a fault begins, or is armed
	evStrike                   // an armed fault begins
	evHeal                     // a fault ends
	evBurst                    // every client is busy for a while
	evClient                   // a client does its next thing
	evRequest                  // a client's request reaches a node
	evReply                    // a node's reply reaches a client
	evExpire                   // a client stops waiting
	evJoin                     // a Join is called on a node
	evCopy                     // a disk is copied, for a fault to put back
)

// event is one entry of the queue. Which fields mean something depends on
// the kind.
type event struct {
	at   time.Duration
	tie  uint64 // seeded, so that equal times come in an order that varies
	seq  uint64 // the last resort, which makes the order total
	kind eventKind
	node int32  // index of a process, or of a client
	loop int32  // index of a loop
	gen  uint32 // of the process: events of an earlier one miss
	n    int64  // a number of a fault or an attempt
	env  *core.Envelope
	// result is of an evReply.
	result *core.Result
}

func (e *event) before(o *event) bool {
	if e.at != o.at {
		return e.at < o.at
	}
	if e.tie != o.tie {
		return e.tie < o.tie
	}
	return e.seq < o.seq
}

// eventQueue is a heap of events with four children a node: fewer levels,
// and so fewer moves of these large entries, than a binary one.
type eventQueue struct {
	heap []event
	seq  uint64
	seed uint64
}

// push adds an event; its tie-break is drawn from the seed and its number.
func (q *eventQueue) push(e event) {
	q.seq++
	e.seq = q.seq
	e.tie = mix(q.seed ^ q.seq)
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(&q.heap[parent]) {
			break
		}
		q.heap[i] = q.heap[parent]
		i = parent
	}
	q.heap[i] = e
}

// pop removes the first event. The queue must not be empty.
func (q *eventQueue) pop() event {
	first := q.heap[0]
	last := len(q.heap) - 1
	e := q.heap[last]
	q.heap[last] = event{}
	q.heap = q.heap[:last]
	if last > 0 {
		q.sink(e)
	}
	return first
}

// sink puts e, which belongs below the root, into the hole at the root.
func (q *eventQueue) sink(e event) {
	i, n := 0, len(q.heap)
	for {
		child := 4*i + 1
		if child >= n {
			break
		}
		least := child
		for c := child + 1; c < min(child+4, n); c++ {
			if q.heap[c].before(&q.heap[least]) {
				least = c
			}
		}
		if !q.heap[least].before(&e) {
			break
		}
		q.heap[i] = q.heap[least]
		i = least
	}
	q.heap[i] = e
}

func (q *eventQueue) empty() bool { return len(q.heap) == 0 }

// mix scrambles 64 bits: the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
