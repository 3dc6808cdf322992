package outbox

import (
	"sync"
	"time"

	"github.com/dynamo-kv/dynamo/internal/core"
	"github.com/dynamo-kv/dynamo/internal/transport/wire"
)

const (
	// MaxEnvelopes bounds the envelopes that wait: what the shards of a busy
	// node send one peer in about a tenth of a second. A peer that is further
	// behind than that answers too late anyway.
	MaxEnvelopes = 8192

	// MaxBytes bounds what waits, by wire.Size: with a hundred dead peers at
	// once a node still lives. An envelope above it waits alone.
	MaxBytes = 64 << 20

	// keepEnvelopes bounds the memory that an empty queue keeps after a burst.
	keepEnvelopes = 1024
)

// Queue is what waits for one peer. Any goroutine may put; one takes. Use New.
type Queue struct {
	wake chan struct{} // has a token when there may be something to take

	mu     sync.Mutex
	items  []item // those from head on wait
	head   int
	bytes  int
	closed bool
}

type item struct {
	envelope core.Envelope
	size     int
}

// New returns an empty queue.
func New() *Queue { return &Queue{wake: make(chan struct{}, 1)} }

// Put queues a copy of e and says whether it did: not when the queue is full
// or closed, nor when e is larger than any message may be.
func (q *Queue) Put(e *core.Envelope) bool {
	size := wire.Size(e)
	if size > wire.MaxEnvelopeBytes || !q.put(e, size) {
		return false
	}
	select {
	case q.wake <- struct{}{}:
	default: // it has been told already
	}
	return true
}

func (q *Queue) put(e *core.Envelope, size int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	waiting := len(q.items) - q.head
	if q.closed || waiting >= MaxEnvelopes || waiting > 0 && q.bytes+size > MaxBytes {
		return false
	}
	if q.head > 0 && len(q.items) == cap(q.items) {
		q.compact()
	}
	q.items = append(q.items, item{envelope: *e, size: size})
	q.bytes += size
	return true
}

// compact moves what waits to the front. It is called once for each time that
// the array is full, so that it costs little for each envelope.
func (q *Queue) compact() {
	n := copy(q.items, q.items[q.head:])
	clear(q.items[n:])
	q.items, q.head = q.items[:n], 0
}

// Ready receives a value when there may be something to take.
func (q *Queue) Ready() <-chan struct{} { return q.wake }

// Batch is what Take fills. Its memory is used again.
type Batch struct {
	// Envelopes leave in one message: they share From, To and Cluster, and
	// keep to the limits of package wire.
	Envelopes []core.Envelope
	// Expired are those among them whose deadline had passed.
	Expired []core.Envelope
}

// Reset empties b and lets go of what it pointed to.
func (b *Batch) Reset() {
	clear(b.Envelopes)
	clear(b.Expired)
	b.Envelopes, b.Expired = b.Envelopes[:0], b.Expired[:0]
}

// Take moves the next message's envelopes, in order, from the queue to b,
// which it resets before; now is Mono. It reports whether any are left. Both
// lists of b are empty only when the queue was.
func (q *Queue) Take(now time.Duration, b *Batch) (more bool) {
	b.Reset()
	q.mu.Lock()
	defer q.mu.Unlock()
	for bytes := 0; q.head < len(q.items); q.head++ {
		it := &q.items[q.head]
		if it.envelope.Deadline <= now {
			b.Expired = append(b.Expired, it.envelope)
		} else {
			if !b.fits(&it.envelope, bytes+it.size) {
				break
			}
			bytes += it.size
			b.Envelopes = append(b.Envelopes, it.envelope)
		}
		q.bytes -= it.size
		*it = item{}
	}
	if q.head < len(q.items) {
		return true
	}
	q.empty()
	return false
}

// fits says whether e can join the message, which then takes so many bytes.
func (b *Batch) fits(e *core.Envelope, bytes int) bool {
	if len(b.Envelopes) == 0 {
		return true // however large it is
	}
	first := &b.Envelopes[0]
	return len(b.Envelopes) < wire.MaxBatchEnvelopes && bytes <= wire.MaxBatchBytes &&
		e.From == first.From && e.To == first.To && e.Cluster == first.Cluster
}

func (q *Queue) empty() {
	q.items, q.head, q.bytes = q.items[:0], 0, 0
	if cap(q.items) > keepEnvelopes {
		q.items = nil
	}
}

// Drain takes all that waits out of the queue.
func (q *Queue) Drain() []core.Envelope {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.drain()
}

// Close makes every later Put fail and takes all that waits out of the queue.
func (q *Queue) Close() []core.Envelope {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	return q.drain()
}

// CloseIfEmpty closes the queue if nothing waits, and says whether it did.
func (q *Queue) CloseIfEmpty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head < len(q.items) {
		return false
	}
	q.closed = true
	return true
}

func (q *Queue) drain() []core.Envelope {
	var out []core.Envelope
	for _, it := range q.items[q.head:] {
		out = append(out, it.envelope)
	}
	clear(q.items[q.head:])
	q.empty()
	return out
}
